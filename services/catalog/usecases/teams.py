"""What the catalog does when a team comes or goes, and when the deployer tells of its deployments."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from sqlalchemy.orm import Session

from kernel import clock
from kernel.db import Database
from kernel.housekeeping import in_batches
from services.catalog.domain import Registry, RegistryType
from services.catalog.store import deployments, registries
from services.catalog.store.deployments import KnownDeployment
from services.catalog.usecases.events import Facts, registry_json, tell_change

FIRST_REGISTRY = "Docker Hub Library"


def welcome_team(session: Session, facts: Facts, team_id: UUID) -> None:
    """A new team can deploy the official images of Docker Hub at once."""
    now = clock.now()
    registry = Registry(
        id=clock.new_id(),
        team_id=team_id,
        name=FIRST_REGISTRY,
        type=RegistryType.DOCKER_HUB,
        namespace="library",
        description="The official images of Docker Hub.",
        created_at=now,
        updated_at=now,
    )
    if registries.add_registry_once(session, registry):
        tell_change(session, facts, "registry.created", registry, before=None, after=registry_json(registry))


def forget_team(session: Session, team_id: UUID) -> None:
    """Delete everything of a team that is no more; the audit log keeps what was."""
    deployments.forget_team(session, team_id)


def record_deployment(session: Session, known: KnownDeployment) -> None:
    """Keep what an event told of a deployment."""
    deployments.record(session, known)


def firm_pin(session: Session, known: KnownDeployment, told_at: datetime) -> None:
    """The deployment counts by itself from here on: its pin, if taken before, has done its work."""
    deployments.release_pin(session, known.team_id, version_id=known.version_id, deployment_id=known.deployment_id, taken_before=told_at)


def forget_expired_pins(db: Database) -> None:
    """Starts that never began give their version free."""
    with db.system() as session:
        deployments.forget_expired_pins(session, clock.now())


def forget_deleted_deployments(db: Database, *, days: int) -> int:
    """Forget deployments that were deleted more than `days` ago (0: none), in short transactions; returns how many."""
    if days <= 0:
        return 0
    return in_batches(db, lambda session, most: deployments.forget_deleted(session, days=days, most=most))
