"""Projects, and the versions in them, over HTTP."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from flask_smorest import Blueprint

from kernel.http import Page, decode_cursor, needs, page_of, principal, set_etag
from kernel.http.etag import if_match_check
from kernel.permissions import Action
from services.catalog.routes import render
from services.catalog.routes.parts import TEAM, Json, db, location, name_cursor
from services.catalog.schemas import versions as schemas
from services.catalog.usecases import projects, versions

blueprint = Blueprint("projects", __name__, url_prefix=f"{TEAM}/projects", description="What a team delivers")
Fields = dict[str, Any]  # what a schema has checked


@blueprint.get("")
@needs("projects", Action.READ)
@blueprint.arguments(schemas.ProjectPageArguments, location="query")
@blueprint.response(200, schemas.ProjectPageSchema)
def list_projects(query: Fields, team_id: UUID) -> Page:
    found = projects.listed(
        db(), principal(), limit=query["limit"], after=name_cursor(query["cursor"]), query=query["query"], kind=query["type"]
    )
    return page_of([render.project(view) for view in found], query["limit"], lambda one: (one["name"], one["id"]))


@blueprint.post("")
@needs("projects", Action.WRITE)
@blueprint.arguments(schemas.ProjectCreateSchema)
@blueprint.response(201, schemas.ProjectSchema)
def create_project(body: Fields, team_id: UUID) -> tuple[Json, int, dict[str, str]]:
    view = projects.create(db(), principal(), name=body["name"], description=body["description"], kind=body["type"])
    set_etag(view.project.revision)
    return render.project(view), 201, location(team_id, "projects", view.project.id)


@blueprint.get("/<uuid:project_id>")
@needs("projects", Action.READ)
@blueprint.response(200, schemas.ProjectSchema)
def get_project(team_id: UUID, project_id: UUID) -> Json:
    view = projects.find(db(), principal(), project_id)
    set_etag(view.project.revision)
    return render.project(view)


@blueprint.patch("/<uuid:project_id>")
@needs("projects", Action.WRITE)
@blueprint.arguments(schemas.ProjectChangeSchema)
@blueprint.response(200, schemas.ProjectSchema)
def change_project(body: Fields, team_id: UUID, project_id: UUID) -> Json:
    view = projects.change(db(), principal(), project_id, body, if_match_check())
    set_etag(view.project.revision)
    return render.project(view)


@blueprint.delete("/<uuid:project_id>")
@needs("projects", Action.WRITE)
@blueprint.response(204)
def delete_project(team_id: UUID, project_id: UUID) -> None:
    projects.delete(db(), principal(), project_id, if_match_check())


@blueprint.post("/<uuid:project_id>/convert")
@needs("projects", Action.WRITE)
@blueprint.response(200, schemas.ProjectSchema)
def convert_project(team_id: UUID, project_id: UUID) -> Json:
    view = projects.convert(db(), principal(), project_id, if_match_check())
    set_etag(view.project.revision)
    return render.project(view)


@blueprint.get("/<uuid:project_id>/versions")
@needs("versions", Action.READ)
@blueprint.arguments(schemas.VersionPageArguments, location="query")
@blueprint.response(200, schemas.VersionPageSchema)
def list_versions(query: Fields, team_id: UUID, project_id: UUID) -> Page:
    before = decode_cursor(query["cursor"], int)
    found = versions.listed(
        db(), principal(), project_id, limit=query["limit"], before_seq=before[0] if before else None, kind=query["type"]
    )
    return page_of([render.version(view) for view in found], query["limit"], lambda one: (one["seq"],))


@blueprint.post("/<uuid:project_id>/versions")
@needs("versions", Action.WRITE)
@blueprint.arguments(schemas.VersionCreateSchema)
@blueprint.response(201, schemas.VersionSchema)
def create_version(body: Fields, team_id: UUID, project_id: UUID) -> tuple[Json, int, dict[str, str]]:
    kind = body.pop("type")
    view = versions.create(db(), principal(), project_id, kind=kind, **body)
    set_etag(view.version.revision)
    return render.version(view), 201, location(team_id, "versions", view.version.id)
