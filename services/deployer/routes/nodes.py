"""Nodes over HTTP: parse, one use case, render."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from flask import current_app, url_for
from flask.views import MethodView
from flask_smorest import Blueprint

from kernel.http import Page, PageArguments, decode_cursor, needs, page_of, page_schema, principal, set_etag
from kernel.http.etag import if_match_check
from kernel.http.paging import encode_cursor
from kernel.permissions import Action
from services.deployer.provisioning import Provisioner
from services.deployer.schemas import nodes as schemas
from services.deployer.store.nodes import NodeView
from services.deployer.usecases import nodes as usecases

blp = Blueprint("nodes", __name__, url_prefix="/api/v1/teams/<uuid:team_id>/nodes", description="Machines that run an agent.")

Json = dict[str, Any]  # what a request or a response holds


def _part(name: str) -> Any:  # whatever create_app put there
    return current_app.extensions["fairlead"][name]


def provisioner() -> Provisioner:
    """The broker's management API, as the settings name it."""
    settings = _part("settings")
    return Provisioner(settings.broker_management_url, settings.agent_broker_url)


def _shown(view: NodeView) -> Json:
    row = view.row
    names = (
        "id", "team_id", "name", "description", "icon", "agent_version", "engine", "facts", "epoch", "verify_key", "seal_key",
        "enrolled_at", "revoked_at", "last_seen_at", "observed_at", "duplicate_seen_at", "revision", "created_at", "updated_at",
    )  # fmt: skip
    ages = {"last_seen_age_seconds": view.silent_seconds, "observed_age_seconds": view.observed_seconds}
    return {name: getattr(row, name) for name in names} | {"status": view.status, "duplicated": view.is_duplicated} | ages


def _single(view: NodeView) -> Json:
    set_etag(view.row.revision)
    return _shown(view)


@blp.route("")
class Nodes(MethodView):
    @needs("nodes", Action.READ)
    @blp.arguments(PageArguments, location="query")
    @blp.response(200, page_schema(schemas.NodeSchema))
    def get(self, arguments: Json, team_id: UUID) -> Page:
        """Nodes of the team, by name."""
        after = decode_cursor(arguments["cursor"], str, UUID)
        views = usecases.list_nodes(_part("db"), principal(), limit=arguments["limit"], after=after)
        page = page_of(views, arguments["limit"], lambda view: (view.row.name, view.row.id))
        return Page([_shown(view) for view in page.items], page.next_cursor)

    @needs("nodes", Action.WRITE)
    @blp.arguments(schemas.NodeCreateSchema)
    @blp.response(201, schemas.NodeSchema)
    def post(self, body: Json, team_id: UUID) -> tuple[Json, int, Json]:
        """Make a node; ask for its enrolment next."""
        view = usecases.create_node(_part("db"), principal(), **body)
        return _single(view), 201, {"Location": url_for("nodes.Node", team_id=team_id, node_id=view.row.id)}


@blp.route("/<uuid:node_id>")
class Node(MethodView):
    @needs("nodes", Action.READ)
    @blp.response(200, schemas.NodeSchema)
    def get(self, team_id: UUID, node_id: UUID) -> Json:
        """One node, with its status and the ages of what is known."""
        return _single(usecases.get_node(_part("db"), principal(), node_id))

    @needs("nodes", Action.WRITE)
    @blp.arguments(schemas.NodePatchSchema)
    @blp.response(200, schemas.NodeSchema)
    def patch(self, body: Json, team_id: UUID, node_id: UUID) -> Json:
        """Change name, description or icon (a merge patch)."""
        return _single(usecases.change_node(_part("db"), principal(), node_id, body, if_match_check()))

    @needs("nodes", Action.ADMIN)
    @blp.response(204)
    def delete(self, team_id: UUID, node_id: UUID) -> None:
        """Forget a node on which no deployment stands."""
        usecases.delete_node(_part("db"), provisioner(), principal(), node_id, if_match_check())


@blp.route("/<uuid:node_id>/enrollment", methods=["POST"])
@needs("nodes", Action.ADMIN)
@blp.response(201, schemas.EnrollmentSchema)
def offer_enrollment(team_id: UUID, node_id: UUID) -> usecases.EnrollmentOffer:
    """A one-line install command with a one-time token; a new one voids the old."""
    return usecases.offer_enrollment(_part("db"), principal(), node_id, public_url=_part("settings").public_url)


@blp.route("/<uuid:node_id>/revoke", methods=["POST"])
@needs("nodes", Action.ADMIN)
@blp.response(200, schemas.NodeSchema)
def revoke(team_id: UUID, node_id: UUID) -> Json:
    """Cut the node off at once; only a new enrolment brings it back."""
    return _single(usecases.revoke_node(_part("db"), provisioner(), principal(), node_id))


@blp.route("/<uuid:node_id>/events")
@needs("nodes", Action.READ)
@blp.arguments(PageArguments, location="query")
@blp.response(200, page_schema(schemas.NodeEventSchema))
def list_events(arguments: Json, team_id: UUID, node_id: UUID) -> Page:
    """What happened to the node, newest first."""
    cursor = decode_cursor(arguments["cursor"], int)
    rows = usecases.list_node_events(
        _part("db"), principal(), node_id, limit=arguments["limit"], before=None if cursor is None else cursor[0]
    )
    return page_of(rows, arguments["limit"], lambda row: (row.number,))


@blp.route("/<uuid:node_id>/containers")
@needs("containers", Action.READ)
@blp.arguments(schemas.ContainerArguments, location="query")
@blp.response(200, schemas.ContainerPageSchema)
def list_containers(arguments: Json, team_id: UUID, node_id: UUID) -> Json:
    """The node's containers as they were last seen, by prefix and name."""
    after = decode_cursor(arguments["cursor"], str, str)
    found = usecases.list_containers(
        _part("db"),
        principal(),
        node_id,
        prefix=arguments["prefix"],
        limit=arguments["limit"],
        after=after,
    )
    return {
        "items": found.items,
        "next_cursor": encode_cursor(*found.next_after) if found.next_after else None,
        "observed_at": found.observed_at,
        "observed_age_seconds": found.observed_seconds,
    }
