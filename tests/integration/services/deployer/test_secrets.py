"""Secrets of deployments: sealed on arrival, and never seen again."""

from __future__ import annotations

import base64
import threading
from uuid import UUID

from sqlalchemy import text

from kernel import clock, signing
from services.deployer.domain.states import EventKind
from services.deployer.store.events import NewEvent
from services.deployer.store.reports import append_histories, lock_marks
from tests.fixtures.waiting import eventually, waits_for_lock
from tests.integration.services.deployer.world import World

CANARY = "canary-9f3b1c"
API = {"name": "api", "config": {"secrets": {"KEY": {}, "OPTIONAL": {"required": False, "as": "file"}}}}


def everything(world: World) -> str:
    """All text and bytes in the database."""
    found = ""
    with world.db.system() as session:
        for table in ("secrets", "outbox", "deployments", "deployment_events", "attempts", "idempotency_keys", "instances"):
            for row in session.execute(text(f"SELECT to_jsonb(t)::text FROM {table} AS t")):
                found += row[0]
        for row in session.execute(text("SELECT body FROM outbox")):
            found += bytes(row[0]).decode()
    return found


def test_a_value_is_sealed_to_the_node_and_stands_nowhere_in_plain(world: World) -> None:
    made = world.deploy(world.catalog.add(API))
    where = f"/deployments/{made['id']}/secrets"
    shown = world.me.call("PUT", where, {"KEY": {"value": CANARY}})
    assert [(one["name"], one["set"], one["required"], one["usable"]) for one in shown["items"]] == [
        ("KEY", True, True, True),
        ("OPTIONAL", False, False, False),
    ]
    assert (shown["seal_key"], shown["next_cursor"]) == (signing.to_text(world.node_key.public_key), None)
    world.start(made)
    assert CANARY not in everything(world)
    assert CANARY not in str(world.me.call("GET", where))
    assert base64.b64encode(CANARY.encode()).decode() not in everything(world)
    with world.db.system() as session:
        sealed = session.execute(text("SELECT sealed FROM secrets")).scalar_one()
    assert sealed not in str(shown)
    assert signing.open_sealed(world.node_key, sealed, team=str(world.team), node=str(world.node), name="KEY") == CANARY
    assert "secrets.set" in world.names()


def test_a_box_that_the_client_sealed_is_kept_as_it_is(world: World) -> None:
    made = world.deploy(world.catalog.add(API))
    box = signing.seal(world.node_key.public_key, team=str(world.team), node=str(world.node), name="KEY", value=CANARY)
    world.me.call("PUT", f"/deployments/{made['id']}/secrets", {"KEY": {"sealed": box}})
    with world.db.system() as session:
        assert session.execute(text("SELECT sealed FROM secrets")).scalar_one() == box


def test_a_null_takes_one_away_and_the_others_stay(world: World) -> None:
    made = world.deploy(world.catalog.add(API))
    where = f"/deployments/{made['id']}/secrets"
    world.me.call("PUT", where, {"KEY": {"value": "a"}, "OPTIONAL": {"value": "b"}})
    shown = world.me.call("PUT", where, {"OPTIONAL": None})
    assert {one["name"]: one["set"] for one in shown["items"]} == {"KEY": True, "OPTIONAL": False}


def test_a_deployment_has_so_many_secrets_and_no_more(world: World) -> None:
    where = f"/deployments/{world.deploy(world.catalog.add(API))['id']}/secrets"
    for block in range(4):
        world.me.call("PUT", where, {f"A{block}_{number}": {"value": "x"} for number in range(128)})
    refused = world.me.call("PUT", where, {"ONE_MORE": {"value": "x"}}, status=409)
    assert refused["code"] == "too-many-secrets"
    assert len(world.me.call("PUT", where, {"A0_0": None, "ONE_MORE": {"value": "x"}})["items"]) == 512 + 2


def test_wrong_secrets_are_named_and_their_values_are_not_repeated(world: World) -> None:
    made = world.deploy(world.catalog.add(API))
    where = f"/deployments/{made['id']}/secrets"
    for body, field in (
        ({"1X": {"value": CANARY}}, "secrets.1X"),
        ({"KEY": {"value": CANARY, "sealed": "eA=="}}, "KEY"),
        ({"KEY": {}}, "KEY"),
        ({"KEY": {"sealed": CANARY}}, "KEY.sealed"),
        ({"KEY": {"value": [CANARY]}}, "secrets.KEY.value"),
        ({"KEY": {"value": f"{CANARY}\ud800"}}, "secrets.KEY.value"),
        ({"KEY": CANARY}, "secrets.KEY"),
    ):
        answer = world.me.call("PUT", where, body, status=422)
        assert [one["field"] for one in answer["errors"]] == [field]
        assert CANARY not in str(answer)


def test_a_report_that_comes_meanwhile_and_the_setting_of_a_secret_do_not_block_each_other(world: World) -> None:
    made = world.deploy(world.catalog.add(API))
    answers: list[int] = []

    def put() -> None:
        client = world.app.test_client()
        path = f"/api/v1/teams/{world.team}/deployments/{made['id']}/secrets"
        answers.append(client.put(path, json={"KEY": {"value": CANARY}}, headers={"Authorization": f"Bearer {world.me.token}"}).status_code)

    setting = threading.Thread(target=put)
    with world.db.system() as session:
        lock_marks(session, [world.node])  # as a batch of reports begins
        setting.start()
        eventually(lambda: waits_for_lock(world.db), what="a request that waits for the node")
        append_histories(session, {UUID(made["id"]): [NewEvent(kind=EventKind.STEP, at=clock.now())]})
    setting.join(20)
    assert answers == [200]


def test_a_node_without_keys_can_have_no_secrets_yet(world: World) -> None:
    node = world.add_node("bare")
    made = world.deploy(world.catalog.add(API), node_id=str(node))
    where = f"/deployments/{made['id']}/secrets"
    assert world.me.call("PUT", where, {"KEY": {"value": "x"}}, status=409)["code"] == "node-not-enrolled"
    assert world.me.call("GET", where)["items"] == []
    assert world.me.call("POST", f"/deployments/{made['id']}/start", {}, status=409)["code"] == "node-not-connected"


def test_secrets_are_set_only_if_nobody_was_quicker(world: World) -> None:
    made = world.deploy(world.catalog.add(API))
    where = f"/deployments/{made['id']}/secrets"

    def etag() -> str:
        headers = {"Authorization": f"Bearer {world.me.token}"}
        answer = world.app.test_client().get(f"/api/v1/teams/{world.team}{where}", headers=headers)
        return str(answer.headers["ETag"])

    empty = etag()
    assert etag() == empty
    world.me.call("PUT", where, {"KEY": {"value": "one"}}, headers={"If-Match": empty})
    first = etag()
    refused = world.me.call("PUT", where, {"KEY": {"value": "two"}}, status=412, headers={"If-Match": empty})
    assert (refused["code"], etag()) == ("precondition-failed", first)
    # The same value again is another box, and so another state.
    world.me.call("PUT", where, {"KEY": {"value": "one"}}, headers={"If-Match": first})
    assert etag() not in (empty, first)
    world.me.call("PUT", where, {"KEY": None}, headers={"If-Match": "*"})
    assert etag() == empty
