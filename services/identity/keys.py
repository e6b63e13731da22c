"""The command that rotates signing keys: `python -m services.identity.keys rotate`."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

from kernel import telemetry
from kernel.clock import rfc3339
from kernel.errors import FairleadError
from kernel.settings import load
from services.identity.settings import Settings
from services.identity.store import keys as store
from services.identity.usecases import upkeep
from services.identity.usecases.parts import Parts, make_parts


def main(arguments: Sequence[str]) -> int:
    """Run one of the commands. Returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m services.identity.keys", description="Signing keys of identity.")
    commands = parser.add_subparsers(dest="command", required=True)
    rotate = commands.add_parser("rotate", help="publish a new key; it signs after a while, and nobody is signed out")
    rotate.add_argument(
        "--end-old-now", action="store_true", help="the old key is stolen: it ends at once, and programs refresh their access tokens"
    )
    commands.add_parser("list", help="show the keys whose signatures count")
    given = parser.parse_args(arguments)
    try:
        settings = load(Settings, os.environ)
        telemetry.configure_logging("identity.keys", form=settings.log_format, level="warning")
        parts = make_parts(settings, "identity.keys")
        if given.command == "rotate":
            sys.stdout.write(f"{upkeep.rotate_keys(parts, end_old_now=given.end_old_now, actor='system:operator')}\n")
        _show(parts)
    except FairleadError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


def _show(parts: Parts) -> None:
    with parts.db.system() as session:
        for key in store.all_valid(session):
            until = rfc3339(key.ends_at) if key.ends_at else "further notice"
            sys.stdout.write(f"{key.id}  signs from {rfc3339(key.signs_from)}  counts until {until}\n")


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
