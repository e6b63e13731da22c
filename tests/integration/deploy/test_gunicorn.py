"""gunicorn with our configuration: small, silent about itself, and a killed master is replaced at once."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
import requests

from deploy.native import ports
from deploy.native.processes import Command, Server
from tests.fixtures.waiting import eventually

APPLICATION = """
import os

MADE_IN = os.getpid()

def create_app():
    def app(environ, start_response):
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [f"{MADE_IN} {os.getpid()}".encode()]
    return app
"""


class Web(Server):
    def __init__(self, directory: Path, port: int, *, workers: int = 1) -> None:
        (directory / "tiny.py").write_text(APPLICATION)
        config = Path.cwd() / "deploy" / "gunicorn.conf.py"
        command = Command(
            part="web",
            arguments=(sys.executable, "-m", "gunicorn", "-c", str(config), "tiny:create_app()"),
            directory=directory,
            environment={"PORT": str(port), "PATH": os.environ["PATH"], "HOME": "/nonexistent", "WEB_CONCURRENCY": str(workers)},
        )
        self.url = f"http://127.0.0.1:{port}/"
        super().__init__(command, log=directory / "web.log", is_ready=self.serves, start_seconds=60)

    def serves(self) -> bool:
        try:
            return requests.get(self.url, timeout=5).ok
        except requests.RequestException:
            return False

    def workers(self) -> list[psutil.Process]:
        return psutil.Process(self.pid).children()


@pytest.fixture
def web(tmp_path: Path) -> Iterator[Web]:
    server = Web(tmp_path, ports.free_port())
    server.start()
    yield server
    server.stop()


def test_it_does_not_tell_what_serves(web: Web) -> None:
    assert requests.get(web.url, timeout=30).headers["Server"] == "fairlead"


def test_a_single_worker_makes_its_own_application_and_the_master_stays_small(web: Web) -> None:
    made_in, answered_in = requests.get(web.url, timeout=30).text.split()
    assert made_in == answered_in
    assert int(answered_in) in [worker.pid for worker in web.workers()]


def test_several_workers_share_an_application_that_is_made_once(tmp_path: Path) -> None:
    server = Web(tmp_path, ports.free_port(), workers=2)
    server.start()
    eventually(lambda: len(server.workers()) == 2)
    made_in, _answered_in = requests.get(server.url, timeout=30).text.split()
    assert int(made_in) == server.pid
    server.stop()


def test_workers_die_with_a_killed_master_and_the_next_one_starts_at_once(web: Web) -> None:
    orphans = web.workers()
    web.kill()
    _gone, alive = psutil.wait_procs(orphans, timeout=30)
    assert [process for process in alive if process.status() != psutil.STATUS_ZOMBIE] == []
    web.start()
    assert requests.get(web.url, timeout=30).status_code == 200


def test_a_killed_worker_is_replaced(web: Web) -> None:
    (worker,) = web.workers()
    worker.kill()
    eventually(lambda: [process for process in web.workers() if process.pid != worker.pid])
    assert requests.get(web.url, timeout=30).status_code == 200


def test_it_stops_in_a_second_or_two_and_leaves_no_control_socket(web: Web) -> None:
    web.stop()
    assert web.pid is None
    assert not Path("/nonexistent").exists()
