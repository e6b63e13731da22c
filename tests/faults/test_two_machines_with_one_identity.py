"""A machine was copied together with its agent's data: people hear that two speak for one node, and when it is over."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fixtures.stack import Harbour
from tests.fixtures.waiting import eventually


@pytest.fixture
def copy(harbour: Harbour, tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A second agent, with a copy of the first one's keys, journal and log-in."""
    data = tmp_path / "data"
    shutil.copytree(harbour.node.directory / "data", data)
    command = [str(harbour.node.directory / "venv" / "bin" / "python"), "-m", "agent.main", "run"]
    with (tmp_path / "agent.log").open("wb") as log:
        process = subprocess.Popen(command, env={**os.environ, "FAIRLEAD_AGENT_DIR": str(data)}, cwd=tmp_path, stdout=log, stderr=log)
    yield process
    process.kill()
    process.wait(20)


def test_a_copied_machine_is_told_of_while_it_is_there(harbour: Harbour, copy: subprocess.Popen[bytes]) -> None:
    where = f"{harbour.path}/nodes/{harbour.node.id}"
    eventually(lambda: harbour.client.get(where)["duplicated"], seconds=60, every=0.5, what="the node is duplicated")
    assert copy.poll() is None
    events = [one["kind"] for one in harbour.client.get(f"{where}/events", limit=50)["items"]]
    assert events.count("duplicated") == 1
    eventually(lambda: [entry["action"] for entry in harbour.audit()].count("deployer.node.duplicated") == 1, what="it is recorded")
    copy.terminate()
    eventually(lambda: not harbour.client.get(where)["duplicated"], seconds=60, every=0.5, what="the node is itself again")
    assert harbour.client.get(where)["status"] == "connected"
