"""`python -m deploy.native.supervise -c supervisord.conf`: supervisord that adopts orphans, and forks Python programs.

It adopts: a killed dockerd leaves containerd to whoever does. Where that is slow to notice the dead (a container without an
init process), the next dockerd takes the corpse for a living containerd and gives up; supervisord notices at once.

It forks: the nine programs of Fairlead use the same libraries. Those are imported here once, and a program of ours is a fork
that goes on in Python instead of a new interpreter: started at once, and most of its memory is shared.
supervisord itself holds no secret, so no process inherits another's.
"""

from __future__ import annotations

import ctypes
import gc
import importlib
import os
import signal
import sys
import traceback
from collections.abc import Mapping, Sequence
from typing import Any

from supervisor import events, supervisord
from supervisor.options import ServerOptions

from deploy.native import become

_PR_SET_CHILD_SUBREAPER = 36
_BECOME = ("-m", "deploy.native.become")

# What the forks share: the parts with all that they import, and what they import later or by name.
# A program that dies is started again from here, so all of them run the same version of the code until the next `make up`.
SHARED = (
    *(f"services.{service}.{kind}" for service in ("identity", "catalog", "deployer", "audit") for kind in ("app", "worker")),
    "gateway.app", "gunicorn.app.wsgiapp", "gunicorn.workers.gthread", "logging.config", "jsonschema",
    "cryptography.hazmat.primitives.ciphers.aead", "sqlalchemy.dialects.postgresql.psycopg", "psycopg.types.json",
)  # fmt: skip


class ForkingOptions(ServerOptions):  # type: ignore[misc]  # supervisor has no types
    """supervisord's options, but for how a program is started."""

    def openhttpservers(self, control: Any) -> None:
        """The last thing that supervisord does before it starts programs. Any: supervisor has no types."""
        super().openhttpservers(control)
        events.subscribe(events.ProcessStateRunningEvent, self._import_shared)
        events.subscribe(events.ProcessStateStartingEvent, self._import_before_first_fork)

    def _import_shared(self, _event: Any) -> None:
        """Takes a second or two: at best while the servers, which run already, make themselves ready. Any: as above."""
        if "flask" in sys.modules or not any(map(_is_ours, self._programs())):
            return
        for name in SHARED:
            try:
                importlib.import_module(name)
            except (ImportError, SyntaxError, NameError, AttributeError, TypeError, ValueError):
                # Its own program fails in the same way, in its own log; the others need not.
                traceback.print_exc()
        gc.collect()
        gc.freeze()  # the collector never touches these pages again, so they stay shared

    def _import_before_first_fork(self, event: Any) -> None:
        if _is_ours(event.process.config):
            self._import_shared(event)

    def _programs(self) -> list[Any]:
        return [program for group in self.process_group_configs for program in group.process_configs]

    def execve(self, filename: str, argv: Sequence[str], env: Mapping[str, str]) -> None:
        """Called in the forked child, with its descriptors, user and directory set already. Does not return."""
        if tuple(argv[1:3]) != _BECOME:
            os.execve(filename, list(argv), dict(env))  # noqa: S606 - this is what supervisord does
        status = run_as(argv[3:])
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def _is_ours(program: Any) -> bool:
    return _BECOME[1] in program.command


def run_as(arguments: Sequence[str]) -> int:
    """Runs `deploy.native.become` in this process; its exit status."""
    for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
        if signal.getsignal(number) not in (signal.SIG_DFL, None):
            signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
    try:
        become.main(list(arguments))
    except SystemExit as end:
        if end.code is None or isinstance(end.code, int):
            return end.code or 0
        sys.stderr.write(f"{end.code}\n")
        return 1
    except BaseException:  # what an interpreter would do at its very end, which this process does not reach
        traceback.print_exc()
        return 1
    return 0


def main(arguments: Sequence[str]) -> None:
    """Does not return before supervisord ends."""
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]  # a TextIOWrapper; nobody has replaced it yet
    options = ForkingOptions()
    options.realize(list(arguments), doc=__doc__)
    options.first = True
    options.test = False
    supervisord.go(options)
    options.close_httpservers()
    options.close_logger()


if __name__ == "__main__":
    main(sys.argv[1:])
