"""What the demo prints: a step, what was seen, and live progress."""

from __future__ import annotations

from typing import Any

from rich.console import Console

from kernel import clock


class Screen:
    """Prints the story; each line of it was seen, or the demo has failed before."""

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or Console(highlight=False, soft_wrap=True)
        self._began = clock.monotonic()
        self._number = 0

    @property
    def seconds(self) -> float:
        """Since the beginning."""
        return clock.monotonic() - self._began

    def chapter(self, title: str) -> None:
        self._number += 1
        self._console.print(f"\n[bold cyan]{self._number}. {title}[/] [dim]({self.seconds:.1f} s)[/]")

    def saw(self, text: str) -> None:
        self._console.print("   [green]✓[/]", text, markup=True)

    def note(self, text: str) -> None:
        self._console.print(f"   [dim]{text}[/]", markup=True)

    def progress(self, event: dict[str, Any]) -> None:
        """One event of a deployment as it comes. Any: the API's JSON."""
        what = event.get("message") or ""
        container = event.get("container") or ""
        step = str((event.get("data") or {}).get("step") or event.get("step") or event.get("kind") or "")
        if not (what or step):
            return
        self._console.print(f"     [blue]·[/] [bold]{container:<6}[/] {step:<12} [dim]{what}[/]", markup=True)

    def record(self, time: str, who: str, what: str, on: str, outcome: str) -> None:
        """One entry of the audit log."""
        colour = "red" if outcome == "refused" else "green"
        line = f"   [dim]{time}[/] {who:<13.13} [bold]{what:<36}[/] {on:<28.28} [{colour}]{outcome}[/]"
        self._console.print(line, markup=True, soft_wrap=True)

    def end(self, text: str) -> None:
        self._console.print(text, markup=True)
