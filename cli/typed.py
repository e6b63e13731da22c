"""What people type or pipe in: values that must never stand in a list of arguments, and files."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from cli.problems import CommandError

_LARGEST_BYTES = 1 << 20


def hidden_line(label: str) -> str:
    """A line that is not shown while it is typed; the first line where nobody types."""
    if sys.stdin.isatty():
        import typer

        return str(typer.prompt(label, hide_input=True, err=True))
    return sys.stdin.readline().rstrip("\r\n")


def hidden_value(label: str, *, exact: bool) -> str:
    """As `hidden_line`; where nobody types, all of stdin but a line end at its end (`exact`: all of it)."""
    if sys.stdin.isatty():
        return hidden_line(label)
    try:
        text = sys.stdin.buffer.read(_LARGEST_BYTES).decode()
    except UnicodeDecodeError as error:
        raise CommandError("value-not-text", "The value on stdin is not UTF-8 text.") from error
    return text if exact else text.removesuffix("\n").removesuffix("\r")


def json_object(source: str | None) -> dict[str, Any]:
    """The JSON object in a file, or on stdin for `-`. Any: JSON."""
    if source is None:
        return {}
    try:
        text = sys.stdin.read() if source == "-" else Path(source).read_text(encoding="utf-8")
        document = json.loads(text)
    except (OSError, ValueError) as error:
        raise CommandError("config-wrong", f"{source} is not a file of JSON: {error}") from error
    if not isinstance(document, dict):
        raise CommandError("config-wrong", f"{source} does not hold a JSON object.")
    return document


def given(**values: object) -> dict[str, object]:
    """The body of a request: what was said, without what was left out."""
    return {name: value for name, value in values.items() if value is not None}
