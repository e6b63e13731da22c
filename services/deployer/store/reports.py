"""Queries behind agents' reports and deadlines: made for batches, so that a report costs little."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import select, text, update
from sqlalchemy.orm import Session

from services.deployer.domain.reports import CANCEL_PATIENCE_SECONDS
from services.deployer.models import Attempt, Deployment, Node, Place
from services.deployer.store import places
from services.deployer.store.events import NewEvent


@dataclass
class NodeMark:
    """What a node's row says about its reports; locked, and changed in place while a batch is worked on."""

    id: UUID
    team_id: UUID
    name: str
    epoch: int
    boot_id: UUID | None
    last_sequence: int
    observed_sequence: int
    engine: str | None
    is_revoked: bool
    silent_seconds: float | None
    greeted_at: datetime | None
    duplicate_seconds: float | None
    is_heard: bool = False


_MARKS = text("""
SELECT id, team_id, name, epoch, boot_id, last_sequence, observed_sequence, engine, revoked_at IS NOT NULL,
  extract(epoch FROM now() - last_seen_at)::float8, greeted_at, extract(epoch FROM now() - duplicate_seen_at)::float8
FROM nodes WHERE id = ANY(:ids) ORDER BY id FOR NO KEY UPDATE
""")
_HEARD = text("""
UPDATE nodes AS n SET last_seen_at = now(), last_sequence = v.sequence, epoch = v.epoch, engine = v.engine
FROM unnest(CAST(:ids AS uuid[]), CAST(:sequences AS bigint[]), CAST(:epochs AS int[]), CAST(:engines AS text[]))
  AS v (id, sequence, epoch, engine)
WHERE n.id = v.id
""")


def lock_marks(session: Session, ids: Collection[UUID]) -> dict[UUID, NodeMark]:
    """The nodes that a batch is about, locked in one order."""
    rows = session.execute(_MARKS, {"ids": sorted(ids)})
    return {row[0]: NodeMark(*row) for row in rows}


def save_heard(session: Session, marks: Sequence[NodeMark]) -> None:
    """Nodes spoke: when (by the database's clock), how far they have counted, in which epoch."""
    if marks:
        session.execute(
            _HEARD,
            {
                "ids": [mark.id for mark in marks],
                "sequences": [mark.last_sequence for mark in marks],
                "epochs": [mark.epoch for mark in marks],
                "engines": [mark.engine for mark in marks],
            },
        )


def save_greeting(session: Session, mark: NodeMark, *, version: str, facts: Mapping[str, Any]) -> None:
    """Who a node is since its hello. Any: JSON."""
    changed = {
        "epoch": mark.epoch, "boot_id": mark.boot_id, "last_sequence": mark.last_sequence,
        "observed_sequence": mark.observed_sequence, "agent_version": version, "facts": dict(facts), "greeted_at": mark.greeted_at,
    }  # fmt: skip
    session.execute(update(Node).where(Node.id == mark.id).values(changed).execution_options(synchronize_session=False))


_DUPLICATE = text("UPDATE nodes SET duplicate_seen_at = now() WHERE id = :id")


def save_duplicate_seen(session: Session, node_id: UUID) -> None:
    """Another process with the node's identity was heard."""
    session.execute(_DUPLICATE, {"id": node_id})


_CONTAINERS = text("SELECT id, containers FROM nodes WHERE id = ANY(:ids)")


def read_containers(session: Session, ids: Collection[UUID]) -> dict[UUID, list[dict[str, Any]] | None]:
    """What was observed before, as the agents reported it; None where nothing ever was."""
    return {row[0]: row[1] for row in session.execute(_CONTAINERS, {"ids": list(ids)})}


_SEEN_AGAIN = text("""
UPDATE nodes AS n SET observed_at = now(), observed_sequence = v.sequence, containers = coalesce(v.containers, n.containers)
FROM unnest(CAST(:ids AS uuid[]), CAST(:sequences AS bigint[]), CAST(CAST(:containers AS text[]) AS jsonb[]))
  AS v (id, sequence, containers)
WHERE n.id = v.id
""")


def save_containers(session: Session, marks: Sequence[NodeMark], changed: Mapping[UUID, list[dict[str, Any]]]) -> None:
    """That nodes were looked at, and what was seen where it is not the same as before. Any: JSON."""
    session.execute(
        _SEEN_AGAIN,
        {
            "ids": [mark.id for mark in marks],
            "sequences": [mark.observed_sequence for mark in marks],
            "containers": [json.dumps(changed[mark.id]) if mark.id in changed else None for mark in marks],
        },
    )


@dataclass(frozen=True)
class AttemptMark:
    """What a report about an attempt needs to know of it."""

    id: UUID
    deployment_id: UUID
    node_id: UUID
    number: int
    outcome: str | None

    @property
    def is_live(self) -> bool:
        return self.outcome is None


_ATTEMPTS = text("SELECT id, deployment_id, node_id, number, outcome FROM attempts WHERE id = ANY(:ids)")


def attempt_marks(session: Session, ids: Collection[UUID]) -> dict[UUID, AttemptMark]:
    return {row[0]: AttemptMark(*row) for row in session.execute(_ATTEMPTS, {"ids": list(ids)})} if ids else {}


_LOCK_PLACES = text("""
SELECT 1 FROM places p WHERE (p.node_id, p.prefix) IN (
  SELECT a.node_id, a.prefix FROM attempts a WHERE a.id = ANY(:ids)
  UNION ALL SELECT w.node_id, w.prefix FROM places w WHERE w.node_id = ANY(:nodes) AND w.removal_generation IS NOT NULL
) ORDER BY p.node_id, p.prefix FOR UPDATE
""")


def lock_places_of(session: Session, attempts: Collection[UUID], *, cleared_at: Collection[UUID] = ()) -> None:
    """Lock the places of attempts that may end, and those that are wanted empty at some nodes, in one order, before any deployment."""
    if attempts or cleared_at:
        session.execute(_LOCK_PLACES, {"ids": list(attempts), "nodes": list(cleared_at)})


def live_attempts(session: Session, node_id: UUID) -> list[Attempt]:
    """The attempts without an outcome at a node, oldest first."""
    query = select(Attempt).where(Attempt.node_id == node_id, Attempt.outcome.is_(None)).order_by(Attempt.id)
    return list(session.scalars(query.execution_options(populate_existing=True)))


_LIVE_AT = text("SELECT id FROM attempts WHERE node_id = ANY(:ids) AND outcome IS NULL")


def live_ids(session: Session, nodes: Collection[UUID]) -> set[UUID]:
    """The attempts without an outcome at some nodes."""
    return set(session.execute(_LIVE_AT, {"ids": list(nodes)}).scalars()) if nodes else set()


def generations(session: Session, node_id: UUID) -> dict[str, int]:
    """The newest generation of each place of a node, by prefix."""
    return {row[0]: row[1] for row in session.execute(select(Place.prefix, Place.generation).where(Place.node_id == node_id))}


_RAISE = text("""
INSERT INTO places (node_id, prefix, team_id, generation, taken_generation) VALUES (:node_id, :prefix, :team_id, :generation, :generation)
ON CONFLICT (node_id, prefix) DO UPDATE SET generation = excluded.generation, taken_generation = excluded.generation
WHERE places.generation < excluded.generation
""")


def raise_generation_to(session: Session, mark: NodeMark, prefix: str, generation: int) -> None:
    """Never behind the agent: what is sent next must be newer than anything that it knows. What took the place there is not known here."""
    session.execute(_RAISE, {"node_id": mark.id, "prefix": prefix, "team_id": mark.team_id, "generation": generation})


def fence(session: Session, attempt: Attempt) -> int:
    """Raise the generation of an attempt's place, so that whatever still comes of it is old; returns the fence."""
    place = places.lock_place(session, team_id=attempt.team_id, node_id=attempt.node_id, prefix=attempt.prefix)
    return places.raise_generation(session, place)


_LOCK_DEPLOYMENTS = text("SELECT id FROM deployments WHERE id = ANY(:ids) ORDER BY id FOR NO KEY UPDATE")
_COUNT_EVENTS = text("""
UPDATE deployments AS d SET event_count = d.event_count + v.count
FROM unnest(CAST(:ids AS uuid[]), CAST(:counts AS int[])) AS v (id, count) WHERE d.id = v.id RETURNING d.id, d.event_count, d.team_id
""")
_INSERT_EVENTS = text("""
INSERT INTO deployment_events (deployment_id, number, team_id, attempt, at, kind, container, message, data)
SELECT * FROM unnest(CAST(:deployment_id AS uuid[]), CAST(:number AS int[]), CAST(:team_id AS uuid[]), CAST(:attempt AS int[]),
  CAST(:at AS timestamptz[]), CAST(:kind AS text[]), CAST(:container AS text[]), CAST(:message AS text[]),
  CAST(CAST(:data AS text[]) AS jsonb[]))
""")


def append_histories(session: Session, histories: Mapping[UUID, Sequence[NewEvent]]) -> None:
    """As `store.events.append_events`, for many deployments in three statements, however long their histories are."""
    if not histories:
        return
    ids = sorted(histories)
    session.execute(_LOCK_DEPLOYMENTS, {"ids": ids})
    counted = session.execute(_COUNT_EVENTS, {"ids": ids, "counts": [len(histories[one]) for one in ids]})
    columns: dict[str, list[object]] = {}
    for deployment_id, last, team_id in counted:
        rows = histories[deployment_id]
        for number, row in enumerate(rows, start=last - len(rows) + 1):
            values = {
                "deployment_id": deployment_id, "number": number, "team_id": team_id, "attempt": row.attempt, "at": row.at,
                "kind": row.kind.value, "container": row.container, "message": row.message, "data": json.dumps(row.data),
            }  # fmt: skip
            for name, value in values.items():
                columns.setdefault(name, []).append(value)
    if columns:
        session.execute(_INSERT_EVENTS, columns)


_DUE = text(f"""
SELECT a.id FROM attempts a WHERE a.outcome IS NULL
AND (a.deadline_at <= now() OR a.cancel_requested_at <= now() - make_interval(secs => {CANCEL_PATIENCE_SECONDS}))
ORDER BY a.deadline_at LIMIT 100
""")  # noqa: S608 - a constant of ours
_LOCK_PLACE_OF_DUE = text("""
SELECT 1 FROM places p JOIN attempts a ON p.node_id = a.node_id AND p.prefix = a.prefix
WHERE a.id = :id AND a.outcome IS NULL FOR UPDATE OF p SKIP LOCKED
""")
_LOOK_AGAIN = text(f"""
SELECT a.deadline_at <= now(), a.sent_at IS NOT NULL,
  coalesce(a.cancel_requested_at <= now() - make_interval(secs => {CANCEL_PATIENCE_SECONDS}), false)
FROM attempts a WHERE a.id = :id AND a.outcome IS NULL
""")  # noqa: S608 - as above


def due_attempts(session: Session) -> list[UUID]:
    """Live attempts whose time is up by the database's clock, or whose cancel was not answered."""
    return list(session.execute(_DUE).scalars())


@dataclass(frozen=True)
class Due:
    """Why an attempt may have to end, as `domain.reports.expiry_of` takes it."""

    is_past_deadline: bool
    is_sent: bool
    is_cancel_overdue: bool


def lock_due(session: Session, attempt_id: UUID) -> Due | None:
    """Lock the attempt's place and look again; None when another worker is at it or it has ended."""
    if session.execute(_LOCK_PLACE_OF_DUE, {"id": attempt_id}).one_or_none() is None:
        return None
    # A statement of its own: what the lock's own statement saw may be older than the lock.
    row = session.execute(_LOOK_AGAIN, {"id": attempt_id}).one_or_none()
    return None if row is None else Due(*row)


def deployment_of(session: Session, deployment_id: UUID) -> Deployment | None:
    return session.get(Deployment, deployment_id)


def is_place_busy(session: Session, node_id: UUID, prefix: str) -> bool:
    """Is an attempt being worked on there? What is seen meanwhile is no drift."""
    query = select(Attempt.id).where(Attempt.node_id == node_id, Attempt.prefix == prefix, Attempt.outcome.is_(None))
    return session.execute(query.limit(1)).first() is not None


_WAITING = text("""
SELECT DISTINCT n.id FROM attempts a JOIN nodes n ON n.id = a.node_id
WHERE a.outcome IS NULL AND a.sent_at IS NULL AND n.revoked_at IS NULL AND n.last_seen_at > now() - interval '20 seconds'
""")


def connected_with_waiting(session: Session) -> list[UUID]:
    """Nodes that are there although attempts wait for them; their return was told while those were being made."""
    return list(session.execute(_WAITING).scalars())
