"""The migrations make what the models say."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import create_engine, text

from kernel.migrate import KERNEL_TABLES
from services.identity.models import Base

TEAM_TABLES = {"teams", "memberships", "invitations", "team_tokens"}


def test_models_and_migrations_agree(database: Callable[[str], Any]) -> None:
    engine = create_engine(database("identity").migration_url)
    with engine.connect() as connection:
        options = {"include_name": lambda name, kind, _: kind != "table" or name not in KERNEL_TABLES, "compare_type": True}
        context = MigrationContext.configure(connection, opts=options)
        assert compare_metadata(context, Base.metadata) == []
    engine.dispose()


def test_every_table_of_teams_forces_row_level_security(database: Callable[[str], Any]) -> None:
    engine = create_engine(database("identity").migration_url)
    with engine.connect() as connection:
        forced = connection.execute(text("SELECT relname FROM pg_class WHERE relforcerowsecurity"))
        assert {row[0] for row in forced} == TEAM_TABLES
    engine.dispose()
