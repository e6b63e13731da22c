"""The manual names every setting, as the code has it."""

from __future__ import annotations

from pathlib import Path

from tests.architecture import settings_table
from tests.architecture.rules import ROOT


def test_the_manuals_table_is_the_codes() -> None:
    kept = settings_table.kept(settings_table.MANUAL.read_text(encoding="utf-8"))
    assert kept == settings_table.table(), "run `python -m tests.architecture.settings_table`"


def test_every_variable_that_the_code_names_stands_in_the_manual() -> None:
    manual = settings_table.MANUAL.read_text(encoding="utf-8")
    assert sorted(name for name in settings_table.named_in_code() if f"`{name}`" not in manual) == []


def test_every_service_the_gateway_and_the_agent_are_in_the_table() -> None:
    for reader in ("identity", "catalog", "deployer", "audit", "gateway", "agent"):
        assert f"{reader}" in settings_table.table()
    assert len(settings_table.modules()) >= 6


def test_a_table_that_is_out_of_date_is_noticed_and_written_anew(tmp_path: Path) -> None:
    manual = tmp_path / "operations.md"
    manual.write_text(f"# X\n{settings_table.BEGIN}\n| old |\n{settings_table.END}\nmore\n")
    assert settings_table.kept(manual.read_text()) != settings_table.table()
    settings_table.write(manual)
    assert settings_table.kept(manual.read_text()) == settings_table.table()
    assert manual.read_text().startswith("# X\n")
    assert manual.read_text().endswith("\nmore\n")


def test_no_default_names_a_directory_of_the_machine_that_wrote_it() -> None:
    assert str(ROOT) not in settings_table.table()
