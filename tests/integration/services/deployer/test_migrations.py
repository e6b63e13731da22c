"""The deployer's migrations make what its models say, and each team table is closed by row-level security."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import create_engine, text

from kernel import clock
from kernel.migrate import KERNEL_TABLES, upgrade
from services.deployer.models import Base
from tests.fixtures.servers import Servers, TestDatabase


def test_the_models_and_the_migrated_database_agree(database: Callable[[str], TestDatabase]) -> None:
    engine = create_engine(database("deployer").migration_url)

    def ours(item: Any, name: str | None, kind: str, _reflected: bool, _other: Any) -> bool:
        return not (kind == "table" and name in KERNEL_TABLES)

    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"include_object": ours, "compare_type": True})
        differences = compare_metadata(context, Base.metadata)
    engine.dispose()
    assert differences == []


def test_every_team_table_is_closed_by_row_level_security(database: Callable[[str], TestDatabase]) -> None:
    engine = create_engine(database("deployer").migration_url)
    with engine.connect() as connection:
        rows = connection.execute(text("SELECT relname FROM pg_class WHERE relkind = 'r' AND relrowsecurity AND relforcerowsecurity"))
        closed = {row[0] for row in rows}
    engine.dispose()
    assert closed == {table.name for table in Base.metadata.sorted_tables}


def test_places_that_were_there_before_know_what_took_them(database: Callable[[str], TestDatabase], servers: Servers) -> None:
    made = database("deployer")
    team, node, deployment = clock.new_id(), clock.new_id(), clock.new_id()
    with servers.superuser(made.name) as connection:
        connection.execute("DROP SCHEMA public CASCADE")
        connection.execute("CREATE SCHEMA public AUTHORIZATION deployer_owner")
        connection.execute("GRANT USAGE ON SCHEMA public TO deployer")
    upgrade("services.deployer", made.migration_url, "0001")
    with servers.superuser(made.name) as connection:
        connection.execute("SET session_replication_role = replica")  # rows without the rows that they belong to
        for prefix in ("shop", "empty"):
            connection.execute("INSERT INTO places (node_id, prefix, team_id, generation) VALUES (%s, %s, %s, 9)", (node, prefix, team))
        for number, generation, outcome in ((1, 2, "succeeded"), (2, 5, "succeeded"), (3, 7, "failed"), (4, 8, None)):
            connection.execute(
                "INSERT INTO attempts (id, team_id, deployment_id, number, node_id, prefix, generation, outcome, spec, started_by,"
                " started_at, deadline_at) VALUES (%s, %s, %s, %s, %s, 'shop', %s, %s, '{}', 'user:1', now(), now())",
                (clock.new_id(), team, deployment, number, node, generation, outcome),
            )
    upgrade("services.deployer", made.migration_url)
    with servers.superuser(made.name) as connection:
        taken = dict(connection.execute("SELECT prefix, taken_generation FROM places").fetchall())
        assert connection.execute("SELECT current_setting('app.scope', true)").fetchone() in ((None,), ("",))
    assert taken == {"shop": 5, "empty": 0}
