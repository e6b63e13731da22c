"""Queries on nodes, their enrolments and events."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Float, cast, delete, extract, func, select, text, tuple_
from sqlalchemy.orm import Session, defer

from kernel.errors import NotFound
from services.deployer.domain.nodes import SILENT_AFTER_SECONDS, Offer, Seen, is_duplicated, status_of
from services.deployer.domain.states import NodeStatus
from services.deployer.models import Deployment, Enrollment, Node, NodeEvent
from services.deployer.provisioning import NodeAccess

_SILENT = cast(extract("epoch", func.now() - Node.last_seen_at), Float)
_OBSERVED = cast(extract("epoch", func.now() - Node.observed_at), Float)
_DUPLICATE = cast(extract("epoch", func.now() - Node.duplicate_seen_at), Float)


@dataclass(frozen=True)
class NodeView:
    """A node's row with its ages by the database's clock, in seconds."""

    row: Node
    silent_seconds: float | None
    observed_seconds: float | None
    duplicate_seconds: float | None

    @property
    def is_duplicated(self) -> bool:
        return is_duplicated(self.duplicate_seconds)

    @property
    def status(self) -> NodeStatus:
        return status_of(
            Seen(
                is_enrolled=self.row.enrolled_at is not None,
                is_revoked=self.row.revoked_at is not None,
                silent_seconds=self.silent_seconds,
                agent_version=self.row.agent_version,
            )
        )


def get_view(session: Session, node_id: UUID) -> NodeView:
    """The node, its containers left out. Raises NotFound."""
    found = session.execute(_views().where(Node.id == node_id)).one_or_none()
    if found is None:
        raise NotFound("node")
    return NodeView(*found)


def list_views(session: Session, *, limit: int, after: tuple[str, UUID] | None) -> list[NodeView]:
    """Nodes by name; at most `limit`, after the cursor's name and id."""
    query = _views().order_by(Node.name, Node.id).limit(limit)
    if after is not None:
        query = query.where(tuple_(Node.name, Node.id) > after)
    return [NodeView(*row) for row in session.execute(query)]


def _views() -> Any:  # SQLAlchemy's Select of differently typed columns
    return select(Node, _SILENT, _OBSERVED, _DUPLICATE).options(defer(Node.containers))


def lock(session: Session, node_id: UUID) -> Node:
    """The node's row, locked against other changes. Raises NotFound."""
    row = session.execute(select(Node).where(Node.id == node_id).with_for_update(key_share=True)).scalar_one_or_none()
    if row is None:
        raise NotFound("node")
    return row


def lock_to_delete(session: Session, node_id: UUID) -> Node:
    """The node's row, locked against everything: whoever puts something on it goes first, or finds no node. Raises NotFound."""
    query = select(Node).where(Node.id == node_id).with_for_update().execution_options(populate_existing=True)
    row = session.execute(query).scalar_one_or_none()
    if row is None:
        raise NotFound("node")
    return row


def list_ids_of_team(session: Session, team_id: UUID) -> list[UUID]:
    """The nodes of a team that are not revoked yet."""
    return list(session.execute(select(Node.id).where(Node.team_id == team_id, Node.revoked_at.is_(None)).order_by(Node.id)).scalars())


def count_deployments(session: Session, node_id: UUID) -> int:
    return session.execute(select(func.count()).select_from(Deployment).where(Deployment.node_id == node_id)).scalar_one()


def append_event(session: Session, node: Node, kind: str, at: datetime, data: dict[str, Any] | None = None) -> None:
    """Number and save what happened to a locked node. Any: JSON."""
    node.event_count += 1
    session.add(NodeEvent(node_id=node.id, number=node.event_count, team_id=node.team_id, at=at, kind=kind, data=data or {}))


def list_events(session: Session, node_id: UUID, *, limit: int, before: int | None) -> list[NodeEvent]:
    """What happened to a node, newest first."""
    query = select(NodeEvent).where(NodeEvent.node_id == node_id).order_by(NodeEvent.number.desc()).limit(limit)
    if before is not None:
        query = query.where(NodeEvent.number < before)
    return list(session.execute(query).scalars())


_LAST_REACH = """
(SELECT kind FROM node_events e WHERE e.node_id = n.id AND kind IN ('connected', 'unreachable') ORDER BY number DESC LIMIT 1)
"""
_TURNED_SILENT = text(f"""
SELECT n.id FROM nodes n
WHERE n.revoked_at IS NULL AND n.last_seen_at < now() - make_interval(secs => {SILENT_AFTER_SECONDS}) AND {_LAST_REACH} = 'connected'
ORDER BY n.id LIMIT 100 FOR NO KEY UPDATE SKIP LOCKED
""")  # noqa: S608 - two constants of ours
_NOT_CONNECTED = text(f"SELECT n.id FROM nodes n WHERE n.id = ANY(:ids) AND {_LAST_REACH} IS DISTINCT FROM 'connected'")  # noqa: S608 - as above


def lock_turned_silent(session: Session) -> list[Node]:
    """Nodes that have been silent for too long and of which that was not told yet, locked; others' work is skipped."""
    ids = [row[0] for row in session.execute(_TURNED_SILENT)]
    return list(session.execute(select(Node).options(defer(Node.containers)).where(Node.id.in_(ids))).scalars()) if ids else []


def not_connected(session: Session, ids: Collection[UUID]) -> set[UUID]:
    """Those of `ids` whose last word on reachability is not `connected`."""
    return {row[0] for row in session.execute(_NOT_CONNECTED, {"ids": list(ids)})} if ids else set()


# -- enrolments ------------------------------------------------------------------------------------


def void_enrollments(session: Session, node_id: UUID) -> None:
    """Forget the tokens of a node that were given out before."""
    session.execute(delete(Enrollment).where(Enrollment.node_id == node_id))


def lock_enrollment(session: Session, enrollment_id: UUID) -> Enrollment | None:
    """An enrolment, locked so that a token is consumed once."""
    return session.execute(select(Enrollment).where(Enrollment.id == enrollment_id).with_for_update()).scalar_one_or_none()


def offer_of(row: Enrollment | None) -> Offer | None:
    """An enrolment's row as a value."""
    return None if row is None else Offer(row.token_hash, row.expires_at, row.used_by_key)


# -- access to the broker --------------------------------------------------------------------------

_LOCK_KEY = 0x0FA1_0DE5
_TRY_LOCK = text("SELECT pg_try_advisory_xact_lock(:key)")
_WANTED = (Node.credential_hash.is_not(None), Node.revoked_at.is_(None))


def try_lock_reconciliation(session: Session) -> bool:
    """Only one of all workers reconciles at a time; the lock ends with the transaction."""
    return bool(session.execute(_TRY_LOCK, {"key": _LOCK_KEY}).scalar_one())


def list_access(session: Session) -> list[NodeAccess]:
    """How each node gets into the broker, of all teams: enrolled and not revoked."""
    return _access(session.execute(select(Node.id, Node.credential_number, Node.credential_hash).where(*_WANTED)))


def lock_access(session: Session, ids: Sequence[UUID]) -> list[NodeAccess]:
    """The same for some nodes, as it is now, and so locked that none can be revoked meanwhile."""
    query = select(Node.id, Node.credential_number, Node.credential_hash).where(*_WANTED, Node.id.in_(ids))
    return _access(session.execute(query.order_by(Node.id).with_for_update(read=True)))


def _access(rows: Any) -> list[NodeAccess]:  # rows of three columns
    return [NodeAccess(node_id, number, str(password_hash)) for node_id, number, password_hash in rows]


_KEYS = text("SELECT id, verify_key FROM nodes WHERE id = ANY(:ids) AND verify_key IS NOT NULL")


def verify_keys(session: Session, ids: Collection[UUID]) -> dict[UUID, str]:
    """The keys that reports of these nodes are checked with, as base64; unknown nodes are left out."""
    return {row[0]: row[1] for row in session.execute(_KEYS, {"ids": list(ids)})}
