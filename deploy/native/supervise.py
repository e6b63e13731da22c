"""`python -m deploy.native.supervise -c supervisord.conf`: supervisord as the one that inherits orphans below it.

A killed dockerd leaves containerd to whoever adopts orphans. Where that is slow to notice the dead (a container without an
init process), the next dockerd takes the corpse for a living containerd and gives up; supervisord notices at once.
"""

from __future__ import annotations

import ctypes

from supervisor import supervisord

_PR_SET_CHILD_SUBREAPER = 36


def main() -> None:
    """Does not return before supervisord ends."""
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    supervisord.main()


if __name__ == "__main__":
    main()
