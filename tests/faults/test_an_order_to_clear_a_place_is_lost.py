"""The order to remove a deleted deployment's containers is lost on its way: they go all the same, and the record says so."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pika
import pytest

from agent.identity import load_node
from agent.link import broker_url
from deploy.native.supervisor import SERVERS
from kernel import clock
from kernel.contracts.envelope import decode
from kernel.messaging.topology import commands_queue
from tests.fixtures.stack import Harbour
from tests.fixtures.waiting import eventually

QUICK = {"expected_state": {"stable_seconds": 0}, "stop_grace_seconds": 1}


def take_commands(harbour: Harbour) -> list[str]:
    """Take what waits for the node out of its queue, as whoever holds its broker password could; the types of what was there."""
    node = load_node(harbour.node.directory / "data")
    connection = pika.BlockingConnection(pika.URLParameters(broker_url(node)))
    found = []
    try:
        channel = connection.channel()
        while (got := channel.basic_get(commands_queue(node.node_id), auto_ack=True))[0] is not None:
            found.append(decode(got[2]).name)
    finally:
        connection.close()
    return found


def steal(harbour: Harbour) -> None:
    eventually(lambda: "deployer.place.remove" in take_commands(harbour), what="the order in the queue")


def wipe(harbour: Harbour) -> None:
    stack = harbour.stack
    stack.stop("rabbitmq", SERVERS)
    shutil.rmtree(stack.layout.rabbitmq / "data")
    stack.start("rabbitmq", SERVERS)
    stack.await_ready()


@pytest.mark.parametrize("lose", [steal, wipe], ids=["the order is taken from the queue", "the broker loses everything"])
def test_the_containers_go_although_the_order_was_lost(harbour: Harbour, lose: Callable[[Harbour], None]) -> None:
    prefix = f"r{clock.new_id().hex[-10:]}"
    deployment = harbour.deployment(harbour.version(harbour.image("web", "1", **QUICK)), prefix)
    harbour.start(deployment, wait_for_node_seconds=60)
    assert harbour.await_end(deployment)["status"] == "successful"
    harbour.node.control("stop")
    try:
        # The node was heard a moment ago, so the order is taken; nobody is there to obey it.
        harbour.client.delete(f"{harbour.path}/deployments/{deployment}?remove_containers=true")
        lose(harbour)
        assert set(harbour.containers(prefix)) == {f"{prefix}-web"}
    finally:
        harbour.node.control("start")
    eventually(lambda: harbour.containers(prefix) == {}, seconds=90, what="the containers are gone")
    eventually(lambda: Harbour._patiently(lambda: _is_told(harbour, prefix)), seconds=60, what="the node's history and the record say so")


def test_the_containers_go_although_the_agent_is_killed_while_it_clears(harbour: Harbour) -> None:
    prefix = f"r{clock.new_id().hex[-10:]}"
    # The sample programs do not heed SIGTERM: each is given its five seconds, in which the agent is killed.
    slow = QUICK | {"stop_grace_seconds": 5}
    bodies = [harbour.image(name, "1", **slow) for name in ("web", "other")]
    deployment = harbour.deployment(harbour.version(*bodies), prefix)
    harbour.start(deployment, wait_for_node_seconds=60)
    assert harbour.await_end(deployment)["status"] == "successful"
    harbour.client.delete(f"{harbour.path}/deployments/{deployment}?remove_containers=true")
    log = harbour.node.directory / "log" / "agent.log"
    eventually(lambda: f'"prefix": "{prefix}"' in _line_of(log, "place is removed"), what="it clears the place")
    assert harbour.containers(prefix), "it is still at it"
    harbour.node.kill()
    eventually(lambda: harbour.containers(prefix) == {}, seconds=90, what="the containers are gone")
    eventually(lambda: Harbour._patiently(lambda: _is_told(harbour, prefix)), seconds=60, what="the node's history and the record say so")


def _line_of(log: Path, event: str) -> str:
    """The last line that tells of `event`."""
    return next((line for line in reversed(log.read_text().splitlines()) if f'"event": "{event}"' in line), "")


def _is_told(harbour: Harbour, prefix: str) -> bool:
    events = harbour.client.get(f"{harbour.path}/nodes/{harbour.node.id}/events", limit=50)["items"]
    history = [one["kind"] for one in events if one["data"].get("prefix") == prefix]
    record = {entry["action"] for entry in harbour.audit() if entry["resource"]["name"] == prefix}
    return history == ["place-removed"] and {"agent.place.removed", "deployer.place.removed"} <= record
