"""What the containers' setup writes: made once, and closed to everybody else on the machine."""

from __future__ import annotations

import json
from pathlib import Path

from deploy.compose import setup


def test_no_password_can_be_read_by_others(tmp_path: Path) -> None:
    setup.main(tmp_path / "out", {})
    passwords = json.loads((tmp_path / "out" / "passwords.json").read_text()).values()
    holders = [path for path in (tmp_path / "out").rglob("*") if path.is_file() and any(one in path.read_text() for one in passwords)]
    assert len(holders) > 5
    for path in holders:
        way = [path, *path.relative_to(tmp_path).parents[:-1]]
        assert any((tmp_path / one).stat().st_mode & 0o077 == 0 for one in way), f"{path} can be read by others"


def test_what_is_there_stays(tmp_path: Path) -> None:
    setup.main(tmp_path, {})
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    setup.main(tmp_path, {})
    assert before == {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
