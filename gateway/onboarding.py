"""What a new team should do next, found out from the services with the caller's own token."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from flask import Flask, Response, jsonify

from gateway.caller import find_caller
from gateway.parts import Parts
from gateway.routing import names
from kernel import telemetry
from kernel.errors import Forbidden, NotFound, Unauthenticated, Unavailable


@dataclass(frozen=True)
class Step:
    """One step: done when the list at `path` of `service` holds something."""

    name: str
    service: str
    path: str
    advice: str


STEPS = (
    Step("node", "deployer", "nodes", "Add a node: create one, then run its one-line install on the machine."),
    Step("registry", "catalog", "registries", "Add the registry that your images are in."),
    Step("project", "catalog", "projects", "Create a project, and in it a version with its images."),
    Step("deployment", "deployer", "deployments", "Create a deployment of a version on a node."),
    Step("success", "deployer", "deployments?status=successful", "Start a deployment, and follow its events."),
)


def add_routes(app: Flask, parts: Parts) -> None:
    @app.get("/api/v1/teams/<uuid:team_id>/onboarding")
    @names("each list's own read permission, checked by its service")
    def onboarding(team_id: UUID) -> Response:
        token = find_caller(parts.trusted).internal_token(parts.exchange, team_id)
        steps = [{"name": step.name, "done": _is_done(parts, step, team_id, token), "advice": step.advice} for step in STEPS]
        return jsonify({"steps": steps, "next": next((step["name"] for step in steps if not step["done"]), None)})


def _is_done(parts: Parts, step: Step, team_id: UUID, token: str) -> bool:
    headers = {"Authorization": f"Bearer {token}", "X-Correlation-ID": telemetry.correlation.get() or ""}
    joint = "&" if "?" in step.path else "?"
    target = f"/api/v1/teams/{team_id}/{step.path}{joint}limit=1"
    status, body = parts.upstreams[step.service].fetch("GET", target, headers, timeout_seconds=10)
    refusals = {401: Unauthenticated(), 403: Forbidden(), 404: NotFound("team")}
    if status in refusals:
        raise refusals[status]
    if status != 200:
        raise Unavailable(f"The {step.service} service answered {status}.", code=f"{step.service}-unavailable")
    document: dict[str, Any] = json.loads(body)
    return bool(document.get("items"))
