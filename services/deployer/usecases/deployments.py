"""Deployments: made, changed, copied, deleted."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from nacl.signing import SigningKey
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from kernel import clock
from kernel.contracts.config import parse_config
from kernel.db import Database, violated
from kernel.errors import Conflict, FieldError, Invalid
from kernel.principal import Principal
from services.deployer.domain import rules
from services.deployer.domain.observed import observed_of
from services.deployer.domain.states import NodeStatus, Status, VersionType
from services.deployer.models import Deployment, Node, Secret
from services.deployer.store.attempts import live_at
from services.deployer.store.deployments import (
    VersionImage,
    existing_of_version,
    find_deployment,
    find_instance,
    instances_of,
    new_instance,
    secrets_of,
)
from services.deployer.store.places import (
    database_now,
    deployments_at,
    lock_deployments_at,
    lock_place,
    node_of,
    status_at,
)
from services.deployer.usecases.announce import announce, facts_of, snapshot
from services.deployer.usecases.catalog import Catalog, Version
from services.deployer.usecases.prepare import attempt_live, is_reachable, protected_by_others
from services.deployer.usecases.removals import want_removal

Json = dict[str, Any]  # an open configuration, or a merge patch
Check = Callable[[object], None]  # compares If-Match with the locked row's revision

_UNIQUE = {"uq_deployments_rolling": "deployment-exists", "uq_deployments_preparing": "deployment-preparing-exists"}


@dataclass(frozen=True, kw_only=True)
class NewDeployment:
    """What somebody wants to deploy, and where."""

    version_id: UUID
    node_id: UUID
    prefix: str
    note: str = ""
    protected: bool = False
    config_bundle_ids: tuple[UUID, ...] = ()
    config: Json = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Change:
    """The fields of a deployment as they are to be; None leaves one as it is."""

    note: str | None = None
    protected: bool | None = None
    prefix: str | None = None
    node_id: UUID | None = None
    config_bundle_ids: tuple[UUID, ...] | None = None
    config: Callable[[Json], Json] | None = None

    @property
    def touches_content(self) -> bool:
        """Does it change anything that the rule `mutable` guards? Protection is no part of what is deployed."""
        return any(one is not None for one in (self.note, self.prefix, self.node_id, self.config_bundle_ids, self.config))


def create(db: Database, catalog: Catalog, who: Principal, wanted: NewDeployment) -> UUID:
    """Make a deployment, with an instance for each image. Raises Conflict with the rule's code, Invalid, Unavailable."""
    version = catalog.version(who, wanted.version_id)
    catalog.check_bundles(who, wanted.config_bundle_ids)
    with unique(), db.team(who.team) as session:
        node = _usable(session, wanted.node_id)
        deployment = _make(session, who, version, node, wanted)
        for image in version.images:
            session.add(new_instance(deployment, image))
        return _announce_created(session, who, deployment)


def change(db: Database, catalog: Catalog, who: Principal, deployment_id: UUID, wanted: Change, check: Check) -> None:
    """Change a deployment. Raises Conflict `deployment-immutable`, or what the rules of making and protection say; Invalid."""
    if wanted.config_bundle_ids:
        # The catalog is asked before the deployment is locked, and only where something new is named.
        with db.team(who.team) as session:
            known = set(find_deployment(session, deployment_id).config_bundle_ids)
        if not known.issuperset(wanted.config_bundle_ids):
            catalog.check_bundles(who, wanted.config_bundle_ids)
    with unique(), db.team(who.team) as session:
        deployment = find_deployment(session, deployment_id, lock=True)
        check(deployment.revision)
        if wanted.touches_content:
            rules.check_mutable(VersionType(deployment.version_type), Status(deployment.status))
        before = snapshot(deployment)
        _apply(session, deployment, wanted)
        if deployment.protected and (wanted.protected or wanted.prefix or wanted.node_id):
            _check_protectable(session, deployment)
        if snapshot(deployment) != before:
            _save(session, who, deployment, before, wanted.touches_content)


def change_instance(
    db: Database, who: Principal, deployment_id: UUID, instance_id: UUID, config: Callable[[Json], Json], check: Check
) -> None:
    """Give an instance another configuration. Raises Conflict `deployment-immutable`."""
    with db.team(who.team) as session:
        deployment = find_deployment(session, deployment_id, lock=True)
        instance = find_instance(session, deployment_id, instance_id)
        check(instance.revision)
        rules.check_mutable(VersionType(deployment.version_type), Status(deployment.status))
        name = f"instances.{instance.image_name}.config"
        before = snapshot(deployment) | {name: instance.config}
        changed = parse_config(config(instance.config))
        if changed == instance.config:
            return
        instance.config = changed
        instance.revision += 1
        _save(session, who, deployment, before, True, more={name: changed})


def copy(db: Database, catalog: Catalog, who: Principal, deployment_id: UUID, *, node_id: UUID | None, prefix: str | None) -> UUID:
    """The same version with the same configuration elsewhere. Secrets go along to the same node only: they are sealed to it."""
    with db.team(who.team) as session:
        version_id = find_deployment(session, deployment_id).version_id
    version = catalog.version(who, version_id)
    with unique(), db.team(who.team) as session:
        source = find_deployment(session, deployment_id)
        rules.check_copyable(Status(source.status))
        node = _usable(session, node_id or source.node_id)
        wanted = NewDeployment(
            version_id=version_id,
            node_id=node.id,
            prefix=prefix or source.prefix,
            note=source.note,
            config_bundle_ids=tuple(source.config_bundle_ids),
            config=source.config,
        )
        made = _make(session, who, version, node, wanted)
        configs = {one.image_id: one.config for one in instances_of(session, [source.id])[source.id]}
        fill(session, source, made, version.images, configs)
        return _announce_created(session, who, made)


def fill(session: Session, source: Deployment, made: Deployment, images: Sequence[VersionImage], configs: Mapping[UUID, Json]) -> None:
    """Give a copy its instances (configurations by the copy's image id), and the secrets where they can be opened."""
    session.add_all([new_instance(made, image, configs.get(image.image_id)) for image in images])
    if made.node_id == source.node_id:
        session.add_all(
            Secret(
                deployment_id=made.id,
                name=one.name,
                team_id=made.team_id,
                sealed=one.sealed,
                seal_key=one.seal_key,
                set_at=one.set_at,
                set_by=one.set_by,
            )
            for one in secrets_of(session, source.id)
        )


def delete(
    db: Database,
    signing_key: SigningKey,
    who: Principal,
    deployment_id: UUID,
    check: Check,
    *,
    remove_containers: bool,
    remove_volumes: bool,
) -> None:
    """Forget a deployment, and clear its place if that is asked for and it is what runs there."""
    if remove_volumes and not remove_containers:
        raise Invalid([FieldError("remove_volumes", "needs remove_containers: volumes in use cannot be removed")])
    with db.team(who.team) as session:
        known = find_deployment(session, deployment_id)
        node = node_of(session, known.node_id, share=True)
        place = lock_place(session, team_id=who.team, node_id=known.node_id, prefix=known.prefix)
        others = [one for one in lock_deployments_at(session, place.node_id, place.prefix) if one.id != deployment_id]
        deployment = find_deployment(session, deployment_id, lock=True)
        check(deployment.revision)
        rules.check_deletable(Status(deployment.status))
        if remove_containers and _is_running(deployment, others, node):
            live = live_at(session, place.node_id, place.prefix)
            if live is not None:
                raise attempt_live(live)  # what is being brought up there would be removed as well
            if not is_reachable(status_at(node, database_now(session))):
                raise Conflict("node-not-connected", f"The node {node.name} is away: its containers cannot be removed now.")
            want_removal(session, who, place, node, signing_key, volumes=remove_volumes)
        deployment.revision += 1
        more = {"remove_containers": remove_containers, "remove_volumes": remove_volumes}
        announce(session, "deleted", deployment, facts_of(who), before=snapshot(deployment), after=more, status="deleted")
        session.delete(deployment)


class unique:  # noqa: N801  # used as a statement: `with unique():`
    """Two requests that pass the rules at the same moment: the database lets one through, the other gets the rule's answer."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        if isinstance(error, IntegrityError) and violated(error) in _UNIQUE:
            code = _UNIQUE[str(violated(error))]
            raise Conflict(code, "Another request has just made such a deployment.") from error


def _usable(session: Session, node_id: UUID) -> Node:
    node = node_of(session, node_id, keep=True)
    if status_at(node, database_now(session)) is NodeStatus.REVOKED:
        raise Conflict("node-revoked", f"The node {node.name} was revoked.")
    return node


def _make(session: Session, who: Principal, version: Version, node: Node, wanted: NewDeployment) -> Deployment:
    existing = existing_of_version(session, version.id)
    rules.check_creatable(version.type, existing, node=node.id, prefix=wanted.prefix, images=len(version.images))
    at = clock.now()
    deployment = Deployment(
        id=clock.new_id(),
        team_id=who.team,
        node_id=node.id,
        prefix=wanted.prefix,
        version_id=version.id,
        project_id=version.project_id,
        project_name=version.project_name,
        version_name=version.name,
        version_type=version.type.value,
        version_seq=version.seq,
        note=wanted.note,
        protected=wanted.protected,
        status=Status.PREPARING.value,
        config=parse_config(wanted.config),
        config_bundle_ids=list(wanted.config_bundle_ids),
        revision=1,
        event_count=0,
        attempt_count=0,
        created_at=at,
        updated_at=at,
        created_by=who.actor,
    )
    if wanted.protected:
        _check_protectable(session, deployment)
    session.add(deployment)
    session.flush()
    return deployment


def _announce_created(session: Session, who: Principal, deployment: Deployment) -> UUID:
    session.flush()
    announce(session, "created", deployment, facts_of(who), after=snapshot(deployment))
    return deployment.id


def _check_protectable(session: Session, deployment: Deployment) -> None:
    """Raises Conflict `place-protected` where protection would stop it from being started."""
    others = deployments_at(session, deployment.node_id, deployment.prefix)
    blocked = rules.blocked_by_protection(VersionType(deployment.version_type), protected_by_others(others, deployment))
    if blocked is not None:
        raise blocked


def _apply(session: Session, deployment: Deployment, wanted: Change) -> None:
    if wanted.note is not None:
        deployment.note = wanted.note
    if wanted.protected is not None:
        deployment.protected = wanted.protected
    if wanted.config_bundle_ids is not None:
        deployment.config_bundle_ids = list(wanted.config_bundle_ids)
    if wanted.config is not None:
        deployment.config = parse_config(wanted.config(deployment.config))
    node_id, prefix = wanted.node_id or deployment.node_id, wanted.prefix or deployment.prefix
    if (node_id, prefix) != (deployment.node_id, deployment.prefix):
        _move(session, deployment, _usable(session, node_id), prefix)


def _move(session: Session, deployment: Deployment, node: Node, prefix: str) -> None:
    """To another place. There it has not run yet, whatever it was: its containers stay behind with the old place."""
    kind = VersionType(deployment.version_type)
    existing = existing_of_version(session, deployment.version_id, but=deployment.id)
    rules.check_creatable(kind, existing, node=node.id, prefix=prefix)
    deployment.node_id, deployment.prefix = node.id, prefix
    deployment.successful_attempt_id = None
    if deployment.status != Status.FAILED:
        deployment.status = Status.PREPARING.value


def _save(session: Session, who: Principal, deployment: Deployment, before: Json, content: bool, more: Json | None = None) -> None:
    if content and VersionType(deployment.version_type) is VersionType.INCREMENTAL:
        # What was changed is no rollback any more: the next start resolves everything anew.
        deployment.successful_attempt_id = None
    deployment.revision += 1
    deployment.updated_at = clock.now()
    session.flush()
    announce(session, "changed", deployment, facts_of(who), before=before, after=snapshot(deployment) | (more or {}))


def _is_running(deployment: Deployment, others: Sequence[Deployment], node: Node) -> bool:
    """Is it this deployment whose containers stand at its place? One that was kept bears the name of whoever made it."""
    if deployment.status == Status.SUCCESSFUL:
        return True
    if any(one.status == Status.SUCCESSFUL for one in others):
        return False
    return any(one.prefix == deployment.prefix and one.deployment_id == str(deployment.id) for one in observed_of(node.containers))
