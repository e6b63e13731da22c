"""Exports as text, piece by piece: NDJSON for verification, CSV for spreadsheets."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Iterator

from services.audit.chain import Document

_PIECE_CHARACTERS = 64 * 1024
_COLUMNS = (
    "number", "at", "recorded_at", "action", "outcome", "actor_kind", "actor_id", "actor_name", "address",
    "resource_type", "resource_id", "resource_name", "reason", "before", "after", "data", "correlation", "source",
    "id", "team_id", "prev_hash", "hash",
)  # fmt: skip


def ndjson(documents: Iterable[Document]) -> Iterator[str]:
    """One entry a line, whole: what `python -m services.audit.verify` reads."""
    return _pieces(json.dumps(document, separators=(",", ":"), ensure_ascii=False) + "\n" for document in documents)


def as_csv(documents: Iterable[Document]) -> Iterator[str]:
    """One entry a row. Cells that a spreadsheet would run as a formula get a quote in front."""
    return _pieces(_lines(documents))


def _lines(documents: Iterable[Document]) -> Iterator[str]:
    yield _line(_COLUMNS)
    for document in documents:
        flat = document | {f"actor_{name}": value for name, value in document["actor"].items()}
        flat |= {f"resource_{name}": value for name, value in document["resource"].items()}
        yield _line([_cell(flat[column]) for column in _COLUMNS])


def _line(cells: Iterable[object]) -> str:
    line = io.StringIO()
    csv.writer(line).writerow(cells)
    return line.getvalue()


def _cell(value: object) -> object:
    if value is None or isinstance(value, int):
        return "" if value is None else value
    text = value if isinstance(value, str) else json.dumps(value, separators=(",", ":"), ensure_ascii=False)
    return f"'{text}" if text.startswith(("=", "+", "-", "@", "\t", "\r")) else text


def _pieces(lines: Iterable[str]) -> Iterator[str]:
    """Lines put together, so that not each goes through the network alone."""
    held: list[str] = []
    size = 0
    for line in lines:
        held.append(line)
        size += len(line)
        if size >= _PIECE_CHARACTERS:
            yield "".join(held)
            held, size = [], 0
    if held:
        yield "".join(held)
