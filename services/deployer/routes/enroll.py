"""Enrolment of agents over HTTP: whoever holds a one-time token becomes its node."""

from __future__ import annotations

from typing import Any

from flask import current_app, request
from flask_smorest import Blueprint

from kernel.errors import Unauthenticated
from kernel.http import public
from services.deployer.domain.nodes import HEARTBEAT_SECONDS
from services.deployer.routes.nodes import provisioner
from services.deployer.schemas.nodes import EnrolledSchema, EnrollSchema
from services.deployer.usecases.enroll import Candidate, enroll

blp = Blueprint("agent", __name__, url_prefix="/api/v1/agent", description="For agents.")

Json = dict[str, Any]  # what a request or a response holds


@blp.route("/enroll", methods=["POST"])
@public("the one-time token in the Authorization header is the permission")
@blp.arguments(EnrollSchema)
@blp.response(200, EnrolledSchema)
def enroll_agent(body: Json) -> Json:
    """Consume a one-time token: keys are kept, the broker gets a user for the node."""
    kind, _, token = request.headers.get("Authorization", "").partition(" ")
    if kind.lower() != "bearer":
        raise Unauthenticated
    parts = current_app.extensions["fairlead"]
    settings = parts["settings"]
    candidate = Candidate(body["verify_key"], body["seal_key"], body["agent_version"], body["facts"])
    answer = enroll(parts["db"], provisioner(), parts["signing_key"], token=token.strip(), candidate=candidate)
    return {
        "node_id": answer.node_id,
        "team_id": answer.team_id,
        "epoch": answer.epoch,
        "broker": {
            "url": settings.agent_broker_url,
            "username": answer.username,
            "password": answer.password,
            "authority": parts["broker_authority"],
        },
        "verify_key": answer.verify_key,
        "heartbeat_seconds": HEARTBEAT_SECONDS,
    }
