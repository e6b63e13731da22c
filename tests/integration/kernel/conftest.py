"""A database with the kernel's own tables only."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from alembic.migration import MigrationContext
from alembic.operations import Operations
from psycopg import sql
from sqlalchemy import create_engine

from kernel import clock
from kernel.db import Database
from kernel.migrate import kernel_tables, team_table
from tests.fixtures.servers import Servers


@pytest.fixture
def kernel_url(servers: Servers) -> Iterator[str]:
    """The application's address of a database with outbox, inbox, idempotency keys and one team table `things`."""
    name = f"test_kernel_{clock.new_id().hex[-12:]}"
    with servers.superuser() as connection:
        connection.execute(sql.SQL("CREATE DATABASE {} OWNER identity_owner").format(sql.Identifier(name)))
    with servers.superuser(name) as connection:
        connection.execute("ALTER SCHEMA public OWNER TO identity_owner")
        connection.execute("GRANT USAGE ON SCHEMA public TO identity")
    engine = create_engine(servers.database_url("identity_owner", name))
    with engine.begin() as migrating:
        op = Operations(MigrationContext.configure(migrating))
        kernel_tables(op)
        op.execute("CREATE TABLE things (id uuid PRIMARY KEY, team_id uuid NOT NULL, name text NOT NULL)")
        team_table(op, "things")
    engine.dispose()
    yield servers.database_url("identity", name)
    with servers.superuser() as connection:
        connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


@pytest.fixture
def db(kernel_url: str) -> Iterator[Database]:
    database = Database(kernel_url)
    yield database
    database.close()
