"""What a measurement says, and how it is shown."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from rich.console import Console
from rich.table import Table

from kernel import clock


@dataclass(frozen=True)
class Measure:
    """`ours` and `theirs` in `unit`; `aim` says in words what was hoped for. Without an alternative `theirs` is None."""

    name: str
    ours: float
    unit: str
    against: str = ""
    theirs: float | None = None
    aim: str = ""
    note: str = ""

    @property
    def ratio(self) -> float | None:
        """Ours by theirs."""
        return self.ours / self.theirs if self.theirs else None


def seconds_of(action: Callable[[], object]) -> float:
    """How long `action` takes."""
    began = clock.monotonic()
    action()
    return clock.monotonic() - began


def middle(values: Sequence[float]) -> float:
    """The median."""
    return statistics.median(values)


def show(title: str, measures: Sequence[Measure]) -> None:
    """Print one group of measures as a table."""
    table = Table(
        "measure", "ours", "theirs", "ratio", "against", "aim", "note", title=title, title_justify="left", box=None, padding=(0, 2)
    )
    for one in measures:
        theirs = "" if one.theirs is None else f"{one.theirs:,.3g} {one.unit}"
        ratio = "" if one.ratio is None else f"{one.ratio:.2f}"
        table.add_row(one.name, f"{one.ours:,.4g} {one.unit}", theirs, ratio, one.against, one.aim, one.note)
    Console(width=180).print(table)
