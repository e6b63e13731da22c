"""A deployment's events, numbered without a gap, so that a reader's cursor misses nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import func, insert, select, update
from sqlalchemy.orm import Session

from services.deployer.domain.states import EventKind
from services.deployer.models import Attempt, Deployment, DeploymentEvent


@dataclass(frozen=True, kw_only=True)
class NewEvent:
    """An event before it has its number."""

    kind: EventKind
    at: datetime
    message: str = ""
    attempt: int | None = None
    container: str | None = None
    data: dict[str, Any] = field(default_factory=dict)  # open JSON: what a reader may want besides


def append_events(session: Session, deployment_id: UUID, rows: Sequence[NewEvent]) -> int:
    """Number and save events in their order; returns the last number, or 0 when there is no such deployment.

    The deployment's row stays locked until the transaction ends: what has a lower number is always visible first.
    """
    if not rows:
        return 0
    counted = (
        update(Deployment)
        .where(Deployment.id == deployment_id)
        .values(event_count=Deployment.event_count + len(rows))
        .returning(Deployment.event_count, Deployment.team_id)
        .execution_options(synchronize_session=False)
    )
    found = session.execute(counted).one_or_none()
    if found is None:
        return 0
    last, team_id = int(found[0]), found[1]
    values = [
        {
            "deployment_id": deployment_id,
            "number": last - len(rows) + place,
            "team_id": team_id,
            "attempt": row.attempt,
            "at": row.at,
            "kind": row.kind.value,
            "container": row.container,
            "message": row.message,
            "data": row.data,
        }
        for place, row in enumerate(rows, start=1)
    ]
    session.execute(insert(DeploymentEvent), values)
    return last


def read_events(session: Session, deployment_id: UUID, *, attempt: int | None, after: int, limit: int) -> list[DeploymentEvent]:
    """Events after a number, in order, one more than `limit` if there are more."""
    query = select(DeploymentEvent).where(DeploymentEvent.deployment_id == deployment_id, DeploymentEvent.number > after)
    if attempt is not None:
        query = query.where(DeploymentEvent.attempt == attempt)
    return list(session.scalars(query.order_by(DeploymentEvent.number).limit(limit + 1)))


def misses_some(session: Session, deployment: Deployment, rows: Sequence[DeploymentEvent], *, attempt: Attempt | None, after: int) -> bool:
    """Do `rows`, read just before from `after` on, begin later than they would if nothing had been deleted?"""
    if attempt is None:
        return rows[0].number > after + 1 if rows else deployment.event_count > after
    oldest = session.execute(select(func.min(DeploymentEvent.number)).where(DeploymentEvent.deployment_id == deployment.id)).scalar_one()
    if after >= (oldest or deployment.event_count + 1) - 1:
        return False
    # Its first event is as old as itself; where that stands nothing of it was deleted.
    own = select(func.min(DeploymentEvent.at)).where(
        DeploymentEvent.deployment_id == deployment.id, DeploymentEvent.attempt == attempt.number
    )
    begun = session.execute(own).scalar_one()
    return begun is None or begun > attempt.started_at
