"""A private PostgreSQL cluster: who may enter which database, and that it comes back."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from deploy.native import ports
from deploy.native.errors import StackError
from deploy.native.postgres import PostgresServer, Role, is_ready

SERVICES = ("identity", "catalog", "deployer", "audit")
ROLES = [Role(name, f"{name}-password", f"{name}-owner-password") for name in ("identity", "catalog")]


@pytest.fixture
def server(open_directory: Path) -> Iterator[PostgresServer]:
    server = PostgresServer(open_directory / "postgres", ports.free_port())
    server.start()
    server.provision(ROLES)
    yield server
    server.stop()


def connect(server: PostgresServer, user: str, password: str, database: str) -> psycopg.Connection[tuple[object, ...]]:
    return psycopg.connect(host="127.0.0.1", port=server.cluster.port, user=user, password=password, dbname=database, autocommit=True)


def test_a_service_reaches_its_own_database_and_no_other(server: PostgresServer) -> None:
    connect(server, "identity", "identity-password", "identity").close()
    for database in ("catalog", "postgres", "template1"):
        for user, password in (("identity", "identity-password"), ("identity_owner", "identity-owner-password")):
            with pytest.raises(psycopg.OperationalError, match="permission denied for database"):
                connect(server, user, password, database)


def test_the_owner_makes_tables_and_the_service_does_not(server: PostgresServer) -> None:
    with connect(server, "identity_owner", "identity-owner-password", "identity") as owner:
        owner.execute("CREATE TABLE thing (id int)")
        with connect(server, "identity", "identity-password", "identity") as service:
            for statement in (
                "CREATE TABLE other (id int)",
                "DROP TABLE thing",
                "SELECT * FROM thing",
                "CREATE TEMP TABLE t (id int)",
            ):
                with pytest.raises((psycopg.errors.InsufficientPrivilege, psycopg.errors.UndefinedTable)):
                    service.execute(statement)


def test_no_role_of_a_service_may_pass_by_row_security(server: PostgresServer) -> None:
    with server.cluster.connect() as connection:
        rows = connection.execute(
            "SELECT rolname FROM pg_roles WHERE (rolsuper OR rolbypassrls OR rolcreaterole) AND rolcanlogin"
        ).fetchall()
    assert rows == [("postgres",)]


def test_a_wrong_password_is_refused(server: PostgresServer) -> None:
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        connect(server, "identity", "wrong", "identity")


def test_a_changed_password_is_set_by_provisioning_again(server: PostgresServer) -> None:
    server.provision([Role("identity", "new-password", "identity-owner-password")])
    connect(server, "identity", "new-password", "identity").close()


def test_committed_rows_survive_a_killed_server(server: PostgresServer) -> None:
    with connect(server, "identity_owner", "identity-owner-password", "identity") as owner:
        owner.execute("CREATE TABLE kept (id int)")
        owner.execute("INSERT INTO kept VALUES (7)")
    server.kill()
    assert server.pid is None
    server.start()
    with connect(server, "identity_owner", "identity-owner-password", "identity") as owner:
        assert owner.execute("SELECT id FROM kept").fetchall() == [(7,)]


def test_another_cluster_on_the_port_is_told_from_ours(server: PostgresServer) -> None:
    stranger = type(server.cluster)(server.cluster.directory, server.cluster.port, "another password", {})
    with pytest.raises(StackError, match="another PostgreSQL answers"):
        is_ready(stranger)


def grants(server: PostgresServer) -> list[list[tuple[object, ...]]]:
    """Everything that decides who may do what: roles, databases, schemas."""
    found = []
    with server.cluster.connect() as connection:
        for question in (
            "SELECT rolname, rolsuper, rolcreaterole, rolcreatedb, rolreplication, rolbypassrls, rolcanlogin FROM pg_roles ORDER BY 1",
            "SELECT datname, datdba::regrole::text, datacl::text FROM pg_database WHERE datallowconn ORDER BY 1",
        ):
            found.append(connection.execute(question).fetchall())
    for database in SERVICES:
        with server.cluster.connect(database) as connection:
            found.append(
                connection.execute("SELECT nspowner::regrole::text, nspacl::text FROM pg_namespace WHERE nspname = 'public'").fetchall()
            )
    return found


def test_a_container_cluster_gets_the_same_roles_and_rights(server: PostgresServer, open_directory: Path) -> None:
    container = PostgresServer(open_directory / "container", ports.free_port())
    container.start()
    passwords = {f"FAIRLEAD_{name.upper()}_{kind}_PASSWORD": "it's a 'password'" for name in SERVICES for kind in ("DATABASE", "OWNER")}
    login = {"PGHOST": "127.0.0.1", "PGPORT": str(container.cluster.port), "PGPASSWORD": container.cluster.password}
    subprocess.run(["deploy/postgres/roles.sh"], env={"PATH": "/usr/bin:/bin", **login, **passwords}, check=True, timeout=60)
    server.provision([Role(name, "one", "two") for name in SERVICES])
    assert grants(container) == grants(server)
    connect(container, "audit", "it's a 'password'", "audit").close()
    container.stop()
