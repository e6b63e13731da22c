"""Versions: making, increasing, changing and deleting them as the rules allow."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from uuid import UUID

from sqlalchemy.orm import Session

from kernel import clock
from kernel.contracts.catalog import VersionIncreased
from kernel.db import Database
from kernel.errors import Conflict
from kernel.principal import Principal
from services.catalog.domain import Image, Project, ProjectType, Registry, Version, VersionType
from services.catalog.domain import versions as rules
from services.catalog.store import deployments, registries
from services.catalog.store import versions as store
from services.catalog.usecases.events import tell, tell_change, version_json
from services.catalog.usecases.projects import add_version
from services.catalog.usecases.registries import Changes, CheckRevision


@dataclass(frozen=True)
class VersionView:
    """A version, and what may be done with it. `images` only where one version is looked at."""

    version: Version
    project: Project
    statuses: Collection[str]
    child_id: UUID | None
    image_count: int
    images: Sequence[Image] | None = None
    registries: dict[UUID, Registry] = field(default_factory=dict)

    @property
    def children(self) -> int:
        return int(self.child_id is not None)

    @property
    def immutable_because(self) -> str | None:
        return rules.immutable_because(self.version.type, self.statuses, children=self.children)

    @property
    def not_increasable_because(self) -> str | None:
        return rules.not_increasable_because(self.version.type, children=self.children)

    @property
    def not_deletable_because(self) -> str | None:
        return rules.not_deletable_because(self.version.type, self.project.type, self.statuses, children=self.children)


def create(
    db: Database,
    who: Principal,
    project_id: UUID,
    *,
    name: str,
    kind: VersionType,
    changelog: str,
    auto_copy_deployments: bool,
    copy_from: UUID | None,
) -> VersionView:
    """`copy_from` names a version of the team whose images the new one begins with. Raises Conflict `project-versionless`, `name-taken`."""
    with db.team(who.team) as session:
        project = store.get_project(session, who.team, project_id, lock=True)
        if project.type is ProjectType.VERSIONLESS:
            raise Conflict("project-versionless", "A versionless project has one version only. Convert it to have more.")
        source = store.get_version(session, who.team, copy_from) if copy_from is not None else None
        project, version = add_version(
            session, who, project, name=name, kind=kind, changelog=changelog, auto_copy_deployments=auto_copy_deployments
        )
        if source is not None:
            _copy_images(session, source, version)
        return view(session, version, project)


def find(db: Database, who: Principal, version_id: UUID) -> VersionView:
    with db.team(who.team) as session:
        return view(session, store.get_version(session, who.team, version_id))


def listed(db: Database, who: Principal, project_id: UUID, *, limit: int, before_seq: int | None, kind: str | None) -> list[VersionView]:
    """Newest first; one more than `limit`."""
    with db.team(who.team) as session:
        project = store.get_project(session, who.team, project_id)
        found = store.list_versions(session, project, limit=limit + 1, before_seq=before_seq, kind=kind)
        ids = [version.id for version in found]
        statuses = deployments.statuses_of(session, who.team, ids, clock.now())
        children = store.children_of(session, who.team, ids)
        counts = store.image_counts(session, who.team, ids)
        return [VersionView(one, project, statuses.get(one.id, []), children.get(one.id), counts.get(one.id, 0)) for one in found]


def change(db: Database, who: Principal, version_id: UUID, changes: Changes, check: CheckRevision) -> VersionView:
    """Its changelog at any time, its name while it may be changed. Raises Conflict `version-immutable`, `hidden-version`, `name-taken`."""
    with db.team(who.team) as session:
        old = store.get_version(session, who.team, version_id, lock=True)
        check(old.revision)
        if "name" in changes and changes["name"] != old.name:
            before = view(session, old)
            rules.refuse("hidden-version" if before.project.type is ProjectType.VERSIONLESS else before.immutable_because)
        new = replace(old, **changes, updated_at=clock.now(), revision=old.revision + 1)
        store.save_version(session, new)
        tell_change(session, who.envelope_facts(), "version.changed", new, before=version_json(old), after=version_json(new))
        return view(session, new)


def make_default(db: Database, who: Principal, version_id: UUID) -> VersionView:
    with db.team(who.team) as session:
        project_id = store.get_version(session, who.team, version_id).project_id
        # The project's lock is taken first, so that two of these cannot meet half-way.
        project = store.get_project(session, who.team, project_id, lock=True)
        old = store.get_version(session, who.team, version_id, lock=True)
        if old.is_default:
            return view(session, old, project)
        store.clear_default(session, project)
        new = replace(old, is_default=True, updated_at=clock.now(), revision=old.revision + 1)
        store.save_version(session, new)
        tell_change(session, who.envelope_facts(), "version.changed", new, before=version_json(old), after=version_json(new))
        return view(session, new, project)


def delete(db: Database, who: Principal, version_id: UUID, check: CheckRevision) -> None:
    """Raises Conflict with the rule's code."""
    with db.team(who.team) as session:
        project_id = store.get_version(session, who.team, version_id).project_id
        project = store.get_project(session, who.team, project_id, lock=True)
        version = store.get_version(session, who.team, version_id, lock=True)
        check(version.revision)
        rules.refuse(view(session, version, project).not_deletable_because)
        store.remove_version(session, version)
        tell_change(session, who.envelope_facts(), "version.deleted", version, before=version_json(version), after=None)
        if version.is_default:
            _choose_default(session, project)


def increase(db: Database, who: Principal, version_id: UUID, *, name: str, changelog: str) -> VersionView:
    """The next release: a child with the same images and configuration. Raises Conflict with the rule's code."""
    with db.team(who.team) as session:
        project_id = store.get_version(session, who.team, version_id).project_id
        project = store.get_project(session, who.team, project_id, lock=True)
        parent = store.get_version(session, who.team, version_id, lock=True)
        rules.refuse(view(session, parent, project).not_increasable_because)
        project, child = add_version(
            session,
            who,
            project,
            name=name,
            kind=VersionType.INCREMENTAL,
            changelog=changelog,
            auto_copy_deployments=parent.auto_copy_deployments,
            parent_id=parent.id,
            chain_id=parent.chain_id or parent.id,
            is_default=False,
        )
        image_ids = _copy_images(session, parent, child)
        increased = VersionIncreased(
            resource_type="version",
            resource_id=str(child.id),
            resource_name=child.name,
            after=version_json(child),
            project_id=project.id,
            parent_id=parent.id,
            version_id=child.id,
            version_name=child.name,
            version_seq=child.seq,
            auto_copy=parent.auto_copy_deployments,
            image_ids=image_ids,
        )
        tell(session, who.envelope_facts(), "version.increased", increased)
        return view(session, child, project)


def view(session: Session, version: Version, project: Project | None = None) -> VersionView:
    """One version with its images."""
    project = project or store.get_project(session, version.team_id, version.project_id)
    statuses = deployments.statuses_of(session, version.team_id, [version.id], clock.now()).get(version.id, [])
    child = store.children_of(session, version.team_id, [version.id]).get(version.id)
    images = store.images_of(session, version)
    known = registries.registries_by_id(session, version.team_id, [image.registry_id for image in images]) if images else {}
    return VersionView(version, project, statuses, child, len(images), images, known)


def _copy_images(session: Session, source: Version, target: Version) -> dict[str, str]:
    """Old image id to new image id."""
    now = clock.now()
    old = store.images_of(session, source)
    new = [replace(image, id=clock.new_id(), version_id=target.id, created_at=now, updated_at=now, revision=1) for image in old]
    store.add_images(session, new)
    return {str(before.id): str(after.id) for before, after in zip(old, new, strict=True)}


def _choose_default(session: Session, project: Project) -> None:
    """The newest of those that remain, after the default version was deleted."""
    remaining = store.list_versions(session, project, limit=1, before_seq=None)
    if remaining:
        store.save_version(session, replace(remaining[0], is_default=True, revision=remaining[0].revision + 1))
