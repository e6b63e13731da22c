"""The agent's systemd unit, judged by systemd's own reader."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

UNIT = Path(__file__).resolve().parents[3] / "agent" / "files" / "fairlead-agent.service"


def _judged(unit: str, directory: Path) -> tuple[int, str]:
    path = directory / "fairlead-agent.service"
    path.write_text(unit)
    done = subprocess.run(["systemd-analyze", "verify", str(path)], capture_output=True, text=True, timeout=60, check=False)
    return done.returncode, (done.stdout + done.stderr).strip()


@pytest.fixture
def unit(tmp_path: Path) -> str:
    """The unit as the installer renders it, for a program that is there: systemd looks for it."""
    (tmp_path / "venv" / "bin").mkdir(parents=True)
    (tmp_path / "venv" / "bin" / "python").symlink_to(sys.executable)
    values = {"@HOME@": str(tmp_path), "@DATA@": str(tmp_path / "data"), "@DOCKER@": "unix:///var/run/docker.sock"}
    text = UNIT.read_text()
    for name, value in values.items():
        text = text.replace(name, value)
    return text


def test_systemd_takes_the_agents_unit(unit: str, tmp_path: Path) -> None:
    assert _judged(unit, tmp_path) == (0, "")


def test_systemd_would_name_what_is_wrong(unit: str, tmp_path: Path) -> None:
    _, said = _judged(unit.replace("NoNewPrivileges=", "NoNewPrivilege="), tmp_path)
    assert "NoNewPrivilege" in said
    status, said = _judged(unit.replace("/venv/bin/python", "/venv/bin/nothing"), tmp_path)
    assert status != 0
    assert "nothing" in said
