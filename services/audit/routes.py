"""The audit log over HTTP."""

from __future__ import annotations

from itertools import chain, islice
from typing import Any
from uuid import UUID

from flask import Response, current_app
from flask.views import MethodView
from flask_smorest import Blueprint
from marshmallow import RAISE

from kernel import clock
from kernel.http import Page, PageArguments, needs, principal
from kernel.permissions import Action
from services.audit import exports, schemas, usecases
from services.audit.domain import Filters, Finding

blueprint = Blueprint("audit", __name__, url_prefix="/api/v1/teams/<uuid:team_id>/audit", description="Who did what, and the proof of it")
_KINDS = {"ndjson": (exports.ndjson, "application/x-ndjson"), "csv": (exports.as_csv, "text/csv; charset=utf-8")}


def _part(name: str) -> Any:  # Flask's extensions hold anything
    return current_app.extensions["fairlead"][name]


@blueprint.route("", methods=["GET"])
@needs("audit", Action.READ)
@blueprint.arguments(schemas.SearchArguments, location="query", unknown=RAISE)
@blueprint.response(200, schemas.EntryPageSchema)
def search(arguments: dict[str, Any], team_id: UUID) -> Page:
    """Search the log, newest first."""
    return usecases.search(_part("db"), principal(), arguments["filters"], cursor=arguments["cursor"], limit=arguments["limit"])


@blueprint.route("/export", methods=["GET"])
@needs("audit", Action.READ)
@blueprint.arguments(schemas.ExportArguments, location="query", unknown=RAISE)
@blueprint.response(
    200, {"type": "string"}, content_type="application/x-ndjson", description="One entry a line (or a CSV row), oldest first"
)
def export(arguments: dict[str, Any], team_id: UUID) -> Response:
    """Export what a search would find, of any length, oldest first."""
    write, kind = _KINDS[arguments["format"]]
    pieces = write(usecases.export(_part("db"), principal(), arguments["filters"]))
    # Made here and not while it is sent: what fails before there is anything to send is answered as a problem.
    first = list(islice(pieces, 1))
    response = Response(chain(first, pieces), content_type=kind)
    name = f"audit-{team_id}-{clock.now():%Y%m%dT%H%M%SZ}.{arguments['format']}"
    response.headers["Content-Disposition"] = f'attachment; filename="{name}"'
    return response


@blueprint.route("/verify", methods=["GET"])
@needs("audit", Action.READ)
@blueprint.arguments(schemas.VerifyArguments, location="query", unknown=RAISE)
@blueprint.response(200, schemas.FindingSchema)
def verify(arguments: dict[str, Filters], team_id: UUID) -> Finding:
    """Recompute the chain and compare it with the signed checkpoints."""
    return usecases.verify(_part("db"), principal(), arguments["filters"], _part("signing_key").verify_key)


@blueprint.route("/checkpoints")
class Checkpoints(MethodView):
    """Signed checkpoints of the team's chain: keep copies outside."""

    @needs("audit", Action.READ)
    @blueprint.arguments(PageArguments, location="query", unknown=RAISE)
    @blueprint.response(200, schemas.CheckpointPageSchema)
    def get(self, arguments: dict[str, Any], team_id: UUID) -> Page:
        """List the checkpoints, newest first."""
        return usecases.list_checkpoints(_part("db"), principal(), cursor=arguments["cursor"], limit=arguments["limit"])

    @needs("audit", Action.ADMIN)
    @blueprint.response(201, schemas.CheckpointSchema)
    @blueprint.alt_response(204, description="The log is empty: there is nothing to sign")
    def post(self, team_id: UUID) -> Any:  # a document, or an empty response
        """Sign a checkpoint of the chain as it stands now."""
        made = usecases.make_checkpoint(_part("db"), principal(), _part("signing_key"))
        return made if made is not None else Response(status=204)
