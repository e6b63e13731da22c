"""Hands requests on to the service that owns their path, and its answers back; nothing else passes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any
from uuid import UUID

from flask import Flask, Response, request
from urllib3.response import BaseHTTPResponse

from gateway.addresses import raw_path
from gateway.caller import OWN_TOKENS, find_address, find_caller
from gateway.parts import Parts
from gateway.upstream import Upstream, pieces
from kernel import telemetry
from kernel.errors import Unauthenticated


class Token(StrEnum):
    """What is done with the caller's token."""

    EXCHANGED = "exchanged"
    OWN = "own"  # enrolment and trigger tokens: passed on as they are
    UNTOUCHED = "untouched"  # log-in and the like


@dataclass(frozen=True)
class Route:
    """A path and all below it, and the service that owns it. `limit` names a rate limit by address."""

    path: str
    service: str
    token: Token = Token.EXCHANGED
    limit: str | None = None
    below: bool = True


_TEAM = "/api/v1/teams/<uuid:team_id>"
_OWNERS: Mapping[str, tuple[str, ...]] = {
    "identity": ("members", "invitations", "tokens"),
    "catalog": ("registries", "projects", "versions", "images", "config-bundles", "templates"),
    "deployer": ("nodes", "deployments"),
    "audit": ("audit",),
}

# Deny by default: what is not in this table is a 404, and /internal never is.
ROUTES: tuple[Route, ...] = (
    Route("/api/v1/auth/login", "identity", Token.UNTOUCHED, "login"),
    Route("/api/v1/auth/register", "identity", Token.UNTOUCHED, "register"),
    Route("/api/v1/auth/refresh", "identity", Token.UNTOUCHED, "refresh"),
    Route("/api/v1/auth", "identity", Token.UNTOUCHED, "auth"),
    Route("/api/v1/.well-known/jwks.json", "identity", Token.UNTOUCHED, below=False),
    Route("/api/v1/me", "identity"),
    Route("/api/v1/invitations", "identity"),
    Route("/api/v1/teams", "identity", below=False),
    Route(_TEAM, "identity", below=False),
    *(Route(f"{_TEAM}/{resource}", service) for service, resources in _OWNERS.items() for resource in resources),
    Route("/api/v1/agent", "deployer", Token.OWN, "enroll"),
    Route("/api/v1/hooks", "deployer", Token.OWN, "enroll"),
)

_METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE"]
_HOP_BY_HOP = frozenset(
    {
        "connection",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)
# What a client must not say on somebody else's behalf, or what the gateway says itself.
_NOT_TAKEN = _HOP_BY_HOP | {"host", "content-length", "authorization", "cookie", "forwarded", "x-real-ip", "x-correlation-id", "expect"}
_NOT_GIVEN = _HOP_BY_HOP | {"server", "date", "x-correlation-id", "set-cookie2"}
# Longer answers are passed on piece by piece, shorter ones at once.
_SHORT_BYTES = 256 * 1024


def add_routes(app: Flask, parts: Parts) -> None:
    """Add every route of the table to `app`."""
    for route in ROUTES:
        view = _view(route, parts)
        view.permission = f"proxied to {route.service}, which decides"  # type: ignore[attr-defined]  # read from the URL map
        rules = [route.path, f"{route.path}/<path:rest>"] if route.below else [route.path]
        for rule in rules:
            app.add_url_rule(rule, endpoint=f"proxy {rule}", view_func=view, methods=_METHODS, provide_automatic_options=False)


def _view(route: Route, parts: Parts) -> Callable[..., Response]:
    upstream = parts.upstreams[route.service]

    def view(team_id: UUID | None = None, rest: str = "") -> Response:
        if route.limit is not None:
            parts.limits.check(route.limit, find_address(parts.trusted))
        authorization = _authorization(route, parts, team_id)
        return forward(upstream, authorization, find_address(parts.trusted))

    return view


def _authorization(route: Route, parts: Parts, team_id: UUID | None) -> str | None:
    """The Authorization header to hand on, None for none. Raises what the exchange raises."""
    given = request.headers.get("Authorization")
    if route.token is Token.UNTOUCHED or given is None:
        return given
    caller = find_caller(parts.trusted)
    if (caller.token or "").startswith(OWN_TOKENS):
        if route.token is Token.OWN:
            return f"Bearer {caller.token}"
        raise Unauthenticated("This token is good for one thing only, and not for this.")
    # Whoever's rights change is forgotten at once, if somebody listens.
    parts.live.start()
    return f"Bearer {caller.internal_token(parts.exchange, team_id)}"


def forward(upstream: Upstream, authorization: str | None, address: str) -> Response:
    """The service's answer to the present request."""
    path = raw_path(request.environ)
    query = request.query_string.decode("latin-1")
    target = f"{path}?{query}" if query else path
    headers = outgoing_headers(request.headers.items(), request.headers.get("Connection", ""))
    headers["X-Forwarded-For"] = address
    headers["X-Correlation-ID"] = telemetry.correlation.get() or ""
    if authorization is not None:
        headers["Authorization"] = authorization
    body: Any = None  # bytes, or Werkzeug's bounded stream, which has read()
    length = request.content_length
    if length is not None:
        headers["Content-Length"] = str(length)
        body = request.get_data(cache=False) if length <= _SHORT_BYTES else request.stream
    elif request.environ.get("wsgi.input_terminated") and "chunked" in request.headers.get("Transfer-Encoding", "").lower():
        body = request.stream
    return incoming_response(upstream, upstream.request(request.method, target, headers, body))


def outgoing_headers(given: Iterable[tuple[str, str]], connection: str) -> dict[str, str]:
    """What of the client's headers goes on to a service."""
    named = {name.strip().lower() for name in connection.split(",")}
    kept: dict[str, str] = {}
    for name, value in given:
        lower = name.lower()
        if lower in _NOT_TAKEN or lower in named or lower.startswith("x-forwarded-") or "_" in name:
            continue
        kept[name] = f"{kept[name]}, {value}" if name in kept else value
    return kept


def incoming_response(upstream: Upstream, answer: BaseHTTPResponse) -> Response:
    """A service's answer as ours: streamed when it is long or its length is unknown."""
    named = {name.strip().lower() for name in answer.headers.get("Connection", "").split(",")}
    headers = [(name, value) for name, value in answer.headers.iteritems() if name.lower() not in _NOT_GIVEN | named]
    length = answer.headers.get("Content-Length")
    if request.method == "HEAD" or answer.status in (204, 304):
        upstream.read(answer)
        response = Response(status=answer.status, headers=headers)
        response.automatically_set_content_length = False
        return response
    if length is not None and length.isdigit() and int(length) <= _SHORT_BYTES:
        return Response(upstream.read(answer), answer.status, headers)
    response = Response(pieces(answer), answer.status, headers, direct_passthrough=True)
    response.call_on_close(answer.close)
    return response
