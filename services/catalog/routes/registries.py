"""Registries over HTTP."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from flask_smorest import Blueprint

from kernel.http import Page, needs, page_of, principal, set_etag
from kernel.http.etag import if_match_check
from kernel.permissions import Action
from services.catalog.domain import Registry
from services.catalog.routes.parts import TEAM, Json, browser, db, location, name_cursor, names_page, vault
from services.catalog.schemas import registries as schemas
from services.catalog.usecases import registries

blueprint = Blueprint("registries", __name__, url_prefix=f"{TEAM}/registries", description="Where images come from")
Fields = dict[str, Any]  # what a schema has checked


@blueprint.get("")
@needs("registries", Action.READ)
@blueprint.arguments(schemas.RegistryPageArguments, location="query")
@blueprint.response(200, schemas.RegistryPageSchema)
def list_registries(query: Fields, team_id: UUID) -> Page:
    limit = query["limit"]
    found = registries.listed(db(), principal(), limit=limit, after=name_cursor(query["cursor"]), kind=query["type"])
    return page_of(found, limit, lambda one: (one.name, one.id))


@blueprint.post("")
@needs("registries", Action.WRITE)
@blueprint.arguments(schemas.RegistryCreateSchema)
@blueprint.response(201, schemas.RegistrySchema)
def create_registry(body: Fields, team_id: UUID) -> tuple[Registry, int, dict[str, str]]:
    registry = registries.create(db(), principal(), vault(), body)
    set_etag(registry.revision)
    return registry, 201, location(team_id, "registries", registry.id)


@blueprint.get("/<uuid:registry_id>")
@needs("registries", Action.READ)
@blueprint.response(200, schemas.RegistrySchema)
def get_registry(team_id: UUID, registry_id: UUID) -> Registry:
    registry = registries.find(db(), principal(), registry_id)
    set_etag(registry.revision)
    return registry


@blueprint.patch("/<uuid:registry_id>")
@needs("registries", Action.WRITE)
@blueprint.arguments(schemas.RegistryChangeSchema)
@blueprint.response(200, schemas.RegistrySchema)
def change_registry(body: Fields, team_id: UUID, registry_id: UUID) -> Registry:
    registry = registries.change(db(), principal(), vault(), registry_id, body, if_match_check())
    set_etag(registry.revision)
    return registry


@blueprint.delete("/<uuid:registry_id>")
@needs("registries", Action.WRITE)
@blueprint.response(204)
def delete_registry(team_id: UUID, registry_id: UUID) -> None:
    registries.delete(db(), principal(), registry_id, if_match_check())


@blueprint.post("/<uuid:registry_id>/check")
@needs("registries", Action.READ)
@blueprint.response(200, schemas.CheckedSchema)
def check_registry(team_id: UUID, registry_id: UUID) -> Any:
    return registries.check_remote(db(), principal(), vault(), browser(), registry_id)


@blueprint.get("/<uuid:registry_id>/repositories")
@needs("registries", Action.READ)
@blueprint.arguments(schemas.BrowseArguments, location="query")
@blueprint.response(200, schemas.NamesPageSchema)
def list_repositories(query: Fields, team_id: UUID, registry_id: UUID) -> Json:
    found = registries.browse_repositories(
        db(), principal(), vault(), browser(), registry_id, query=query["query"], refresh=query["refresh"]
    )
    return names_page(found, limit=query["limit"], cursor=query["cursor"])


@blueprint.get("/<uuid:registry_id>/tags")
@needs("registries", Action.READ)
@blueprint.arguments(schemas.TagArguments, location="query")
@blueprint.response(200, schemas.NamesPageSchema)
def list_tags(query: Fields, team_id: UUID, registry_id: UUID) -> Json:
    found = registries.browse_tags(
        db(),
        principal(),
        vault(),
        browser(),
        registry_id,
        repository=query["repository"],
        query=query["query"],
        refresh=query["refresh"],
    )
    return names_page(found, limit=query["limit"], cursor=query["cursor"], newest_first=True)


@blueprint.get("/<uuid:registry_id>/manifest")
@needs("registries", Action.READ)
@blueprint.arguments(schemas.ManifestArguments, location="query")
@blueprint.response(200, schemas.ManifestSchema)
def get_manifest(query: Fields, team_id: UUID, registry_id: UUID) -> Json:
    found = registries.browse_manifest(db(), principal(), vault(), browser(), registry_id, **query)
    named = {"repository": query["repository"], "reference": query["reference"], "as_of": found.as_of}
    return vars(found.value) | named
