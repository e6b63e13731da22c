"""What time alone brings about, on a real database."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy import text

from kernel import clock
from kernel.contracts.agent import Hello
from kernel.contracts.envelope import decode
from services.deployer.store import nodes as node_store
from services.deployer.usecases.deadlines import end_attempt, watch_clock
from services.deployer.usecases.reports import apply_reports
from services.deployer.usecases.send import send_waiting
from services.deployer.usecases.settle import settle
from tests.fixtures.agents import TestAgent
from tests.fixtures.deployer import TestDeployer, make_deployer
from tests.fixtures.servers import TestBroker, TestDatabase
from tests.fixtures.waiting import eventually, waits_for_lock


@pytest.fixture
def deployer(database: Callable[[str], TestDatabase], broker: TestBroker, tmp_path: Path) -> Iterator[TestDeployer]:
    made = make_deployer(database("deployer"), broker, tmp_path)
    yield made
    made.db.close()


@pytest.fixture
def agent(deployer: TestDeployer) -> TestAgent:
    """Of a node that was seen a moment ago."""
    made = deployer.new_agent()
    run(deployer, "UPDATE nodes SET last_seen_at = now(), epoch = 3")
    run(deployer, "INSERT INTO node_events (node_id, number, team_id, at, kind) SELECT id, 99, team_id, now(), 'connected' FROM nodes")
    run(deployer, "UPDATE nodes SET event_count = 99")
    return made


def run(deployer: TestDeployer, statement: str) -> None:
    with deployer.db.system() as session:
        session.execute(text(statement))


def look(deployer: TestDeployer) -> None:
    watch_clock(deployer.db, deployer.signing_key)


def kinds(deployer: TestDeployer, agent: TestAgent) -> list[str]:
    return [command["type"].removeprefix("deployer.").removesuffix(".v1") for command in deployer.commands(agent.node_id)]


def test_an_attempt_past_its_deadline_is_fenced_ended_and_undone(deployer: TestDeployer, agent: TestAgent) -> None:
    attempt = deployer.live_attempt(agent.node_id)
    look(deployer)
    assert deployer.attempt(attempt.id).outcome is None
    run(deployer, "UPDATE attempts SET deadline_at = now()")
    look(deployer)
    assert tuple(deployer.attempt(attempt.id)[:3]) == ("timed-out", "timed-out", "failed")
    (cancel,) = deployer.commands(agent.node_id)
    assert cancel["type"] == "deployer.deployment.cancel.v1"
    assert (cancel["data"]["reason"], cancel["generation"], cancel["epoch"]) == ("timed-out", 2, 3)
    assert deployer.rows("SELECT generation FROM places")[0][0] == 2
    look(deployer)
    assert len(deployer.commands(agent.node_id)) == 1


def test_a_late_success_with_nothing_newer_corrects_the_deadline(deployer: TestDeployer, agent: TestAgent) -> None:
    attempt = deployer.live_attempt(agent.node_id)
    run(deployer, "UPDATE attempts SET deadline_at = now()")
    look(deployer)
    with deployer.db.system() as session:
        assert settle(session, attempt.id, outcome="succeeded", at=clock.now(), cause=None)
    assert tuple(deployer.attempt(attempt.id)[:3]) == ("succeeded", None, "successful")


def test_a_node_is_waited_for_no_longer_than_was_allowed(deployer: TestDeployer, agent: TestAgent) -> None:
    attempt = deployer.live_attempt(agent.node_id, sent=False)
    run(deployer, "UPDATE nodes SET last_seen_at = now() - interval '1 hour'")
    run(deployer, "UPDATE attempts SET deadline_at = now()")
    look(deployer)
    assert tuple(deployer.attempt(attempt.id)[:3]) == ("failed", "node-unreachable", "failed")
    assert deployer.commands(agent.node_id) == []


def test_what_waits_for_a_node_that_is_there_is_sent(deployer: TestDeployer, agent: TestAgent) -> None:
    deployer.live_attempt(agent.node_id, sent=False)
    look(deployer)
    look(deployer)
    assert kinds(deployer, agent) == ["deployment.apply"]


def test_a_cancel_that_is_not_answered_is_given_up(deployer: TestDeployer, agent: TestAgent) -> None:
    attempt = deployer.live_attempt(agent.node_id)
    run(deployer, "UPDATE attempts SET cancel_requested_at = now() - interval '119 seconds'")
    look(deployer)
    assert deployer.attempt(attempt.id).outcome is None
    run(deployer, "UPDATE attempts SET cancel_requested_at = now() - interval '121 seconds'")
    look(deployer)
    assert tuple(deployer.attempt(attempt.id)[:3]) == ("timed-out", "cancel-abandoned", "failed")
    assert kinds(deployer, agent) == ["deployment.cancel"]


def test_a_silent_node_is_told_of_once_and_a_return_as_well(deployer: TestDeployer, agent: TestAgent) -> None:
    look(deployer)
    assert deployer.events("deployer.node.unreachable.v1") == []
    run(deployer, "UPDATE nodes SET last_seen_at = now() - interval '31 seconds'")
    for _ in range(2):
        look(deployer)
    assert len(deployer.events("deployer.node.unreachable.v1")) == 1
    assert deployer.node(agent.node_id)["status"] == "unreachable"
    run(deployer, "UPDATE nodes SET last_seen_at = now()")
    look(deployer)
    assert len(deployer.events("deployer.node.unreachable.v1")) == 1


def test_what_waits_is_not_sent_while_its_time_is_ending_it(deployer: TestDeployer, agent: TestAgent) -> None:
    attempt = deployer.live_attempt(agent.node_id, sent=False)
    run(deployer, "UPDATE attempts SET deadline_at = now()")

    def send() -> None:
        with deployer.db.system() as session:
            send_waiting(session, node_store.lock(session, agent.node_id), deployer.signing_key)

    sending = threading.Thread(target=send)
    with deployer.db.system() as session:
        end_attempt(session, attempt.id, deployer.signing_key)
        sending.start()
        eventually(lambda: waits_for_lock(deployer.db), what="the sender that waits")
    sending.join(20)
    assert tuple(deployer.attempt(attempt.id)[:4]) == ("failed", "node-unreachable", "failed", None)
    assert kinds(deployer, agent) == []


def test_a_hello_does_not_send_what_its_time_is_ending(deployer: TestDeployer, agent: TestAgent) -> None:
    attempt = deployer.live_attempt(agent.node_id, sent=False)
    run(deployer, "UPDATE attempts SET deadline_at = now()")
    hello = decode(agent.report("hello", Hello(boot_id=agent.boot_id, version="0.1.0")))

    def greet() -> None:
        with deployer.db.system() as session:
            apply_reports(session, [hello], deployer.signing_key)

    greeting = threading.Thread(target=greet)
    with deployer.db.system() as session:
        end_attempt(session, attempt.id, deployer.signing_key)
        greeting.start()
        eventually(lambda: waits_for_lock(deployer.db), what="the hello that waits")
    greeting.join(20)
    assert deployer.attempt(attempt.id).code == "node-unreachable"
    assert kinds(deployer, agent) == ["node.welcome"]


def test_several_workers_end_each_attempt_once(deployer: TestDeployer, agent: TestAgent) -> None:
    attempts = [deployer.live_attempt(agent.node_id, prefix=f"shop{number}") for number in range(8)]
    run(deployer, "UPDATE attempts SET deadline_at = now()")
    workers = [threading.Thread(target=look, args=(deployer,)) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(30)
    assert {deployer.attempt(attempt.id).outcome for attempt in attempts} == {"timed-out"}
    assert len(deployer.events("deployer.deployment.failed.v1")) == 8
    assert {row[0] for row in deployer.rows("SELECT generation FROM places")} == {2}
