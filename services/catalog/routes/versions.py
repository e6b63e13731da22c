"""Versions and their images over HTTP."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from flask_smorest import Blueprint

from kernel.http import needs, principal, set_etag
from kernel.http.etag import if_match_check
from kernel.permissions import Action
from services.catalog.routes import render
from services.catalog.routes.parts import TEAM, Json, db, labels, location
from services.catalog.schemas import versions as schemas
from services.catalog.usecases import images, versions
from services.catalog.usecases.references import NewImage
from services.catalog.usecases.versions import VersionView

blueprint = Blueprint("versions", __name__, url_prefix=TEAM, description="Releases, and the images in them")
Fields = dict[str, Any]  # what a schema has checked


def _shown(view: VersionView) -> Json:
    set_etag(view.version.revision)
    return render.version(view)


@blueprint.get("/versions/<uuid:version_id>")
@needs("versions", Action.READ)
@blueprint.response(200, schemas.VersionSchema)
def get_version(team_id: UUID, version_id: UUID) -> Json:
    return _shown(versions.find(db(), principal(), version_id))


@blueprint.patch("/versions/<uuid:version_id>")
@needs("versions", Action.WRITE)
@blueprint.arguments(schemas.VersionChangeSchema)
@blueprint.response(200, schemas.VersionSchema)
def change_version(body: Fields, team_id: UUID, version_id: UUID) -> Json:
    return _shown(versions.change(db(), principal(), version_id, body, if_match_check()))


@blueprint.delete("/versions/<uuid:version_id>")
@needs("versions", Action.WRITE)
@blueprint.response(204)
def delete_version(team_id: UUID, version_id: UUID) -> None:
    versions.delete(db(), principal(), version_id, if_match_check())


@blueprint.post("/versions/<uuid:version_id>/increase")
@needs("versions", Action.WRITE)
@blueprint.arguments(schemas.VersionIncreaseSchema)
@blueprint.response(201, schemas.VersionSchema)
def increase_version(body: Fields, team_id: UUID, version_id: UUID) -> tuple[Json, int, dict[str, str]]:
    view = versions.increase(db(), principal(), version_id, **body)
    return _shown(view), 201, location(team_id, "versions", view.version.id)


@blueprint.post("/versions/<uuid:version_id>/default")
@needs("versions", Action.WRITE)
@blueprint.response(200, schemas.VersionSchema)
def make_default_version(team_id: UUID, version_id: UUID) -> Json:
    return _shown(versions.make_default(db(), principal(), version_id))


@blueprint.get("/versions/<uuid:version_id>/images")
@needs("images", Action.READ)
@blueprint.response(200, schemas.ImageListSchema)
def list_images(team_id: UUID, version_id: UUID) -> Json:
    return {"items": [render.image(view) for view in images.listed(db(), principal(), version_id)], "next_cursor": None}


@blueprint.post("/versions/<uuid:version_id>/images")
@needs("images", Action.WRITE)
@blueprint.arguments(schemas.NewImageSchema)
@blueprint.response(201, schemas.ImageSchema)
def add_image(body: Fields, team_id: UUID, version_id: UUID) -> tuple[Json, int, dict[str, str]]:
    view = images.add(db(), principal(), labels(), version_id, [NewImage(**body)], if_match_check())[0]
    set_etag(view.image.revision)
    return render.image(view), 201, location(team_id, "images", view.image.id)


@blueprint.post("/versions/<uuid:version_id>/images/batch")
@needs("images", Action.WRITE)
@blueprint.arguments(schemas.NewImagesSchema)
@blueprint.response(201, schemas.ImageListSchema)
def add_images(body: Fields, team_id: UUID, version_id: UUID) -> tuple[Json, int, dict[str, str]]:
    """Adds all of them, or none when one is wrong."""
    wanted = [NewImage(**one) for one in body["images"]]
    added = images.add(db(), principal(), labels(), version_id, wanted, if_match_check(), path="images.")
    return {"items": [render.image(view) for view in added], "next_cursor": None}, 201, location(team_id, "versions", version_id)


@blueprint.put("/versions/<uuid:version_id>/images/order")
@needs("images", Action.WRITE)
@blueprint.arguments(schemas.ImageOrderSchema)
@blueprint.response(200, schemas.ImageListSchema)
def order_images(body: Fields, team_id: UUID, version_id: UUID) -> Json:
    ordered = images.put_in_order(db(), principal(), version_id, body["image_ids"], if_match_check())
    return {"items": [render.image(view) for view in ordered], "next_cursor": None}


@blueprint.get("/images/<uuid:image_id>")
@needs("images", Action.READ)
@blueprint.response(200, schemas.ImageSchema)
def get_image(team_id: UUID, image_id: UUID) -> Json:
    view = images.find(db(), principal(), image_id)
    set_etag(view.image.revision)
    return render.image(view)


@blueprint.patch("/images/<uuid:image_id>")
@needs("images", Action.WRITE)
@blueprint.arguments(schemas.ImageChangeSchema)
@blueprint.response(200, schemas.ImageSchema)
def change_image(body: Fields, team_id: UUID, image_id: UUID) -> Json:
    view = images.change(db(), principal(), labels(), image_id, body, if_match_check())
    set_etag(view.image.revision)
    return render.image(view)


@blueprint.delete("/images/<uuid:image_id>")
@needs("images", Action.WRITE)
@blueprint.response(204)
def remove_image(team_id: UUID, image_id: UUID) -> None:
    images.remove(db(), principal(), image_id, if_match_check())
