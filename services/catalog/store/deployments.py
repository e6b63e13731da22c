"""What is known of deployments: pins of starts under way, and what the deployer's events have said."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import delete, func, select, text
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.orm import Session

from services.catalog.domain import Project, Version
from services.catalog.models import (
    ConfigBundleRow,
    ImageRow,
    ProjectRow,
    RegistryRow,
    VersionDeploymentRow,
    VersionPinRow,
    VersionRow,
)


@dataclass(frozen=True, kw_only=True)
class KnownDeployment:
    """One deployment as its newest event told it."""

    deployment_id: UUID
    team_id: UUID
    version_id: UUID
    project_id: UUID
    status: str
    revision: int
    config_bundle_ids: Sequence[UUID] | None = None


def record(session: Session, known: KnownDeployment) -> None:
    """Keep it unless something newer is known. Without bundle ids the known ones stay."""
    values = {
        "deployment_id": known.deployment_id,
        "team_id": known.team_id,
        "version_id": known.version_id,
        "project_id": known.project_id,
        "status": known.status,
        "revision": known.revision,
    }
    if known.config_bundle_ids is not None:
        values["config_bundle_ids"] = list(known.config_bundle_ids)
    statement = upsert(VersionDeploymentRow).values(values)
    statement = statement.on_conflict_do_update(
        index_elements=["deployment_id"],
        set_={name: value for name, value in values.items() if name not in ("deployment_id", "team_id")} | {"updated_at": func.now()},
        where=VersionDeploymentRow.revision < known.revision,
    )
    session.execute(statement)


def take_pin(session: Session, version: Version, *, deployment_id: UUID, node_id: UUID, taken_at: datetime, expires_at: datetime) -> None:
    values = {
        "version_id": version.id,
        "deployment_id": deployment_id,
        "team_id": version.team_id,
        "node_id": node_id,
        "taken_at": taken_at,
        "expires_at": expires_at,
    }
    statement = upsert(VersionPinRow).values(values)
    session.execute(statement.on_conflict_do_update(index_elements=["version_id", "deployment_id"], set_=values))


def release_pin(session: Session, team_id: UUID, *, version_id: UUID, deployment_id: UUID, taken_before: datetime | None = None) -> bool:
    """Says whether there was one."""
    statement = delete(VersionPinRow).where(
        VersionPinRow.team_id == team_id, VersionPinRow.version_id == version_id, VersionPinRow.deployment_id == deployment_id
    )
    if taken_before is not None:
        statement = statement.where(VersionPinRow.taken_at <= taken_before)
    return session.execute(statement.returning(VersionPinRow.version_id)).first() is not None


def forget_expired_pins(session: Session, now: datetime) -> int:
    statement = delete(VersionPinRow).where(VersionPinRow.expires_at < now).returning(VersionPinRow.version_id)
    return len(session.execute(statement).all())


_FORGET_DELETED = text("""
DELETE FROM version_deployments WHERE deployment_id IN (
  SELECT deployment_id FROM version_deployments WHERE status = 'deleted' AND updated_at < now() - make_interval(days => :days) LIMIT :most)
RETURNING 1
""")


def forget_deleted(session: Session, *, days: int, most: int) -> int:
    """Forget some of the deployments whose deletion was told more than `days` ago; returns how many."""
    return len(session.execute(_FORGET_DELETED, {"days": days, "most": most}).all())


def statuses_of(session: Session, team_id: UUID, version_ids: Sequence[UUID], now: datetime) -> dict[UUID, list[str]]:
    """Version id to the statuses of its deployments; a start under way counts as in progress."""
    found: dict[UUID, list[str]] = {}
    known = select(VersionDeploymentRow.version_id, VersionDeploymentRow.status).where(
        VersionDeploymentRow.team_id == team_id, VersionDeploymentRow.version_id.in_(version_ids), VersionDeploymentRow.status != "deleted"
    )
    pinned = select(VersionPinRow.version_id, VersionPinRow.deployment_id).where(
        VersionPinRow.team_id == team_id, VersionPinRow.version_id.in_(version_ids), VersionPinRow.expires_at >= now
    )
    for version_id, status in session.execute(known.distinct()):
        found.setdefault(version_id, []).append(status)
    for version_id, _ in session.execute(pinned):
        found.setdefault(version_id, []).append("in-progress")
    return found


def statuses_in_project(session: Session, project: Project, now: datetime) -> set[str]:
    """The statuses of every deployment of a project's versions."""
    ids = list(session.scalars(select(VersionRow.id).where(VersionRow.team_id == project.team_id, VersionRow.project_id == project.id)))
    return {status for statuses in statuses_of(session, project.team_id, ids, now).values() for status in statuses}


def forget_team(session: Session, team_id: UUID) -> None:
    """Delete everything that a team had here."""
    for row in (ImageRow, VersionPinRow, VersionDeploymentRow, VersionRow, ProjectRow, RegistryRow, ConfigBundleRow):
        session.execute(delete(row).where(row.team_id == team_id))
