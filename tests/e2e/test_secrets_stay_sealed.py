"""Promise 4: a secret's value is nowhere but in the container that it was meant for."""

from __future__ import annotations

import psycopg
from psycopg import sql

from deploy.native import keys, ports
from deploy.native.postgres import SUPERUSER
from kernel import clock
from tests.fixtures.stack import Harbour, Stack

CANARY = "canary-9d41f7c2-sings-at-dawn"


def _columns(connection: psycopg.Connection[tuple[str, str]]) -> list[tuple[str, str]]:
    return connection.execute("SELECT table_name, column_name FROM information_schema.columns WHERE table_schema = 'public'").fetchall()


def places_in_databases(stack: Stack, text: str) -> list[str]:
    """`database.table.column` of every cell that holds `text`, in any of the four databases."""
    port, password = ports.load(stack.layout.ports)["postgres"], keys.load_or_make(stack.layout).postgres
    found = []
    for database in ("identity", "catalog", "deployer", "audit"):
        with psycopg.connect(host="127.0.0.1", port=port, user=SUPERUSER, password=password, dbname=database) as connection:
            for table, column in _columns(connection):
                # bytea shows as hex: such columns are decoded first.
                query = sql.SQL(
                    "SELECT count(*) FROM {table} AS t WHERE position({needle} in t.{column}::text) > 0"
                    " OR position(encode({needle}::bytea, 'hex') in t.{column}::text) > 0"
                ).format(table=sql.Identifier(table), column=sql.Identifier(column), needle=sql.Literal(text))
                row = connection.execute(query).fetchone()
                if row is not None and row[0]:
                    found.append(f"{database}.{table}.{column}")
    return found


def test_a_secret_reaches_its_container_and_no_other_place(harbour: Harbour) -> None:
    prefix = f"s{clock.new_id().hex[-10:]}"
    config = {
        "environment": {"PLAIN": "plain-text-control"},
        "secrets": {"API_KEY": {"required": True}, "CERT": {"required": True, "as": "file"}},
        "expected_state": {"stable_seconds": 0},
        "stop_grace_seconds": 1,
    }
    deployment = harbour.deployment(harbour.version(harbour.image("web", "1", **config)), prefix)
    secrets = f"{harbour.path}/deployments/{deployment}/secrets"
    harbour.client.put(secrets, {"API_KEY": {"value": CANARY}, "CERT": {"value": CANARY}})
    assert CANARY not in str(harbour.client.get(secrets))
    harbour.start(deployment)
    assert harbour.await_end(deployment)["status"] == "successful", harbour.attempt(deployment, 1)
    container = harbour.stack.engine.containers.get(f"{prefix}-web")
    assert f"API_KEY={CANARY}" in container.attrs["Config"]["Env"]
    assert container.exec_run(["cat", "/run/secrets/CERT"]).output == CANARY.encode()
    assert places_in_databases(harbour.stack, "plain-text-control"), "the search finds what is stored in the open"
    assert places_in_databases(harbour.stack, CANARY) == []
    for log in [*harbour.stack.layout.logs.glob("*"), *harbour.node.directory.rglob("*.log")]:
        assert CANARY not in log.read_text(errors="replace"), log
    shown = [harbour.get(deployment), harbour.attempt(deployment, 1), harbour.events(deployment), harbour.audit()]
    assert CANARY not in str(shown)


def test_a_registrys_password_is_stored_encrypted_and_never_shown(harbour: Harbour) -> None:
    made = harbour.client.post(
        f"{harbour.path}/registries",
        {"name": "sealed", "type": "unchecked", "url": "https://registry.example", "username": "u", "password": CANARY},
    )
    assert CANARY not in str(made)
    assert CANARY not in str(harbour.client.get(f"{harbour.path}/registries/{made['id']}"))
    assert places_in_databases(harbour.stack, CANARY) == []
