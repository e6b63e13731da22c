"""Rows of registries and config bundles."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import exists, func, select
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.orm import Session

from services.catalog.domain import ConfigBundle, Registry, RegistryType
from services.catalog.models import ConfigBundleRow, ImageRow, RegistryRow, VersionDeploymentRow
from services.catalog.store import rows

_ENUMS: rows.Convert = {"type": RegistryType}


def _registry(row: RegistryRow) -> Registry:
    return rows.to_value(Registry, row, _ENUMS)


def get_registry(session: Session, team_id: UUID, registry_id: UUID, *, lock: bool = False) -> Registry:
    return _registry(rows.get(session, RegistryRow, team_id, registry_id, thing="registry", lock=lock))


def list_registries(
    session: Session, team_id: UUID, *, limit: int, after: tuple[str, UUID] | None, kind: str | None = None
) -> list[Registry]:
    """By name."""
    statement = select(RegistryRow).where(RegistryRow.team_id == team_id).order_by(RegistryRow.name, RegistryRow.id).limit(limit)
    if kind is not None:
        statement = statement.where(RegistryRow.type == kind)
    if after is not None:
        statement = statement.where(func.row(RegistryRow.name, RegistryRow.id) > func.row(*after))
    return [_registry(row) for row in session.scalars(statement)]


def all_registries(session: Session, team_id: UUID) -> list[Registry]:
    """Every registry of a team, oldest first; for finding one by host. A team has few."""
    statement = select(RegistryRow).where(RegistryRow.team_id == team_id).order_by(RegistryRow.created_at, RegistryRow.id).limit(1000)
    return [_registry(row) for row in session.scalars(statement)]


def registries_by_id(session: Session, team_id: UUID, ids: Sequence[UUID]) -> dict[UUID, Registry]:
    statement = select(RegistryRow).where(RegistryRow.team_id == team_id, RegistryRow.id.in_(set(ids)))
    return {row.id: _registry(row) for row in session.scalars(statement)}


def add_registry(session: Session, registry: Registry) -> None:
    rows.add(session, RegistryRow, registry)


def add_registry_once(session: Session, registry: Registry) -> bool:
    """Unless the team has one of this name; says whether it was added."""
    statement = upsert(RegistryRow).values(rows.columns_of(registry)).on_conflict_do_nothing().returning(RegistryRow.id)
    return session.execute(statement).first() is not None


def save_registry(session: Session, registry: Registry) -> None:
    rows.save(session, RegistryRow, registry)


def remove_registry(session: Session, registry: Registry) -> None:
    rows.remove(session, RegistryRow, registry.team_id, registry.id)


def is_registry_used(session: Session, registry: Registry) -> bool:
    return bool(session.scalar(select(exists().where(ImageRow.registry_id == registry.id))))


def registries_to_reseal(session: Session, current_prefix: str, *, after: UUID | None, most: int = 100) -> list[Registry]:
    """Registries whose password was encrypted with an older key, by id; every team's."""
    sealed = RegistryRow.password_sealed
    statement = select(RegistryRow).where(sealed.is_not(None), ~sealed.startswith(current_prefix, autoescape=True))
    if after is not None:
        statement = statement.where(RegistryRow.id > after)
    return [_registry(row) for row in session.scalars(statement.order_by(RegistryRow.id).limit(most).with_for_update(skip_locked=True))]


# -- config bundles ----------------------------------------------------------------


def _bundle(row: ConfigBundleRow) -> ConfigBundle:
    return rows.to_value(ConfigBundle, row, {})


def get_bundle(session: Session, team_id: UUID, bundle_id: UUID, *, lock: bool = False) -> ConfigBundle:
    return _bundle(rows.get(session, ConfigBundleRow, team_id, bundle_id, thing="config bundle", lock=lock))


def list_bundles(session: Session, team_id: UUID, *, limit: int, after: tuple[str, UUID] | None) -> list[ConfigBundle]:
    """By name."""
    statement = select(ConfigBundleRow).where(ConfigBundleRow.team_id == team_id)
    statement = statement.order_by(ConfigBundleRow.name, ConfigBundleRow.id).limit(limit)
    if after is not None:
        statement = statement.where(func.row(ConfigBundleRow.name, ConfigBundleRow.id) > func.row(*after))
    return [_bundle(row) for row in session.scalars(statement)]


def bundles_by_id(session: Session, team_id: UUID, ids: Sequence[UUID]) -> dict[UUID, ConfigBundle]:
    statement = select(ConfigBundleRow).where(ConfigBundleRow.team_id == team_id, ConfigBundleRow.id.in_(set(ids)))
    return {row.id: _bundle(row) for row in session.scalars(statement)}


def add_bundle(session: Session, bundle: ConfigBundle) -> None:
    rows.add(session, ConfigBundleRow, bundle)


def save_bundle(session: Session, bundle: ConfigBundle) -> None:
    rows.save(session, ConfigBundleRow, bundle)


def remove_bundle(session: Session, bundle: ConfigBundle) -> None:
    rows.remove(session, ConfigBundleRow, bundle.team_id, bundle.id)


def is_bundle_used(session: Session, bundle: ConfigBundle) -> bool:
    """Is it attached to a deployment, as far as the deployer's events have said?"""
    used = exists().where(
        VersionDeploymentRow.team_id == bundle.team_id,
        VersionDeploymentRow.config_bundle_ids.contains([bundle.id]),
        VersionDeploymentRow.status != "deleted",
    )
    return bool(session.scalar(select(used)))
