"""What the documents point at is there."""

from __future__ import annotations

import re
from pathlib import Path

from tests.architecture.rules import ROOT

_LINK = re.compile(r"\[[^\]]*\]\(([^)#\s]+)(?:#[^)]*)?\)")
_MODULE = re.compile(r"`python -m ([\w.]+)")


def documents(root: Path) -> list[Path]:
    return sorted([*root.glob("*.md"), *(root / "docs").rglob("*.md")])


def dead_links(root: Path) -> list[str]:
    """Links to files that are not there, and commands whose module is not."""
    found = []
    for document in documents(root):
        text = document.read_text(encoding="utf-8")
        targets = [target for target in _LINK.findall(text) if "://" not in target and not target.startswith("mailto:")]
        found += [f"{document.relative_to(root)}: {target}" for target in targets if not (document.parent / target).exists()]
        for module in _MODULE.findall(text):
            path = root / module.replace(".", "/")
            if not path.with_suffix(".py").exists() and not (path / "__main__.py").exists():
                found.append(f"{document.relative_to(root)}: python -m {module}")
    return found


def test_every_link_and_every_command_leads_somewhere() -> None:
    assert dead_links(ROOT) == []


def test_a_dead_link_and_a_missing_command_are_noticed(tmp_path: Path) -> None:
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "a.md").write_text("[b](b.md), [c](https://example.com/c), [a](a.md#x), `python -m no.such --flag`")
    assert dead_links(tmp_path) == ["docs/a.md: b.md", "docs/a.md: python -m no.such"]
