"""The catalog's migrations make what its models say, and each team table is closed by row-level security."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import create_engine, text

from kernel.migrate import KERNEL_TABLES
from services.catalog.models import RegistryRow
from tests.fixtures.servers import TestDatabase


def test_the_models_and_the_migrated_database_agree(database: Callable[[str], TestDatabase]) -> None:
    engine = create_engine(database("catalog").migration_url)

    def ours(item: Any, name: str | None, kind: str, _reflected: bool, _other: Any) -> bool:
        return not (kind == "table" and name in KERNEL_TABLES)

    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"include_object": ours, "compare_type": True})
        differences = compare_metadata(context, RegistryRow.metadata)
    engine.dispose()
    assert differences == []


def test_every_team_table_is_closed_by_row_level_security(database: Callable[[str], TestDatabase]) -> None:
    engine = create_engine(database("catalog").migration_url)
    with engine.connect() as connection:
        rows = connection.execute(text("SELECT relname FROM pg_class WHERE relkind = 'r' AND relrowsecurity AND relforcerowsecurity"))
        closed = {row[0] for row in rows}
    engine.dispose()
    assert closed == {table.name for table in RegistryRow.metadata.sorted_tables}
