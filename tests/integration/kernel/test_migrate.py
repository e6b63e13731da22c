"""Migrations on a real database: once, in order, under a lock, closed by row-level security."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from psycopg import sql
from sqlalchemy import create_engine, text
from sqlalchemy.exc import ProgrammingError

from kernel import clock, migrate
from kernel.db import Database, plain_dsn
from kernel.migrate import KERNEL_TABLES, database_url, upgrade
from tests.fixtures.servers import Servers

_FIRST = '''"""First."""
from alembic import op
from kernel.migrate import kernel_tables, team_table
revision = "0001"
down_revision = None
def upgrade():
    kernel_tables(op)
    op.execute("CREATE TABLE boats (id uuid PRIMARY KEY, team_id uuid NOT NULL, name text NOT NULL)")
    team_table(op, "boats")
'''
_SECOND = '''"""Second."""
from alembic import op
revision = "0002"
down_revision = "0001"
def upgrade():
    op.execute("ALTER TABLE boats ADD COLUMN sails int NOT NULL DEFAULT 0")
'''
_BROKEN = '''"""Third, which fails half-way."""
from alembic import op
revision = "0003"
down_revision = "0002"
def upgrade():
    op.execute("CREATE TABLE half (id int)")
    op.execute("SELECT 1 / 0")
'''
_MODELS = '''"""Tables."""
from kernel.db import new_base
Base = new_base()
'''


@pytest.fixture
def harbour(tmp_path: Path) -> Iterator[str]:
    """The name of a small service with two migrations."""
    name = f"harbour_{clock.new_id().hex[-8:]}"
    versions = tmp_path / name / "migrations" / "versions"
    versions.mkdir(parents=True)
    (tmp_path / name / "__init__.py").write_text("")
    (tmp_path / name / "models.py").write_text(_MODELS)
    (versions.parent / "env.py").write_text("from kernel.migrate import run_environment\n\nrun_environment()\n")
    (versions / "0001_first.py").write_text(_FIRST)
    (versions / "0002_second.py").write_text(_SECOND)
    sys.path.insert(0, str(tmp_path))
    yield name
    sys.path.remove(str(tmp_path))
    for module in [module for module in sys.modules if module.partition(".")[0] == name]:
        del sys.modules[module]


@pytest.fixture
def empty(servers: Servers) -> Iterator[str]:
    """The owner's address of an empty database."""
    name = f"test_migrate_{clock.new_id().hex[-12:]}"
    with servers.superuser() as connection:
        connection.execute(sql.SQL("CREATE DATABASE {} OWNER identity_owner").format(sql.Identifier(name)))
    with servers.superuser(name) as connection:
        connection.execute("ALTER SCHEMA public OWNER TO identity_owner")
        connection.execute("GRANT USAGE ON SCHEMA public TO identity")
    yield servers.database_url("identity_owner", name)
    with servers.superuser() as connection:
        connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


def ask(url: str, question: str) -> list[object]:
    engine = create_engine(url)
    try:
        with engine.connect() as connection:
            return [row[0] for row in connection.execute(text(question))]
    finally:
        engine.dispose()


def revision(url: str) -> list[object]:
    return ask(url, "SELECT version_num FROM alembic_version")


def test_an_empty_database_is_brought_to_the_newest_shape_and_again_is_nothing(harbour: str, empty: str) -> None:
    for _ in range(2):
        upgrade(harbour, empty)
        assert revision(empty) == ["0002"]
    tables = set(ask(empty, "SELECT tablename FROM pg_tables WHERE schemaname = 'public'"))
    assert tables == {*KERNEL_TABLES, "boats"}


def test_a_database_can_stop_at_an_older_shape(harbour: str, empty: str) -> None:
    upgrade(harbour, empty, "0001")
    assert revision(empty) == ["0001"]
    upgrade(harbour, empty)
    assert revision(empty) == ["0002"]


def test_two_at_once_wait_for_each_other(harbour: str, empty: str) -> None:
    # Alembic's environment is one a process: the second process stands for a second machine.
    program = f"import sys; sys.path[:0] = {sys.path!r}\nfrom kernel.migrate import upgrade\nupgrade({harbour!r}, {empty!r})"
    other = subprocess.Popen([sys.executable, "-c", program], stderr=subprocess.PIPE)
    upgrade(harbour, empty)
    _out, told = other.communicate(timeout=60)
    assert other.returncode == 0, told.decode()
    assert revision(empty) == ["0002"]


def test_a_migration_that_fails_leaves_nothing_behind(harbour: str, empty: str, tmp_path: Path) -> None:
    (tmp_path / harbour / "migrations" / "versions" / "0003_broken.py").write_text(_BROKEN)
    with pytest.raises(Exception, match="division by zero"):
        upgrade(harbour, empty)
    assert revision(empty) == ["0002"], "what went before stays"
    assert ask(empty, "SELECT to_regclass('half')") == [None]
    other = create_engine(empty)
    with other.connect() as connection:
        taken = connection.execute(text("SELECT pg_try_advisory_lock(:key)"), {"key": migrate._LOCK}).scalar_one()
    other.dispose()
    assert taken, "the lock went with the connection"


def test_the_application_may_use_tables_and_change_none(harbour: str, empty: str, servers: Servers) -> None:
    upgrade(harbour, empty)
    application = servers.database_url("identity", empty.rpartition("/")[2])
    db = Database(application)
    team = clock.new_id()
    with db.team(team) as session:
        session.execute(text("INSERT INTO boats (id, team_id, name) VALUES (:id, :team, 'a')"), {"id": clock.new_id(), "team": team})
    orders = ("ALTER TABLE boats DISABLE ROW LEVEL SECURITY", "DROP TABLE boats", "DROP POLICY team ON boats", "CREATE TABLE mine (id int)")
    for order in orders:
        with pytest.raises(ProgrammingError), db.system() as session:
            session.execute(text(order))
    db.close()


def test_even_the_owner_sees_no_row_without_a_team(harbour: str, empty: str, servers: Servers) -> None:
    upgrade(harbour, empty)
    db = Database(servers.database_url("identity", empty.rpartition("/")[2]))
    team = clock.new_id()
    with db.team(team) as session:
        session.execute(text("INSERT INTO boats (id, team_id, name) VALUES (:id, :team, 'a')"), {"id": clock.new_id(), "team": team})
    db.close()
    assert ask(empty, "SELECT count(*) FROM boats") == [0]


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({"FAIRLEAD_MIGRATION_DATABASE_URL": "x"}, "x"),
        ({"FAIRLEAD_CATALOG_MIGRATION_DATABASE_URL": "y", "FAIRLEAD_MIGRATION_DATABASE_URL": "x"}, "y"),
    ],
)
def test_the_address_of_the_service_itself_comes_first(environ: dict[str, str], expected: str) -> None:
    assert database_url("services.catalog", environ) == expected


def test_a_missing_address_is_told() -> None:
    with pytest.raises(SystemExit, match=r"FAIRLEAD_MIGRATION_DATABASE_URL is missing.*services\.catalog"):
        database_url("services.catalog", {})


def test_an_address_of_sqlalchemy_is_turned_into_psycopgs() -> None:
    assert plain_dsn("postgresql+psycopg://a:b@c/d") == "postgresql://a:b@c/d"


def test_the_command_brings_every_named_service_up_to_date(
    harbour: str, empty: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FAIRLEAD_MIGRATION_DATABASE_URL", empty)
    assert migrate.main([harbour]) == 0
    assert capsys.readouterr().out == f"{harbour}: up to date\n"
    assert revision(empty) == ["0002"]
