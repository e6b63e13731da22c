"""Reports: built, numbered, signed, and put into the journal until a broker has them."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID

from agent.identity import Keys, Node
from agent.journal import Journal, Place, Report, Work
from agent.outcomes import finished_of
from kernel import clock
from kernel.contracts import agent as contract
from kernel.contracts.envelope import Envelope, Message, encode, type_of
from kernel.signing import sign_body

VERSION = "0.1.0"
_MOST_DETAIL = 4000


@dataclass(frozen=True)
class Cause:
    """The command that a report answers."""

    correlation: str | None = None
    causation: str | None = None

    @classmethod
    def of(cls, command: Envelope) -> Cause:
        return cls(command.correlation, str(command.id))


def shorten(detail: str) -> str:
    """`detail` within what a report may hold."""
    return detail if len(detail) <= _MOST_DETAIL else f"{detail[:_MOST_DETAIL]}…"


class Reports:
    """Makes reports of this process. `boot_id` names the process; the epoch follows the last welcome."""

    def __init__(self, node: Node, keys: Keys, journal: Journal, *, boot_id: UUID) -> None:
        self._node = node
        self._key = keys.sign
        self._journal = journal
        self._lock = threading.Lock()
        self._sequences = iter(journal.reserve_sequences())
        self._waiting: list[Report] = []
        self.boot_id = boot_id
        self.epoch = max(journal.epoch(), node.epoch)
        # The attempts that this process has told the end of: told again if the epoch changes.
        self.finished_here: deque[UUID] = deque(maxlen=200)
        self.wake = threading.Event()  # set when there is something to send
        self.facts: Callable[[], dict[str, Any]] = dict  # Any: free facts about the host

    def make(self, data: Message, *, subject: str = "", cause: Cause | None = None) -> Report:
        """A signed report with the next number."""
        cause = cause or Cause()
        if isinstance(data, contract.DeploymentFinished):
            self.finished_here.append(data.attempt_id)
        with self._lock:
            sequence = next(self._sequences, None)
            if sequence is None:
                self._sequences = iter(self._journal.reserve_sequences())
                sequence = next(self._sequences)
        envelope = Envelope(
            type=type_of(type(data)),
            source=f"agent/{self._node.node_id}",
            subject=subject,
            data=data,
            team=self._node.team_id,
            actor=f"node:{self._node.node_id}",
            node=self._node.node_id,
            epoch=self.epoch,
            sequence=sequence,
            correlation=cause.correlation,
            causation=cause.causation,
        )
        return Report(sequence=sequence, id=str(envelope.id), kind=envelope.name, body=sign_body(self._key, encode(envelope)))

    def queue(self, *reports: Report) -> None:
        """Save reports, and what waited before them."""
        everything = self.take(*reports)
        if everything:
            self._journal.put_reports(everything)
            self.wake.set()

    def note(self, report: Report) -> None:
        """Hold a report that may be lost with the process; it is saved with the next one or by the sender."""
        with self._lock:
            self._waiting.append(report)
        self.wake.set()

    def take(self, *more: Report) -> Sequence[Report]:
        """What waited and `more`, for a transaction of the journal."""
        with self._lock:
            waiting, self._waiting = self._waiting, []
        return [*waiting, *more]

    # -- the kinds of reports -----------------------------------------------------------------------

    def refused(self, command: Envelope, code: str, detail: str, *, prefix: str | None = None, attempt_id: UUID | None = None) -> Report:
        data = contract.CommandRefused(
            command_id=str(command.id),
            command_type=command.type[:256],
            code=code,
            detail=shorten(detail),
            prefix=prefix,
            attempt_id=attempt_id,
        )
        return self.make(data, subject=prefix or "", cause=Cause.of(command))

    def hello(self) -> Report:
        """Who is here and where each place stands."""
        places = [_state_of(place, work) for place, work in self._journal.places()]
        data = contract.Hello(boot_id=self.boot_id, version=VERSION, facts=self.facts(), places=places, wall_clock=clock.now())
        return self.make(data)

    def heartbeat(self, engine: str) -> Report:
        return self.make(contract.Heartbeat(boot_id=self.boot_id, engine=engine, working_on=self._journal.working_on()[:1000]))


def _state_of(place: Place, work: Work | None) -> contract.PlaceState:
    """A place with its last attempt; the attempt's end if it has one."""
    stands = contract.PlaceState(prefix=place.prefix, generation=place.generation, attempt_id=place.attempt_id)
    if work is None or work.finished is None:
        return stands
    return replace(stands, outcome=work.outcome, code=work.code, detail=work.detail, restored=finished_of(work).restored)
