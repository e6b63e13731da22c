"""`python -m deploy.native up|down|status|logs|migrate|parked|reset`."""

from __future__ import annotations

import argparse
import os
import shutil
import sys
from collections.abc import Sequence

from deploy.native.errors import StackError
from deploy.native.layout import Layout
from deploy.native.report import Report
from deploy.native.stack import Operator

_ABOUT = {
    "up": "start everything and wait until it answers",
    "down": "stop everything, the agent included; containers on an engine that is not ours go on running",
    "status": "show each program, its memory, and whether the stack is ready",
    "logs": "follow the logs, or those of one part",
    "migrate": "bring the databases to the newest shape",
    "parked": "list, show, retry or drop messages that could not be handled: parked list; parked show audit.inbox",
    "reset": "down, and remove all data, deployed containers included",
}
_NEED_ROOT = {"up", "down", "status", "migrate", "reset", "parked"}


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m deploy.native", description=__doc__)
    verbs = parser.add_subparsers(dest="verb", required=True)
    for verb, about in _ABOUT.items():
        command = verbs.add_parser(verb, help=about, description=about)
        if verb == "logs":
            command.add_argument("part", nargs="?", help="postgres, gateway, deployer-worker, …")
        if verb == "parked":
            command.add_argument("words", nargs="+", help="list | show QUEUE | retry QUEUE [ID …] | drop QUEUE ID …")
    return parser.parse_args(arguments)


def _become_root(arguments: Sequence[str]) -> None:
    """Runs the command again through sudo, with our settings; servers need accounts of their own."""
    if shutil.which("sudo") is None:
        raise StackError("sudo", "is not installed, and this is not root; become root first")
    settings = [f"{name}={value}" for name, value in os.environ.items() if name.startswith(("FAIRLEAD_", "DOCKER_"))]
    settings.append("PYTHONDONTWRITEBYTECODE=1")  # root's files in the user's checkout would be in the way later
    os.execvp("sudo", ["sudo", "env", *settings, sys.executable, "-m", "deploy.native", *arguments])  # noqa: S606


def main(arguments: Sequence[str]) -> int:
    """The exit status: 0 done, 1 failed, 3 not everything runs (`status`)."""
    asked = _parse(arguments)
    report = Report()
    operator = Operator(Layout.of(os.environ), os.environ, report)
    try:
        if asked.verb in _NEED_ROOT and os.geteuid() != 0:
            _become_root(arguments)
        if asked.verb == "status":
            return operator.status()
        if asked.verb == "parked":
            return operator.parked(asked.words)
        if asked.verb == "logs":
            operator.logs(asked.part)
        else:
            {"up": operator.up, "down": operator.down, "migrate": operator.migrate, "reset": operator.reset}[asked.verb]()
    except StackError as error:
        report.fail(error)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
