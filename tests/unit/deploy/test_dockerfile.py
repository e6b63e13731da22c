"""What the Dockerfile copies is what a fresh clone holds and the build is given."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]


def _lines(name: str) -> set[str]:
    return {line.strip().strip("/") for line in (ROOT / name).read_text().splitlines() if line.strip() and not line.startswith("#")}


def _copied() -> set[str]:
    """The sources of every COPY that takes from the checkout."""
    copies = re.findall(r"^COPY (?!--from)(.+)$", (ROOT / "deploy" / "Dockerfile").read_text(), re.MULTILINE)
    return {source for copy in copies for source in copy.split()[:-1]}


def test_everything_copied_is_in_a_fresh_clone() -> None:
    made_later = _lines(".gitignore")
    copied = _copied()
    assert len(copied) > 10
    assert "dist" in made_later
    assert [one for one in sorted(copied) if not (ROOT / one).exists() or made_later & set(Path(one).parts)] == []


def test_everything_copied_is_sent_to_the_build() -> None:
    sent = {line.removeprefix("!") for line in _lines(".dockerignore") if line.startswith("!")}
    assert [one for one in sorted(_copied()) if Path(one).parts[0] not in sent] == []
    assert sorted(sent - {Path(one).parts[0] for one in _copied()}) == []
