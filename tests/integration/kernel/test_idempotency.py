"""Idempotency keys on a real database: the same request has one effect, whoever repeats it and however fast."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import text
from werkzeug.test import TestResponse

from kernel import clock
from kernel.db import Database
from kernel.housekeeping import forget_old
from kernel.http import TokenVerifier
from kernel.permissions import Role
from tests.fixtures.identity_keys import Keys, published
from tests.integration.kernel.sample_service import DOORS, EFFECTS, Doors, make_app

TEAM = clock.new_id()
THINGS = f"/api/v1/teams/{TEAM}/things"
ADA = clock.new_id()


@pytest.fixture(scope="module")
def keys() -> Iterator[Keys]:
    with published(Keys()) as made:
        yield made


@pytest.fixture
def app(db: Database, keys: Keys) -> Flask:
    EFFECTS.clear()
    DOORS.clear()
    return make_app(db, TokenVerifier(keys.url))


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    return app.test_client()


def headers(keys: Keys, key: str = "k1", **more: object) -> dict[str, str]:
    """Each time with a new token of the same person, as the gateway hands them on."""
    token = keys.token(**({"team_id": TEAM, "sub": ADA} | more))  # type: ignore[arg-type]  # the arguments of Keys.token
    return {"Authorization": f"Bearer {token}", "Idempotency-Key": key}


def post(client: FlaskClient, sent: dict[str, str], name: str = "x") -> TestResponse:
    return client.post(THINGS, json={"name": name}, headers=sent)


def count(db: Database, table: str = "things") -> int:
    with db.system() as session:
        return int(session.execute(text(f"SELECT count(*) FROM {table}")).scalar_one())


def test_the_same_request_twice_has_one_effect_and_one_answer(client: FlaskClient, db: Database, keys: Keys) -> None:
    first, second = post(client, headers(keys)), post(client, headers(keys))
    assert (first.status_code, second.status_code) == (201, 201)
    assert first.get_data() == second.get_data()
    assert first.headers["Location"] == second.headers["Location"]
    assert "Idempotent-Replayed" not in first.headers
    assert second.headers["Idempotent-Replayed"] == "true"
    assert count(db) == 1


def test_the_same_key_with_another_body_is_a_409(client: FlaskClient, db: Database, keys: Keys) -> None:
    post(client, headers(keys))
    refused = post(client, headers(keys), "y")
    assert refused.status_code == 409
    assert refused.get_json()["code"] == "idempotency-key-reused"
    assert count(db) == 1


def test_without_a_key_or_with_another_it_is_done_again(client: FlaskClient, db: Database, keys: Keys) -> None:
    post(client, headers(keys))
    post(client, headers(keys, "k2"))
    plain = headers(keys)
    del plain["Idempotency-Key"]
    post(client, plain)
    assert count(db) == 3


def test_two_at_once_have_one_effect(app: Flask, keys: Keys) -> None:
    door = DOORS["slow"] = Doors()
    answers: list[TestResponse] = []
    first = threading.Thread(target=lambda: answers.append(app.test_client().post("/api/v1/wait/slow", headers=headers(keys))))
    first.start()
    assert door.entered.wait(20)
    second = app.test_client().post("/api/v1/wait/slow", headers=headers(keys))
    door.go_on.set()
    first.join(20)
    assert second.status_code == 409
    assert second.get_json()["code"] == "idempotency-in-progress"
    assert answers[0].status_code == 202
    third = app.test_client().post("/api/v1/wait/slow", headers=headers(keys))
    assert third.get_json() == {"effects": 1}
    assert EFFECTS["slow"] == 1


def test_a_crowd_at_once_has_one_effect(app: Flask, db: Database, keys: Keys) -> None:
    sent = [headers(keys) for _ in range(8)]
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda one: post(app.test_client(), one), sent))
    assert count(db) == 1
    assert {answer.status_code for answer in answers} <= {201, 409}
    assert len({answer.get_data() for answer in answers if answer.status_code == 201}) == 1


def test_a_refusal_is_remembered_too(client: FlaskClient, db: Database, keys: Keys) -> None:
    first, second = (post(client, headers(keys), "") for _ in range(2))
    assert first.status_code == second.status_code == 422
    assert second.headers["Idempotent-Replayed"] == "true"
    assert second.mimetype == "application/problem+json"
    assert count(db) == 0


@pytest.mark.parametrize("kind", ["defect", "away", "fast"])
def test_what_failed_on_our_side_may_be_tried_again(client: FlaskClient, kind: str) -> None:
    for _ in range(2):
        client.post(f"/api/v1/fail/{kind}", headers={"Idempotency-Key": "k1"})
    assert EFFECTS[kind] == 2


def test_the_key_of_another_person_team_or_path_is_another_key(client: FlaskClient, db: Database, keys: Keys) -> None:
    post(client, headers(keys))
    post(client, headers(keys, sub=clock.new_id()))
    other = clock.new_id()
    client.post(f"/api/v1/teams/{other}/things", json={"name": "x"}, headers=headers(keys, team_id=other))
    assert count(db) == 3


def test_a_kept_answer_is_not_given_to_a_forged_token(client: FlaskClient, db: Database, keys: Keys) -> None:
    assert post(client, headers(keys)).status_code == 201
    stranger = Keys()
    stranger.current = "k1"
    forged = post(client, {"Authorization": f"Bearer {stranger.token(TEAM, sub=ADA)}", "Idempotency-Key": "k1"})
    assert forged.status_code == 401
    assert count(db) == 1


def test_who_is_not_signed_in_leaves_no_key_behind(client: FlaskClient, db: Database, keys: Keys) -> None:
    assert client.post(THINGS, json={"name": "x"}, headers={"Idempotency-Key": "k1"}).status_code == 401
    assert client.post(THINGS, json={"name": "x"}, headers={"Idempotency-Key": "k1", "Authorization": "Bearer a.b.c"}).status_code == 401
    assert count(db, "idempotency_keys") == 0
    assert post(client, headers(keys)).status_code == 201


def test_a_role_that_was_taken_away_gets_no_new_effect(client: FlaskClient, db: Database, keys: Keys) -> None:
    assert post(client, headers(keys, role=Role.VIEWER)).status_code == 403
    assert count(db) == 0


@pytest.mark.parametrize("key", ["", "a b", "ä".encode().decode("latin-1"), "x" * 256])
def test_a_key_of_another_form_is_a_422(client: FlaskClient, keys: Keys, key: str) -> None:
    refused = post(client, headers(keys, key))
    assert refused.status_code == 422
    assert refused.get_json()["errors"][0]["field"] == "Idempotency-Key"


def test_a_request_that_died_half_way_frees_its_key_after_a_minute(client: FlaskClient, db: Database, keys: Keys) -> None:
    post(client, headers(keys))
    with db.system() as session:
        session.execute(text("UPDATE idempotency_keys SET status = NULL, created_at = now() - interval '61 seconds'"))
    assert post(client, headers(keys)).status_code == 201
    assert count(db) == 2


def test_a_key_is_forgotten_after_a_day(client: FlaskClient, db: Database, keys: Keys) -> None:
    post(client, headers(keys))
    with db.system() as session:
        session.execute(text("UPDATE idempotency_keys SET created_at = now() - interval '25 hours'"))
    forget_old(db)
    assert count(db, "idempotency_keys") == 0


def test_what_is_kept_cannot_be_read_without_the_clients_key(client: FlaskClient, db: Database, keys: Keys) -> None:
    answer = post(client, headers(keys, "the-key-of-the-client"), "shown-once")
    with db.system() as session:
        row = session.execute(text("SELECT owner, key, request_hash, body FROM idempotency_keys")).one()
    kept = " ".join(str(part) for part in row[:3]).encode() + bytes(row.body)
    assert b"shown-once" in answer.get_data()
    for secret in (
        b"shown-once",
        b"the-key-of-the-client",
        str(ADA).encode(),
        hashlib.sha256(b'{"name": "shown-once"}').hexdigest().encode(),
    ):
        assert secret not in kept


def test_a_key_that_is_taken_again_after_a_day_forgets_its_old_answer(app: Flask, db: Database, keys: Keys) -> None:
    door = DOORS["later"] = Doors()
    door.go_on.set()
    client = app.test_client()
    client.post("/api/v1/wait/later", headers=headers(keys))
    with db.system() as session:
        session.execute(text("UPDATE idempotency_keys SET created_at = now() - interval '25 hours'"))
    door.go_on.clear()
    door.entered.clear()
    second = threading.Thread(target=lambda: app.test_client().post("/api/v1/wait/later", headers=headers(keys)))
    second.start()
    assert door.entered.wait(20)
    third = client.post("/api/v1/wait/later", headers=headers(keys))
    door.go_on.set()
    second.join(20)
    assert third.get_json()["code"] == "idempotency-in-progress"


def test_a_get_takes_no_notice_of_a_key(client: FlaskClient, db: Database, keys: Keys) -> None:
    assert client.get(THINGS, headers=headers(keys)).status_code == 200
    assert count(db, "idempotency_keys") == 0
