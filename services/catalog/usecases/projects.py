"""Projects: what a team delivers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID

from sqlalchemy.orm import Session

from kernel import clock
from kernel.db import Database
from kernel.errors import Conflict
from kernel.principal import Principal
from services.catalog.domain import Project, ProjectType, Version, VersionType
from services.catalog.store import deployments
from services.catalog.store import versions as store
from services.catalog.usecases.events import Facts, project_json, tell_change, version_json
from services.catalog.usecases.registries import Changes, CheckRevision

HIDDEN_NAME = "rolling"
_RUNNING = {"in-progress", "successful"}


@dataclass(frozen=True)
class ProjectView:
    """A project as people see it; `default_version_id` of a versionless one is its hidden version."""

    project: Project
    version_count: int
    default_version_id: UUID | None


def create(db: Database, who: Principal, *, name: str, description: str, kind: ProjectType) -> ProjectView:
    """A versionless project gets its one rolling version at once. Raises Conflict `name-taken`."""
    with db.team(who.team) as session:
        project = add(session, who, name=name, description=description, kind=kind)
        return _view(session, project)


def add(session: Session, who: Principal, *, name: str, description: str, kind: ProjectType) -> Project:
    """As `create`, in the caller's transaction."""
    now = clock.now()
    project = Project(id=clock.new_id(), team_id=who.team, name=name, description=description, type=kind, created_at=now, updated_at=now)
    store.add_project(session, project)
    tell_change(session, who.envelope_facts(), "project.created", project, before=None, after=project_json(project))
    if kind is ProjectType.VERSIONLESS:
        project, _ = add_version(session, who, project, name=HIDDEN_NAME, kind=VersionType.ROLLING)
    return project


def add_version(
    session: Session, who: Principal, project: Project, *, name: str, kind: VersionType, **more: Any
) -> tuple[Project, Version]:
    """The next version of a project that the caller has locked. Any: further fields of the version."""
    now = clock.now()
    identity = clock.new_id()
    version = Version(
        id=identity,
        team_id=project.team_id,
        project_id=project.id,
        name=name,
        type=kind,
        seq=project.last_seq + 1,
        created_at=now,
        updated_at=now,
        created_by=who.actor,
        created_by_name=who.name,
        **{"is_default": project.last_seq == 0, "chain_id": identity if kind is VersionType.INCREMENTAL else None, **more},
    )
    project = replace(project, last_seq=version.seq)
    store.save_project(session, project)
    store.add_version(session, version)
    tell_change(session, who.envelope_facts(), "version.created", version, before=None, after=version_json(version))
    return project, version


def find(db: Database, who: Principal, project_id: UUID) -> ProjectView:
    with db.team(who.team) as session:
        return _view(session, store.get_project(session, who.team, project_id))


def listed(
    db: Database, who: Principal, *, limit: int, after: tuple[str, UUID] | None, query: str | None, kind: str | None
) -> list[ProjectView]:
    """One more than `limit`."""
    with db.team(who.team) as session:
        found = store.list_projects(session, who.team, limit=limit + 1, after=after, query=query, kind=kind)
        return _views(session, who.team, found)


def change(db: Database, who: Principal, project_id: UUID, changes: Changes, check: CheckRevision) -> ProjectView:
    with db.team(who.team) as session:
        old = store.get_project(session, who.team, project_id, lock=True)
        check(old.revision)
        new = replace(old, **changes, updated_at=clock.now(), revision=old.revision + 1)
        store.save_project(session, new)
        tell_change(session, who.envelope_facts(), "project.changed", new, before=project_json(old), after=project_json(new))
        return _view(session, new)


def convert(db: Database, who: Principal, project_id: UUID, check: CheckRevision) -> ProjectView:
    """Versionless becomes versioned; its hidden version is one like others then. There is no way back."""
    with db.team(who.team) as session:
        old = store.get_project(session, who.team, project_id, lock=True)
        check(old.revision)
        if old.type is ProjectType.VERSIONED:
            raise Conflict("project-versioned", "The project has versions already.")
        new = replace(old, type=ProjectType.VERSIONED, updated_at=clock.now(), revision=old.revision + 1)
        store.save_project(session, new)
        tell_change(session, who.envelope_facts(), "project.converted", new, before=project_json(old), after=project_json(new))
        return _view(session, new)


def delete(db: Database, who: Principal, project_id: UUID, check: CheckRevision) -> None:
    """With all its versions. Raises Conflict `project-in-use` while a deployment of it runs."""
    with db.team(who.team) as session:
        project = store.get_project(session, who.team, project_id, lock=True)
        check(project.revision)
        versions = store.all_versions(session, project)
        if _RUNNING & deployments.statuses_in_project(session, project, clock.now()):
            raise Conflict("project-in-use", "A deployment of the project runs. Delete it (with its containers) first.")
        _remove(session, who.envelope_facts(), project, versions)


def _remove(session: Session, facts: Facts, project: Project, versions: Sequence[Version]) -> None:
    for version in versions:
        store.clear_chain(session, version)
    for version in versions:
        store.remove_version(session, version)
        tell_change(session, facts, "version.deleted", version, before=version_json(version), after=None)
    store.remove_project(session, project)
    tell_change(session, facts, "project.deleted", project, before=project_json(project), after=None)


def _view(session: Session, project: Project) -> ProjectView:
    return _views(session, project.team_id, [project])[0]


def _views(session: Session, team_id: UUID, projects: Sequence[Project]) -> list[ProjectView]:
    counts = store.version_counts(session, team_id, [project.id for project in projects])
    return [ProjectView(project, *counts.get(project.id, (0, None))) for project in projects]
