"""Reading deployments: how they stand, whether the node still runs them, their attempts and events."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy.orm import Session

from kernel.db import Database
from kernel.principal import Principal
from services.deployer.domain import rules
from services.deployer.domain.observed import observed_of
from services.deployer.domain.plan import Difference, sync_of
from services.deployer.domain.states import NodeStatus, Status, Sync, VersionType
from services.deployer.models import Attempt, Deployment, DeploymentEvent, Instance, Node
from services.deployer.store.attempts import attempts_of, find_numbered, list_attempts, live_of, load_stack
from services.deployer.store.deployments import Filters, find_deployment, instances_of, list_deployments
from services.deployer.store.events import misses_some, read_events
from services.deployer.store.places import database_now, nodes_of, status_at
from services.deployer.usecases.prepare import is_reachable

# Agents tell of all containers every minute: what is older than two such rounds is stale.
STALE_SECONDS = 150


@dataclass(frozen=True, kw_only=True)
class DeploymentView:
    """A deployment with everything that people want to know of it. `sync` is None where nothing of it should run."""

    row: Deployment
    node_name: str
    node_status: NodeStatus
    mutable: bool
    startable: bool
    deletable: bool
    copyable: bool
    instances: Sequence[Instance]
    last_attempt: Attempt | None
    sync: Sync | None
    differences: tuple[Difference, ...]
    observed_at: datetime | None


@dataclass(frozen=True)
class EventPage:
    """Events after a number. `done`: no more will come of the attempt (or, without one, of what is being worked on).

    `lost`: events between the number and these were deleted, for they were too old.
    """

    items: Sequence[DeploymentEvent]
    next_after: int
    more: bool
    done: bool
    status: str
    lost: bool


def read_deployment(db: Database, who: Principal, deployment_id: UUID) -> DeploymentView:
    """Raises NotFound."""
    with db.team(who.team) as session:
        return _views(session, [find_deployment(session, deployment_id)])[0]


def read_deployments(db: Database, who: Principal, filters: Filters, *, before: UUID | None, limit: int) -> list[DeploymentView]:
    """Newest first, one more than `limit` if there are more."""
    with db.team(who.team) as session:
        return _views(session, list_deployments(session, filters, before=before, limit=limit))


def read_attempts(db: Database, who: Principal, deployment_id: UUID, *, below: int | None, limit: int) -> list[Attempt]:
    """Newest first, one more than `limit` if there are more. Raises NotFound."""
    with db.team(who.team) as session:
        find_deployment(session, deployment_id)
        return list_attempts(session, deployment_id, below=below, limit=limit)


def read_attempt(db: Database, who: Principal, deployment_id: UUID, number: int) -> Attempt:
    """Raises NotFound."""
    with db.team(who.team) as session:
        find_deployment(session, deployment_id)
        return find_numbered(session, deployment_id, number)


def read_event_page(db: Database, who: Principal, deployment_id: UUID, *, attempt: int | None, after: int, limit: int) -> EventPage:
    """Events in order. Raises NotFound."""
    with db.team(who.team) as session:
        # First whether it is over, then the events: what ended before the look is then among them.
        deployment = find_deployment(session, deployment_id)
        tried = None if attempt is None else find_numbered(session, deployment_id, attempt)
        over = live_of(session, deployment_id) is None if tried is None else tried.outcome is not None
        rows = read_events(session, deployment_id, attempt=attempt, after=after, limit=limit)
        lost = misses_some(session, deployment, rows, attempt=tried, after=after)
        shown, more = rows[:limit], len(rows) > limit
        # Where nothing is kept any more, reading on begins with what will come.
        last = shown[-1].number if shown else max(after, deployment.event_count) if lost else after
        return EventPage(shown, last, more, over and not more, deployment.status, lost)


def _views(session: Session, rows: Sequence[Deployment]) -> list[DeploymentView]:
    nodes = nodes_of(session, [row.node_id for row in rows])
    instances = instances_of(session, [row.id for row in rows])
    attempts = attempts_of(session, [one for row in rows for one in (row.last_attempt_id, row.successful_attempt_id)])
    at = database_now(session)
    return [_view(row, nodes[row.node_id], instances[row.id], attempts, at) for row in rows]


def _view(row: Deployment, node: Node, instances: Sequence[Instance], attempts: dict[UUID, Attempt], at: datetime) -> DeploymentView:
    kind, status = VersionType(row.version_type), Status(row.status)
    successful = attempts.get(row.successful_attempt_id) if row.successful_attempt_id else None
    sync, found = _sync(row, node, successful, at) if status is Status.SUCCESSFUL else (None, ())
    return DeploymentView(
        row=row,
        node_name=node.name,
        node_status=status_at(node, at),
        mutable=rules.is_mutable(kind, status),
        startable=rules.is_startable(kind, status),
        deletable=rules.is_deletable(status),
        copyable=rules.is_copyable(status),
        instances=instances,
        last_attempt=attempts.get(row.last_attempt_id) if row.last_attempt_id else None,
        sync=sync,
        differences=found,
        observed_at=node.observed_at,
    )


def _sync(row: Deployment, node: Node, successful: Attempt | None, at: datetime) -> tuple[Sync, tuple[Difference, ...]]:
    """Stale is shown as stale: what was seen too long ago, or before the success, says nothing."""
    seen_at = node.observed_at
    if successful is None or successful.finished_at is None or seen_at is None or not is_reachable(status_at(node, at)):
        return Sync.UNKNOWN, ()
    if (at - seen_at).total_seconds() > STALE_SECONDS or seen_at < successful.finished_at:
        return Sync.UNKNOWN, ()
    seen = [one for one in observed_of(node.containers) if one.prefix == row.prefix]
    return sync_of(load_stack(successful.spec), seen)
