"""What the stack tells people: a line a step, a table of programs, the last words of a log."""

from __future__ import annotations

from pathlib import Path

import psutil
from rich.console import Console
from rich.table import Table

from deploy.native.errors import StackError
from deploy.native.supervisor import State
from kernel import clock

TAIL_LINES = 15
_COLOURS = {
    "running": "green",
    "starting": "yellow",
    "stopped": "dim",
    "exited": "red",
    "backoff": "red",
    "fatal": "red",
}


class Report:
    """Short lines with the seconds since the start."""

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or Console(highlight=False, soft_wrap=True)
        self._started = clock.monotonic()

    @property
    def seconds(self) -> float:
        """Since this report began."""
        return clock.monotonic() - self._started

    def step(self, words: str) -> None:
        """Something is done."""
        self.console.print(f"[green]✓[/] [dim]{self.seconds:5.1f}s[/] {words}")

    def warn(self, words: str) -> None:
        """Something is worth knowing."""
        self.console.print(f"[yellow]![/] [dim]{self.seconds:5.1f}s[/] {words}")

    def fail(self, error: StackError) -> None:
        """Which part failed, why, and the last lines of its log."""
        self.console.print(f"[red]✗[/] [dim]{self.seconds:5.1f}s[/] [bold]{error.part}[/]: ", end="")
        self.console.print(error.problem, markup=False)
        if error.log is not None and error.log.exists():
            self.console.print(f"  the end of {error.log}:", markup=False)
            for line in tail(error.log):
                self.console.print(f"  | {line}", markup=False)


def tail(path: Path, lines: int = TAIL_LINES) -> list[str]:
    """The last lines of a file."""
    with path.open("rb") as stream:
        stream.seek(0, 2)
        stream.seek(max(stream.tell() - 32_768, 0))
        return stream.read().decode(errors="replace").splitlines()[-lines:]


def resident_bytes(pid: int, *, alone: bool = False) -> int:
    """Memory of a process and its own children: the proportional share (PSS), so that shared pages count once."""
    total = 0
    try:
        process = psutil.Process(pid)
        family = [process, *([] if alone else process.children(recursive=True))]
    except psutil.NoSuchProcess:
        return 0
    for member in family:
        try:
            total += int(member.memory_full_info().pss)
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
    return total


def table(states: list[State], extra: list[tuple[str, int]]) -> Table:
    """Program, state, pid, up time and memory; `extra` are processes that supervisord does not run, as (name, pid)."""
    result = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("program", "state"):
        result.add_column(heading)
    for heading in ("pid", "up", "memory"):
        result.add_column(heading, justify="right")
    rows = [(state.name, state.state, state.pid, state.seconds) for state in states]
    rows += [(name, "running", pid, int(clock.now().timestamp() - psutil.Process(pid).create_time())) for name, pid in extra]
    total = 0
    for name, state, pid, seconds in rows:
        size = resident_bytes(pid, alone=name == "supervisord") if pid else 0
        total += size
        colour = _COLOURS.get(state, "white")
        result.add_row(name, f"[{colour}]{state}[/]", str(pid or "-"), duration(seconds), megabytes(size))
    result.add_row("", "", "", "", f"[bold]{megabytes(total)}[/]")
    return result


def duration(seconds: int) -> str:
    """`12s`, `5m`, `3h`, `2d`."""
    for size, letter in ((86_400, "d"), (3_600, "h"), (60, "m")):
        if seconds >= size:
            return f"{seconds // size}{letter}"
    return f"{seconds}s"


def megabytes(size: int) -> str:
    """Bytes in whole megabytes."""
    return f"{size / 1_000_000:.0f} MB" if size else "-"
