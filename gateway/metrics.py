"""What Prometheus may know of the gateway; shown to this machine only unless the operator says otherwise."""

from __future__ import annotations

from flask import Flask, Response, request
from prometheus_client import CONTENT_TYPE_LATEST, Counter, Histogram, generate_latest
from werkzeug.exceptions import NotFound

from gateway.addresses import is_loopback, was_forwarded
from gateway.parts import Parts
from gateway.routing import public

_REQUESTS = Counter("fairlead_gateway_requests_total", "Requests that were answered", ["method", "route", "status"])
_SECONDS = Histogram("fairlead_gateway_request_seconds", "Until the answer began", buckets=(0.005, 0.02, 0.1, 0.5, 2, 10, 60))
_METHODS = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"}


def count(method: str, route: str, status: int, seconds: float) -> None:
    """Count one answer."""
    _REQUESTS.labels(method if method in _METHODS else "other", route, str(status)).inc()
    _SECONDS.observe(seconds)


def add_routes(app: Flask, parts: Parts) -> None:
    @app.get("/metrics")
    @public("shown to loopback only, unless the operator says otherwise")
    def metrics() -> Response:
        here = is_loopback(request.remote_addr or "") and not was_forwarded(request.headers.keys())
        if not (here or parts.settings.metrics_public):
            raise NotFound
        return Response(generate_latest(), content_type=CONTENT_TYPE_LATEST)
