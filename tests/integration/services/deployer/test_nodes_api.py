"""Nodes over HTTP, on a real database and broker."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from uuid import UUID

import pika
import pytest
from pika.exceptions import AMQPConnectionError
from sqlalchemy import text

from kernel import clock, signing
from services.deployer.app import create_app
from tests.fixtures.agents import TestAgent
from tests.fixtures.deployer import TestDeployer, TestVerifier, make_deployer
from tests.fixtures.servers import TestBroker, TestDatabase
from tests.fixtures.waiting import eventually


@pytest.fixture
def deployer(database: Callable[[str], TestDatabase], broker: TestBroker, tmp_path: Path) -> Iterator[TestDeployer]:
    made = make_deployer(database("deployer"), broker, tmp_path)
    yield made
    made.db.close()


def test_a_node_is_made_changed_listed_and_deleted(deployer: TestDeployer) -> None:
    made = deployer.call("POST", "/nodes", {"name": "shop-1", "description": "the shop"})
    assert made.status_code == 201
    path = f"/nodes/{made.json['id']}"
    assert made.headers["Location"].endswith(path)
    assert (made.json["status"], made.json["last_seen_age_seconds"], made.json["enrolled_at"]) == ("new", None, None)
    changed = deployer.call("PATCH", path, {"description": None, "icon": "server"}, If_Match=made.headers["ETag"])
    assert (changed.status_code, changed.json["description"], changed.json["icon"]) == (200, "", "server")
    assert deployer.call("PATCH", path, {"icon": None}, If_Match=made.headers["ETag"]).status_code == 412
    deployer.new_node("another")
    first = deployer.call("GET", "/nodes?limit=1").json
    assert [node["name"] for node in first["items"]] == ["another"]
    assert [node["name"] for node in deployer.call("GET", f"/nodes?limit=1&cursor={first['next_cursor']}").json["items"]] == ["shop-1"]
    assert deployer.call("DELETE", path).status_code == 204
    assert deployer.call("GET", path).status_code == 404
    verbs = [deployer.events(f"deployer.node.{verb}.v1")[0]["data"] for verb in ("created", "changed", "deleted")]
    assert verbs[1]["before"]["description"] == "the shop"
    assert verbs[2]["before"]["name"] == "shop-1"


def test_a_name_is_taken_once_in_a_team(deployer: TestDeployer) -> None:
    deployer.new_node("shop-1")
    other = deployer.new_node("shop-2")
    for answer in (deployer.call("POST", "/nodes", {"name": "shop-1"}), deployer.call("PATCH", f"/nodes/{other}", {"name": "shop-1"})):
        assert (answer.status_code, answer.json["code"]) == (409, "name-taken")
    assert deployer.call("POST", "/nodes", {"name": "shop-1"}, team=clock.new_id()).status_code == 201


def test_wrong_fields_are_all_named(deployer: TestDeployer) -> None:
    answer = deployer.call("POST", "/nodes", {"name": "a\nb", "description": 7, "colour": "red"})
    assert answer.status_code == 422
    assert {error["field"] for error in answer.json["errors"]} == {"name", "description", "colour"}
    assert deployer.call("PATCH", f"/nodes/{deployer.new_node()}", {"name": None}).status_code == 422


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", ""), ("PATCH", ""), ("DELETE", ""), ("POST", "/enrollment"), ("POST", "/revoke"), ("GET", "/events"), ("GET", "/containers")],
)
def test_another_teams_node_is_not_there(deployer: TestDeployer, method: str, path: str) -> None:
    node_id = deployer.new_node()
    body = {"icon": None} if method == "PATCH" else None
    assert deployer.call(method, f"/nodes/{node_id}{path}", body, team=clock.new_id()).status_code == 404


def test_a_member_may_not_enrol_revoke_or_delete(deployer: TestDeployer) -> None:
    node_id = deployer.new_node()
    for method, path in (("POST", "/enrollment"), ("POST", "/revoke"), ("DELETE", "")):
        assert deployer.call(method, f"/nodes/{node_id}{path}", role="member").status_code == 403


def test_an_enrolment_gives_the_agent_what_it_needs(deployer: TestDeployer) -> None:
    node_id = deployer.new_node()
    offer = deployer.call("POST", f"/nodes/{node_id}/enrollment").json
    assert offer["command"] == f"curl -fsSL http://127.0.0.1:8080/install/{offer['token']} | sh"
    agent = TestAgent()
    answer = deployer.enroll(offer["token"], agent.identity)
    assert answer.status_code == 200
    assert answer.json["broker"]["url"] == deployer.settings.agent_broker_url
    assert answer.json["verify_key"] == signing.to_text(deployer.signing_key.verify_key)
    assert (answer.json["node_id"], answer.json["team_id"], answer.json["heartbeat_seconds"]) == (str(node_id), str(deployer.team_id), 10)
    agent.take(answer.json)
    assert agent.commands() == []
    kept = deployer.rows("SELECT token_hash FROM enrollments") + deployer.rows("SELECT credential_hash FROM nodes")
    assert all(offer["token"] not in row[0] and answer.json["broker"]["password"] not in row[0] for row in kept)
    enrolled = deployer.events("deployer.node.enrolled.v1")
    assert [event["data"]["verify_key"] for event in enrolled] == [agent.identity["verify_key"]]
    assert [event["kind"] for event in deployer.call("GET", f"/nodes/{node_id}/events").json["items"]] == [
        "enrolled",
        "enrollment-requested",
        "created",
    ]


def test_an_enrolment_tells_whose_certificate_the_broker_shows(deployer: TestDeployer, tmp_path: Path) -> None:
    token = deployer.call("POST", f"/nodes/{deployer.new_node()}/enrollment").json["token"]
    agent = TestAgent()
    assert deployer.enroll(token, agent.identity).json["broker"]["authority"] is None
    authority = tmp_path / "ca.crt"
    told = replace(deployer.settings, agent_broker_authority_file=authority)
    with pytest.raises(FileNotFoundError):
        create_app(told, db=deployer.db, verifier=TestVerifier())
    authority.write_text("-----BEGIN CERTIFICATE-----")
    deployer.app = create_app(told, db=deployer.db, verifier=TestVerifier())
    assert deployer.enroll(token, agent.identity).json["broker"]["authority"] == "-----BEGIN CERTIFICATE-----"


def test_the_same_agent_may_ask_again_and_gets_in(deployer: TestDeployer) -> None:
    token = deployer.call("POST", f"/nodes/{deployer.new_node()}/enrollment").json["token"]
    agent = TestAgent()
    first, second = (deployer.enroll(token, agent.identity).json for _ in range(2))
    assert first["broker"]["username"] == second["broker"]["username"]
    agent.take(second)
    assert agent.commands() == []
    assert len(deployer.events("deployer.node.enrolled.v1")) == 1


def test_another_agent_with_the_same_token_is_refused_and_told_of(deployer: TestDeployer) -> None:
    token = deployer.call("POST", f"/nodes/{deployer.new_node()}/enrollment").json["token"]
    first = TestAgent()
    first.take(deployer.enroll(token, first.identity).json)
    answer = deployer.enroll(token, TestAgent().identity)
    assert (answer.status_code, answer.json["code"]) == (409, "enrollment-token-used")
    refused = deployer.events("deployer.request.refused.v1")
    assert [(event["data"]["reason"], event["data"]["outcome"]) for event in refused] == [("enrollment-token-used", "refused")]
    assert first.commands() == []


def test_a_new_token_voids_the_old_one(deployer: TestDeployer) -> None:
    node_id = deployer.new_node()
    old = deployer.call("POST", f"/nodes/{node_id}/enrollment").json["token"]
    deployer.call("POST", f"/nodes/{node_id}/enrollment")
    answer = deployer.enroll(old, TestAgent().identity)
    assert (answer.status_code, answer.json["code"]) == (401, "enrollment-token-invalid")


def test_an_expired_token_is_refused(deployer: TestDeployer) -> None:
    token = deployer.call("POST", f"/nodes/{deployer.new_node()}/enrollment").json["token"]
    with deployer.db.team(deployer.team_id) as session:
        session.execute(text("UPDATE enrollments SET expires_at = now()"))
    assert deployer.enroll(token, TestAgent().identity).status_code == 401


def test_keys_that_are_none_are_refused(deployer: TestDeployer) -> None:
    token = deployer.call("POST", f"/nodes/{deployer.new_node()}/enrollment").json["token"]
    for wrong in ("", "x" * 44, "é" * 44):
        assert deployer.enroll(token, TestAgent().identity | {"verify_key": wrong}).status_code == 422


def test_an_agent_that_enrols_anew_replaces_the_former_one(deployer: TestDeployer) -> None:
    former = deployer.new_agent()
    token = deployer.call("POST", f"/nodes/{former.node_id}/enrollment").json["token"]
    agent = TestAgent()
    agent.take(deployer.enroll(token, agent.identity).json)
    assert agent.username != former.username
    assert agent.commands() == []
    with pytest.raises(AMQPConnectionError):
        former.commands()


def test_a_revoked_node_is_cut_off_at_once(deployer: TestDeployer) -> None:
    agent = deployer.new_agent()
    attempt = deployer.live_attempt(agent.node_id)
    connection = pika.BlockingConnection(pika.URLParameters(agent.url))
    answer = deployer.call("POST", f"/nodes/{agent.node_id}/revoke")
    assert (answer.status_code, answer.json["status"]) == (200, "revoked")

    def is_cut() -> bool:
        try:
            connection.process_data_events(0.1)
        except AMQPConnectionError:
            return True
        return False

    eventually(is_cut)
    with pytest.raises(AMQPConnectionError):
        agent.commands()
    assert tuple(deployer.attempt(attempt.id))[:3] == ("failed", "node-revoked", "failed")
    assert deployer.call("POST", f"/nodes/{agent.node_id}/revoke").status_code == 200
    assert len(deployer.events("deployer.node.revoked.v1")) == 1


def test_a_revoked_node_may_be_enrolled_anew(deployer: TestDeployer) -> None:
    agent = deployer.new_agent()
    deployer.call("POST", f"/nodes/{agent.node_id}/revoke")
    token = deployer.call("POST", f"/nodes/{agent.node_id}/enrollment").json["token"]
    back = TestAgent()
    back.take(deployer.enroll(token, back.identity).json)
    assert back.commands() == []
    assert deployer.node(agent.node_id)["revoked_at"] is None


def test_a_node_with_a_deployment_is_not_deleted(deployer: TestDeployer) -> None:
    node_id = deployer.new_node()
    deployer.live_attempt(node_id)
    answer = deployer.call("DELETE", f"/nodes/{node_id}")
    assert (answer.status_code, answer.json["code"], answer.json["deployments"]) == (409, "node-in-use", 1)


def test_a_broker_that_is_away_does_not_lose_an_enrolment(deployer: TestDeployer) -> None:
    token = deployer.call("POST", f"/nodes/{deployer.new_node()}/enrollment").json["token"]
    agent = TestAgent()
    parts = deployer.app.extensions["fairlead"]
    parts["settings"] = replace(deployer.settings, broker_management_url="http://u:p@127.0.0.1:9")
    assert deployer.enroll(token, agent.identity).status_code == 503
    parts["settings"] = deployer.settings
    agent.take(deployer.enroll(token, agent.identity).json)
    assert agent.commands() == []


def test_an_unknown_node_is_not_found(deployer: TestDeployer) -> None:
    assert deployer.call("GET", f"/nodes/{UUID(int=5)}").status_code == 404
