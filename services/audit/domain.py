"""What the audit log holds: facts, entries of a chain, checkpoints, and what a verification found. Values only."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

# The chain of what belongs to no team: registrations, log-ins.
NO_TEAM = UUID(int=0)
CHECKPOINT_EVERY = timedelta(hours=1)

Json = dict[str, Any]  # any JSON object


@dataclass(frozen=True, kw_only=True)
class Fact:
    """Who did (or tried) what to what; not yet in a chain. `id` is the message's: the same fact told twice is one entry."""

    id: UUID
    team_id: UUID
    at: datetime
    action: str
    actor_kind: str
    actor_id: str
    resource_type: str
    resource_id: str
    source: str
    actor_name: str | None = None
    address: str | None = None
    resource_name: str = ""
    outcome: str = "allowed"
    before: Json | None = None
    after: Json | None = None
    reason: str | None = None
    correlation: str | None = None
    data: Json = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Entry(Fact):
    """A fact in its team's chain: `number` counts from 1 without a gap, `hash` covers everything else and `prev_hash`."""

    number: int
    recorded_at: datetime
    prev_hash: str
    hash: str


@dataclass(frozen=True)
class Tail:
    """Where a chain ends."""

    number: int
    hash: str


@dataclass(frozen=True, kw_only=True)
class Filters:
    """What to look for; `start` is included, `end` is not. `action` also finds what stands below it (`deployer.deployment`)."""

    start: datetime | None = None
    end: datetime | None = None
    actor: str | None = None
    action: str | None = None
    resource_type: str | None = None
    resource_id: str | None = None
    outcome: str | None = None
    query: str | None = None


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """A signed statement that entry `number` of a chain had this `hash` at that time; each names the one before by its hash."""

    team_id: UUID
    sequence: int
    number: int
    hash: str
    at: datetime
    previous: str
    key: str
    signature: str = ""


@dataclass(frozen=True, kw_only=True)
class Finding:
    """What a verification found. `broken_at` is the number of the first entry that is wrong or missing."""

    valid: bool
    entries: int
    first: int | None = None
    last: int | None = None
    checkpoints: int = 0
    broken_at: int | None = None
    reason: str | None = None


def is_checkpoint_due(last: Checkpoint | None, tail: Tail | None, now: datetime) -> bool:
    """A first checkpoint as soon as there is an entry, then one an hour if something was added."""
    if tail is None:
        return False
    if last is None:
        return True
    return tail.number > last.number and now - last.at >= CHECKPOINT_EVERY
