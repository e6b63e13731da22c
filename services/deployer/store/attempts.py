"""Attempts: queries, locks, and their frozen specification."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from kernel.contracts.spec import StackSpec, StackSpecSchema
from kernel.errors import NotFound
from services.deployer.models import Attempt, Deployment

_STACK = StackSpecSchema()


def dump_stack(stack: StackSpec) -> dict[str, Any]:
    """A stack as an attempt's row keeps it. Any: JSON."""
    dumped: dict[str, Any] = _STACK.dump(stack)
    return dumped


def load_stack(spec: dict[str, Any]) -> StackSpec:
    """The stack of an attempt's row. Any: JSON."""
    stack: StackSpec = _STACK.load(spec)
    return stack


def attempt_of(session: Session, attempt_id: UUID, *, lock: bool = False) -> Attempt | None:
    """The attempt, if there is one; locked if it is to be changed (the caller holds its place)."""
    query = select(Attempt).where(Attempt.id == attempt_id).execution_options(populate_existing=True)
    return session.scalars(query.with_for_update() if lock else query).one_or_none()


def attempts_of(session: Session, ids: Sequence[UUID | None]) -> dict[UUID, Attempt]:
    """Attempts by their id."""
    wanted = [one for one in ids if one is not None]
    return {one.id: one for one in session.scalars(select(Attempt).where(Attempt.id.in_(wanted)))}


def find_numbered(session: Session, deployment_id: UUID, number: int) -> Attempt:
    """Raises NotFound."""
    query = select(Attempt).where(Attempt.deployment_id == deployment_id, Attempt.number == number)
    found = session.scalars(query).one_or_none()
    if found is None:
        raise NotFound("attempt")
    return found


def list_attempts(session: Session, deployment_id: UUID, *, below: int | None, limit: int) -> list[Attempt]:
    """Newest first, one more than `limit` if there are more."""
    query = select(Attempt).where(Attempt.deployment_id == deployment_id).order_by(Attempt.number.desc()).limit(limit + 1)
    return list(session.scalars(query if below is None else query.where(Attempt.number < below)))


def live_at(session: Session, node_id: UUID, prefix: str) -> Attempt | None:
    """The attempt that is being worked on at a place."""
    query = select(Attempt).where(Attempt.node_id == node_id, Attempt.prefix == prefix, Attempt.outcome.is_(None))
    return session.scalars(query.execution_options(populate_existing=True)).one_or_none()


def live_of(session: Session, deployment_id: UUID) -> Attempt | None:
    """The attempt of a deployment that is being worked on."""
    query = select(Attempt).where(Attempt.deployment_id == deployment_id, Attempt.outcome.is_(None))
    return session.scalars(query.execution_options(populate_existing=True)).one_or_none()


def unsent_of_node(session: Session, node_id: UUID) -> list[Attempt]:
    """Live attempts that wait for their node, as they are now."""
    query = select(Attempt).where(Attempt.node_id == node_id, Attempt.outcome.is_(None), Attempt.sent_at.is_(None))
    return list(session.scalars(query.order_by(Attempt.id).execution_options(populate_existing=True)))


def has_newer(session: Session, node_id: UUID, prefix: str, generation: int) -> bool:
    """Was anything started at a place after `generation`, by a deployment that is still there?"""
    query = select(Attempt.id).where(Attempt.node_id == node_id, Attempt.prefix == prefix, Attempt.generation > generation)
    return session.scalars(query.limit(1)).first() is not None


def standing_stack(session: Session, node_id: UUID, prefix: str) -> StackSpec | None:
    """What the last success put at a place, whichever deployment's it was."""
    query = (
        select(Attempt.spec)
        .join(Deployment, Deployment.successful_attempt_id == Attempt.id)
        .where(Attempt.node_id == node_id, Attempt.prefix == prefix, Attempt.outcome == "succeeded")
        .order_by(Attempt.generation.desc())
    )
    spec = session.scalars(query.limit(1)).first()
    return None if spec is None else load_stack(spec)
