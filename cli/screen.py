"""What a command shows: tables for people, JSON for scripts."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Annotated, Any

import typer

_PIPED_WIDTH = 240


class Output(StrEnum):
    """How an answer is written."""

    TABLE = "table"
    JSON = "json"


OutputOption = Annotated[Output, typer.Option("--output", "-o", help="table, or json for scripts.")]

# The title of a column, and where its value stands: `last_attempt.outcome`.
Columns = Sequence[tuple[str, str]]


def plain(value: object) -> str:
    """One line without control characters: what a server or a container says moves nobody's cursor."""
    return "".join(one if one.isprintable() else " " for one in str(value)).strip()


def value_at(thing: Mapping[str, Any], path: str) -> str:
    """What a column shows. Any: the API's JSON."""
    found: Any = thing
    for key in path.split("."):
        found = found.get(key) if isinstance(found, Mapping) else None
    if found is None:
        return ""
    if isinstance(found, bool):
        return "yes" if found else "no"
    text = plain(found if not isinstance(found, list | dict) else json.dumps(found, ensure_ascii=False))
    # Times to the second: 2026-11-22T10:00:00.123456Z
    return f"{text[:19].replace('T', ' ')}Z" if key.endswith("_at") or key == "at" else text


def show_list(things: Sequence[Mapping[str, Any]], columns: Columns, output: Output) -> None:
    """A list. As JSON it is an array of whole things."""
    if output is Output.JSON:
        return write_json(list(things))
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="bold")
    for title, _ in columns:
        table.add_column(title, overflow="fold", no_wrap=title == "id")
    for thing in things:
        table.add_row(*(Text(value_at(thing, path)) for _, path in columns))
    _console().print(table)
    return None


def show_one(thing: Mapping[str, Any], columns: Columns, output: Output) -> None:
    """One thing, a line a field. As JSON it is the whole thing."""
    if output is Output.JSON:
        return write_json(thing)
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    for title, path in columns:
        table.add_row(title, Text(value_at(thing, path)))
    _console().print(table)
    return None


def write_json(document: object) -> None:
    sys.stdout.write(json.dumps(document, indent=2, ensure_ascii=False) + "\n")


def say(text: str, output: Output = Output.TABLE) -> None:
    """A line for people: where JSON is asked for it goes to stderr."""
    stream = sys.stdout if output is Output.TABLE else sys.stderr
    stream.write(f"{text}\n")
    stream.flush()


def progress(event: Mapping[str, Any], output: Output) -> None:
    """One event of a deployment as it comes. Any: the API's JSON."""
    step = (event.get("data") or {}).get("step") or event.get("kind") or ""
    at = str(event.get("at") or "")[11:19]
    say(f"{at}  {plain(event.get('container') or ''):<16} {plain(step):<14} {plain(event.get('message') or '')}".rstrip(), output)


def _console() -> Any:  # rich is loaded only where something is shown
    from rich.console import Console

    console = Console(highlight=False)
    return console if console.is_terminal else Console(highlight=False, width=_PIPED_WIDTH)
