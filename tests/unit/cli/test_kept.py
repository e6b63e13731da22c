"""What a log-in keeps."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from cli import kept
from cli.problems import CommandError


def test_the_file_is_for_its_owner_alone_from_the_first_moment(tmp_path: Path) -> None:
    file = kept.file_of({"HOME": str(tmp_path)})
    assert file == tmp_path / ".config" / "fairlead" / "config.json"
    known = kept.Kept("http://x", "ada@example.com", "a", "r", "t", "Harbour")
    kept.save(file, known)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert kept.load(file) == known
    file.chmod(0o644)
    kept.save(file, known)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert [path.name for path in file.parent.iterdir()] == ["config.json"]


def test_tokens_are_not_in_what_is_printed_of_it() -> None:
    assert "canary" not in repr(kept.Kept(access_token="canary", refresh_token="canary"))


def test_without_a_file_nothing_is_kept(tmp_path: Path) -> None:
    assert kept.load(tmp_path / "none.json") == kept.Kept()


@pytest.mark.parametrize("text", ["{", "[]", '{"url": 7}', "\0"])
def test_a_file_that_is_not_ours_is_refused_by_name(tmp_path: Path, text: str) -> None:
    file = tmp_path / "config.json"
    file.write_text(text)
    with pytest.raises(CommandError, match=r"config\.json"):
        kept.load(file)


def test_what_a_newer_command_keeps_besides_does_not_disturb(tmp_path: Path) -> None:
    file = tmp_path / "config.json"
    file.write_text('{"url": "http://x", "colour": "red"}')
    assert kept.load(file).url == "http://x"
