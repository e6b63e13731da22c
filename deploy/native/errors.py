"""What goes wrong while the stack is run: one error that says which part, and what to do next."""

from __future__ import annotations

from pathlib import Path


class StackError(Exception):
    """`part` could not do what was asked; `log`, if there is one, holds the reason."""

    def __init__(self, part: str, problem: str, *, log: Path | None = None) -> None:
        super().__init__(f"{part}: {problem}")
        self.part = part
        self.problem = problem
        self.log = log
