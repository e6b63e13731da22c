"""A few threads that take works out of the journal: at most one a place at a time, in the order of coming."""

from __future__ import annotations

import threading
from collections.abc import Callable
from uuid import UUID

import structlog

from agent.interrupt import Interrupt, Stopping
from agent.journal import Journal, Work
from agent.outcomes import DEFECTS
from kernel import clock
from kernel.errors import FairleadError

log = structlog.get_logger(__name__)

# (the work, what may interrupt it, how old its command is in seconds)
CarryOut = Callable[[Work, Interrupt, float], None]
_AGAIN_SECONDS = 5.0
_AFTER_DEFECT_SECONDS = 60.0


class Workers:
    """Works are found in the journal, so that what was begun before a restart goes on by itself."""

    def __init__(self, journal: Journal, carry_out: CarryOut) -> None:
        self._journal = journal
        self._carry_out = carry_out
        self._changed = threading.Condition()
        self._busy: dict[str, tuple[UUID, Interrupt]] = {}  # prefix -> what is done there
        self._received: dict[UUID, float] = {}  # monotonic moments of commands that came to this process
        self._not_before: dict[UUID, float] = {}
        self._is_stopping = False
        self._revision = 0

    def add(self, work_id: UUID) -> None:
        """There is something new in the journal."""
        with self._changed:
            self._received[work_id] = clock.monotonic()
            self._revision += 1
            self._changed.notify_all()

    def cancel(self, work_id: UUID, reason: str) -> None:
        """Interrupt a work that is being done; the journal has told the others."""
        with self._changed:
            for busy_id, interrupt in self._busy.values():
                if busy_id == work_id:
                    interrupt.cancel(reason)

    def stop(self) -> None:
        """Interrupt everything; the works stay in the journal."""
        with self._changed:
            self._is_stopping = True
            for _, interrupt in self._busy.values():
                interrupt.stop()
            self._changed.notify_all()

    def is_idle(self) -> bool:
        """Whether nothing is being done now."""
        with self._changed:
            return not self._busy

    def run(self) -> None:
        """One worker's life, in a thread of its own."""
        while True:
            taken = self._take()
            if taken is None:
                return
            work, interrupt = taken
            try:
                self._carry_out(work, interrupt, self._age_seconds(work))
            except Stopping:
                log.info("work left for the next start", work=str(work.id), prefix=work.prefix)
            except FairleadError as error:
                log.error("work is stuck, trying again", work=str(work.id), prefix=work.prefix, error=str(error))
                self._not_before[work.id] = clock.monotonic() + _AGAIN_SECONDS
            except DEFECTS:
                # One work must not end the process: it would be met again at each start, and the other places would wait for ever.
                log.exception("work meets a defect, trying again", work=str(work.id), prefix=work.prefix)
                self._not_before[work.id] = clock.monotonic() + _AFTER_DEFECT_SECONDS
            finally:
                self._give_back(work)

    def _take(self) -> tuple[Work, Interrupt] | None:
        """The oldest work whose place is free; waits for one. None at the end."""
        with self._changed:
            while not self._is_stopping:
                revision = self._revision
                work = self._next()
                if work is not None:
                    interrupt = Interrupt()
                    self._busy[work.prefix] = (work.id, interrupt)
                    # Read after it can be interrupted: a cancellation is either in the journal by now or finds the interrupt.
                    return self._journal.work(work.id) or work, interrupt
                if revision == self._revision:
                    self._changed.wait(timeout=1.0 if self._not_before else None)
            return None

    def _next(self) -> Work | None:
        seen: set[str] = set(self._busy)
        for work in self._journal.unfinished():
            if work.prefix not in seen and self._not_before.get(work.id, 0.0) <= clock.monotonic():
                return work
            seen.add(work.prefix)  # a later one at the same place waits for this one
        return None

    def _age_seconds(self, work: Work) -> float:
        received = self._received.get(work.id)
        if received is not None:
            return clock.monotonic() - received
        return max(0.0, clock.now().timestamp() - work.received_at)

    def _give_back(self, work: Work) -> None:
        with self._changed:
            del self._busy[work.prefix]
            self._received.pop(work.id, None)
            if self._not_before.get(work.id, 0.0) <= clock.monotonic():
                self._not_before.pop(work.id, None)
            self._revision += 1
            self._changed.notify_all()
