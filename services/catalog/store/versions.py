"""Rows of projects, versions and images."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from services.catalog.domain import Image, Project, ProjectType, Version, VersionType
from services.catalog.models import ImageRow, ProjectRow, VersionRow
from services.catalog.store import rows

_PROJECT: rows.Convert = {"type": ProjectType}
_VERSION: rows.Convert = {"type": VersionType}


def _project(row: ProjectRow) -> Project:
    return rows.to_value(Project, row, _PROJECT)


def _version(row: VersionRow) -> Version:
    return rows.to_value(Version, row, _VERSION)


def _image(row: ImageRow) -> Image:
    return rows.to_value(Image, row, {})


def get_project(session: Session, team_id: UUID, project_id: UUID, *, lock: bool = False) -> Project:
    return _project(rows.get(session, ProjectRow, team_id, project_id, thing="project", lock=lock))


def projects_by_id(session: Session, team_id: UUID, ids: Sequence[UUID]) -> dict[UUID, Project]:
    statement = select(ProjectRow).where(ProjectRow.team_id == team_id, ProjectRow.id.in_(set(ids)))
    return {row.id: _project(row) for row in session.scalars(statement)}


def list_projects(
    session: Session, team_id: UUID, *, limit: int, after: tuple[str, UUID] | None, query: str | None, kind: str | None
) -> list[Project]:
    """By name."""
    statement = select(ProjectRow).where(ProjectRow.team_id == team_id).order_by(ProjectRow.name, ProjectRow.id).limit(limit)
    if query:
        statement = statement.where(rows.contains(ProjectRow.name, query))
    if kind is not None:
        statement = statement.where(ProjectRow.type == kind)
    if after is not None:
        statement = statement.where(func.row(ProjectRow.name, ProjectRow.id) > func.row(*after))
    return [_project(row) for row in session.scalars(statement)]


def add_project(session: Session, project: Project) -> None:
    rows.add(session, ProjectRow, project)


def save_project(session: Session, project: Project) -> None:
    rows.save(session, ProjectRow, project)


def remove_project(session: Session, project: Project) -> None:
    rows.remove(session, ProjectRow, project.team_id, project.id)


# -- versions ------------------------------------------------------------------------


def get_version(session: Session, team_id: UUID, version_id: UUID, *, lock: bool = False) -> Version:
    return _version(rows.get(session, VersionRow, team_id, version_id, thing="version", lock=lock))


def list_versions(session: Session, project: Project, *, limit: int, before_seq: int | None, kind: str | None = None) -> list[Version]:
    """Newest first."""
    statement = select(VersionRow).where(VersionRow.team_id == project.team_id, VersionRow.project_id == project.id)
    statement = statement.order_by(VersionRow.seq.desc()).limit(limit)
    if kind is not None:
        statement = statement.where(VersionRow.type == kind)
    if before_seq is not None:
        statement = statement.where(VersionRow.seq < before_seq)
    return [_version(row) for row in session.scalars(statement)]


def all_versions(session: Session, project: Project) -> list[Version]:
    """Every version of a project, oldest first, locked."""
    statement = select(VersionRow).where(VersionRow.team_id == project.team_id, VersionRow.project_id == project.id)
    return [_version(row) for row in session.scalars(statement.order_by(VersionRow.seq).with_for_update())]


def add_version(session: Session, version: Version) -> None:
    rows.add(session, VersionRow, version)


def save_version(session: Session, version: Version) -> None:
    rows.save(session, VersionRow, version)


def remove_version(session: Session, version: Version) -> None:
    rows.remove(session, VersionRow, version.team_id, version.id)


def clear_default(session: Session, project: Project) -> None:
    """No version of the project is its default any more."""
    statement = update(VersionRow).where(VersionRow.project_id == project.id, VersionRow.team_id == project.team_id, VersionRow.is_default)
    session.execute(statement.values(is_default=False, revision=VersionRow.revision + 1))


def clear_chain(session: Session, version: Version) -> None:
    """Forget who the parent was; before all versions of a project go at once."""
    session.execute(update(VersionRow).where(VersionRow.id == version.id, VersionRow.team_id == version.team_id).values(parent_id=None))


def children_of(session: Session, team_id: UUID, version_ids: Sequence[UUID]) -> dict[UUID, UUID]:
    """Parent id to child id."""
    statement = select(VersionRow.parent_id, VersionRow.id).where(VersionRow.team_id == team_id, VersionRow.parent_id.in_(version_ids))
    return {parent: child for parent, child in session.execute(statement) if parent is not None}


def version_counts(session: Session, team_id: UUID, project_ids: Sequence[UUID]) -> dict[UUID, tuple[int, UUID | None]]:
    """Project id to (number of versions, its default version)."""
    statement = (
        select(VersionRow.project_id, func.count(), func.array_agg(VersionRow.id).filter(VersionRow.is_default))
        .where(VersionRow.team_id == team_id, VersionRow.project_id.in_(project_ids))
        .group_by(VersionRow.project_id)
    )
    return {project_id: (count, defaults[0] if defaults else None) for project_id, count, defaults in session.execute(statement)}


# -- images --------------------------------------------------------------------------


def get_image(session: Session, team_id: UUID, image_id: UUID) -> Image:
    return _image(rows.get(session, ImageRow, team_id, image_id, thing="image"))


def images_of(session: Session, version: Version) -> list[Image]:
    """In order."""
    statement = select(ImageRow).where(ImageRow.team_id == version.team_id, ImageRow.version_id == version.id).order_by(ImageRow.position)
    return [_image(row) for row in session.scalars(statement.execution_options(populate_existing=True))]


def image_counts(session: Session, team_id: UUID, version_ids: Sequence[UUID]) -> dict[UUID, int]:
    statement = select(ImageRow.version_id, func.count()).where(ImageRow.team_id == team_id, ImageRow.version_id.in_(version_ids))
    return {row[0]: row[1] for row in session.execute(statement.group_by(ImageRow.version_id))}


def add_images(session: Session, images: Sequence[Image]) -> None:
    rows.add(session, ImageRow, *images)


def save_image(session: Session, image: Image) -> None:
    rows.save(session, ImageRow, image)


def remove_image(session: Session, image: Image) -> None:
    rows.remove(session, ImageRow, image.team_id, image.id)


def place_images(session: Session, images: Sequence[Image]) -> None:
    """Write the positions only; they may swap, the constraint looks at the end."""
    for image in images:
        session.execute(update(ImageRow).where(ImageRow.id == image.id, ImageRow.team_id == image.team_id).values(position=image.position))


def versions_using(session: Session, team_id: UUID, registry_id: UUID) -> list[Version]:
    """The versions that take an image from a registry."""
    using = select(ImageRow.version_id).where(ImageRow.team_id == team_id, ImageRow.registry_id == registry_id)
    return [_version(row) for row in session.scalars(select(VersionRow).where(VersionRow.team_id == team_id, VersionRow.id.in_(using)))]
