"""Compose files and templates over HTTP."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from flask import Response
from flask_smorest import Blueprint

from kernel.http import needs, principal
from kernel.http.etag import if_match_check
from kernel.permissions import Action
from services.catalog.compose import ImportOptions
from services.catalog.routes import render
from services.catalog.routes.parts import TEAM, Json, db, labels, location
from services.catalog.schemas import compose as schemas
from services.catalog.usecases import compose, templates
from services.catalog.usecases.templates import Template

blueprint = Blueprint("compose", __name__, url_prefix=TEAM, description="Compose files in and out, and ready-made projects")
Fields = dict[str, Any]  # what a schema has checked


@blueprint.post("/versions/<uuid:version_id>/import-compose")
@needs("images", Action.WRITE)
@blueprint.arguments(schemas.ComposeImportSchema)
@blueprint.response(200, schemas.ComposeImportedSchema)
def import_compose(body: Fields, team_id: UUID, version_id: UUID) -> Json:
    """Services become images with configuration; the answer says what was changed on the way and what was left out."""
    options = ImportOptions(body["env_files"], body["variables"], body["profiles"])
    done = compose.import_into(
        db(),
        principal(),
        labels(),
        version_id,
        compose=body["compose"],
        options=options,
        by_host=body["registries"],
        check=if_match_check(),
    )
    imported = [{"service": name, "image": render.image(view)} for name, view in done.images]
    return {"imported": imported, "changed": done.changed, "skipped": done.skipped}


@blueprint.get("/versions/<uuid:version_id>/export-compose")
@needs("versions", Action.READ)
@blueprint.response(200, {"type": "object"}, content_type="application/yaml", description="A Compose file")
def export_compose(team_id: UUID, version_id: UUID) -> Response:
    return Response(compose.export(db(), principal(), version_id), content_type="application/yaml; charset=utf-8")


@blueprint.get("/templates")
@needs("templates", Action.READ)
@blueprint.response(200, schemas.TemplateListSchema)
def list_templates(team_id: UUID) -> Json:
    return {"items": [_template(one) for one in templates.all_templates()], "next_cursor": None}


@blueprint.get("/templates/<string:template_id>")
@needs("templates", Action.READ)
@blueprint.response(200, schemas.TemplateSchema)
def get_template(team_id: UUID, template_id: str) -> Json:
    return _template(templates.find(template_id))


@blueprint.post("/templates/<string:template_id>/projects")
@needs("projects", Action.WRITE)
@blueprint.arguments(schemas.TemplateUseSchema)
@blueprint.response(201, schemas.TemplateUsedSchema)
def use_template(body: Fields, team_id: UUID, template_id: str) -> tuple[Json, int, dict[str, str]]:
    """Makes a project of a template, with one version and its images."""
    made = templates.make_project(db(), principal(), template_id, name=body["name"], description=body["description"], kind=body["type"])
    shown = {"project": render.project(made.project), "version_id": made.version_id, "notes": made.notes}
    return shown, 201, location(team_id, "projects", made.project.project.id)


def _template(one: Template) -> Json:
    return vars(one) | {"services": one.services.services}
