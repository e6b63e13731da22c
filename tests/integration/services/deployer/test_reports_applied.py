"""Agents' reports, from the broker's queue into the deployer's tables: a real database, a real broker, the real worker."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from uuid import UUID

import pytest
from nacl.signing import SigningKey
from pika.exceptions import AMQPError
from sqlalchemy import text

from kernel import clock, signing
from kernel.contracts.agent import (
    CommandRefused,
    ContainerOutcome,
    ContainersObserved,
    DeploymentFinished,
    DeploymentProgressed,
    Heartbeat,
    Hello,
    ObservedContainer,
    PlaceState,
)
from kernel.contracts.envelope import Envelope, encode
from kernel.contracts.recorded import Recorded
from kernel.contracts.spec import spec_hash
from kernel.messaging.publisher import Outgoing, Publisher
from kernel.messaging.topology import parked_queue
from services.deployer.messages import REPORTS
from services.deployer.models import Attempt
from tests.fixtures.agents import TestAgent
from tests.fixtures.deployer import STACK, TestDeployer
from tests.fixtures.servers import TestBroker
from tests.fixtures.waiting import eventually


@pytest.fixture
def agent(deployer: TestDeployer) -> Iterator[TestAgent]:
    """An agent that has said hello and was welcomed."""
    made = deployer.new_agent()
    say_hello(deployer, made)
    yield made
    made.close()


def say_hello(deployer: TestDeployer, agent: TestAgent, *places: PlaceState) -> None:
    """Say it, and take the epoch of the welcome."""
    seen = len(of_kind(deployer, agent, "node.welcome"))
    agent.say("hello", Hello(boot_id=agent.boot_id, version="0.1.0", facts={"cpus": 2}, places=list(places)))
    welcome = eventually(lambda: of_kind(deployer, agent, "node.welcome")[seen:])[0]
    assert welcome["data"]["boot_id"] == str(agent.boot_id)
    agent.epoch = welcome["epoch"]


def of_kind(deployer: TestDeployer, agent: TestAgent, kind: str) -> list[dict[str, Any]]:
    return [command for command in deployer.commands(agent.node_id) if command["type"] == f"deployer.{kind}.v1"]


def finished(attempt: Attempt, outcome: str = "succeeded", **facts: object) -> DeploymentFinished:
    return DeploymentFinished(deployment_id=attempt.deployment_id, attempt_id=attempt.id, prefix="shop", outcome=outcome, **facts)  # type: ignore[arg-type]  # by keyword


def progressed(attempt: Attempt, step: str) -> DeploymentProgressed:
    return DeploymentProgressed(
        deployment_id=attempt.deployment_id, attempt_id=attempt.id, prefix="shop", step=step, container="web", message="half\x00way"
    )


def heartbeat(agent: TestAgent) -> Heartbeat:
    return Heartbeat(boot_id=agent.boot_id)


def settled(deployer: TestDeployer, attempt: Attempt) -> tuple[object, ...]:
    """(outcome, code, the deployment's status), once it is settled."""
    return eventually(lambda: (row := tuple(deployer.attempt(attempt.id)[:3]))[0] and row)


def flush(deployer: TestDeployer, agent: TestAgent) -> None:
    """Returns when everything that the agent has said so far was handled."""
    agent.say("heartbeat", heartbeat(agent))
    wanted = agent.sequence
    eventually(lambda: deployer.rows("SELECT 1 FROM nodes WHERE id = :id AND last_sequence >= :s", id=agent.node_id, s=wanted))


def test_a_hello_connects_the_node_in_a_new_epoch(deployer: TestDeployer, agent: TestAgent) -> None:
    assert agent.epoch == 1
    node = deployer.node(agent.node_id)
    assert (node["status"], node["epoch"], node["facts"]) == ("connected", 1, {"cpus": 2})
    assert node["last_seen_age_seconds"] < 10
    say_hello(deployer, agent)
    assert agent.epoch == 1
    agent.boot_id = clock.new_id()
    say_hello(deployer, agent)
    assert agent.epoch == 2
    assert [event["data"]["after"]["epoch"] for event in deployer.events("deployer.node.connected.v1")] == [1, 2]


def test_a_success_with_its_steps_settles_the_deployment(deployer: TestDeployer, agent: TestAgent) -> None:
    attempt = deployer.live_attempt(agent.node_id)
    done = finished(attempt, containers=[ContainerOutcome(name="web", action="created")], seconds={"pull": 1.5})
    bodies = [agent.report("deployment.progressed", progressed(attempt, step)) for step in ("pulling", "created", "healthy")]
    agent.publish([*bodies, agent.report("deployment.finished", done)])
    assert settled(deployer, attempt) == ("succeeded", None, "successful")
    rows = deployer.rows("SELECT number, kind, data->>'step' FROM deployment_events ORDER BY number")
    assert [tuple(row) for row in rows] == [(1, "step", "pulling"), (2, "step", "created"), (3, "step", "healthy"), (4, "status", None)]
    event = deployer.events("deployer.deployment.succeeded.v1")[0]
    assert (event["actor"], event["team"]) == (f"node:{agent.node_id}", str(deployer.team_id))


def test_a_report_that_comes_twice_acts_once(deployer: TestDeployer, agent: TestAgent) -> None:
    attempt = deployer.live_attempt(agent.node_id)
    body = agent.report("deployment.progressed", progressed(attempt, "pulling"))
    done = agent.report("deployment.finished", finished(attempt, "failed", code="health-failed", detail="last words: \x00"))
    agent.publish([body, body, done])
    agent.publish([body, done])
    flush(deployer, agent)
    assert settled(deployer, attempt) == ("failed", "health-failed", "failed")
    assert len(deployer.rows("SELECT 1 FROM deployment_events")) == 2
    assert len(deployer.events("deployer.deployment.failed.v1")) == 1


def test_a_hello_sends_again_what_the_agent_does_not_know(deployer: TestDeployer, agent: TestAgent) -> None:
    attempt = deployer.live_attempt(agent.node_id)
    agent.boot_id = clock.new_id()
    say_hello(deployer, agent)
    (command,) = of_kind(deployer, agent, "deployment.apply")
    assert (command["data"]["attempt_id"], command["generation"], command["epoch"]) == (str(attempt.id), 1, 2)
    body = deployer.rows("SELECT body FROM outbox WHERE key = :key ORDER BY id DESC LIMIT 1", key=str(agent.node_id))[0][0]
    signing.verify_body(deployer.signing_key.verify_key, bytes(body))
    say_hello(deployer, agent, PlaceState(prefix="shop", generation=1, attempt_id=attempt.id))
    assert len(of_kind(deployer, agent, "deployment.apply")) == 1


def test_a_hello_sends_what_waited_for_the_node(deployer: TestDeployer, agent: TestAgent) -> None:
    with deployer.db.system() as session:
        session.execute(text("UPDATE nodes SET last_seen_at = now() - interval '60 seconds'"))
    attempt = deployer.live_attempt(agent.node_id, sent=False)
    say_hello(deployer, agent)
    assert [command["data"]["attempt_id"] for command in of_kind(deployer, agent, "deployment.apply")] == [str(attempt.id)]
    assert deployer.attempt(attempt.id).sent_at is not None


def test_an_outcome_whose_report_was_lost_is_taken_from_the_hello(deployer: TestDeployer, agent: TestAgent) -> None:
    attempt = deployer.live_attempt(agent.node_id)
    place = PlaceState(prefix="shop", generation=1, attempt_id=attempt.id, outcome="failed", code="pull-failed", detail="no such image")
    say_hello(deployer, agent, place)
    assert settled(deployer, attempt) == ("failed", "pull-failed", "failed")


def test_a_hello_repeats_a_cancel(deployer: TestDeployer, agent: TestAgent) -> None:
    attempt = deployer.live_attempt(agent.node_id)
    with deployer.db.system() as session:
        session.execute(text("UPDATE attempts SET cancel_requested_at = now()"))
    say_hello(deployer, agent, PlaceState(prefix="shop", generation=1, attempt_id=attempt.id))
    assert [command["data"]["attempt_id"] for command in of_kind(deployer, agent, "deployment.cancel")] == [str(attempt.id)]


def test_a_database_set_back_in_time_is_raised_to_the_agents_generation(deployer: TestDeployer, agent: TestAgent) -> None:
    attempt = deployer.live_attempt(agent.node_id)
    agent.epoch = 7
    agent.boot_id = clock.new_id()
    say_hello(deployer, agent, PlaceState(prefix="shop", generation=9, attempt_id=clock.new_id(), outcome="succeeded"))
    assert agent.epoch == 8
    assert settled(deployer, attempt) == ("refused", "superseded", "failed")
    assert deployer.rows("SELECT generation FROM places")[0][0] == 9


def test_a_node_that_knows_more_than_the_database_is_asked_where_it_stands(deployer: TestDeployer, agent: TestAgent) -> None:
    def asked() -> list[int]:
        return [one["epoch"] for one in of_kind(deployer, agent, "node.welcome") if UUID(one["data"]["boot_id"]).int == 0]

    agent.epoch = 4
    flush(deployer, agent)
    assert asked() == [4]
    attempt = deployer.live_attempt(agent.node_id)
    apply, code = "deployer.deployment.apply.v1", "superseded"
    agent.say("command.refused", CommandRefused(command_id="x", command_type=apply, code=code, detail=code, attempt_id=attempt.id))
    assert settled(deployer, attempt) == ("refused", "superseded", "failed")
    assert asked() == [4, 4]


def test_a_report_of_an_older_epoch_changes_nothing_and_is_asked_for_anew(deployer: TestDeployer, agent: TestAgent) -> None:
    attempt = deployer.live_attempt(agent.node_id)
    agent.say("containers.observed", ContainersObserved(containers=[], engine="gone"), epoch=0)
    agent.say("deployment.finished", finished(attempt), epoch=0)
    flush(deployer, agent)
    assert deployer.attempt(attempt.id).outcome is None
    assert [command["epoch"] for command in of_kind(deployer, agent, "deployment.apply")] == [1]
    assert deployer.node(agent.node_id)["engine"] == "ok"


def test_an_end_told_in_an_older_epoch_is_answered_with_the_present_one_first(deployer: TestDeployer, agent: TestAgent) -> None:
    attempt = deployer.live_attempt(agent.node_id)
    agent.say("deployment.finished", finished(attempt), epoch=0)
    eventually(lambda: of_kind(deployer, agent, "deployment.apply"))
    assert [one["type"].split(".")[-2] for one in deployer.commands(agent.node_id)] == ["welcome", "welcome", "apply"]


def test_a_process_that_missed_its_welcome_is_welcomed_again(deployer: TestDeployer, agent: TestAgent) -> None:
    agent.say("heartbeat", heartbeat(agent), epoch=0)
    assert eventually(lambda: of_kind(deployer, agent, "node.welcome")[1:])[0]["epoch"] == 1


def test_a_refusal_ends_the_attempt_and_a_late_command_is_sent_again(deployer: TestDeployer, agent: TestAgent) -> None:
    attempt = deployer.live_attempt(agent.node_id)

    def refuse(code: str) -> None:
        apply = "deployer.deployment.apply.v1"
        agent.say("command.refused", CommandRefused(command_id="x", command_type=apply, code=code, detail=code, attempt_id=attempt.id))

    refuse("stale-epoch")
    eventually(lambda: of_kind(deployer, agent, "deployment.apply"))
    assert deployer.attempt(attempt.id).outcome is None
    refuse("policy-denied")
    assert settled(deployer, attempt) == ("refused", "policy-denied", "failed")


@pytest.mark.parametrize("restored", [True, False, None])
def test_a_hello_says_whether_what_ran_before_is_back(deployer: TestDeployer, agent: TestAgent, restored: bool | None) -> None:
    attempt = deployer.live_attempt(agent.node_id)
    place = PlaceState(prefix="shop", generation=1, attempt_id=attempt.id, outcome="failed", code="unhealthy", restored=restored)
    say_hello(deployer, agent, place)
    assert settled(deployer, attempt) == ("failed", "unhealthy", "failed")
    assert deployer.attempt(attempt.id).restored is restored


def test_two_agents_with_one_identity_are_told_of_once(deployer: TestDeployer, agent: TestAgent) -> None:
    former, agent.boot_id = agent.boot_id, clock.new_id()
    last_word = agent.report("heartbeat", Heartbeat(boot_id=former))
    say_hello(deployer, agent)
    agent.publish([last_word])  # it waited somewhere while its process ended
    flush(deployer, agent)
    assert deployer.node(agent.node_id)["duplicated"] is False
    for _ in range(2):
        agent.say("heartbeat", Heartbeat(boot_id=former), epoch=1)
        flush(deployer, agent)
    node = deployer.node(agent.node_id)
    assert (node["duplicated"], node["duplicate_seen_at"] is not None, node["status"]) == (True, True, "connected")
    (event,) = deployer.events("deployer.node.duplicated.v1")
    assert event["data"]["after"]["other_boot_id"] == str(former)
    kinds = [one["kind"] for one in deployer.call("GET", f"/nodes/{agent.node_id}/events").json["items"]]
    assert kinds.count("duplicated") == 1
    with deployer.db.system() as session:
        session.execute(text("UPDATE nodes SET duplicate_seen_at = now() - interval '1 minute'"))
    assert deployer.node(agent.node_id)["duplicated"] is False


def test_no_node_speaks_of_anothers_attempt(deployer: TestDeployer, agent: TestAgent) -> None:
    other = deployer.new_agent("other")
    attempt = deployer.live_attempt(other.node_id)
    agent.publish(
        [agent.report("deployment.progressed", progressed(attempt, "created")), agent.report("deployment.finished", finished(attempt))]
    )
    say_hello(deployer, agent, PlaceState(prefix="shop", generation=1, attempt_id=attempt.id, outcome="succeeded"))
    flush(deployer, agent)
    assert deployer.attempt(attempt.id).outcome is None
    assert deployer.rows("SELECT 1 FROM deployment_events") == []


def test_forged_reports_are_parked_and_the_queue_goes_on(deployer: TestDeployer, agent: TestAgent, broker: TestBroker) -> None:
    other = deployer.new_agent("other")
    stranger = SigningKey.generate()
    good = agent.report("heartbeat", heartbeat(agent))
    unsigned, _ = signing.split_signature(agent.report("heartbeat", heartbeat(agent)))
    forged = [
        unsigned,
        signing.sign_body(stranger, signing.split_signature(agent.report("heartbeat", heartbeat(agent)))[0]),
        agent.report("heartbeat", heartbeat(agent), node=other.node_id),
        good.replace(b'"epoch":1', b'"epoch":9'),
    ]
    agent.publish(forged)
    flush(deployer, agent)
    eventually(lambda: broker.servers.manage("GET", f"/api/queues/{broker.agents}/{parked_queue(REPORTS)}").get("messages_ready") == 4)
    assert deployer.node(agent.node_id)["epoch"] == 1


def test_what_a_revoked_node_says_does_not_count(deployer: TestDeployer, agent: TestAgent, broker: TestBroker) -> None:
    flush(deployer, agent)
    with deployer.db.system() as session:
        session.execute(text("UPDATE nodes SET revoked_at = now()"))
    other = deployer.new_agent("other")
    agent.say("heartbeat", heartbeat(agent))
    say_hello(deployer, other)
    eventually(lambda: broker.servers.manage("GET", f"/api/queues/{broker.agents}/{parked_queue(REPORTS)}").get("messages_ready") == 1)
    assert deployer.node(other.node_id)["status"] == "connected"


def test_a_node_that_was_silent_is_told_of_when_it_is_back_and_gets_what_waited(deployer: TestDeployer, agent: TestAgent) -> None:
    with deployer.db.system() as session:
        session.execute(text("UPDATE nodes SET last_seen_at = now() - interval '31 seconds'"))
    eventually(lambda: deployer.events("deployer.node.unreachable.v1"))
    attempt = deployer.live_attempt(agent.node_id, sent=False)
    assert deployer.node(agent.node_id)["status"] == "unreachable"
    flush(deployer, agent)
    assert len(deployer.events("deployer.node.connected.v1")) == 2
    assert deployer.node(agent.node_id)["status"] == "connected"
    assert [command["data"]["attempt_id"] for command in of_kind(deployer, agent, "deployment.apply")] == [str(attempt.id)]


def test_the_nodes_of_a_deleted_team_are_revoked(deployer: TestDeployer, agent: TestAgent, broker: TestBroker) -> None:
    deleted = Recorded(resource_type="team", resource_id=str(deployer.team_id))
    event = Envelope(type="identity.team.deleted.v1", source="identity", team=deployer.team_id, actor="user:tess", data=deleted)
    publisher = Publisher(broker.core_url("identity"), "test")
    for _ in range(2):
        publisher.publish([Outgoing("identity.events", event.type, encode(event), str(event.id))])
    publisher.close()
    eventually(lambda: deployer.node(agent.node_id)["status"] == "revoked")
    (revoked,) = deployer.events("deployer.node.revoked.v1")
    assert (revoked["actor"], revoked["causation"]) == ("user:tess", str(event.id))
    with pytest.raises(AMQPError):
        agent.commands()


def test_the_newest_view_of_the_containers_is_kept(deployer: TestDeployer, agent: TestAgent) -> None:
    newest = agent.report("containers.observed", ContainersObserved(containers=[container("running"), container("running", name="db")]))
    older = agent.report("containers.observed", ContainersObserved(containers=[]), sequence=1)
    agent.publish([newest, older])
    agent.publish([agent.report("containers.observed", ContainersObserved(containers=[]), sequence=2)])
    flush(deployer, agent)
    shown = deployer.call("GET", f"/nodes/{agent.node_id}/containers").json
    assert [row["name"] for row in shown["items"]] == ["db", "web"]
    assert shown["observed_age_seconds"] < 10
    first = deployer.call("GET", f"/nodes/{agent.node_id}/containers?limit=1&prefix=shop").json
    assert [row["name"] for row in first["items"]] == ["db"]
    rest = deployer.call("GET", f"/nodes/{agent.node_id}/containers?cursor={first['next_cursor']}").json
    assert [row["name"] for row in rest["items"]] == ["web"]
    assert deployer.call("GET", f"/nodes/{agent.node_id}/containers?prefix=none").json["items"] == []


def container(state: str, *, name: str = "web") -> ObservedContainer:
    spec = spec_hash(STACK.containers[0])
    return ObservedContainer(prefix="shop", name=name, container_id=name, image="web", state=state, spec=spec, started_at=clock.now())


def test_a_drift_is_told_once(deployer: TestDeployer, agent: TestAgent) -> None:
    attempt = deployer.live_attempt(agent.node_id)
    seen = container("running")
    agent.publish(
        [
            agent.report("deployment.finished", finished(attempt)),
            agent.report("containers.observed", ContainersObserved(containers=[seen])),
        ]
    )
    settled(deployer, attempt)
    for _ in range(2):
        agent.say("containers.observed", ContainersObserved(containers=[container("exited")]))
        flush(deployer, agent)
    (event,) = deployer.events("deployer.deployment.drifted.v1")
    assert event["data"]["after"]["differences"] == [{"container": "web", "field": "state", "wanted": "running", "observed": "exited"}]
    agent.say("containers.observed", ContainersObserved(containers=[seen]))
    flush(deployer, agent)
    assert deployer.rows("SELECT message FROM deployment_events ORDER BY number DESC LIMIT 1")[0][0] == "in sync again"


def test_a_node_that_is_not_known_is_waited_for(deployer: TestDeployer) -> None:
    """Its reports stay in the queue's waiting room: a database that is a moment behind loses none."""
    agent = deployer.new_agent()
    with deployer.db.system() as session:
        session.execute(text("UPDATE nodes SET verify_key = NULL"))
    agent.say("hello", Hello(boot_id=agent.boot_id, version="0.1.0"))
    with deployer.db.system() as session:
        session.execute(text("UPDATE nodes SET verify_key = :key"), {"key": agent.identity["verify_key"]})
    eventually(lambda: deployer.node(agent.node_id)["status"] == "connected")
