"""What the deployer asks on behalf of whoever deploys. Not proxied by the gateway."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from flask_smorest import Blueprint

from kernel.http import needs, principal
from kernel.permissions import Action
from services.catalog.routes import render
from services.catalog.routes.parts import Json, browser, db, vault
from services.catalog.schemas import internal as schemas
from services.catalog.usecases import digests, pinning, versions
from services.catalog.usecases.digests import DigestOrder
from services.catalog.usecases.pinning import PinOrder

blueprint = Blueprint(
    "internal", __name__, url_prefix="/internal/teams/<uuid:team_id>/versions/<uuid:version_id>", description="For the deployer"
)
bundles_blueprint = Blueprint(
    "internal config bundles", __name__, url_prefix="/internal/teams/<uuid:team_id>/config-bundles", description="For the deployer"
)
Fields = dict[str, Any]  # what a schema has checked


@blueprint.get("")
@needs("versions", Action.READ)
@blueprint.response(200, schemas.ContentSchema)
def get_content(team_id: UUID, version_id: UUID) -> Json:
    return render.content(versions.find(db(), principal(), version_id))


@blueprint.post("/pin")
@needs("versions", Action.READ)
@blueprint.arguments(schemas.PinArguments)
@blueprint.response(200, schemas.PinnedSchema)
def pin_version(body: Fields, team_id: UUID, version_id: UUID) -> Json:
    return render.pinned(pinning.pin(db(), principal(), vault(), browser(), version_id, PinOrder(**body)))


@blueprint.post("/digests")
@needs("versions", Action.READ)
@blueprint.arguments(schemas.DigestArguments)
@blueprint.response(200, schemas.DigestsSchema)
def find_digests(body: Fields, team_id: UUID, version_id: UUID) -> Json:
    return vars(digests.resolve(db(), principal(), vault(), browser(), version_id, DigestOrder(**body)))


@blueprint.post("/release")
@needs("deployments", Action.DEPLOY)
@blueprint.arguments(schemas.ReleaseArguments)
@blueprint.response(204)
def release_version(body: Fields, team_id: UUID, version_id: UUID) -> None:
    pinning.release(db(), principal(), version_id, body["deployment_id"])


@bundles_blueprint.post("/check")
@needs("versions", Action.READ)
@bundles_blueprint.arguments(schemas.BundlesArguments)
@bundles_blueprint.response(204)
def check_bundles(body: Fields, team_id: UUID) -> None:
    pinning.check_bundles(db(), principal(), body["config_bundle_ids"])
