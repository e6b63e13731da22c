"""The Docker Engine goes away in the middle, and comes back or not."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.docker import Engine
from kernel.contracts.config import Config
from tests.fixtures.waiting import eventually
from tests.integration.agent.ground import Ground, spec

_ENGINE = "/var/run/docker.sock"
_SLOW: Config = {"test": ["test", "-f", "/tmp/ready"], "interval_seconds": 0.5, "retries": 100}


class Proxy:
    """Stands between the agent and the engine; `cut` is an engine that is gone."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._server: socket.socket | None = None
        self._lock = threading.Lock()
        self._open: list[socket.socket] = []
        self.restore()

    def restore(self) -> None:
        self.path.unlink(missing_ok=True)
        self._server = socket.socket(socket.AF_UNIX)
        self._server.bind(str(self.path))
        self._server.listen(64)
        threading.Thread(target=self._accept, args=(self._server,), daemon=True).start()

    def cut(self) -> None:
        with self._lock:
            server, self._server = self._server, None
            if server is not None:
                server.shutdown(socket.SHUT_RDWR)
                server.close()
            for one in self._open:
                try:
                    one.shutdown(socket.SHUT_RDWR)
                except OSError:
                    continue
            self._open = []

    def _accept(self, server: socket.socket) -> None:
        while True:
            try:
                near, _ = server.accept()
            except OSError:
                return
            with self._lock:
                if self._server is not server:  # cut in this moment
                    near.close()
                    return
                far = socket.socket(socket.AF_UNIX)
                far.connect(_ENGINE)
                self._open += [near, far]
            for source, target in ((near, far), (far, near)):
                threading.Thread(target=self._pump, args=(source, target), daemon=True).start()

    @staticmethod
    def _pump(source: socket.socket, target: socket.socket) -> None:
        try:
            while data := source.recv(65536):
                target.sendall(data)
            target.shutdown(socket.SHUT_WR)
        except OSError:
            return


@pytest.fixture
def proxy(ground: Ground, tmp_path: Path) -> Iterator[Proxy]:
    made = Proxy(tmp_path / "docker.sock")
    ground.close()
    ground.open(Engine(f"unix://{made.path}"))
    yield made
    made.cut()
    made.restore()


def test_an_engine_that_comes_back_in_time_costs_nothing_but_time(ground: Ground, proxy: Proxy) -> None:
    attempt = ground.start(spec("web", ground.image, healthcheck=_SLOW))
    eventually(lambda: "started" in ground.steps(attempt), what="the start")
    proxy.cut()
    ground.execute("web", "touch", "/tmp/ready")
    proxy.restore()
    assert ground.finished(attempt).outcome == "succeeded"


def test_an_engine_that_stays_away_fails_the_attempt_and_is_put_right_when_it_is_back(ground: Ground, proxy: Proxy) -> None:
    assert ground.apply(spec("web", ground.image)).outcome == "succeeded"
    before = ground.running()
    attempt = ground.start(spec("web", ground.other_image, healthcheck=_SLOW), timeout_seconds=12)
    eventually(lambda: "started" in ground.steps(attempt), what="the start")
    proxy.cut()
    eventually(lambda: "undoing" in ground.steps(attempt), what="the way back")
    assert ground.finished_all(attempt) == []
    proxy.restore()
    finished = ground.finished(attempt)
    assert (finished.outcome, finished.code, finished.restored) == ("failed", "engine-unavailable", True), finished
    assert ground.running() == before


def test_an_engine_that_was_never_there_fails_the_attempt_in_its_time(ground: Ground, proxy: Proxy) -> None:
    proxy.cut()
    finished = ground.apply(spec("web", ground.image), timeout_seconds=2)
    assert (finished.outcome, finished.code) == ("failed", "engine-unavailable"), finished
