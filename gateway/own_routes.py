"""The description of the gateway's own routes, as OpenAPI wants it."""

from __future__ import annotations

from typing import Any

Document = dict[str, Any]  # a loose document of OpenAPI's

DESCRIPTION = (
    "Fairlead delivers versioned stacks of containers to machines that a team already owns.\n\n"
    "Sign in with `POST /api/v1/auth/login` and send `Authorization: Bearer <token>`. Errors are problem documents (RFC 9457) "
    "with a stable `code`. Lists take `limit` and `cursor`. POST takes an `Idempotency-Key`; PATCH, PUT and DELETE "
    "honour `If-Match` for whatever answers a GET with an `ETag`. "
    "Tokens, sessions and invitations carry none: they are made and ended, not changed."
)

TAGS: list[Document] = [{"name": "gateway", "description": "How the whole is, and what happens now"}]


def _operation(
    identifier: str, summary: str, *, responses: Document, parameters: list[Document] | None = None, public: bool = False
) -> Document:
    operation: Document = {"operationId": identifier, "summary": summary, "tags": ["gateway"], "responses": responses}
    if parameters:
        operation["parameters"] = parameters
    if public:
        operation["security"] = []
    return {"get": operation}


def _json(description: str) -> Document:
    return {"description": description, "content": {"application/json": {"schema": {"type": "object"}}}}


def _path(name: str) -> Document:
    return {"name": name, "in": "path", "required": True, "schema": {"type": "string", "format": "uuid"}}


_STREAM: Document = {"description": "Server-sent events", "content": {"text/event-stream": {"schema": {"type": "string"}}}}
_REFUSED: Document = {
    "401": {"description": "Not signed in"},
    "404": {"description": "Not there, or another team's"},
    "503": {"description": "Too many live streams, or a part does not answer"},
}

PATHS: dict[str, Document] = {
    "/api/v1/teams/{team_id}/deployments/{deployment_id}/events/stream": _operation(
        "streamDeploymentEvents",
        "The events of a deployment from any point on, as they happen: nothing missed, nothing twice. "
        "Events are `status`, `step` and `log` with the event as data and its number as id, `end` when the attempt is over, "
        "`problem` when the stream had to stop, `lost` where events that were asked for are too old to be kept.",
        responses={"200": _STREAM, **_REFUSED},
        parameters=[
            _path("team_id"),
            _path("deployment_id"),
            {"name": "Last-Event-ID", "in": "header", "schema": {"type": "string"}, "description": "Go on after this number"},
            {"name": "after", "in": "query", "schema": {"type": "integer", "minimum": 0}, "description": "As Last-Event-ID"},
            {"name": "attempt", "in": "query", "schema": {"type": "integer", "minimum": 1}, "description": "Events of this attempt only"},
        ],
    ),
    "/api/v1/teams/{team_id}/events/stream": _operation(
        "streamTeamEvents",
        "What happens in the team now. Live only: `lost` says that some may have been missed.",
        responses={"200": _STREAM, **_REFUSED},
        parameters=[_path("team_id")],
    ),
    "/api/v1/teams/{team_id}/onboarding": _operation(
        "readOnboarding",
        "What the team has done already, and what comes next",
        responses={"200": _json("Steps with `name`, `done` and `advice`; `next` is the first that is not done"), **_REFUSED},
        parameters=[_path("team_id")],
    ),
    "/api/v1/status": _operation("readStatus", "Versions of all parts", responses={"200": _json("Versions by part")}, public=True),
    "/api/v1/openapi.json": _operation("readDescription", "This document", responses={"200": _json("OpenAPI 3.1")}, public=True),
    "/healthz": _operation("readHealth", "Does the process answer?", responses={"200": _json("It does")}, public=True),
    "/readyz": _operation(
        "readReadiness",
        "Is every part ready?",
        responses={"200": _json("All are"), "503": _json("One is not; each part with its reason")},
        public=True,
    ),
    "/install/{token}": {
        "get": {
            "operationId": "readInstallScript",
            "summary": "The script that makes a machine a node of the team",
            "tags": ["gateway"],
            "security": [],
            "parameters": [{"name": "token", "in": "path", "required": True, "schema": {"type": "string"}}],
            "responses": {
                "200": {"description": "A shell script", "content": {"text/x-shellscript": {"schema": {"type": "string"}}}},
                "404": {"description": "Not an enrolment token"},
            },
        }
    },
}
