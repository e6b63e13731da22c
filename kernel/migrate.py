"""Migrations: alembic under an advisory lock, and the tables and policies that every service has alike."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from alembic import command, context
from alembic.config import Config
from sqlalchemy import create_engine, pool, text

_LOCK = 0x0FA1_0D1A
_TEAM = "NULLIF(current_setting('app.team', true), '')::uuid"
TEAM_POLICY = f"team_id = {_TEAM} OR current_setting('app.scope', true) = 'system'"


def database_url(service: str, environ: Mapping[str, str]) -> str:
    """The owner's address of `services.catalog`'s database: `FAIRLEAD_CATALOG_MIGRATION_DATABASE_URL`, or without CATALOG_."""
    short = service.rpartition(".")[2].upper()
    for name in (f"FAIRLEAD_{short}_MIGRATION_DATABASE_URL", "FAIRLEAD_MIGRATION_DATABASE_URL"):
        if environ.get(name):
            return environ[name]
    raise SystemExit(f"FAIRLEAD_MIGRATION_DATABASE_URL is missing: the address of {service}'s database, as its owner")


def upgrade(service: str, url: str, revision: str = "head") -> None:
    """Bring the database of `service` (a module name) to `revision`. Two at once: the second waits, then finds it done."""
    module = importlib.import_module(service)
    config = Config()
    config.set_main_option("script_location", str(Path(str(module.__file__)).parent / "migrations"))
    config.attributes["url"] = url
    config.attributes["metadata"] = importlib.import_module(f"{service}.models").Base.metadata
    command.upgrade(config, revision)


def run_environment() -> None:
    """What each service's `migrations/env.py` calls."""
    attributes = context.config.attributes
    engine = create_engine(attributes["url"], poolclass=pool.NullPool, connect_args={"connect_timeout": 10})
    with engine.connect() as connection:
        connection.execute(text("SELECT pg_advisory_lock(:key)"), {"key": _LOCK})
        connection.execute(text("SET lock_timeout = '10s'"))
        connection.commit()
        context.configure(connection=connection, target_metadata=attributes["metadata"], transaction_per_migration=True)
        with context.begin_transaction():
            context.run_migrations()
    engine.dispose()


def app_role(op: Any) -> str:
    """The application's role beside the owner that migrates: `catalog` for `catalog_owner`. Any: alembic's op is a module."""
    owner: str = op.get_bind().execute(text("SELECT current_user")).scalar_one()
    return owner.removesuffix("_owner")


def grant(op: Any, table: str, rights: str = "SELECT, INSERT, UPDATE, DELETE") -> None:
    """Let the application use `table`. Any: as above."""
    op.execute(f'GRANT {rights} ON "{table}" TO "{app_role(op)}"')


def team_table(op: Any, table: str, rights: str = "SELECT, INSERT, UPDATE, DELETE") -> None:
    """Let the application use `table`, and only rows of the session's team: enforced even against the owner."""
    grant(op, table, rights)
    op.execute(f'ALTER TABLE "{table}" ENABLE ROW LEVEL SECURITY')
    op.execute(f'ALTER TABLE "{table}" FORCE ROW LEVEL SECURITY')
    op.execute(f'CREATE POLICY team ON "{table}" USING ({TEAM_POLICY}) WITH CHECK ({TEAM_POLICY})')


def kernel_tables(op: Any) -> None:
    """The tables of outbox, inbox and idempotency keys, as a service's first migration makes them."""
    op.execute("""
        CREATE TABLE outbox (
          id bigserial PRIMARY KEY, message_id uuid NOT NULL UNIQUE, vhost text NOT NULL, exchange text NOT NULL, key text NOT NULL,
          body bytea NOT NULL, created_at timestamptz NOT NULL DEFAULT now(), sent_at timestamptz, attempts int NOT NULL DEFAULT 0,
          not_before timestamptz, last_error text)""")
    op.execute("CREATE INDEX ix_outbox_unsent ON outbox (id) WHERE sent_at IS NULL")
    op.execute("CREATE INDEX ix_outbox_sent_at ON outbox (sent_at) WHERE sent_at IS NOT NULL")
    op.execute("""
        CREATE TABLE inbox (
          consumer text NOT NULL, message_id uuid NOT NULL, received_at timestamptz NOT NULL DEFAULT now(),
          PRIMARY KEY (consumer, message_id))""")
    op.execute("CREATE INDEX ix_inbox_received_at ON inbox (received_at)")
    op.execute("""
        CREATE TABLE idempotency_keys (
          owner text NOT NULL, key text NOT NULL, request_hash text NOT NULL, created_at timestamptz NOT NULL DEFAULT now(),
          status int, headers jsonb, body bytea, PRIMARY KEY (owner, key))""")
    op.execute("CREATE INDEX ix_idempotency_keys_created_at ON idempotency_keys (created_at)")
    for table in ("outbox", "inbox", "idempotency_keys"):
        grant(op, table)
    op.execute(f'GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO "{app_role(op)}"')


KERNEL_TABLES = frozenset({"outbox", "inbox", "idempotency_keys", "alembic_version"})


def main(arguments: list[str]) -> int:
    """`python -m kernel.migrate services.identity [services.catalog …]`"""
    for service in arguments:
        upgrade(service, database_url(service, os.environ))
        sys.stdout.write(f"{service}: up to date\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
