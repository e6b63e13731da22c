"""What ends a wait early: a cancellation, a deadline, the end of the process."""

from __future__ import annotations

import math
import threading

from agent.outcomes import Cancelled
from kernel import clock
from kernel.errors import Conflict


class Stopping(Exception):
    """The process ends; the work stays in the journal and is taken up again by the next one."""


class Interrupt:
    """One a work. `cancel` and `stop` may come from any thread."""

    def __init__(self) -> None:
        self._woken = threading.Event()
        self._stopping = threading.Event()
        self._deadline = math.inf
        self._reason: str | None = None

    def cancel(self, reason: str) -> None:
        """The work is not wanted any more."""
        self._reason = self._reason or reason
        self._woken.set()

    def stop(self) -> None:
        """The process ends."""
        self._stopping.set()
        self._woken.set()

    def end_at(self, deadline: float) -> None:
        """The moment (monotonic) past which the work has failed."""
        self._deadline = deadline

    def remaining_seconds(self) -> float:
        return self._deadline - clock.monotonic()

    def check(self) -> None:
        """Raises Stopping, Cancelled (its code is the reason) or Conflict `timed-out`."""
        if self._stopping.is_set():
            raise Stopping
        if self._reason is not None:
            raise Cancelled(self._reason, f"The attempt was told to stop: {self._reason}.")
        if self.remaining_seconds() <= 0:
            raise Conflict("timed-out", "The attempt was not done within its time.")

    def wait(self, seconds: float) -> None:
        """Sleep, but no longer than the work may; then check."""
        self._woken.wait(max(0.0, min(seconds, self.remaining_seconds())))
        self.check()


class Undisturbed(Interrupt):
    """For undoing and cleaning, which nothing but the end of the process may stop."""

    def __init__(self, parent: Interrupt) -> None:
        super().__init__()
        self._parent = parent

    def check(self) -> None:
        if self._parent._stopping.is_set():
            raise Stopping

    def wait(self, seconds: float) -> None:
        self._parent._stopping.wait(seconds)
        self.check()
