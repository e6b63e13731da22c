"""How all parts are: alive, ready with reasons, and in which version."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import structlog
from flask import Flask, Response, jsonify

from gateway.parts import Parts
from gateway.routing import public
from gateway.upstream import Upstream
from kernel import clock
from kernel.errors import Unavailable
from kernel.messaging.parked_count import count
from kernel.messaging.topology import AGENT_QUEUES, CORE_QUEUES

log = structlog.get_logger(__name__)

VERSION = "0.1.0"
_ASK_SECONDS = 3.0
_BROKER_SECONDS = 3.0
_KEPT_SECONDS = 1.0
_PARKED_SECONDS = 30.0

T = TypeVar("T")


def add_routes(app: Flask, parts: Parts) -> None:
    parked_messages = Kept(lambda: _parked(parts), _PARKED_SECONDS)
    readiness = Kept(lambda: _readiness(parts, parked_messages), _KEPT_SECONDS)
    versions = Kept(lambda: _versions(parts), 5 * _KEPT_SECONDS)

    @app.get("/healthz")
    @public("says only that the process answers")
    def healthz() -> Response:
        return jsonify({"status": "ok", "part": "gateway", "version": VERSION})

    @app.get("/readyz")
    @public("says which parts are ready, and no more")
    def readyz() -> tuple[Response, int]:
        document = readiness.get()
        return jsonify(document), 200 if document["status"] == "ready" else 503

    @app.get("/api/v1/status")
    @public("versions of the parts; the program is no secret")
    def status() -> Response:
        return jsonify(versions.get())


class Kept:
    """What `make` made, for a short while: strangers may ask often, and the parts need not answer each time."""

    def __init__(self, make: Callable[[], dict[str, Any]], seconds: float) -> None:
        self._make = make
        self._seconds = seconds
        self._lock = threading.Lock()
        self._value: dict[str, Any] = {}  # any JSON
        self._until = float("-inf")

    def get(self) -> dict[str, Any]:
        """The present value. Any: JSON."""
        with self._lock:
            if clock.monotonic() >= self._until:
                self._value = self._make()
                self._until = clock.monotonic() + self._seconds
            return self._value


def ask_all(parts: Parts, question: Callable[[Upstream], T]) -> dict[str, T]:
    """`question` put to every service at the same time; the answers by name."""
    with ThreadPoolExecutor(len(parts.upstreams)) as pool:
        return dict(zip(parts.upstreams, pool.map(question, parts.upstreams.values()), strict=True))


def _readiness(parts: Parts, parked_messages: Kept) -> dict[str, Any]:
    parts.live.start()
    found = ask_all(parts, _ready)
    listening = parts.live.wait_connected(_BROKER_SECONDS)
    found["broker"] = {"ready": True} if listening else {"ready": False, "reason": "RabbitMQ cannot be reached by the gateway"}
    ready = all(part["ready"] for part in found.values())
    waiting = parked_messages.get() if listening else {}
    warnings = [f"{number} parked messages of {queue}: somebody must look at them" for queue, number in waiting.items()]
    return {"status": "ready" if ready else "not-ready", "version": VERSION, "parts": found, "warnings": warnings}


def _parked(parts: Parts) -> dict[str, Any]:
    """Queue -> parked messages, where there are any; a virtual host that does not answer is left out. Any: numbers."""
    hosts = ((CORE_QUEUES, parts.settings.broker_core_url), (AGENT_QUEUES, parts.settings.broker_agents_url))
    found: dict[str, Any] = {}
    for queues, url in hosts:
        try:
            counted = count(url, tuple(queues)) if url else {}
        except Unavailable as error:
            log.warning("parked messages could not be counted", error=error.detail)
            continue
        found |= {queue: number for queue, number in counted.items() if number}
    return found


def _ready(upstream: Upstream) -> dict[str, Any]:
    try:
        status, body = upstream.fetch("GET", "/readyz", {}, timeout_seconds=_ASK_SECONDS)
    except Unavailable as error:
        return {"ready": False, "reason": error.detail}
    if status == 200:
        return {"ready": True}
    return {"ready": False, "reason": str(_document(body).get("detail") or f"answered {status}")}


def _versions(parts: Parts) -> dict[str, Any]:
    found = ask_all(parts, _version)
    own = {"version": VERSION, "streams": parts.live.streams}
    return {"version": VERSION, "parts": {"gateway": own, **found}}


def _version(upstream: Upstream) -> dict[str, Any]:
    try:
        _, body = upstream.fetch("GET", "/healthz", {}, timeout_seconds=_ASK_SECONDS)
    except Unavailable:
        return {"version": None, "reachable": False}
    return {"version": _document(body).get("version"), "reachable": True}


def _document(body: bytes) -> dict[str, Any]:
    try:
        document = json.loads(body)
    except ValueError:
        return {}
    return document if isinstance(document, dict) else {}
