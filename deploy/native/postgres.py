"""A private PostgreSQL cluster: one database and two roles a service, none of which reaches another's."""

from __future__ import annotations

import shutil
import signal
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import psycopg
from psycopg import sql

from deploy.native.errors import StackError
from deploy.native.processes import Command, Server, make_directory, require_entry, run, service_account, write_file
from kernel import clock

ACCOUNT = "postgres"
SUPERUSER = "postgres"

# What every Fairlead database has; where and how this one listens is added.
SHARED_SETTINGS = Path(__file__).parents[1] / "postgres" / "fairlead.conf"
LISTENING = {
    "listen_addresses": "'127.0.0.1'",
    "unix_socket_directories": "''",
    "wal_level": "minimal",
    "max_wal_senders": "0",
}
# For throwaway clusters of tests only: a power cut may cost data. A killed server must not, so commits stay synchronous.
FAST_AND_LOOSE = {"fsync": "off", "full_page_writes": "off"}


@dataclass(frozen=True)
class Role:
    """A service's two passwords: of the role that owns the tables, and of the one that the service uses."""

    name: str
    password: str
    owner_password: str

    @property
    def owner(self) -> str:
        """The role that owns the database and runs migrations."""
        return f"{self.name}_owner"


@dataclass(frozen=True)
class Cluster:
    """Where a cluster lives and how its superuser gets in."""

    directory: Path
    port: int
    password: str
    settings: Mapping[str, str]

    def url(self, user: str, password: str, database: str) -> str:
        """The address that a service is given."""
        return f"postgresql+psycopg://{user}:{password}@127.0.0.1:{self.port}/{database}"

    def connect(self, database: str = "postgres") -> psycopg.Connection[tuple[object, ...]]:
        """A connection of the superuser, for provisioning."""
        return psycopg.connect(
            host="127.0.0.1", port=self.port, user=SUPERUSER, password=self.password, dbname=database,
            connect_timeout=5, autocommit=True,
        )  # fmt: skip


def binaries() -> Path:
    """The directory with `postgres` and `initdb` of the newest installed PostgreSQL. Raises StackError."""
    versions = [path.parent for path in Path("/usr/lib/postgresql").glob("*/bin/postgres")]
    if versions:
        return max(versions, key=lambda path: int(path.parent.name))
    found = shutil.which("postgres")
    if found is None:
        raise StackError("postgres", "is not installed; run `make install`")
    return Path(found).resolve().parent


def prepare(cluster: Cluster) -> Command:
    """Makes the cluster if it is not there yet, writes its settings, and returns the command that runs it."""
    account = service_account(ACCOUNT)
    require_entry(cluster.directory, account)
    if not (cluster.directory / "PG_VERSION").exists():
        _initialise(cluster, account)
    own = {**LISTENING, "port": str(cluster.port), **cluster.settings}
    text = SHARED_SETTINGS.read_text() + "".join(f"{name} = {value}\n" for name, value in own.items())
    write_file(cluster.directory / "fairlead.conf", text, account=account, mode=0o600)
    return Command(
        part="postgres",
        arguments=(str(binaries() / "postgres"), "-D", str(cluster.directory)),
        directory=cluster.directory,
        environment={"LC_ALL": "C.UTF-8", "PATH": "/usr/bin:/bin"},
        account=account,
        stop_signal=signal.SIGINT,  # "fast": rolls back what is open, and does not wait for clients to leave
    )


def _initialise(cluster: Cluster, account: str | None) -> None:
    shutil.rmtree(cluster.directory, ignore_errors=True)
    draft = cluster.directory.with_name(f"{cluster.directory.name}.new")
    shutil.rmtree(draft, ignore_errors=True)  # what an interrupted initdb left
    make_directory(draft, account=account, mode=0o700)
    password = cluster.directory.with_name(f"{cluster.directory.name}.password")
    write_file(password, cluster.password, account=account, mode=0o600)
    run(
        [str(binaries() / "initdb"), "-D", str(draft), "-U", SUPERUSER, "--auth=scram-sha-256", f"--pwfile={password}",
         "--encoding=UTF8", "--locale=C.UTF-8", "--data-checksums", "--no-sync"],
        part="postgres", account=account, env={"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8"},
    )  # fmt: skip
    password.unlink()
    with (draft / "postgresql.conf").open("a") as stream:
        stream.write("\ninclude_if_exists = 'fairlead.conf'\n")
    draft.rename(cluster.directory)


def is_ready(cluster: Cluster) -> bool:
    """Whether the superuser gets in: the server is up, past recovery, and ours."""
    try:
        cluster.connect().close()
    except psycopg.OperationalError as error:
        if "password authentication failed" in str(error):
            raise StackError("postgres", f"another PostgreSQL answers on port {cluster.port}") from error
        return False
    return True


def provision(cluster: Cluster, roles: Sequence[Role]) -> None:
    """Databases and roles as they should be, whatever was there before. Safe to repeat."""
    with cluster.connect() as connection:
        _close_to_public(connection, "postgres")
        _close_to_public(connection, "template1")
        present = {row[0] for row in connection.execute("SELECT rolname FROM pg_roles")}
        databases = {row[0] for row in connection.execute("SELECT datname FROM pg_database")}
        for role in roles:
            _provision_role(connection, role.owner, role.owner_password, present)
            _provision_role(connection, role.name, role.password, present)
            if role.name not in databases:
                create = sql.SQL("CREATE DATABASE {} OWNER {}")
                connection.execute(create.format(sql.Identifier(role.name), sql.Identifier(role.owner)))
            _close_to_public(connection, role.name)
            grant = sql.SQL("GRANT CONNECT ON DATABASE {} TO {}, {}")
            connection.execute(grant.format(*map(sql.Identifier, (role.name, role.owner, role.name))))
    for role in roles:
        with cluster.connect(role.name) as connection:
            connection.execute("REVOKE ALL ON SCHEMA public FROM PUBLIC")
            connection.execute(sql.SQL("ALTER SCHEMA public OWNER TO {}").format(sql.Identifier(role.owner)))
            connection.execute(sql.SQL("GRANT USAGE ON SCHEMA public TO {}").format(sql.Identifier(role.name)))


def _close_to_public(connection: psycopg.Connection[tuple[object, ...]], database: str) -> None:
    connection.execute(sql.SQL("REVOKE ALL ON DATABASE {} FROM PUBLIC").format(sql.Identifier(database)))


def _provision_role(connection: psycopg.Connection[tuple[object, ...]], name: str, password: str, present: set[object]) -> None:
    verb = sql.SQL("ALTER" if name in present else "CREATE")
    rights = sql.SQL("LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS PASSWORD {}")
    connection.execute(sql.SQL("{} ROLE {} ").format(verb, sql.Identifier(name)) + rights.format(sql.Literal(password)))


class ClusterServer(Server):
    """A cluster that runs without a supervisor."""

    def __init__(self, cluster: Cluster, *, log: Path) -> None:
        self.cluster = cluster
        super().__init__(prepare(cluster), log=log, is_ready=lambda: is_ready(cluster))


class PostgresServer(ClusterServer):
    """A throwaway cluster for tests; `durable` makes it keep its data through a power cut as well."""

    def __init__(self, directory: Path, port: int, *, password: str = "", durable: bool = False) -> None:
        settings = {} if durable else FAST_AND_LOOSE
        cluster = Cluster(directory, port, password or clock.random_token(), settings)
        super().__init__(cluster, log=directory.with_name(f"{directory.name}.log"))

    def provision(self, roles: Sequence[Role]) -> None:
        """See `provision` of this module."""
        provision(self.cluster, roles)

    def application_url(self, role: Role) -> str:
        """FAIRLEAD_DATABASE_URL of a service."""
        return self.cluster.url(role.name, role.password, role.name)

    def migration_url(self, role: Role) -> str:
        """FAIRLEAD_MIGRATION_DATABASE_URL of a service."""
        return self.cluster.url(role.owner, role.owner_password, role.name)
