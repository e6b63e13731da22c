"""Places and the nodes below them: locks, generations, what is seen there."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from sqlalchemy import select, text, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from kernel.errors import NotFound
from services.deployer.domain.nodes import Seen, status_of
from services.deployer.domain.states import NodeStatus
from services.deployer.models import Deployment, Node, Place

_NOW = text("SELECT clock_timestamp()")


def node_of(session: Session, node_id: UUID, *, share: bool = False, keep: bool = False) -> Node:
    """The node. Until the transaction ends, `share` keeps it as it is, `keep` only keeps it from being deleted. Raises NotFound."""
    query = select(Node).where(Node.id == node_id).execution_options(populate_existing=True)
    if share or keep:
        query = query.with_for_update(read=True, key_share=keep)
    node = session.scalars(query).one_or_none()
    if node is None:
        raise NotFound("node")
    return node


def nodes_of(session: Session, ids: Sequence[UUID]) -> dict[UUID, Node]:
    return {node.id: node for node in session.scalars(select(Node).where(Node.id.in_(ids)))}


def database_now(session: Session) -> datetime:
    """The database's present moment: several web processes may disagree about theirs."""
    moment: datetime = session.execute(_NOW).scalar_one()
    return moment


def status_at(node: Node, at: datetime) -> NodeStatus:
    """A node's status; `at` is the database's present moment."""
    silent = None if node.last_seen_at is None else (at - node.last_seen_at).total_seconds()
    return status_of(Seen(node.enrolled_at is not None, node.revoked_at is not None, silent, node.agent_version))


def lock_place(session: Session, *, team_id: UUID, node_id: UUID, prefix: str) -> Place:
    """The place, made if it is new, for this transaction alone."""
    row = {"team_id": team_id, "node_id": node_id, "prefix": prefix, "generation": 0}
    session.execute(insert(Place).values(row).on_conflict_do_nothing())
    query = select(Place).where(Place.node_id == node_id, Place.prefix == prefix)
    return session.scalars(query.with_for_update().execution_options(populate_existing=True)).one()


def raise_generation(session: Session, place: Place) -> int:
    """One more: everything that was sent to the place before is old."""
    raised = (
        update(Place)
        .where(Place.node_id == place.node_id, Place.prefix == place.prefix)
        .values(generation=Place.generation + 1)
        .returning(Place.generation)
    )
    place.generation = session.execute(raised.execution_options(synchronize_session=False)).scalar_one()
    return place.generation


def deployments_at(session: Session, node_id: UUID, prefix: str) -> list[Deployment]:
    """All deployments at a place as they are now, for a rule that is checked again under locks or may be a moment old."""
    query = select(Deployment).where(Deployment.node_id == node_id, Deployment.prefix == prefix).order_by(Deployment.id)
    return list(session.scalars(query.execution_options(populate_existing=True)))


def lock_deployments_at(session: Session, node_id: UUID, prefix: str) -> list[Deployment]:
    """All deployments at a place, locked in one order. The caller holds the place."""
    query = select(Deployment).where(Deployment.node_id == node_id, Deployment.prefix == prefix).order_by(Deployment.id)
    return list(session.scalars(query.with_for_update().execution_options(populate_existing=True)))
