"""Imports point inward: the contracts of pyproject.toml hold, and each is shown to fail on a copy that breaks it."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

from tests.architecture.rules import ROOT

PACKAGES = ("kernel", "services", "gateway", "agent", "cli", "deploy")

# contract -> (a file, a line that breaks the contract there)
BREAKS: dict[str, tuple[str, str]] = {
    "the kernel knows nobody": ("kernel/clock.py", "import services.audit"),
    "services know each other by messages and HTTP only": ("services/catalog/__init__.py", "import services.identity.settings"),
    "imports point inward in each service": ("services/audit/store.py", "import services.audit.usecases"),
    "domains are pure": ("services/audit/domain.py", "import sqlalchemy"),
    "the agent's planning is pure": ("agent/plan.py", "import docker"),
    "the agent carries no server code": ("kernel/signing.py", "import flask"),
    "the command carries no server code": ("cli/session.py", "import kernel.http"),
    "only kernel.messaging knows pika": ("gateway/parts.py", "import pika"),
    "use cases know no HTTP": ("services/audit/usecases.py", "import flask"),
}


def contracts() -> list[str]:
    settings: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())
    return [contract["name"] for contract in settings["tool"]["importlinter"]["contracts"]]


_PROGRAM = """
import sys
from importlinter.cli import lint_imports
sys.exit(lint_imports(config_filename="pyproject.toml", cache_dir=sys.argv[1]))
"""


def lint(root: Path, cache: Path) -> tuple[int, dict[str, str]]:
    """(exit status, contract -> KEPT or BROKEN) of import-linter at `root`, in a process that knows that tree only."""
    command = [sys.executable, "-c", _PROGRAM, str(cache)]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=120, check=False, env={"COLUMNS": "200", "PATH": ""})
    verdicts = re.findall(r"^(.+?) (KEPT|BROKEN)\b", done.stdout, re.MULTILINE)
    assert verdicts, done.stdout + done.stderr
    return done.returncode, dict(verdicts)


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tree's code without its tests."""
    root = tmp_path_factory.mktemp("tree")
    for package in PACKAGES:
        shutil.copytree(ROOT / package, root / package, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", root)
    return root


def test_every_contract_is_kept(tmp_path: Path) -> None:
    status, verdicts = lint(ROOT, tmp_path)
    assert verdicts == dict.fromkeys(contracts(), "KEPT")
    assert status == 0


def test_every_contract_is_shown_to_fail() -> None:
    assert set(BREAKS) == set(contracts())


@pytest.mark.parametrize("contract", BREAKS)
def test_a_contract_that_is_broken_is_noticed(copy: Path, contract: str) -> None:
    path, line = BREAKS[contract]
    target = copy / path
    before = target.read_text(encoding="utf-8")
    target.write_text(f"{before}\n{line}\n", encoding="utf-8")
    try:
        status, verdicts = lint(copy, copy / ".cache")
    finally:
        target.write_text(before, encoding="utf-8")
    assert verdicts[contract] == "BROKEN"
    assert status == 1
