"""Requests per second through the gateway (token exchange included), against the same route of a service asked directly."""

from __future__ import annotations

import http.client
import os
import statistics
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from flask import Flask, Response

from bench.measure import Measure
from deploy.native.ports import free_port
from kernel import clock
from tests.fixtures.servers import ROOT
from tests.fixtures.waiting import eventually

_PATH = f"/api/v1/teams/{clock.new_id()}/projects"
_REQUESTS = 1500
_THREADS = 4
_ANSWER = b'{"items": [' + b",".join(b'{"id": "01900000-0000-7000-8000-000000000001", "name": "shop"}' for _ in range(20)) + b"]}"


def bare_app() -> Flask:
    """A service that does nothing but answer; gunicorn runs it as it runs a real one."""
    app = Flask("bare", static_folder=None)

    @app.post("/internal/exchange")
    def exchange() -> dict[str, object]:
        return {"token": "internal", "expires_in": 60}

    @app.get("/api/v1/teams/<team_id>/projects")
    def projects(team_id: str) -> Response:
        return Response(_ANSWER, content_type="application/json")

    return app


def measure() -> list[Measure]:
    """One gunicorn worker each for gateway and service, as in the native stack."""
    with _serving("bench.gateway:bare_app()", {}) as service:
        urls = {f"FAIRLEAD_{name}_URL": f"http://127.0.0.1:{service}" for name in ("IDENTITY", "CATALOG", "DEPLOYER", "AUDIT")}
        settings = {"FAIRLEAD_BROKER_CORE_URL": "amqp://nobody:nothing@127.0.0.1:1/core", "FAIRLEAD_PUBLIC_URL": "http://127.0.0.1"}
        with _serving("gateway.app:create_app()", urls | settings | {"FAIRLEAD_LOG_LEVEL": "error"}) as gateway:
            for port in (service, gateway):
                _ask(port, 100)
            direct, through = _rate(service), _rate(gateway)
            alone, added = statistics.median(_ask(service, 300)), statistics.median(_ask(gateway, 300))
    note = f"{_THREADS} clients with kept connections, {len(_ANSWER)} bytes an answer, all on one machine"
    return [
        Measure("requests through the gateway", through, "/s", "the service itself", direct, "half", note),
        Measure("one request, median", added * 1000, "ms", "the service itself", alone * 1000, "", "one client"),
    ]


@contextmanager
def _serving(application: str, settings: dict[str, str]) -> Iterator[int]:
    port = free_port()
    environment = {"PATH": os.environ["PATH"], "PORT": str(port), **settings}
    process = subprocess.Popen(
        [sys.executable, "-m", "gunicorn", "-c", str(ROOT / "deploy/gunicorn.conf.py"), application], env=environment, cwd=ROOT
    )
    try:
        eventually(lambda: _listens(port), seconds=60, what=f"{application} answers")
        yield port
    finally:
        process.terminate()
        process.wait(20)


def _listens(port: int) -> bool:
    try:
        _ask(port, 1)
    except OSError:
        return False
    return True


def _ask(port: int, count: int) -> list[float]:
    """The seconds that each request took."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    seconds = []
    for _ in range(count):
        began = clock.monotonic()
        connection.request("GET", _PATH, headers={"Authorization": "Bearer token"})
        answer = connection.getresponse()
        body = answer.read()
        seconds.append(clock.monotonic() - began)
        if answer.status != 200 or body != _ANSWER:
            raise ValueError(f"{answer.status}: {body[:200]!r}")
    connection.close()
    return seconds


def _rate(port: int) -> float:
    threads = [threading.Thread(target=_ask, args=(port, _REQUESTS // _THREADS)) for _ in range(_THREADS)]
    began = clock.monotonic()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return _REQUESTS / (clock.monotonic() - began)
