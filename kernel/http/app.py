"""The Flask application that every service builds on."""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import structlog
from flask import Flask, Response, g, jsonify, request
from flask_smorest import Api, Blueprint
from sqlalchemy.exc import DataError
from werkzeug.exceptions import HTTPException, RequestEntityTooLarge

from kernel import clock, metrics, telemetry
from kernel.db import Database
from kernel.errors import FairleadError, Unavailable
from kernel.http import idempotency, problems
from kernel.http.auth import TokenVerifier, permissions_of, public
from kernel.principal import Principal

log = structlog.get_logger(__name__)

LARGEST_BODY_BYTES = 2 * 1024 * 1024
MOST_BODY_VALUES = 20_000
_CORRELATION = re.compile(r"[\w.:-]{1,128}\Z", re.ASCII)
_JSON = {"application/json", "application/merge-patch+json", "application/cloudevents+json"}

# Told of every refused change (403, 404, 409, 412, and 403 of reads): who, "POST /api/v1/…", the problem's code.
RecordRefusal = Callable[[Principal, str, str], None]


@dataclass(frozen=True)
class HttpService:
    """What differs between services. `extensions` is what their routes find in `app.extensions['fairlead']`."""

    name: str
    title: str
    blueprints: Sequence[Blueprint]
    db: Database
    verifier: TokenVerifier | Any  # Any: tests hand in a verifier of their own
    version: str = "0.1.0"
    record_refusal: RecordRefusal | None = None
    extensions: dict[str, Any] = field(default_factory=dict)


class _ProblemApi(Api):  # type: ignore[misc]  # flask-smorest has no types
    """flask-smorest, answering errors as problem documents and describing them so."""

    ERROR_SCHEMA = problems.ProblemSchema

    def handle_http_exception(self, error: HTTPException) -> Any:
        return problems.from_http_exception(error)


def create_http_app(service: HttpService) -> Flask:
    """The application of `service`. Raises RuntimeError when a route names no permission."""
    app = Flask(service.name, static_folder=None)
    app.config.update(
        API_TITLE=service.title,
        API_VERSION=service.version,
        OPENAPI_VERSION="3.1.0",
        MAX_CONTENT_LENGTH=LARGEST_BODY_BYTES,
        PROPAGATE_EXCEPTIONS=False,
    )
    app.json.sort_keys = False  # type: ignore[attr-defined]  # of Flask's default provider
    app.url_map.strict_slashes = False
    app.extensions["fairlead"] = {"verifier": service.verifier, "db": service.db, **service.extensions}
    api = _ProblemApi(app)
    # A misspelt filter would be passed over, and the whole list answered: the schema's own rule counts for queries too.
    parser = Blueprint.ARGUMENTS_PARSER
    parser.DEFAULT_UNKNOWN_BY_LOCATION = parser.DEFAULT_UNKNOWN_BY_LOCATION | {"query": None}
    parser.pre_load = _refuse_many_values
    _describe(api)
    _wrap_requests(app, service)
    idempotency.install(app, service.db)
    for blueprint in service.blueprints:
        api.register_blueprint(blueprint)
    _add_own_routes(app, api, service)
    _handle_errors(app)
    nameless = [f"{method} {rule}" for (method, rule), permission in permissions_of(app).items() if permission is None]
    if nameless:
        raise RuntimeError(f"these routes name no permission: {', '.join(nameless)}")
    return app


def _refuse_many_values(data: Any, *, location: str, **_: object) -> Any:
    """Every value is checked before a list's length is, and each wrong one is named: a full body of them takes 20 s. Any: JSON."""
    seen, waiting = 0, [data] if location == "json" else []
    while waiting:
        one = waiting.pop()
        inner = list(one.values()) if isinstance(one, dict) else one if isinstance(one, list) else []
        seen += len(inner)
        if seen > MOST_BODY_VALUES:
            raise RequestEntityTooLarge(f"The body holds more than {MOST_BODY_VALUES} values.")
        waiting += inner
    return data


def _describe(api: Api) -> None:
    api.spec.components.security_scheme("bearer", {"type": "http", "scheme": "bearer"})
    api.spec.options["security"] = [{"bearer": []}]


def _wrap_requests(app: Flask, service: HttpService) -> None:
    @app.before_request
    def begin() -> None:
        given = request.headers.get("X-Correlation-ID", "")
        telemetry.correlation.set(given if _CORRELATION.match(given) else secrets.token_hex(8))
        g.began = clock.monotonic()
        body_expected = request.method in ("POST", "PUT", "PATCH") and (request.content_length or 0) > 0
        if body_expected and request.mimetype not in _JSON:
            raise _UnsupportedMediaType

    @app.after_request
    def end(response: Response) -> Response:
        response.headers["X-Correlation-ID"] = telemetry.correlation.get() or ""
        response.headers.setdefault("Cache-Control", "no-store")
        response.headers["X-Content-Type-Options"] = "nosniff"
        _log_request(response)
        _record_refusal(service, response)
        return response


class _UnsupportedMediaType(HTTPException):
    code = 415
    description = "Send JSON: Content-Type application/json (or application/merge-patch+json for PATCH)."


def _log_request(response: Response) -> None:
    rule = request.url_rule.rule if request.url_rule else "unknown"
    if rule in ("/healthz", "/readyz", "/metrics"):
        return
    seconds = clock.monotonic() - g.get("began", clock.monotonic())
    # A client may send any word as a method: only those of our routes become labels.
    method = request.method if request.url_rule else "other"
    metrics.REQUEST_SECONDS.labels(method, rule, str(response.status_code)).observe(seconds)
    who: Principal | None = g.get("principal")
    log.info(
        "request",
        method=request.method,
        route=rule,
        status=response.status_code,
        code=g.get("problem_code"),
        milliseconds=round(seconds * 1000, 1),
        actor=who.actor if who else None,
        team=str(who.team_id) if who and who.team_id else None,
    )


def _record_refusal(service: HttpService, response: Response) -> None:
    who: Principal | None = g.get("principal")
    refused = response.status_code == 403 or (response.status_code in (404, 409, 412) and request.method != "GET")
    if who is None or not refused or service.record_refusal is None:
        return
    try:
        service.record_refusal(who, f"{request.method} {request.path}", str(g.get("problem_code")))
    except Unavailable as error:
        # The answer stands; without a database nothing was changed either.
        log.error("refusal could not be recorded", error=str(error))


def _handle_errors(app: Flask) -> None:
    app.register_error_handler(FairleadError, problems.from_error)
    app.register_error_handler(HTTPException, problems.from_http_exception)
    app.register_error_handler(DataError, problems.from_data_error)
    app.register_error_handler(UnicodeEncodeError, problems.from_data_error)
    app.register_error_handler(RecursionError, problems.from_depth)
    app.register_error_handler(ValueError, problems.from_digits)
    app.register_error_handler(Exception, problems.from_defect)


def _add_own_routes(app: Flask, api: Api, service: HttpService) -> None:
    @app.get("/healthz")
    @public("says only that the process answers")
    def healthz() -> Response:
        return jsonify({"status": "ok", "part": service.name, "version": service.version})

    @app.get("/readyz")
    @public("says only whether the database answers")
    def readyz() -> Response:
        service.db.ping()
        return jsonify({"status": "ready", "part": service.name, "version": service.version})

    @app.get("/openapi.json")
    @public("the API's description holds no data")
    def openapi() -> Response:
        return jsonify(api.spec.to_dict())

    @app.get("/metrics")
    @public("not proxied by the gateway; counts without names")
    def show_metrics() -> Response:
        from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

        return Response(generate_latest(), content_type=CONTENT_TYPE_LATEST)
