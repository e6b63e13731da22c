"""The `fairlead` command, from a log-in to a deployment that runs, and back to a script's exit code."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from kernel import clock
from tests.architecture.rules import ROOT
from tests.fixtures.stack import Harbour

CANARY = "canary-1f0c-sealed-on-this-machine"
CONFIG = {"name": "web", "secrets": {"API_KEY": {"required": True}}, "expected_state": {"stable_seconds": 0}, "stop_grace_seconds": 1}


class Command:
    """`fairlead` with a home of its own. Any: the API's JSON."""

    def __init__(self, home: Path, **environ: str) -> None:
        self._environ = {"PATH": os.environ["PATH"], "HOME": str(home), **environ}

    def __call__(self, *arguments: str, stdin: str = "", **environ: str) -> subprocess.CompletedProcess[str]:
        program = [sys.executable, "-m", "cli.main", *arguments]
        env = self._environ | environ
        return subprocess.run(program, cwd=ROOT, env=env, input=stdin, capture_output=True, text=True, timeout=120, check=False)

    def json(self, *arguments: str, stdin: str = "") -> Any:
        done = self(*arguments, "--output", "json", stdin=stdin)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)


@pytest.fixture
def command(harbour: Harbour, tmp_path: Path) -> Command:
    """As CI has it: a team's token, and no log-in."""
    wanted = {"name": f"ci-{clock.new_id().hex[-8:]}", "role": "admin", "scopes": ["admin"]}
    token = harbour.client.post(f"{harbour.path}/tokens", wanted)["token"]
    return Command(tmp_path, FAIRLEAD_URL=harbour.stack.base_url, FAIRLEAD_TOKEN=token)


def test_a_person_signs_in_makes_a_team_and_signs_out(harbour: Harbour, tmp_path: Path) -> None:
    email, password = f"cli-{clock.new_id().hex[-10:]}@example.com", "correct horse battery"
    harbour.client.post("/auth/register", {"email": email, "password": password, "name": "Cli"})
    command = Command(tmp_path, FAIRLEAD_PASSWORD=password)
    assert command("login", "--url", harbour.stack.base_url, "--email", email).returncode == 0
    file = tmp_path / ".config" / "fairlead" / "config.json"
    assert file.stat().st_mode & 0o777 == 0o600
    team = command.json("team", "create", "Command line")
    assert command.json("whoami")["team_id"] == team["id"]
    node = command.json("node", "create", "web-1")
    assert node["status"] == "new"
    assert command("node", "install", "web-1").stdout.startswith("curl ")
    assert "web-1" in command("node", "list").stdout
    before = file.read_text()
    assert command("logout").returncode == 0
    done = command("node", "list")
    assert (done.returncode, "signed-out" in done.stderr) == (1, True)
    file.write_text(before)
    assert command("node", "list").returncode == 1, "the session has ended on the server too"


def test_a_version_is_described_deployed_and_looked_at(harbour: Harbour, command: Command, tmp_path: Path) -> None:
    project, prefix = f"p-{clock.new_id().hex[-10:]}", f"c{clock.new_id().hex[-10:]}"
    assert command("registry", "check", "local").returncode == 0
    assert {"1", "2"} <= {tag["name"] for tag in command.json("registry", "tags", "local", "test/web")}
    command.json("project", "create", project)
    command.json("version", "create", project, "1.0.0")
    command.json("image", "add", f"{project}/1.0.0", "test/web:1", "--registry", "local", "--config", "-", stdin=json.dumps(CONFIG))
    command.json("deployment", "create", f"{project}/1.0.0", "here", prefix)
    refused = command("deployment", "start", prefix)
    assert refused.returncode == 1
    assert "API_KEY" in refused.stderr
    sealed = command("secret", "set", prefix, "API_KEY", stdin=f"{CANARY}\n")
    key = command.json("node", "show", "here")["key_fingerprint"]
    assert (sealed.returncode, key in sealed.stdout) == (0, True), sealed.stderr
    plan = command.json("deployment", "plan", f"here/{prefix}")
    done = command("deployment", "start", f"{prefix}@1.0.0", "--plan-fingerprint", plan["fingerprint"])
    assert done.returncode == 0, done.stdout + done.stderr
    assert "succeeded" in done.stdout
    environment = harbour.stack.engine.containers.get(f"{prefix}-web").attrs["Config"]["Env"]
    assert f"API_KEY={CANARY}" in environment
    _break_and_try_again(command, project, prefix)
    assert command("audit", "verify").returncode == 0


def _break_and_try_again(command: Command, project: str, prefix: str) -> None:
    command.json("version", "create", project, "1.1.0")
    config = {**CONFIG, "secrets": {}, "command": ["false"], "expected_state": {"stable_seconds": 1, "timeout_seconds": 10}}
    command.json("image", "add", f"{project}/1.1.0", "test/web:2", "--registry", "local", "--config", "-", stdin=json.dumps(config))
    command.json("deployment", "create", f"{project}/1.1.0", "here", prefix)
    ambiguous = command("deployment", "show", prefix)
    assert (ambiguous.returncode, "name-ambiguous" in ambiguous.stderr) == (1, True)
    failed = command("deployment", "start", f"{prefix}@1.1.0", "--output", "json")
    assert failed.returncode == 1, failed.stderr
    assert json.loads(failed.stdout)["outcome"] == "failed"
    assert command.json("deployment", "show", f"{prefix}@1.0.0")["status"] == "successful"
    assert command.json("deployment", "attempts", f"{prefix}@1.1.0")[0]["outcome"] == "failed"
    assert command.json("deployment", "events", f"{prefix}@1.1.0")
