"""The audit log on a real PostgreSQL: appended once, never changed, found, exported and verified."""

from __future__ import annotations

import json
import threading
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
from flask.testing import FlaskClient
from nacl.signing import SigningKey

from kernel import clock, signing
from kernel.db import Database, plain_dsn
from services.audit import usecases, verify
from services.audit.domain import NO_TEAM
from tests.fixtures.servers import Servers, TestDatabase
from tests.integration.services.audit.conftest import Caller
from tests.unit.services.audit.samples import AT, TEAM, fact


def test_what_is_told_twice_is_one_entry(db: Database, client: FlaskClient) -> None:
    facts = [fact() for _ in range(3)]
    assert usecases.record(db, [*facts, facts[0]]) == 3
    assert usecases.record(db, [facts[1], fact(), facts[2]]) == 1
    assert [entry["number"] for entry in Caller(client, TEAM).read("")["items"]] == [4, 3, 2, 1]


def test_workers_at_once_make_one_chain_without_a_gap(db: Database, client: FlaskClient) -> None:
    teams = [TEAM, clock.new_id()]
    batches = [[fact(team_id=teams[(worker + number) % 2]) for number in range(20)] for worker in range(6)]
    threads = [threading.Thread(target=usecases.record, args=(db, batch)) for batch in batches]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    for team in teams:
        finding = Caller(client, team).read("/verify")
        assert (finding["valid"], finding["entries"], finding["last"]) == (True, 60, 60)


@pytest.mark.parametrize(
    "statement", ["UPDATE entries SET reason = 'x'", "DELETE FROM entries", "TRUNCATE entries", "DELETE FROM checkpoints"]
)
def test_nobody_changes_what_is_recorded_not_even_the_owner(db: Database, audit_database: TestDatabase, statement: str) -> None:
    usecases.record(db, [fact()])
    for url in (audit_database.url, audit_database.migration_url):
        with psycopg.connect(plain_dsn(url)) as connection, pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute(statement)


def test_a_change_behind_our_back_is_found_where_it_is(
    servers: Servers, db: Database, audit_database: TestDatabase, client: FlaskClient
) -> None:
    usecases.record(db, [fact() for _ in range(10)])
    with servers.superuser(audit_database.name) as connection:
        connection.execute("ALTER TABLE entries DISABLE TRIGGER append_only")
        connection.execute("UPDATE entries SET actor_name = 'Eve' WHERE number = 6")
    finding = Caller(client, TEAM).read("/verify")
    assert (finding["valid"], finding["broken_at"], finding["reason"], finding["last"]) == (False, 6, "entry-changed", 5)


def test_a_cut_off_end_is_found_by_the_checkpoint(
    servers: Servers, db: Database, audit_database: TestDatabase, client: FlaskClient, key: SigningKey
) -> None:
    usecases.record(db, [fact() for _ in range(10)])
    usecases.make_due_checkpoints(db, key)
    with servers.superuser(audit_database.name) as connection:
        connection.execute("ALTER TABLE entries DISABLE TRIGGER append_only")
        connection.execute("DELETE FROM entries WHERE number > 8")
    finding = Caller(client, TEAM).read("/verify")
    assert (finding["valid"], finding["broken_at"], finding["reason"]) == (False, 9, "entries-missing-at-the-end")


def test_a_checkpoint_is_made_at_once_then_hourly_and_on_demand(db: Database, client: FlaskClient, key: SigningKey) -> None:
    admin = Caller(client, TEAM, role="admin")
    assert admin.call("/checkpoints", "POST").status_code == 204
    usecases.record(db, [fact()])
    usecases.make_due_checkpoints(db, key)
    usecases.record(db, [fact()])
    usecases.make_due_checkpoints(db, key)
    assert [one["number"] for one in admin.read("/checkpoints")["items"]] == [1]
    assert admin.read("/checkpoints", "POST")["number"] == 2
    assert admin.read("/checkpoints", "POST")["sequence"] == 2
    assert admin.read("/verify")["checkpoints"] == 2
    assert Caller(client, TEAM).call("/checkpoints", "POST").status_code == 403


def test_an_export_verifies_without_the_server(db: Database, client: FlaskClient, key: SigningKey, tmp_path: Path) -> None:
    usecases.record(db, [fact(after={"n": number, "x": 1.0 / (number + 1), "big": 1e22}) for number in range(5000)])
    usecases.make_due_checkpoints(db, key)
    caller = Caller(client, TEAM)
    (tmp_path / "checkpoints.json").write_text(caller.call("/checkpoints").text)
    answer = caller.call("/export", format="ndjson")
    assert answer.headers["Content-Disposition"].startswith("attachment; ")
    (tmp_path / "export.ndjson").write_text(answer.text)
    finding = verify.verify_files(tmp_path / "export.ndjson", tmp_path / "checkpoints.json", signing.to_text(key.verify_key))
    assert (finding.valid, finding.entries, finding.checkpoints) == (True, 5000, 1)


def test_an_export_takes_the_filters_of_a_search(db: Database, client: FlaskClient) -> None:
    usecases.record(db, [fact(action="catalog.project.created"), fact(), fact(outcome="refused")])
    lines = Caller(client, TEAM).call("/export", outcome="refused").text.splitlines()
    assert [json.loads(line)["number"] for line in lines] == [3]
    rows = Caller(client, TEAM).call("/export", format="csv", action="catalog.project").text.splitlines()
    assert (len(rows), rows[1].split(",")[0]) == (2, "1")


@pytest.mark.parametrize(
    ("query", "numbers"),
    [
        ({}, [4, 3, 2, 1]),
        ({"actor": "user:u-2"}, [2]),
        ({"actor": "u-2"}, [2]),
        ({"actor": "Grace"}, [2]),
        ({"action": "deployer.deployment"}, [4, 3]),
        ({"action": "deployer.deployment.started"}, [3]),
        ({"resource_type": "deployment", "resource_id": "d-1"}, [3]),
        ({"outcome": "refused"}, [4]),
        ({"query": "PROTECTED%"}, []),
        ({"query": "is protected"}, [4]),
        ({"from": "2026-11-22T11:00:00Z", "to": "2026-11-22T13:00:00+00:00"}, [3, 2]),
    ],
)
def test_a_search_finds_by_every_filter(db: Database, client: FlaskClient, query: dict[str, str], numbers: list[int]) -> None:
    usecases.record(
        db,
        [
            fact(),
            fact(actor_id="u-2", actor_name="Grace", at=AT + timedelta(hours=1)),
            fact(action="deployer.deployment.started", resource_type="deployment", resource_id="d-1", at=AT + timedelta(hours=2)),
            fact(action="deployer.deployment.refused", outcome="refused", reason="it is protected", at=AT + timedelta(hours=3)),
        ],
    )
    answer = Caller(client, TEAM).read("", **query)
    assert [entry["number"] for entry in answer["items"]] == numbers


def test_pages_go_back_in_time_without_a_gap(db: Database, client: FlaskClient) -> None:
    usecases.record(db, [fact() for _ in range(7)])
    caller, seen, cursor = Caller(client, TEAM), [], None
    while True:
        page = caller.read("", limit="3", **({"cursor": cursor} if cursor else {}))
        seen += [entry["number"] for entry in page["items"]]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert seen == [7, 6, 5, 4, 3, 2, 1]


def test_one_team_never_sees_another(db: Database, client: FlaskClient) -> None:
    usecases.record(db, [fact(), fact(team_id=NO_TEAM)])
    stranger = Caller(client, clock.new_id(), role="owner")
    assert stranger.read("")["items"] == []
    for path in ("", "/export", "/verify", "/checkpoints"):
        assert stranger.call(path, team=TEAM).status_code == 404
        assert stranger.call(path, team=NO_TEAM).status_code == 404
    with db.team(stranger.team) as session:
        assert session.connection().exec_driver_sql("SELECT count(*) FROM entries").scalar() == 0


def test_who_is_refused_here_is_recorded_here(db: Database, client: FlaskClient) -> None:
    assert Caller(client, TEAM, scopes=("nodes:read",)).call("").status_code == 403
    entry = Caller(client, TEAM).read("")["items"][0]
    assert (entry["action"], entry["outcome"], entry["reason"], entry["address"]) == (
        "audit.request.refused", "refused", "forbidden", "192.0.2.7",
    )  # fmt: skip


@pytest.mark.parametrize("name", ["actor", "action", "resource_type", "resource_id", "query"])
def test_an_export_of_what_cannot_be_searched_for_is_refused_before_it_begins(client: FlaskClient, name: str) -> None:
    filters: dict[str, Any] = {name: "a\0"}  # any value of a query
    answer = Caller(client, TEAM).call("/export", **filters)
    assert (answer.status_code, answer.get_json()["errors"][0]["field"]) == (422, name)


@pytest.mark.parametrize(
    "query",
    [
        {"from": "yesterday"},
        {"outcome": "maybe"},
        {"cursor": "%"},
        {"limit": "0"},
        {"shoe": "8"},
        {"to": "2026-11-22T10:00:00Z", "from": "2026-11-23T10:00:00Z"},
    ],
)
def test_a_wrong_question_is_told_what_is_wrong(client: FlaskClient, query: dict[str, Any]) -> None:
    answer = Caller(client, TEAM).call("", **query)
    assert (answer.status_code, answer.content_type) == (422, "application/problem+json")
    assert answer.get_json()["errors"]


def test_a_range_is_verified_by_itself(db: Database, client: FlaskClient) -> None:
    usecases.record(db, [fact(at=AT + timedelta(minutes=number)) for number in range(30)])
    query = {"from": (AT + timedelta(minutes=10)).isoformat(), "to": (AT + timedelta(minutes=20)).isoformat()}
    finding = Caller(client, TEAM).read("/verify", **query)
    assert (finding["valid"], finding["first"], finding["last"], finding["entries"]) == (True, 11, 20, 10)


def test_an_entry_outlives_its_team_and_its_copy_elsewhere(db: Database) -> None:
    one = fact()
    assert usecases.record(db, [one, replace(one, team_id=NO_TEAM)]) == 2
