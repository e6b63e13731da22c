"""A gateway under gunicorn, before services that note what reaches them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
import requests
from flask import Flask, Response, request
from werkzeug.serving import make_server

from deploy.native.ports import free_port
from kernel import clock
from tests.fixtures.servers import ROOT, TestBroker
from tests.fixtures.waiting import eventually

TEAM = str(clock.new_id())


@dataclass
class Services:
    """All four services in one small server. `seen` is what reached it; `answers` replaces an answer by path."""

    url: str = ""
    seen: list[dict[str, Any]] = field(default_factory=list)  # any JSON
    exchanges: list[dict[str, Any]] = field(default_factory=list)
    tokens: set[str] = field(default_factory=set)
    answers: dict[str, Callable[[], Response]] = field(default_factory=dict)
    # Makes the internal token of a team; plain text unless a test wants a real one.
    internal: Callable[[str | None], str] = lambda team: f"internal-for-{team}"

    def forget(self) -> None:
        """As new."""
        for noted in (self.seen, self.exchanges, self.tokens, self.answers):
            noted.clear()
        self.internal = lambda team: f"internal-for-{team}"

    def new_token(self) -> str:
        """A token that the exchange knows, and that no test before has used."""
        token = clock.random_token()
        self.tokens.add(token)
        return token

    def last(self) -> dict[str, Any]:
        """What came last. Any: JSON."""
        return self.seen[-1]


def _application(services: Services) -> Flask:
    app = Flask("services")

    @app.post("/internal/exchange")
    def exchange() -> tuple[dict[str, Any], int]:
        services.exchanges.append(request.get_json())
        if services.exchanges[-1]["token"] not in services.tokens:
            return {"code": "unauthenticated", "detail": "This token is worth nothing."}, 401
        if services.exchanges[-1]["team_id"] not in (None, TEAM):
            return {"code": "not-found", "detail": "no"}, 404
        return {"token": services.internal(services.exchanges[-1]["team_id"]), "expires_in": 60}, 200

    @app.get("/readyz")
    @app.get("/healthz")
    def ready() -> dict[str, str]:
        return {"status": "ready", "version": "9.9.9"}

    @app.route("/", defaults={"path": ""}, methods=["GET", "POST", "PUT", "PATCH", "DELETE"])
    @app.route("/<path:path>", methods=["GET", "POST", "PUT", "PATCH", "DELETE"])
    def anything(path: str) -> Response:
        note = {
            "method": request.method,
            "path": request.environ["RAW_URI"],
            "headers": dict(request.headers),
            "size": len(request.get_data()),
        }
        services.seen.append(note)
        made = services.answers.get(f"/{path}")
        if made is not None:
            return made()
        response = Response(json.dumps(note), content_type="application/json")
        response.headers.update({"ETag": '"7"', "X-Secret-Hop": "1", "Connection": "close, X-Secret-Hop"})
        return response

    return app


@pytest.fixture(scope="module")
def server() -> Iterator[Services]:
    """One small server for all tests of a file."""
    made = Services()
    server = make_server("127.0.0.1", 0, _application(made), threaded=True)
    made.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield made
    server.shutdown()
    thread.join(10)
    server.server_close()


@pytest.fixture
def services(server: Services) -> Services:
    """The services, with nothing noted yet."""
    server.forget()
    return server


@dataclass(frozen=True)
class Gateway:
    """A running gateway."""

    url: str
    token: str

    def call(self, path: str, method: str = "GET", *, token: str | None = "mine", **options: Any) -> requests.Response:
        """The answer, asked with the gateway's good token unless another is given. Any: options of requests."""
        token = self.token if token == "mine" else token
        headers = ({"Authorization": f"Bearer {token}"} if token else {}) | options.pop("headers", {})
        return requests.request(method, self.url + path, headers=headers, timeout=30, **options)


RunGateway = Callable[..., Gateway]


@pytest.fixture(scope="module")
def start(server: Services, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., str]]:
    """Starts gateways by settings; they stop with the file's last test."""
    running: list[subprocess.Popen[bytes]] = []
    files = tmp_path_factory.mktemp("install")
    (files / "install.sh").write_text('#!/bin/sh\nURL="{{PUBLIC_URL}}"\nTOKEN="{{TOKEN}}"\n')
    (files / "fairlead-0.1.0-py3-none-any.whl").write_bytes(b"PK wheel")

    def run(**settings: str) -> str:
        port = free_port()
        environment = {
            "PATH": os.environ["PATH"], "PORT": str(port), "WEB_THREADS": "16", "FAIRLEAD_LOG_LEVEL": "warning",
            **{f"FAIRLEAD_{name}_URL": server.url for name in ("IDENTITY", "CATALOG", "DEPLOYER", "AUDIT")},
            "FAIRLEAD_BROKER_CORE_URL": "amqp://nobody:nothing@127.0.0.1:1/core", "FAIRLEAD_PUBLIC_URL": f"http://127.0.0.1:{port}",
            "FAIRLEAD_INSTALL_SCRIPT": str(files / "install.sh"), "FAIRLEAD_WHEEL_DIR": str(files), **settings,
        }  # fmt: skip
        command = [sys.executable, "-m", "gunicorn", "-c", str(ROOT / "deploy/gunicorn.conf.py"), "gateway.app:create_app()"]
        running.append(subprocess.Popen(command, env=environment, cwd=ROOT))
        eventually(lambda: _answers(f"http://127.0.0.1:{port}"), seconds=60, what="the gateway answers")
        return f"http://127.0.0.1:{port}"

    yield run
    for process in running:
        process.send_signal(signal.SIGTERM)
    for process in running:
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(10)


@pytest.fixture
def run_gateway(start: Callable[..., str], services: Services) -> RunGateway:
    """Starts a gateway of this test's own."""
    return lambda **settings: Gateway(start(**settings), services.new_token())


@pytest.fixture(scope="module")
def plain_gateway(start: Callable[..., str]) -> str:
    """One gateway for all tests of a file that need nothing special."""
    return start()


@pytest.fixture
def gateway(plain_gateway: str, services: Services) -> Gateway:
    return Gateway(plain_gateway, services.new_token())


def _answers(url: str) -> bool:
    try:
        return requests.get(f"{url}/healthz", timeout=5).ok
    except requests.RequestException:
        return False


@pytest.fixture
def live_gateway(run_gateway: RunGateway, broker: TestBroker) -> Gateway:
    """A gateway that hears the events of a real broker."""
    return run_gateway(FAIRLEAD_BROKER_CORE_URL=broker.core_url("gateway"))
