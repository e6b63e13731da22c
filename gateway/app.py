"""Puts the gateway together: `create_app()` for gunicorn. No database, no business rule."""

from __future__ import annotations

import os
import re
import secrets

import structlog
from flask import Flask, Response, g, request
from werkzeug.exceptions import HTTPException

from gateway import docs, health, install, metrics, onboarding, openapi, proxy, streams
from gateway.addresses import raw_path
from gateway.parts import Parts, make_parts
from gateway.settings import Settings
from kernel import clock, telemetry
from kernel.errors import FairleadError
from kernel.http import problems
from kernel.settings import load

log = structlog.get_logger(__name__)

_CORRELATION = re.compile(r"[\w.:-]{1,128}\Z", re.ASCII)
_QUIET = {"/healthz", "/readyz", "/metrics"}


def create_app(settings: Settings | None = None, *, parts: Parts | None = None) -> Flask:
    """The gateway. Nothing connects and no thread starts before the first request."""
    settings = settings or load(Settings, os.environ)
    telemetry.configure_logging("gateway", form=settings.log_format, level=settings.log_level)
    parts = parts or make_parts(settings)
    app = Flask("gateway", static_folder=None)
    app.config.update(MAX_CONTENT_LENGTH=settings.largest_body_bytes, PROPAGATE_EXCEPTIONS=False)
    app.json.sort_keys = False  # type: ignore[attr-defined]  # of Flask's default provider
    app.url_map.strict_slashes = False
    app.url_map.merge_slashes = False
    app.extensions["fairlead"] = {"parts": parts}
    _wrap_requests(app)
    for module in (health, metrics, streams, onboarding, openapi, docs, install, proxy):
        module.add_routes(app, parts)
    app.register_error_handler(FairleadError, problems.from_error)
    app.register_error_handler(HTTPException, problems.from_http_exception)
    app.register_error_handler(Exception, problems.from_defect)
    return app


def _wrap_requests(app: Flask) -> None:
    @app.before_request
    def begin() -> None:
        given = request.headers.get("X-Correlation-ID", "")
        telemetry.correlation.set(given if _CORRELATION.match(given) else secrets.token_hex(8))
        g.began = clock.monotonic()
        raw_path(request.environ)

    @app.after_request
    def end(response: Response) -> Response:
        response.headers["X-Correlation-ID"] = telemetry.correlation.get() or ""
        response.headers.setdefault("Cache-Control", "no-store")
        response.headers["X-Content-Type-Options"] = "nosniff"
        response.headers.setdefault("Referrer-Policy", "no-referrer")
        response.headers.setdefault("X-Frame-Options", "DENY")
        _observe(response)
        return response


def _observe(response: Response) -> None:
    rule = request.url_rule.rule if request.url_rule else "unknown"
    seconds = clock.monotonic() - g.get("began", clock.monotonic())
    metrics.count(request.method, rule, response.status_code, seconds)
    if rule not in _QUIET:
        log.info(
            "request",
            method=request.method,
            route=rule,
            status=response.status_code,
            code=g.get("problem_code"),
            milliseconds=round(seconds * 1000, 1),
            address=g.get("address"),
        )
