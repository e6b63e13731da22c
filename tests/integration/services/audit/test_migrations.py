"""Models and migrations agree, and every table of a team is fenced."""

from __future__ import annotations

from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import create_engine

from kernel.migrate import KERNEL_TABLES
from services.audit.models import EntryRow
from tests.fixtures.servers import TestDatabase


def test_models_and_migrations_agree(audit_database: TestDatabase) -> None:
    engine = create_engine(audit_database.migration_url)
    with engine.connect() as connection:
        options = {"include_name": lambda name, kind, _: not (kind == "table" and name in KERNEL_TABLES)}
        differences = compare_metadata(MigrationContext.configure(connection, opts=options), EntryRow.metadata)
    engine.dispose()
    assert differences == []


def test_every_table_of_a_team_is_fenced_even_against_its_owner(audit_database: TestDatabase) -> None:
    engine = create_engine(audit_database.migration_url)
    with engine.connect() as connection:
        rows = connection.exec_driver_sql(
            "SELECT relname, relrowsecurity AND relforcerowsecurity FROM pg_class"
            " WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace"
        )
        fenced = dict(tuple(row) for row in rows)
    engine.dispose()
    assert {name for name in fenced if name not in KERNEL_TABLES} == {"entries", "checkpoints", "node_keys"}
    assert all(fenced[name] for name in ("entries", "checkpoints", "node_keys"))
