"""`python -m deploy.native.become FILE MODULE ARGUMENTS…`: runs a module with exactly the environment that FILE holds.

The file is JSON and only its reader may open it: passwords stand neither on a command line nor in supervisord.conf.
`deploy.native.supervise` calls `main` in a process that it has forked, so that all of them share the libraries' memory.
"""

from __future__ import annotations

import ctypes
import json
import os
import runpy
import sys
from pathlib import Path

_PR_SET_NAME = 15
_ARG_START, _ARG_END = 45, 46  # fields of /proc/self/stat, counted after the program's name


def show_as(title: str) -> None:
    """Makes `ps` and `top` show `title` instead of what this process was started as."""
    ctypes.CDLL(None).prctl(_PR_SET_NAME, title.encode()[:15], 0, 0, 0)
    fields = Path("/proc/self/stat").read_text().rpartition(")")[2].split()
    start, end = int(fields[_ARG_START]), int(fields[_ARG_END])
    if 0 < start < end:
        room = end - start
        ctypes.memmove(start, title.encode()[: room - 1].ljust(room, b"\0"), room)


def main(arguments: list[str]) -> None:
    """Becomes the module; returns when it does."""
    file, module, *rest = arguments
    environment: dict[str, str] = json.loads(Path(file).read_text())
    os.environ.clear()
    os.environ.update(environment)
    sys.argv = [module, *rest]
    show_as(f"fairlead {Path(file).stem}")
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main(sys.argv[1:])
