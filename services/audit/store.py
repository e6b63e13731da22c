"""Queries of the audit service: rows to values and back."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Select, Table, and_, insert, or_, select, text
from sqlalchemy.dialects import postgresql
from sqlalchemy.orm import Session

from services.audit.domain import Checkpoint, Entry, Filters, Tail
from services.audit.models import CheckpointRow, EntryRow, NodeKeyRow

_ENTRIES: Table = EntryRow.__table__  # type: ignore[assignment]  # declared as any selectable
_CHECKPOINTS: Table = CheckpointRow.__table__  # type: ignore[assignment]  # as above
_ENTRY_FIELDS = [field.name for field in dataclasses.fields(Entry)]
_CHECKPOINT_FIELDS = [field.name for field in dataclasses.fields(Checkpoint)]

# In one order for everybody, so that two workers never wait for each other crosswise.
_LOCK = text(
    "SELECT pg_advisory_xact_lock(hashtextextended(id::text, 0)) FROM (SELECT unnest(CAST(:teams AS uuid[])) AS id ORDER BY 1) AS ordered"
)
_TAILS = text("""
SELECT wanted.id, last.number, last.hash FROM unnest(CAST(:teams AS uuid[])) AS wanted(id)
CROSS JOIN LATERAL (SELECT number, hash FROM entries WHERE team_id = wanted.id ORDER BY number DESC LIMIT 1) AS last""")
_KNOWN = text("""
SELECT entries.team_id, entries.id FROM entries
JOIN unnest(CAST(:teams AS uuid[]), CAST(:ids AS uuid[])) AS asked(team_id, id) USING (team_id, id)""")
# Each chain once, by jumping through the primary key instead of reading every entry.
_CHAINS = text("""
WITH RECURSIVE chains AS (
  (SELECT team_id FROM entries ORDER BY team_id LIMIT 1)
  UNION ALL
  SELECT (SELECT team_id FROM entries WHERE team_id > chains.team_id ORDER BY team_id LIMIT 1) FROM chains WHERE chains.team_id IS NOT NULL
) SELECT team_id FROM chains WHERE team_id IS NOT NULL""")
_SPAN = text("""
SELECT min(number), max(number) FROM entries WHERE team_id = :team
AND (CAST(:start AS timestamptz) IS NULL OR at >= :start) AND (CAST(:end AS timestamptz) IS NULL OR at < :end)""")


def lock_chains(session: Session, teams: Iterable[UUID]) -> dict[UUID, Tail]:
    """Hold the chains until the transaction ends, and say where each stands; a new one is not among them."""
    wanted = sorted(set(teams))
    session.execute(_LOCK, {"teams": wanted})
    return {row[0]: Tail(row[1], row[2]) for row in session.execute(_TAILS, {"teams": wanted})}


def find_tail(session: Session, team_id: UUID) -> Tail | None:
    """Where a chain ends now."""
    row = session.execute(_TAILS, {"teams": [team_id]}).first()
    return Tail(row[1], row[2]) if row else None


def known_ids(session: Session, ids: Sequence[tuple[UUID, UUID]]) -> set[tuple[UUID, UUID]]:
    """Those (team, id) that are recorded already."""
    rows = session.execute(_KNOWN, {"teams": [team for team, _ in ids], "ids": [one for _, one in ids]})
    return {(row[0], row[1]) for row in rows}


def add_entries(session: Session, entries: Sequence[Entry]) -> None:
    """Append entries; the caller holds their chains."""
    if entries:
        session.execute(insert(_ENTRIES), [{name: getattr(entry, name) for name in _ENTRY_FIELDS} for entry in entries])


def list_chains(session: Session) -> list[UUID]:
    """Every team that has a chain."""
    return [row[0] for row in session.execute(_CHAINS)]


def find_newest(session: Session, team_id: UUID, filters: Filters, *, below: int | None, limit: int) -> list[Entry]:
    """At most `limit` entries that fit, newest first, with a number below `below`."""
    query = _matching(team_id, filters).order_by(EntryRow.number.desc()).limit(limit)
    if below is not None:
        query = query.where(EntryRow.number < below)
    return [_entry(row) for row in session.execute(query)]


def find_window(session: Session, team_id: UUID, filters: Filters, *, above: int, up_to: int) -> list[Entry]:
    """The entries that fit with `above` < number <= `up_to`, in order."""
    query = _matching(team_id, filters).where(EntryRow.number > above, EntryRow.number <= up_to).order_by(EntryRow.number)
    return [_entry(row) for row in session.execute(query)]


def find_span(session: Session, team_id: UUID, filters: Filters) -> tuple[int, int] | None:
    """The lowest and the highest number of a time range; None when nothing was recorded in it."""
    low, high = session.execute(_SPAN, {"team": team_id, "start": filters.start, "end": filters.end}).one()
    return None if low is None else (int(low), int(high))


def find_tail_at(session: Session, team_id: UUID, number: int) -> Tail | None:
    """The number and hash of one entry."""
    row = session.execute(select(EntryRow.number, EntryRow.hash).where(EntryRow.team_id == team_id, EntryRow.number == number)).first()
    return Tail(row.number, row.hash) if row else None


def _matching(team_id: UUID, filters: Filters) -> Select[Any]:  # Any: the table's own columns
    conditions: list[ColumnElement[bool]] = [EntryRow.team_id == team_id]
    if filters.start is not None:
        conditions.append(EntryRow.at >= filters.start)
    if filters.end is not None:
        conditions.append(EntryRow.at < filters.end)
    if filters.actor is not None:
        conditions.append(_actor(filters.actor))
    if filters.action is not None:
        conditions.append(or_(EntryRow.action == filters.action, EntryRow.action.startswith(f"{filters.action}.", autoescape=True)))
    for column, wanted in (
        (EntryRow.resource_type, filters.resource_type),
        (EntryRow.resource_id, filters.resource_id),
        (EntryRow.outcome, filters.outcome),
    ):
        if wanted is not None:
            conditions.append(column == wanted)
    if filters.query is not None:
        searched = (EntryRow.action, EntryRow.actor_name, EntryRow.resource_name, EntryRow.resource_id, EntryRow.reason)
        conditions.append(or_(*(column.icontains(filters.query, autoescape=True) for column in searched)))
    return select(_ENTRIES).where(and_(*conditions))


def _actor(wanted: str) -> ColumnElement[bool]:
    kind, colon, identity = wanted.partition(":")
    if colon:
        return and_(EntryRow.actor_kind == kind, EntryRow.actor_id == identity)
    return or_(EntryRow.actor_id == wanted, EntryRow.actor_name == wanted)


def _entry(row: Any) -> Entry:  # Any: a row of all columns
    return Entry(**row._mapping)


def find_last_checkpoint(session: Session, team_id: UUID) -> Checkpoint | None:
    """The newest checkpoint of a chain."""
    found = find_checkpoints(session, team_id, below=None, limit=1)
    return found[0] if found else None


def find_checkpoints(session: Session, team_id: UUID, *, below: int | None, limit: int) -> list[Checkpoint]:
    """At most `limit` checkpoints, newest first, with a sequence below `below`."""
    query = select(_CHECKPOINTS).where(CheckpointRow.team_id == team_id).order_by(CheckpointRow.sequence.desc()).limit(limit)
    if below is not None:
        query = query.where(CheckpointRow.sequence < below)
    return [Checkpoint(**row._mapping) for row in session.execute(query)]


def add_checkpoint(session: Session, checkpoint: Checkpoint) -> None:
    """Append a checkpoint; the caller holds the chain."""
    session.execute(insert(_CHECKPOINTS).values({name: getattr(checkpoint, name) for name in _CHECKPOINT_FIELDS}))


def add_node_keys(session: Session, keys: Sequence[tuple[UUID, UUID, str]]) -> None:
    """Remember (node, team, key); one that is known stays."""
    if keys:
        rows = [{"node_id": node, "team_id": team, "verify_key": key} for node, team, key in keys]
        session.execute(postgresql.insert(NodeKeyRow).on_conflict_do_nothing(), rows)


def find_node_keys(session: Session, node_id: UUID) -> list[tuple[UUID, str]]:
    """(team, key) of every key that the node has had."""
    rows = session.execute(select(NodeKeyRow.team_id, NodeKeyRow.verify_key).where(NodeKeyRow.node_id == node_id))
    return [(row.team_id, row.verify_key) for row in rows]
