"""What may go wrong with a command: one line on stderr, and the exit code that says which kind it was."""

from __future__ import annotations

import sys

from kernel.errors import FairleadError, Invalid

REFUSED = 1
UNREACHABLE = 2


class CommandError(FairleadError):
    """The command cannot be carried out as it was given."""


def expected() -> tuple[type[Exception], ...]:
    """The errors that have a line of their own; all others are defects. Loaded only when something went wrong."""
    import requests

    from cli.client import ApiError

    return FairleadError, ApiError, requests.RequestException


def tell(error: Exception) -> int:
    """Say what went wrong. Returns the exit code."""
    from cli.client import ApiError
    from cli.screen import plain

    if isinstance(error, ApiError):
        line = f"{error.code}: {error.detail}" + _wrong([(one.get("field"), one.get("message")) for one in error.problem.get("errors", [])])
        if error.status == 401:
            line += " Run `fairlead login`, or set FAIRLEAD_TOKEN."
    elif isinstance(error, Invalid):
        line = f"{error.code}: {error.detail}" + _wrong(
            [(one.field, one.message) for one in error.errors if one.message not in error.detail]
        )
    elif isinstance(error, FairleadError):
        line = f"{error.code}: {error.detail}"
    else:
        sys.stderr.write(f"fairlead: unreachable: {plain(_network(error))}\n")
        return UNREACHABLE
    sys.stderr.write(f"fairlead: {plain(line)}\n")
    return REFUSED


def _wrong(fields: list[tuple[object, object]]) -> str:
    return f" ({'; '.join(f'{field}: {message}' for field, message in fields)})" if fields else ""


def _network(error: Exception) -> str:
    request = getattr(error, "request", None)
    where = getattr(request, "url", None)
    what = {"ConnectionError": "nothing answers", "ConnectTimeout": "nothing answers", "ReadTimeout": "no answer in time"}
    said = what.get(type(error).__name__, str(error))
    return f"{said}: {where}" if where and said != str(error) else said
