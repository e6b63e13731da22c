"""Keeps the table of settings in docs/operations.md: `python -m tests.architecture.settings_table` writes it anew."""

from __future__ import annotations

import re
from pathlib import Path

from kernel.settings import classes_of, markdown
from tests.architecture.rules import ROOT, sources

MANUAL = ROOT / "docs" / "operations.md"
BEGIN, END = "<!-- settings: begin -->", "<!-- settings: end -->"


def modules() -> list[str]:
    """Every settings module there is."""
    found = [*(ROOT / "services").glob("*/settings.py"), *(ROOT / name / "settings.py" for name in ("gateway", "agent", "cli"))]
    return sorted(".".join(path.relative_to(ROOT).with_suffix("").parts) for path in found if path.exists())


def table() -> str:
    """The table: each variable once, and who reads it."""
    readers = {}
    for module in modules():
        part = module.removesuffix(".settings").removeprefix("services.")
        for name, kind in classes_of(module).items():
            role = name.removesuffix("Settings").lower()
            readers[f"{part} {role}".strip()] = kind
    return markdown(readers)


def kept(manual: str) -> str:
    """What stands between the marks."""
    return manual.partition(BEGIN)[2].partition(END)[0].strip()


def named_in_code() -> set[str]:
    """Every variable of ours that the code names."""
    texts = (source.text for source in sources(ROOT, ("kernel", "services", "gateway", "agent", "cli")))
    return {name for text in texts for name in re.findall(r"[\"'](FAIRLEAD_[A-Z0-9_]*[A-Z0-9])[\"']", text)}


def write(manual: Path = MANUAL) -> None:
    before, _, rest = manual.read_text(encoding="utf-8").partition(BEGIN)
    manual.write_text(f"{before}{BEGIN}\n{table()}\n{END}{rest.partition(END)[2]}", encoding="utf-8")


if __name__ == "__main__":
    write()
