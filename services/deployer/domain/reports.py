"""What an agent's reports mean: which count, what a hello asks for, what a refusal leads to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from uuid import UUID

# A cancel that the agent has not answered by then is given up: the place is fenced and the attempt ends.
CANCEL_PATIENCE_SECONDS = 120

APPLY = "deployer.deployment.apply.v1"
CANCEL = "deployer.deployment.cancel.v1"
# The command was in order, only late or told to an earlier process: a fresh copy does what it asked for.
_SEND_AGAIN = frozenset({"stale-epoch", "expired"})


class Freshness(StrEnum):
    """An older epoch is another process's (or an earlier self's); a higher one than ours says that we lost a state."""

    STALE = "stale"
    CURRENT = "current"
    AHEAD = "ahead"


def weigh(ours: int, report: int | None) -> Freshness:
    """A report's epoch against the node's."""
    if report is None or report < ours:
        return Freshness.STALE
    return Freshness.CURRENT if report == ours else Freshness.AHEAD


@dataclass(frozen=True)
class Greeting:
    """The epoch after a hello, and whether another process than before said it."""

    epoch: int
    is_new_process: bool


def greet(*, epoch: int, boot_id: UUID | None, hello_epoch: int | None, hello_boot_id: UUID) -> Greeting:
    """A new process gets a new epoch, above every one that either side has known; the same process keeps its own."""
    highest = max(epoch, hello_epoch or 0)
    if hello_boot_id == boot_id:
        return Greeting(highest, is_new_process=False)
    return Greeting(highest + 1, is_new_process=True)


@dataclass(frozen=True)
class LiveAttempt:
    """An attempt without an outcome, as the database has it."""

    id: UUID
    prefix: str
    generation: int
    is_cancel_requested: bool = False


@dataclass(frozen=True)
class KnownPlace:
    """Where a place stands by the agent's journal; no outcome while it is being worked on."""

    prefix: str
    generation: int
    attempt_id: UUID | None = None
    outcome: str | None = None
    code: str | None = None
    detail: str | None = None
    restored: bool | None = None


@dataclass(frozen=True)
class HelloAnswer:
    """What is still wanted of an agent that says where it stands."""

    send: tuple[UUID, ...] = ()
    cancel: tuple[UUID, ...] = ()
    settle: tuple[KnownPlace, ...] = ()
    superseded: tuple[UUID, ...] = ()
    generations: Mapping[str, int] = field(default_factory=dict)


def answer_hello(live: Sequence[LiveAttempt], places: Sequence[KnownPlace], generations: Mapping[str, int]) -> HelloAnswer:
    """Compare live attempts with the agent's places. `generations` are ours by prefix; those of the answer are to be raised."""
    known = {place.prefix: place for place in places}
    send: list[UUID] = []
    cancel: list[UUID] = []
    superseded: list[UUID] = []
    for attempt in live:
        place = known.get(attempt.prefix)
        if place is not None and place.attempt_id == attempt.id:
            if place.outcome is None and attempt.is_cancel_requested:
                cancel.append(attempt.id)
        elif place is not None and place.generation >= attempt.generation:
            # Only a database that was set back to an older state can be behind its own agent.
            superseded.append(attempt.id)
        else:
            (cancel if attempt.is_cancel_requested else send).append(attempt.id)
    return HelloAnswer(
        send=tuple(send),
        cancel=tuple(cancel),
        settle=tuple(place for place in places if place.attempt_id is not None and place.outcome is not None),
        superseded=tuple(superseded),
        generations={place.prefix: place.generation for place in places if place.generation > generations.get(place.prefix, 0)},
    )


class Reaction(StrEnum):
    """What a refused command leads to."""

    NOTE = "note"
    SEND_AGAIN = "send-again"
    SETTLE = "settle"


def react_to_refusal(command_type: str, code: str, *, is_live: bool) -> Reaction:
    """A refusal ends a live attempt, unless the command only came too late or was meant for an earlier process."""
    if not is_live or command_type not in (APPLY, CANCEL):
        return Reaction.NOTE
    if code in _SEND_AGAIN:
        return Reaction.SEND_AGAIN
    return Reaction.SETTLE if command_type == APPLY else Reaction.NOTE


class Expiry(StrEnum):
    """Why an attempt ends without the agent's word."""

    TIMED_OUT = "timed-out"
    NODE_UNREACHABLE = "node-unreachable"
    CANCEL_ABANDONED = "cancel-abandoned"


def expiry_of(*, is_past_deadline: bool, is_sent: bool, is_cancel_overdue: bool) -> Expiry | None:
    """What to end an attempt with; the deadline of one that was never sent is the end of waiting for its node."""
    if is_past_deadline:
        return Expiry.TIMED_OUT if is_sent else Expiry.NODE_UNREACHABLE
    return Expiry.CANCEL_ABANDONED if is_cancel_overdue else None
