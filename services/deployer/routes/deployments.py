"""Deployments over HTTP: parse, one use case, render."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from flask import current_app, url_for
from flask.views import MethodView
from flask_smorest import Blueprint

from kernel.http import Page, PageArguments, decode_cursor, merge_patch, needs, page_of, page_schema, principal, set_etag
from kernel.http.etag import if_match_check
from kernel.permissions import Action
from services.deployer.domain.plan import Step
from services.deployer.domain.states import EventKind, Outcome, Status, VersionType
from services.deployer.models import Attempt
from services.deployer.schemas import deployments as schemas
from services.deployer.store.deployments import Filters
from services.deployer.usecases import cancel, plan, read, start
from services.deployer.usecases import deployments as usecases
from services.deployer.usecases import secrets as secret_usecases
from services.deployer.usecases.catalog import Catalog
from services.deployer.usecases.prepare import StartOptions

blp = Blueprint(
    "deployments",
    __name__,
    url_prefix="/api/v1/teams/<uuid:team_id>/deployments",
    description="This version, on this node, under this prefix, with this configuration.",
)

Json = dict[str, Any]  # what a request or a response holds

_ROW = (
    "id", "team_id", "node_id", "prefix", "version_id", "version_name", "version_type", "version_seq", "project_id",
    "project_name", "note", "protected", "status", "config", "config_bundle_ids", "revision", "created_by", "created_at", "updated_at",
)  # fmt: skip
_VIEW = ("node_name", "node_status", "mutable", "startable", "deletable", "copyable", "instances")
_ENUMS = {"status": Status, "version_type": VersionType}


def _part(name: str) -> Any:  # whatever create_app put there
    return current_app.extensions["fairlead"][name]


def _catalog() -> Catalog:
    return Catalog(_part("catalog"))


def _shown(view: read.DeploymentView) -> Json:
    row = {name: getattr(view.row, name) for name in _ROW}
    row |= {name: kind(row[name]) for name, kind in _ENUMS.items()}
    sync = None
    if view.sync is not None:
        sync = {"state": view.sync, "observed_at": view.observed_at, "differences": view.differences}
    last = _attempt(view.last_attempt) if view.last_attempt else None
    return row | {name: getattr(view, name) for name in _VIEW} | {"sync": sync, "last_attempt": last}


def _attempt(row: Attempt) -> Json:
    fields = [name for name in schemas.AttemptSchema().fields if name != "outcome"]
    return {name: getattr(row, name) for name in fields} | {"outcome": Outcome(row.outcome) if row.outcome else None}


def _single(deployment_id: UUID) -> Json:
    view = read.read_deployment(_part("db"), principal(), deployment_id)
    set_etag(view.row.revision)
    return _shown(view)


@blp.route("")
class Deployments(MethodView):
    @needs("deployments", Action.READ)
    @blp.arguments(schemas.DeploymentFiltersSchema, location="query")
    @blp.response(200, page_schema(schemas.DeploymentSchema))
    def get(self, arguments: Json, team_id: UUID) -> Page:
        """Deployments of the team, newest first."""
        limit, cursor = arguments.pop("limit"), decode_cursor(arguments.pop("cursor"), UUID)
        filters = Filters(**arguments)
        views = read.read_deployments(_part("db"), principal(), filters, before=cursor[0] if cursor else None, limit=limit)
        page = page_of(views, limit, lambda view: (view.row.id,))
        return Page([_shown(view) for view in page.items], page.next_cursor)

    @needs("deployments", Action.DEPLOY)
    @blp.arguments(schemas.DeploymentCreateSchema)
    @blp.response(201, schemas.DeploymentSchema)
    def post(self, body: Json, team_id: UUID) -> tuple[Json, int, Json]:
        """Prepare a deployment."""
        wanted = usecases.NewDeployment(**(body | {"config_bundle_ids": tuple(body["config_bundle_ids"])}))
        made = usecases.create(_part("db"), _catalog(), principal(), wanted)
        return _single(made), 201, {"Location": url_for("deployments.Deployment", team_id=team_id, deployment_id=made)}


@blp.route("/<uuid:deployment_id>")
class Deployment(MethodView):
    @needs("deployments", Action.READ)
    @blp.response(200, schemas.DeploymentSchema)
    def get(self, team_id: UUID, deployment_id: UUID) -> Json:
        """One deployment."""
        return _single(deployment_id)

    @needs("deployments", Action.DEPLOY)
    @blp.arguments(schemas.DeploymentPatchSchema)
    @blp.response(200, schemas.DeploymentSchema)
    def patch(self, body: Json, team_id: UUID, deployment_id: UUID) -> Json:
        """Change it where the rules let it be changed."""
        usecases.change(_part("db"), _catalog(), principal(), deployment_id, _change(body), if_match_check())
        return _single(deployment_id)

    @needs("deployments", Action.DEPLOY)
    @blp.arguments(schemas.DeleteArguments, location="query")
    @blp.response(204)
    def delete(self, arguments: Json, team_id: UUID, deployment_id: UUID) -> None:
        """Forget it; with `remove_containers` what runs of it is removed from the node."""
        usecases.delete(_part("db"), _part("signing_key"), principal(), deployment_id, if_match_check(), **arguments)


def _change(body: Json) -> usecases.Change:
    """A merge patch as a change: null brings a field's default back."""
    values: Json = {name: body[name] for name in ("node_id", "prefix", "protected") if name in body}
    if "note" in body:
        values["note"] = body["note"] or ""
    if "config_bundle_ids" in body:
        values["config_bundle_ids"] = tuple(body["config_bundle_ids"] or ())
    if "config" in body:
        values["config"] = _patched(body["config"])
    return usecases.Change(**values)


def _patched(patch: Json | None) -> Any:  # a function from configuration to configuration
    return lambda present: {} if patch is None else merge_patch(present, patch)


@blp.route("/<uuid:deployment_id>/instances/<uuid:instance_id>")
class Instance(MethodView):
    @needs("deployments", Action.DEPLOY)
    @blp.arguments(schemas.InstancePatchSchema)
    @blp.response(200, schemas.InstanceSchema)
    def patch(self, body: Json, team_id: UUID, deployment_id: UUID, instance_id: UUID) -> Any:  # a row, rendered by the schema
        """Change what this deployment says of one image."""
        return _changed_instance(deployment_id, instance_id, _patched(body["config"]))

    @needs("deployments", Action.DEPLOY)
    @blp.arguments(schemas.InstancePutSchema)
    @blp.response(200, schemas.InstanceSchema)
    def put(self, body: Json, team_id: UUID, deployment_id: UUID, instance_id: UUID) -> Any:  # a row, rendered by the schema
        """Say anew what this deployment says of one image; a null takes away what the image or a bundle says."""
        return _changed_instance(deployment_id, instance_id, lambda _present: body["config"])


def _changed_instance(deployment_id: UUID, instance_id: UUID, config: Any) -> Any:  # see _patched
    usecases.change_instance(_part("db"), principal(), deployment_id, instance_id, config, if_match_check())
    view = read.read_deployment(_part("db"), principal(), deployment_id)
    found = next(one for one in view.instances if one.id == instance_id)
    set_etag(found.revision)
    return found


@blp.route("/<uuid:deployment_id>/secrets")
class Secrets(MethodView):
    @needs("secrets", Action.READ)
    @blp.response(200, schemas.SecretsSchema)
    def get(self, team_id: UUID, deployment_id: UUID) -> Any:  # a dataclass, rendered by the schema
        """Which secrets are asked for and which are set; never a value."""
        return _tagged(secret_usecases.read_secrets(_part("db"), _catalog(), principal(), deployment_id))

    @needs("secrets", Action.WRITE)
    @blp.arguments(schemas.SecretsPutSchema)
    @blp.response(200, schemas.SecretsSchema)
    def put(self, body: Json, team_id: UUID, deployment_id: UUID) -> Any:  # a dataclass, rendered by the schema
        """Set secrets: sealed to the node as they arrive, never kept in plain."""
        new = {name: None if said is None else secret_usecases.NewSecret(**said) for name, said in body["secrets"].items()}
        return _tagged(secret_usecases.set_secrets(_part("db"), _catalog(), principal(), deployment_id, new, if_match_check()))


def _tagged(view: secret_usecases.SecretsView) -> secret_usecases.SecretsView:
    set_etag(view.revision)
    return view


@blp.route("/<uuid:deployment_id>/plan")
class Plan(MethodView):
    @needs("deployments", Action.DEPLOY)
    @blp.arguments(schemas.PlanAskSchema)
    @blp.response(200, schemas.PlanSchema)
    def post(self, body: Json, team_id: UUID, deployment_id: UUID) -> Json:
        """What a start would do on the node now."""
        planned = plan.plan(_part("db"), _catalog(), principal(), deployment_id, _options(body))
        return {
            "actions": [_action(step) for step in planned.plan.steps],
            "downtime": planned.plan.downtime,
            "fingerprint": planned.plan.fingerprint,
            "observed_at": planned.observed_at,
            "frozen": planned.frozen,
            "blocked": [{"code": one.code, "message": one.detail} for one in planned.blocked],
        }


def _action(step: Step) -> Json:
    facts = {"name": step.container, "action": step.action, "image": step.image, "downtime": step.downtime}
    return facts | {"reason": ", ".join(step.reasons) or None}


@blp.route("/<uuid:deployment_id>/start")
class Start(MethodView):
    @needs("deployments", Action.DEPLOY)
    @blp.arguments(schemas.StartSchema)
    @blp.response(202, schemas.StartedSchema)
    def post(self, body: Json, team_id: UUID, deployment_id: UUID) -> tuple[Json, int, Json]:
        """Start it: a new attempt. Its events tell how it goes."""
        attempt = start.start(_part("db"), _catalog(), _part("signing_key"), principal(), deployment_id, _options(body))
        return {"attempt": _attempt(attempt)}, 202, {"Location": _attempt_url(team_id, attempt)}


@blp.route("/<uuid:deployment_id>/cancel")
class Cancel(MethodView):
    @needs("deployments", Action.DEPLOY)
    @blp.response(202, schemas.StartedSchema)
    def post(self, team_id: UUID, deployment_id: UUID) -> tuple[Json, int, Json]:
        """Ask the node to undo the attempt that it works on."""
        attempt = cancel.cancel(_part("db"), _part("signing_key"), principal(), deployment_id)
        return {"attempt": _attempt(attempt)}, 202, {"Location": _attempt_url(team_id, attempt)}


@blp.route("/<uuid:deployment_id>/copy")
class Copy(MethodView):
    @needs("deployments", Action.DEPLOY)
    @blp.arguments(schemas.CopySchema)
    @blp.response(201, schemas.DeploymentSchema)
    def post(self, body: Json, team_id: UUID, deployment_id: UUID) -> tuple[Json, int, Json]:
        """The same version and configuration at another place; secrets go along to the same node only."""
        made = usecases.copy(_part("db"), _catalog(), principal(), deployment_id, **body)
        return _single(made), 201, {"Location": url_for("deployments.Deployment", team_id=team_id, deployment_id=made)}


@blp.route("/<uuid:deployment_id>/attempts")
class Attempts(MethodView):
    @needs("deployments", Action.READ)
    @blp.arguments(PageArguments, location="query")
    @blp.response(200, page_schema(schemas.AttemptSchema))
    def get(self, arguments: Json, team_id: UUID, deployment_id: UUID) -> Page:
        """Attempts, newest first."""
        cursor = decode_cursor(arguments["cursor"], int)
        below = cursor[0] if cursor else None
        rows = read.read_attempts(_part("db"), principal(), deployment_id, below=below, limit=arguments["limit"])
        page = page_of(rows, arguments["limit"], lambda row: (row.number,))
        return Page([_attempt(row) for row in page.items], page.next_cursor)


@blp.route("/<uuid:deployment_id>/attempts/<int:number>")
class AttemptOne(MethodView):
    @needs("deployments", Action.READ)
    @blp.response(200, schemas.AttemptDetailSchema)
    def get(self, team_id: UUID, deployment_id: UUID, number: int) -> Json:
        """One attempt, with what was sent to the node."""
        row = read.read_attempt(_part("db"), principal(), deployment_id, number)
        return _attempt(row) | {"spec": _without_boxes(row.spec)}


@blp.route("/<uuid:deployment_id>/events")
class Events(MethodView):
    @needs("deployments", Action.READ)
    @blp.arguments(schemas.EventArguments, location="query")
    @blp.response(200, schemas.EventPageSchema)
    def get(self, arguments: Json, team_id: UUID, deployment_id: UUID) -> Json:
        """What happened, in order, from a number on; `lost` says that some of it was too old to be kept."""
        page = read.read_event_page(_part("db"), principal(), deployment_id, **arguments)
        items = [{name: getattr(row, name) for name in schemas.EventSchema().fields} for row in page.items]
        items = [item | {"kind": EventKind(item["kind"])} for item in items]
        facts = {"next_after": page.next_after, "more": page.more, "done": page.done, "status": Status(page.status), "lost": page.lost}
        return {"items": items} | facts


def _options(body: Json) -> StartOptions:
    instances = body.get("instances")
    return StartOptions(**(body | {"instances": None if instances is None else tuple(instances)}))


def _attempt_url(team_id: UUID, attempt: Attempt) -> str:
    return url_for("deployments.AttemptOne", team_id=team_id, deployment_id=attempt.deployment_id, number=attempt.number)


def _without_boxes(spec: Json) -> Json:
    """A frozen specification with the names of its secrets: the boxes are for the node alone."""
    containers = [
        one | {"secrets": {name: {"as": said.get("as")} for name, said in one.get("secrets", {}).items()}} for one in spec["containers"]
    ]
    return spec | {"containers": containers}
