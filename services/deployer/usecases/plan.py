"""What a start would do on the node now."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from kernel.db import Database
from kernel.errors import FairleadError
from kernel.principal import Principal
from services.deployer.domain.plan import Plan
from services.deployer.store.deployments import find_deployment
from services.deployer.store.places import database_now, lock_deployments_at, node_of
from services.deployer.usecases.catalog import Catalog
from services.deployer.usecases.prepare import Prepared, StartOptions, blockers, pin_request, prepare, with_digests


@dataclass(frozen=True)
class Planned:
    """A plan, how fresh what it was made from is, and what would stop its start."""

    plan: Plan
    observed_at: datetime | None
    frozen: bool
    blocked: tuple[FairleadError, ...]


def plan(db: Database, catalog: Catalog, who: Principal, deployment_id: UUID, options: StartOptions) -> Planned:
    """Plan without holding or changing anything. Raises Invalid with every problem of the stack at once."""
    with db.team(who.team) as session:
        deployment = find_deployment(session, deployment_id)
        wanted = pin_request(session, deployment, node_of(session, deployment.node_id), options)
    pin = with_digests(db, catalog, who, wanted, catalog.pin(who, wanted, hold=False), hold=False)
    with db.team(who.team) as session:
        known = find_deployment(session, deployment_id)
        others = lock_deployments_at(session, known.node_id, known.prefix)
        deployment = find_deployment(session, deployment_id, lock=True)
        node = node_of(session, deployment.node_id)
        role = who.role.value if who.role else None
        blocked = blockers(session, deployment, node, others, options, role=role, at=database_now(session))
        deployment.project_name, deployment.version_name = pin.version.project_name, pin.version.name
        prepared: Prepared = prepare(session, deployment, node, pin, options)
        return Planned(prepared.plan, node.observed_at, prepared.frozen, tuple(blocked))
