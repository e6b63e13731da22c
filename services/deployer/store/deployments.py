"""Deployments, their instances and secrets: queries, and rows to values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import delete, select
from sqlalchemy.dialects.postgresql import distinct_on
from sqlalchemy.orm import Session

from kernel import clock
from kernel.errors import NotFound
from services.deployer.domain.resolve import InstanceConfig, StoredSecret
from services.deployer.domain.rules import Existing
from services.deployer.domain.states import Status
from services.deployer.models import Deployment, Instance, Secret


@dataclass(frozen=True, kw_only=True)
class Filters:
    """What a list of deployments is narrowed to."""

    node: UUID | None = None
    prefix: str | None = None
    version: UUID | None = None
    project: UUID | None = None
    status: str | None = None


@dataclass(frozen=True)
class VersionImage:
    """An image of a version, as far as a deployment's instances need it."""

    image_id: UUID
    name: str
    position: int


def find_deployment(session: Session, deployment_id: UUID, *, lock: bool = False) -> Deployment:
    """The deployment, locked if it is to be changed. Raises NotFound."""
    query = select(Deployment).where(Deployment.id == deployment_id).execution_options(populate_existing=True)
    found = session.scalars(query.with_for_update() if lock else query).one_or_none()
    if found is None:
        raise NotFound("deployment")
    return found


def list_deployments(session: Session, filters: Filters, *, before: UUID | None, limit: int) -> list[Deployment]:
    """Newest first, one more than `limit` if there are more."""
    query = select(Deployment).order_by(Deployment.id.desc()).limit(limit + 1)
    columns = {
        Deployment.node_id: filters.node,
        Deployment.prefix: filters.prefix,
        Deployment.version_id: filters.version,
        Deployment.project_id: filters.project,
        Deployment.status: filters.status,
    }
    for column, wanted in columns.items():
        if wanted is not None:
            query = query.where(column == wanted)
    if before is not None:
        query = query.where(Deployment.id < before)
    return list(session.scalars(query))


def existing_of_version(session: Session, version_id: UUID, *, but: UUID | None = None) -> list[Existing]:
    """The deployments of a version, for the rule of making one."""
    query = select(Deployment.id, Deployment.node_id, Deployment.prefix, Deployment.status).where(Deployment.version_id == version_id)
    return [Existing(row.node_id, row.prefix, Status(row.status)) for row in session.execute(query) if row.id != but]


def latest_of_version_at_each_place(session: Session, version_id: UUID) -> list[Deployment]:
    query = (
        select(Deployment)
        .where(Deployment.version_id == version_id)
        .ext(distinct_on(Deployment.node_id, Deployment.prefix))
        .order_by(Deployment.node_id, Deployment.prefix, Deployment.id.desc())
    )
    return list(session.scalars(query))


def instances_of(session: Session, ids: Sequence[UUID]) -> dict[UUID, list[Instance]]:
    """The instances of each deployment, in the order of the images."""
    found: dict[UUID, list[Instance]] = {one: [] for one in ids}
    query = select(Instance).where(Instance.deployment_id.in_(ids)).order_by(Instance.position, Instance.id)
    for instance in session.scalars(query.execution_options(populate_existing=True)):
        found[instance.deployment_id].append(instance)
    return found


def instance_names(session: Session, deployment_id: UUID, key: str) -> bool:
    """Does the configuration of an instance have `key`?"""
    query = select(Instance.id).where(Instance.deployment_id == deployment_id, Instance.config.has_key(key))
    return session.scalars(query.limit(1)).first() is not None


def find_instance(session: Session, deployment_id: UUID, instance_id: UUID) -> Instance:
    """The instance, locked. Raises NotFound."""
    query = select(Instance).where(Instance.deployment_id == deployment_id, Instance.id == instance_id)
    found = session.scalars(query.with_for_update().execution_options(populate_existing=True)).one_or_none()
    if found is None:
        raise NotFound("instance")
    return found


def reconcile_instances(session: Session, deployment: Deployment, images: Sequence[VersionImage]) -> list[Instance]:
    """Give each image of the version its instance, and take away those whose image is gone. The deployment is locked."""
    present = {one.image_id: one for one in instances_of(session, [deployment.id])[deployment.id]}
    for image in images:
        instance = present.pop(image.image_id, None)
        if instance is None:
            session.add(new_instance(deployment, image))
        else:
            instance.image_name, instance.position = image.name, image.position
    if present:
        session.execute(delete(Instance).where(Instance.id.in_([one.id for one in present.values()])))
    session.flush()
    return instances_of(session, [deployment.id])[deployment.id]


def new_instance(deployment: Deployment, image: VersionImage, config: Mapping[str, object] | None = None) -> Instance:
    return Instance(
        id=clock.new_id(),
        team_id=deployment.team_id,
        deployment_id=deployment.id,
        image_id=image.image_id,
        image_name=image.name,
        position=image.position,
        config=dict(config or {}),
        revision=1,
    )


def config_of(instance: Instance) -> InstanceConfig:
    return InstanceConfig(instance.id, instance.image_id, instance.config)


def secrets_of(session: Session, deployment_id: UUID) -> list[Secret]:
    """By name."""
    query = select(Secret).where(Secret.deployment_id == deployment_id).order_by(Secret.name)
    return list(session.scalars(query.execution_options(populate_existing=True)))


def stored_secrets(session: Session, deployment_id: UUID) -> dict[str, StoredSecret]:
    return {one.name: StoredSecret(one.sealed, one.seal_key) for one in secrets_of(session, deployment_id)}


def delete_secrets(session: Session, deployment_id: UUID, names: Sequence[str]) -> None:
    session.execute(delete(Secret).where(Secret.deployment_id == deployment_id, Secret.name.in_(names)))
