"""What is kept of old events: whole beginnings go, never a piece out of the middle, so that a reader sees where a gap is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import TextClause, text
from sqlalchemy.orm import Session

PAGE = 500

# `first` is the oldest event that is kept, `until` the first that must stay: of the last attempt (a live one is the last), or young.
_OLD_OF_DEPLOYMENTS = text("""
SELECT d.id, oldest.number AS first, keep.number AS until FROM deployments d
CROSS JOIN LATERAL (
  SELECT e.number, e.at FROM deployment_events e WHERE e.deployment_id = d.id ORDER BY e.number LIMIT 1) oldest
CROSS JOIN LATERAL (SELECT coalesce((
  SELECT e.number FROM deployment_events e WHERE e.deployment_id = d.id AND e.attempt >= least(d.attempt_count, (
    SELECT min(a.number) FROM attempts a WHERE a.deployment_id = d.id AND a.outcome IS NULL))
  ORDER BY e.number LIMIT 1), d.event_count + 1) AS number) last
CROSS JOIN LATERAL (SELECT coalesce((
  SELECT e.number FROM deployment_events e
  WHERE e.deployment_id = d.id AND e.number < last.number AND e.at >= now() - make_interval(days => :days)
  ORDER BY e.number LIMIT 1), last.number) AS number) keep
WHERE d.id > :after AND oldest.at < now() - make_interval(days => :days) AND keep.number > oldest.number
ORDER BY d.id LIMIT :most
""")
_FORGET_OF_DEPLOYMENT = text("DELETE FROM deployment_events WHERE deployment_id = :id AND number >= :first AND number < :until")

# Whether a node's return was told is read from its last word on reachability: that one stays, and what came after it.
_OLD_OF_NODES = text("""
SELECT n.id, oldest.number AS first, keep.number AS until FROM nodes n
CROSS JOIN LATERAL (SELECT e.number, e.at FROM node_events e WHERE e.node_id = n.id ORDER BY e.number LIMIT 1) oldest
CROSS JOIN LATERAL (SELECT coalesce((
  SELECT e.number FROM node_events e WHERE e.node_id = n.id AND e.kind IN ('connected', 'unreachable')
  ORDER BY e.number DESC LIMIT 1), n.event_count + 1) AS number) last
CROSS JOIN LATERAL (SELECT coalesce((
  SELECT e.number FROM node_events e
  WHERE e.node_id = n.id AND e.number < last.number AND e.at >= now() - make_interval(days => :days)
  ORDER BY e.number LIMIT 1), last.number) AS number) keep
WHERE n.id > :after AND oldest.at < now() - make_interval(days => :days) AND keep.number > oldest.number
ORDER BY n.id LIMIT :most
""")
_FORGET_OF_NODE = text("DELETE FROM node_events WHERE node_id = :id AND number >= :first AND number < :until")


# Whoever deletes the thing itself deletes its events in an order of its own: two that wait for each other's rows would be a deadlock.
_HOLD_DEPLOYMENT = text("SELECT 1 FROM deployments WHERE id = :id FOR KEY SHARE SKIP LOCKED")
_HOLD_NODE = text("SELECT 1 FROM nodes WHERE id = :id FOR KEY SHARE SKIP LOCKED")


@dataclass(frozen=True)
class Kind:
    """Whose events: how the old ones are found, how their thing is kept from being deleted, and how some of them are."""

    find: TextClause
    hold: TextClause
    forget: TextClause


DEPLOYMENTS = Kind(_OLD_OF_DEPLOYMENTS, _HOLD_DEPLOYMENT, _FORGET_OF_DEPLOYMENT)
NODES = Kind(_OLD_OF_NODES, _HOLD_NODE, _FORGET_OF_NODE)


@dataclass(frozen=True)
class Old:
    """Events of one thing that may go: `first` <= number < `until`."""

    id: UUID
    first: int
    until: int


def find_old(session: Session, kind: Kind, *, days: int, after: UUID | None) -> Sequence[Old]:
    """A page of those that have events older than `days` which nobody needs, by id."""
    values: dict[str, Any] = {"days": days, "after": after or UUID(int=0), "most": PAGE}  # Any: a statement's values
    return [Old(*row) for row in session.execute(kind.find, values)]


def forget(session: Session, kind: Kind, old: Old, *, most: int) -> Old | None:
    """Delete at most `most` of them, the oldest first; what is left, or None. Of what others hold nothing is deleted this time."""
    if session.execute(kind.hold, {"id": old.id}).one_or_none() is None:
        return None
    until = min(old.until, old.first + most)
    session.execute(kind.forget, {"id": old.id, "first": old.first, "until": until})
    return None if until == old.until else Old(old.id, until, old.until)
