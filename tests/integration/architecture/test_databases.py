"""Every service's migrated database: one head, as its models say, closed by row-level security, unchanged by hand."""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Column, Integer, MetaData, Table, create_engine, text
from sqlalchemy.engine import Connection

from kernel.migrate import KERNEL_TABLES, TEAM_POLICY
from tests.fixtures.servers import SERVICES, TestDatabase

each = pytest.mark.parametrize("service", SERVICES)


@pytest.fixture
def connection(service: str, database: Callable[[str], TestDatabase]) -> Iterator[Connection]:
    """The owner's connection to a fresh database of the service."""
    engine = create_engine(database(service).migration_url)
    with engine.connect() as made:
        yield made
    engine.dispose()


def metadata_of(service: str) -> MetaData:
    found: MetaData = importlib.import_module(f"services.{service}.models").Base.metadata
    return found


def differences(connection: Connection, metadata: MetaData) -> list[Any]:
    """What alembic would change, the kernel's own tables apart. Any: alembic's tuples."""

    def is_ours(_item: Any, name: str | None, kind: str, _reflected: bool, _other: Any) -> bool:
        return not (kind == "table" and name in KERNEL_TABLES)

    options = {"include_object": is_ours, "compare_type": True}
    return list(compare_metadata(MigrationContext.configure(connection, opts=options), metadata))


def team_tables(connection: Connection) -> set[str]:
    rows = connection.execute(
        text("SELECT table_name FROM information_schema.columns WHERE table_schema = 'public' AND column_name = 'team_id'")
    )
    return {str(row[0]) for row in rows}


def closed_tables(connection: Connection) -> set[str]:
    """Tables whose rows are enforced even against their owner, by the one policy for reading and for writing."""
    rows = connection.execute(
        text(
            "SELECT c.relname FROM pg_class c JOIN pg_policy p ON p.polrelid = c.oid"
            " WHERE c.relrowsecurity AND c.relforcerowsecurity AND p.polname = 'team' AND p.polcmd = '*' AND p.polpermissive"
            " AND pg_get_expr(p.polqual, c.oid) = pg_get_expr(p.polwithcheck, c.oid)"
            " AND NOT EXISTS (SELECT 1 FROM pg_policy other WHERE other.polrelid = c.oid AND other.oid <> p.oid)"
        )
    )
    return {str(row[0]) for row in rows}


@each
def test_a_service_has_one_head(service: str) -> None:
    package = importlib.import_module(f"services.{service}")
    config = Config()
    config.set_main_option("script_location", str(Path(str(package.__file__)).parent / "migrations"))
    assert len(ScriptDirectory.from_config(config).get_heads()) == 1


@each
def test_models_and_migrations_agree(service: str, connection: Connection) -> None:
    assert differences(connection, metadata_of(service)) == []


@pytest.mark.parametrize("service", ["audit"])
def test_a_table_that_no_migration_makes_is_noticed(service: str, connection: Connection) -> None:
    grown = MetaData()
    for table in metadata_of(service).sorted_tables:
        table.to_metadata(grown)
    Table("forgotten", grown, Column("id", Integer, primary_key=True))
    assert [kind for kind, *_ in differences(connection, grown)] == ["add_table"]


@each
def test_every_table_of_a_team_is_closed(service: str, connection: Connection) -> None:
    assert team_tables(connection) - closed_tables(connection) == set()
    assert team_tables(connection), "each service keeps something of a team"


@each
def test_the_policy_is_the_one_that_sessions_rely_on(service: str, connection: Connection) -> None:
    rows = connection.execute(text("SELECT polrelid::regclass::text, pg_get_expr(polqual, polrelid) FROM pg_policy WHERE polname = 'team'"))
    # A team's own row is named by its id.
    expressions = {re.sub(r"\bid = ", "team_id = ", rule) if table == "teams" else rule for table, rule in rows.all()}
    (expression,) = expressions
    for part in ("app.team", "app.scope", "system", "team_id"):
        assert part in expression
        assert part in TEAM_POLICY


@pytest.mark.parametrize("service", ["audit"])
def test_an_open_table_is_noticed(service: str, connection: Connection) -> None:
    connection.execute(text("CREATE TABLE leak (id uuid PRIMARY KEY, team_id uuid NOT NULL)"))
    assert team_tables(connection) - closed_tables(connection) == {"leak"}
    connection.execute(text("ALTER TABLE leak ENABLE ROW LEVEL SECURITY"))
    connection.execute(text("CREATE POLICY team ON leak USING (true) WITH CHECK (true)"))
    assert team_tables(connection) - closed_tables(connection) == {"leak"}, "it is not enforced against the owner"


@each
def test_a_team_id_is_never_missing(service: str, connection: Connection) -> None:
    """A row that belongs to nobody would be seen by the system's sessions only."""
    rows = connection.execute(
        text(
            "SELECT table_name FROM information_schema.columns"
            " WHERE table_schema = 'public' AND column_name = 'team_id' AND is_nullable = 'YES'"
        )
    )
    assert {str(row[0]) for row in rows} == set()


@each
def test_the_application_owns_nothing_and_may_not_go_round_the_policies(service: str, connection: Connection) -> None:
    row = connection.execute(
        text("SELECT rolsuper, rolbypassrls, rolcreatedb, rolcreaterole FROM pg_roles WHERE rolname = :role"), {"role": service}
    ).one()
    assert not any(row)
    owned = connection.execute(
        text("SELECT count(*) FROM pg_class c JOIN pg_roles r ON r.oid = c.relowner WHERE r.rolname = :role"), {"role": service}
    )
    assert owned.scalar_one() == 0


@each
def test_no_other_service_may_read_a_table(service: str, database: Callable[[str], TestDatabase]) -> None:
    made = database(service)
    engine = create_engine(made.migration_url)
    with engine.connect() as connection:
        allowed = {
            other
            for other in SERVICES
            if connection.execute(text("SELECT has_table_privilege(:role, 'outbox', 'SELECT')"), {"role": other}).scalar_one()
        }
    engine.dispose()
    assert allowed == {service}


@each
def test_every_foreign_key_between_team_tables_carries_the_team(service: str, connection: Connection) -> None:
    """A reference by id alone could point at another team's row."""
    rows = connection.execute(
        text(
            "SELECT con.conname, con.conrelid::regclass::text, con.confrelid::regclass::text, array_agg(a.attname::text)"
            " FROM pg_constraint con JOIN pg_attribute a ON a.attrelid = con.conrelid AND a.attnum = ANY(con.conkey)"
            " WHERE con.contype = 'f' GROUP BY 1, 2, 3"
        )
    ).all()
    teams = team_tables(connection)
    loose = [name for name, source, target, columns in rows if source in teams and target in teams and "team_id" not in columns]
    assert loose == []


@each
def test_every_index_and_constraint_has_a_name_of_ours(service: str, connection: Connection) -> None:
    rows = connection.execute(
        text(
            "SELECT c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = 'public' AND c.relkind = 'i'"
        )
    )
    names = {str(row[0]) for row in rows}
    kernels = {name for name in names if name.startswith(tuple(KERNEL_TABLES)) or name.removeprefix("ix_").startswith(tuple(KERNEL_TABLES))}
    assert {name for name in names - kernels if not name.startswith(("pk_", "uq_", "ix_"))} == set()
