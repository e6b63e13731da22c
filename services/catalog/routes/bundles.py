"""Config bundles over HTTP."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from flask_smorest import Blueprint

from kernel.http import Page, needs, page_of, principal, set_etag
from kernel.http.etag import if_match_check
from kernel.http.paging import PageArguments
from kernel.permissions import Action
from services.catalog.domain import ConfigBundle
from services.catalog.routes.parts import TEAM, db, location, name_cursor
from services.catalog.schemas import registries as schemas
from services.catalog.usecases import bundles

blueprint = Blueprint("config-bundles", __name__, url_prefix=f"{TEAM}/config-bundles", description="Configuration that deployments share")
Fields = dict[str, Any]  # what a schema has checked


@blueprint.get("")
@needs("config-bundles", Action.READ)
@blueprint.arguments(PageArguments, location="query")
@blueprint.response(200, schemas.BundlePageSchema)
def list_bundles(query: Fields, team_id: UUID) -> Page:
    found = bundles.listed(db(), principal(), limit=query["limit"], after=name_cursor(query["cursor"]))
    return page_of(found, query["limit"], lambda one: (one.name, one.id))


@blueprint.post("")
@needs("config-bundles", Action.WRITE)
@blueprint.arguments(schemas.BundleCreateSchema)
@blueprint.response(201, schemas.BundleSchema)
def create_bundle(body: Fields, team_id: UUID) -> tuple[ConfigBundle, int, dict[str, str]]:
    bundle = bundles.create(db(), principal(), **body)
    set_etag(bundle.revision)
    return bundle, 201, location(team_id, "config-bundles", bundle.id)


@blueprint.get("/<uuid:bundle_id>")
@needs("config-bundles", Action.READ)
@blueprint.response(200, schemas.BundleSchema)
def get_bundle(team_id: UUID, bundle_id: UUID) -> ConfigBundle:
    bundle = bundles.find(db(), principal(), bundle_id)
    set_etag(bundle.revision)
    return bundle


@blueprint.patch("/<uuid:bundle_id>")
@needs("config-bundles", Action.WRITE)
@blueprint.arguments(schemas.BundleChangeSchema)
@blueprint.response(200, schemas.BundleSchema)
def change_bundle(body: Fields, team_id: UUID, bundle_id: UUID) -> ConfigBundle:
    bundle = bundles.change(db(), principal(), bundle_id, body, if_match_check())
    set_etag(bundle.revision)
    return bundle


@blueprint.delete("/<uuid:bundle_id>")
@needs("config-bundles", Action.WRITE)
@blueprint.response(204)
def delete_bundle(team_id: UUID, bundle_id: UUID) -> None:
    bundles.delete(db(), principal(), bundle_id, if_match_check())
