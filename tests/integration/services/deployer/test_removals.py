"""A place that is to be cleared is remembered until its node has answered: a real database, a real broker, the real worker."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import text

from kernel import clock
from kernel.contracts.agent import CommandRefused, Hello, PlaceRemoved, PlaceState
from services.deployer.domain.removals import pause_seconds
from services.deployer.store.places import lock_place, raise_generation
from services.deployer.usecases.removals import send_due
from tests.fixtures.agents import TestAgent
from tests.fixtures.deployer import TestDeployer
from tests.fixtures.waiting import eventually
from tests.integration.services.deployer.test_reports_applied import finished, flush, of_kind, say_hello, settled

REMOVE = "deployer.place.remove.v1"


@pytest.fixture
def agent(deployer: TestDeployer) -> Iterator[TestAgent]:
    """Of a node where something ran at `shop`, which was deleted together with its containers: generation 2 clears the place."""
    made = deployer.new_agent()
    say_hello(deployer, made)
    attempt = deployer.live_attempt(made.node_id)
    made.say("deployment.finished", finished(attempt))
    settled(deployer, attempt)
    where = f"/deployments/{attempt.deployment_id}?remove_containers=true&remove_volumes=true"
    assert deployer.call("DELETE", where).status_code == 204
    yield made
    made.close()


def orders(deployer: TestDeployer, agent: TestAgent) -> list[dict[str, Any]]:
    return of_kind(deployer, agent, "place.remove")


def wanted(deployer: TestDeployer) -> int | None:
    """The generation that the place is wanted empty with."""
    found: int | None = deployer.rows("SELECT removal_generation FROM places WHERE prefix = 'shop'")[0][0]
    return found


def node_events(deployer: TestDeployer, agent: TestAgent) -> list[tuple[str, dict[str, Any]]]:
    items = deployer.call("GET", f"/nodes/{agent.node_id}/events").json["items"]
    return [(one["kind"], one["data"]) for one in items if one["kind"].startswith("place-")]


def answer(agent: TestAgent, outcome: str = "succeeded", *, generation: int = 2, **facts: Any) -> None:
    """The node's answer. Any: the report's fields, and how it is sent."""
    sent = {name: facts.pop(name) for name in ("epoch",) if name in facts}
    agent.say("place.removed", PlaceRemoved(prefix="shop", generation=generation, outcome=outcome, **facts), **sent)


def refuse(agent: TestAgent, code: str) -> None:
    agent.say("command.refused", CommandRefused(command_id="x", command_type=REMOVE, code=code, detail=f"It is {code}.", prefix="shop"))


def come_due(deployer: TestDeployer) -> None:
    """Let the time pass that an answer is waited for."""
    with deployer.db.system() as session:
        session.execute(text("UPDATE places SET removal_due_at = now() WHERE removal_generation IS NOT NULL"))


def test_the_order_is_remembered_until_the_node_has_answered(deployer: TestDeployer, agent: TestAgent) -> None:
    (order,) = orders(deployer, agent)
    assert (order["generation"], order["data"], order["actorname"]) == (2, {"prefix": "shop", "remove_volumes": True}, "Tess")
    assert wanted(deployer) == 2
    for _ in range(2):
        answer(agent, containers=["shop-web"])
        flush(deployer, agent)
    assert wanted(deployer) is None
    ((kind, data),) = node_events(deployer, agent)
    assert (kind, data["containers"], data["asked_by"]) == ("place-removed", ["shop-web"], order["actor"])
    (event,) = deployer.events("deployer.place.removed.v1")
    assert (event["actor"], event["data"]["resource_name"], event["data"]["after"]["generation"]) == (f"node:{agent.node_id}", "shop", 2)
    say_hello(deployer, agent)
    assert len(orders(deployer, agent)) == 1


def test_a_process_that_comes_anew_is_told_again_in_its_epoch(deployer: TestDeployer, agent: TestAgent) -> None:
    agent.boot_id = clock.new_id()
    say_hello(deployer, agent)
    assert [(one["epoch"], one["generation"]) for one in orders(deployer, agent)] == [(1, 2), (2, 2)]
    answer(agent)
    eventually(lambda: wanted(deployer) is None)


def test_without_an_answer_it_is_ordered_again_with_growing_pauses(deployer: TestDeployer, agent: TestAgent) -> None:
    flush(deployer, agent)
    send_due(deployer.db, deployer.signing_key)
    assert len(orders(deployer, agent)) == 1
    for count in (2, 3):
        come_due(deployer)
        eventually(lambda count=count: len(orders(deployer, agent)) == count)  # type: ignore[misc]  # bound in the loop
        left, tries = deployer.rows("SELECT extract(epoch FROM removal_due_at - now())::float8, removal_tries FROM places")[0]
        assert tries == count
        assert pause_seconds(count) - 20 < left <= pause_seconds(count)
    assert len({one["id"] for one in orders(deployer, agent)}) == 3


def test_a_node_that_is_away_is_not_ordered_anything_until_it_is_back(deployer: TestDeployer, agent: TestAgent) -> None:
    with deployer.db.system() as session:
        session.execute(text("UPDATE nodes SET last_seen_at = now() - interval '40 seconds'"))
    come_due(deployer)
    send_due(deployer.db, deployer.signing_key)
    eventually(lambda: deployer.events("deployer.node.unreachable.v1"))
    assert len(orders(deployer, agent)) == 1
    flush(deployer, agent)
    assert len(orders(deployer, agent)) == 2


def test_what_could_not_be_removed_is_seen_and_tried_again_after_a_pause(deployer: TestDeployer, agent: TestAgent) -> None:
    answer(agent, "failed", code="volume-in-use", detail="The volume shop-data is in use and stays.")
    flush(deployer, agent)
    assert wanted(deployer) == 2
    ((kind, data),) = node_events(deployer, agent)
    assert (kind, data["code"], data["detail"]) == ("place-removal-failed", "volume-in-use", "The volume shop-data is in use and stays.")
    (event,) = deployer.events("deployer.place.removal_failed.v1")
    assert event["data"]["reason"] == "volume-in-use: The volume shop-data is in use and stays."
    again = clock.parse_rfc3339(event["data"]["after"]["again_at"])
    assert 30 < (again - clock.now()).total_seconds() <= 60
    send_due(deployer.db, deployer.signing_key)
    assert len(orders(deployer, agent)) == 1
    come_due(deployer)
    eventually(lambda: len(orders(deployer, agent)) == 2)
    answer(agent)
    eventually(lambda: wanted(deployer) is None)


def test_an_answer_to_an_older_order_and_one_of_another_node_change_nothing(deployer: TestDeployer, agent: TestAgent) -> None:
    other = deployer.new_agent("other")
    say_hello(deployer, other)
    answer(agent, generation=1)
    answer(other)
    flush(deployer, agent)
    flush(deployer, other)
    assert wanted(deployer) == 2


def test_an_answer_in_an_older_epoch_is_asked_for_anew(deployer: TestDeployer, agent: TestAgent) -> None:
    answer(agent, epoch=0)
    flush(deployer, agent)
    assert wanted(deployer) == 2
    assert [one["type"].split(".")[-2] for one in deployer.commands(agent.node_id)][-3:] == ["remove", "welcome", "remove"]


def test_a_command_of_a_stale_epoch_is_sent_again(deployer: TestDeployer, agent: TestAgent) -> None:
    refuse(agent, "stale-epoch")
    flush(deployer, agent)
    assert (wanted(deployer), len(orders(deployer, agent))) == (2, 2)


def test_a_node_that_knows_something_newer_is_asked_and_then_left_alone(deployer: TestDeployer, agent: TestAgent) -> None:
    refuse(agent, "superseded")
    flush(deployer, agent)
    assert wanted(deployer) == 2
    assert UUID(of_kind(deployer, agent, "node.welcome")[-1]["data"]["boot_id"]).int == 0
    agent.say("hello", Hello(boot_id=agent.boot_id, version="0.1.0", places=[PlaceState(prefix="shop", generation=7)]))
    flush(deployer, agent)
    assert wanted(deployer) is None
    ((kind, data),) = node_events(deployer, agent)
    assert (kind, data["code"], data["again_at"]) == ("place-removal-failed", "superseded", None)
    assert len(orders(deployer, agent)) == 1


def test_other_refusals_are_seen_and_tried_again_but_for_a_generation_that_was_lost_here(deployer: TestDeployer, agent: TestAgent) -> None:
    refuse(agent, "unsupported")
    flush(deployer, agent)
    assert wanted(deployer) == 2
    refuse(agent, "generation-conflict")
    flush(deployer, agent)
    assert wanted(deployer) is None
    assert [data["code"] for _, data in node_events(deployer, agent)] == ["generation-conflict", "unsupported"]


def test_an_answer_that_comes_after_something_newer_was_started_still_counts(deployer: TestDeployer, agent: TestAgent) -> None:
    with deployer.db.system() as session:
        assert raise_generation(session, lock_place(session, team_id=deployer.team_id, node_id=agent.node_id, prefix="shop")) == 3
    assert wanted(deployer) == 2
    answer(agent)
    flush(deployer, agent)
    assert deployer.rows("SELECT removal_generation, removal_by, removal_due_at, removal_tries FROM places")[0] == (None, None, None, 0)
    assert [kind for kind, _ in node_events(deployer, agent)] == ["place-removed"]


def test_a_revoked_node_drops_it_and_a_deleted_one_takes_it_along(deployer: TestDeployer, agent: TestAgent) -> None:
    assert deployer.call("POST", f"/nodes/{agent.node_id}/revoke").status_code == 200
    assert wanted(deployer) is None
    with deployer.db.system() as session:
        session.execute(text("UPDATE places SET removal_generation = 2"))
    assert deployer.call("DELETE", f"/nodes/{agent.node_id}").status_code == 204
    assert deployer.rows("SELECT 1 FROM places") == []


@pytest.mark.parametrize(("tries", "seconds"), [(0, 60), (1, 60), (2, 120), (4, 480), (7, 3600), (500, 3600)])
def test_pauses_grow_up_to_an_hour(tries: int, seconds: int) -> None:
    assert pause_seconds(tries) == seconds
