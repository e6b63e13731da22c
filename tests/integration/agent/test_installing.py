"""The one-line install: from a machine without an agent to a connected node, and back."""

from __future__ import annotations

import http.server
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID

import docker
import psutil
import pytest
from nacl.signing import SigningKey

from agent.docker import Engine
from agent.enroll import enroll
from deploy.certificates import make_authority
from gateway.install import render
from kernel import clock
from kernel.contracts.agent import Hello
from kernel.errors import Invalid
from kernel.messaging import topology
from kernel.signing import to_text, verify_key
from tests.fixtures.servers import TestBroker
from tests.fixtures.waiting import eventually
from tests.integration.agent.control import Control
from tests.integration.agent.ground import Ground, prepare_directory

ROOT = Path(__file__).resolve().parents[3]
AUTHORITY = make_authority("of this test").pem


@dataclass
class Office:
    """The control plane's side of an installation: the script, the wheel, the list, and the enrolment."""

    wheel: Path
    broker: TestBroker
    deployer: SigningKey
    ground: Ground
    token: str = field(default_factory=lambda: f"fl_enr_{clock.random_token(8)}")
    enrolled: list[dict[str, Any]] = field(default_factory=list)  # Any: JSON
    control: Control | None = None
    url: str = ""
    authority: str = AUTHORITY

    def answer(self, path: str) -> tuple[bytes, dict[str, str]] | None:
        if path == f"/install/{self.token}":
            script = (ROOT / "deploy" / "agent" / "install.sh").read_text()
            return render(script, public_url=self.url, token=self.token).encode(), {}
        if path == "/install/agent/fairlead.whl":
            return self.wheel.read_bytes(), {"Content-Disposition": f"attachment; filename={self.wheel.name}"}
        if path == "/install/agent/requirements.lock":
            return (ROOT / "requirements" / "agent.lock").read_bytes(), {}
        return None

    def enroll(self, authorization: str, body: dict[str, Any]) -> dict[str, Any] | None:
        if authorization != f"Bearer {self.token}":
            return None
        self.enrolled.append(body)
        user = topology.agent_user(self.ground.node.node_id, 1)
        if self.control is None:
            self.control = Control(self.broker, self.ground, verify_key(body["verify_key"]), user)
        return {
            "node_id": str(self.ground.node.node_id),
            "team_id": str(self.ground.node.team_id),
            "epoch": 0,
            "broker": {
                "url": self.broker.agent_broker_url,
                "username": user,
                "password": self.control.password,
                "authority": self.authority,
            },
            "verify_key": to_text(self.deployer.verify_key),
            "heartbeat_seconds": 1,
        }


def _handler(office: Office) -> type[http.server.BaseHTTPRequestHandler]:
    class Handler(http.server.BaseHTTPRequestHandler):
        def _send(self, status: int, body: bytes, headers: dict[str, str]) -> None:
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def do_GET(self) -> None:
            found = office.answer(self.path)
            self._send(200, *found) if found else self._send(404, b"", {})

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            answer = office.enroll(self.headers["Authorization"], body) if self.path == "/api/v1/agent/enroll" else None
            self._send(200 if answer else 401, json.dumps(answer or {"detail": "the token is used"}).encode(), {})

        def log_message(self, format: str, *args: object) -> None:
            return

    return Handler


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory: Path = tmp_path_factory.mktemp("dist")
    subprocess.run([sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", directory], cwd=ROOT, check=True, capture_output=True)
    [made] = directory.glob("*.whl")
    return Path(made)


@pytest.fixture
def office(wheel: Path, broker: TestBroker, tmp_path: Path, images: tuple[str, str]) -> Iterator[Office]:
    deployer = SigningKey.generate()
    client = docker.from_env()
    node = prepare_directory(tmp_path / "elsewhere", deployer)
    ground = Ground(tmp_path / "elsewhere", deployer, node, images[0], images[1], client)
    ground.close()
    made = Office(wheel, broker, deployer, ground)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _handler(made))
    made.url = f"http://127.0.0.1:{server.server_port}"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield made
    server.shutdown()
    server.server_close()
    if made.control is not None:
        made.control.close()
    client.close()


def _install(office: Office, directory: Path, **settings: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"FAIRLEAD_AGENT_DIR": str(directory), "FAIRLEAD_AGENT_SUPERVISOR": "supervisord"} | settings
    line = f"curl -fsSL {office.url}/install/{office.token} | sh"
    return subprocess.run(["sh", "-c", line], env=environment, capture_output=True, text=True, timeout=240, check=False)


def _control(directory: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([directory / "bin" / "agentctl", *words], capture_output=True, text=True, timeout=90, check=False)


def _agents(directory: Path) -> list[int]:
    found = []
    for process in psutil.process_iter(["cmdline"]):
        words = process.info["cmdline"] or []
        if any(str(directory) in word for word in words) and "agent.main" in words:
            found.append(process.pid)
    return found


@pytest.mark.timeout(600)
def test_a_machine_becomes_a_node_by_one_line_and_stops_being_one_by_another(office: Office, tmp_path: Path) -> None:
    directory = tmp_path / "agent home".replace(" ", "-")
    first = _install(office, directory)
    try:
        assert first.returncode == 0, first.stdout + first.stderr
        assert "connected, engine ok" in first.stdout
        assert office.token not in first.stdout + first.stderr
        _check_enrolment(office, directory)
        assert office.control is not None
        hello = office.control.await_report(Hello)

        stamp = (directory / "installed" / "wheel").stat().st_mtime_ns
        second = _install(office, directory)
        assert second.returncode == 0, second.stdout + second.stderr
        assert "installed already" in second.stdout
        assert (directory / "installed" / "wheel").stat().st_mtime_ns == stamp
        assert office.enrolled[1]["verify_key"] == office.enrolled[0]["verify_key"]

        [pid] = _agents(directory)
        os.kill(pid, signal.SIGKILL)
        eventually(lambda: _agents(directory) not in ([], [pid]), what="the supervisor starts it anew")
        eventually(lambda: _control(directory, "status").returncode == 0, every=0.5, what="it is connected again")
        assert office.control.reports(Hello)[-1].data != hello.data

        assert _control(directory, "stop").returncode == 0
        assert _agents(directory) == []
        assert _control(directory, "status").returncode == 3
        assert _control(directory, "start").returncode == 0
        eventually(lambda: _control(directory, "status").returncode == 0, every=0.5, what="it runs again")
        assert "hello sent" in _control(directory, "logs").stdout
    finally:
        gone = _control(directory, "uninstall", "--containers")
    assert gone.returncode == 0, gone.stderr
    assert not directory.exists()
    assert _agents(directory) == []


def _check_enrolment(office: Office, directory: Path) -> None:
    [body] = office.enrolled
    assert set(body) == {"verify_key", "seal_key", "agent_version", "boot_id", "facts"}
    assert UUID(body["boot_id"])
    assert (directory / "data").stat().st_mode & 0o777 == 0o700
    assert (directory / "data" / "keys.json").stat().st_mode & 0o777 == 0o600
    assert json.loads((directory / "data" / "identity.json").read_text())["broker_authority"] == AUTHORITY
    assert "host_mounts" in (directory / "data" / "policy.toml").read_text()
    assert _control(directory, "check-policy").returncode == 0


@pytest.mark.timeout(600)
def test_a_used_token_leaves_no_agent_running(office: Office, tmp_path: Path) -> None:
    directory = tmp_path / "agent"
    script, _ = office.answer(f"/install/{office.token}") or (b"", {})
    office.token = "fl_enr_another"
    done = subprocess.run(
        ["sh"], input=script.decode(), env=os.environ | {"FAIRLEAD_AGENT_DIR": str(directory), "FAIRLEAD_AGENT_SUPERVISOR": "supervisord"},
        capture_output=True, text=True, timeout=240, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert "the token is used" in done.stderr
    assert _agents(directory) == []


@pytest.mark.parametrize("authority", ["nonsense", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"])
def test_an_authority_that_could_not_be_trusted_is_refused_and_nothing_is_saved(office: Office, tmp_path: Path, authority: str) -> None:
    office.authority = authority
    with pytest.raises(Invalid) as refused:
        enroll(tmp_path / "data", office.url, office.token, Engine())
    assert refused.value.code == "enrollment-invalid"
    assert not (tmp_path / "data" / "identity.json").exists()


def test_the_script_says_what_is_missing_before_it_does_anything(office: Office, tmp_path: Path) -> None:
    directory = tmp_path / "agent"
    no_docker = _install(office, directory, FAIRLEAD_AGENT_DOCKER_HOST="unix:///nowhere.sock")
    assert (no_docker.returncode, "no Docker Engine" in no_docker.stderr) == (1, True), no_docker
    relative = _install(office, Path("relative"))
    assert (relative.returncode, "absolute" in relative.stderr) == (1, True)
    odd = _install(office, tmp_path / "with space")
    assert (odd.returncode, "letters" in odd.stderr) == (1, True)
    assert not directory.exists()


def test_the_script_is_plain_posix_shell() -> None:
    for path in (ROOT / "deploy" / "agent" / "install.sh", ROOT / "agent" / "files" / "agentctl"):
        subprocess.run(["dash", "-n", path], check=True)
        assert "[[ " not in path.read_text()
