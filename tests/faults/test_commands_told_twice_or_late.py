"""The same command delivered twice has one effect; an older one after a newer is refused; an unsigned one is never obeyed."""

from __future__ import annotations

import json
from collections.abc import Iterator

import psycopg
import pytest

from deploy.native import keys, ports
from deploy.native.postgres import SUPERUSER
from kernel import clock
from kernel.messaging.publisher import Confirm, Outgoing, Publisher
from tests.fixtures.stack import Harbour, Stack
from tests.fixtures.waiting import eventually

QUICK = {"expected_state": {"stable_seconds": 0}, "stop_grace_seconds": 1}


@pytest.fixture
def publisher(stack: Stack) -> Iterator[Publisher]:
    """Publishes as the deployer: what somebody with a stolen broker password could do at most."""
    port, password = ports.load(stack.layout.ports)["rabbitmq"], keys.load_or_make(stack.layout).broker["deployer"]
    one = Publisher(f"amqp://deployer:{password}@127.0.0.1:{port}/agents", "test")
    yield one
    one.close()


def apply_commands(stack: Stack, node_id: str) -> list[bytes]:
    """Every deployment.apply that was sent to the node, oldest first, byte for byte."""
    port, password = ports.load(stack.layout.ports)["postgres"], keys.load_or_make(stack.layout).postgres
    with psycopg.connect(host="127.0.0.1", port=port, user=SUPERUSER, password=password, dbname="deployer") as connection:
        rows = connection.execute("SELECT body FROM outbox WHERE key = %s ORDER BY id", (node_id,)).fetchall()
    return [bytes(row[0]) for row in rows if json.loads(bytes(row[0]))["type"] == "deployer.deployment.apply.v1"]


def send(publisher: Publisher, harbour: Harbour, body: bytes) -> None:
    message = Outgoing("commands", harbour.node.id, body, str(clock.new_id()))
    assert publisher.publish([message]) == [Confirm.CONFIRMED]


def refusals(harbour: Harbour) -> list[str]:
    """The reasons of the commands that the agent refused, as the record tells them."""
    return [str(entry.get("reason") or entry.get("data")) for entry in harbour.audit() if entry["action"] == "agent.command.refused"]


def deploy(harbour: Harbour, deployment: str) -> None:
    harbour.start(deployment)
    assert harbour.await_end(deployment)["status"] == "successful"


def test_the_same_command_twice_has_one_effect(harbour: Harbour, publisher: Publisher) -> None:
    prefix = f"t{clock.new_id().hex[-10:]}"
    deployment = harbour.deployment(harbour.version(harbour.image("web", "1", **QUICK)), prefix)
    deploy(harbour, deployment)
    before = harbour.containers(prefix)
    send(publisher, harbour, apply_commands(harbour.stack, harbour.node.id)[-1])
    # A second deployment at another place shows that the agent has read on.
    other = f"t{clock.new_id().hex[-10:]}"
    deploy(harbour, harbour.deployment(harbour.version(harbour.image("other", "1", **QUICK)), other))
    assert harbour.containers(prefix) == before
    assert harbour.get(deployment)["status"] == "successful"


def test_an_older_command_after_a_newer_is_refused(harbour: Harbour, publisher: Publisher) -> None:
    prefix = f"t{clock.new_id().hex[-10:]}"
    version = harbour.version(harbour.image("web", "1", **QUICK))
    deployment = harbour.deployment(version, prefix)
    deploy(harbour, deployment)
    older = apply_commands(harbour.stack, harbour.node.id)[-1]
    harbour.configure(harbour.images(version)[0]["id"], tag="2")
    deploy(harbour, deployment)
    before = harbour.containers(prefix)
    send(publisher, harbour, older)
    eventually(lambda: any("superseded" in reason for reason in refusals(harbour)), what="the refusal in the record")
    assert harbour.containers(prefix) == before


def test_a_forged_command_is_refused(harbour: Harbour, publisher: Publisher) -> None:
    prefix = f"t{clock.new_id().hex[-10:]}"
    deploy(harbour, harbour.deployment(harbour.version(harbour.image("web", "1", **QUICK)), prefix))
    genuine = apply_commands(harbour.stack, harbour.node.id)[-1]
    forged = genuine.replace(prefix.encode(), f"x{prefix[1:]}".encode())
    assert forged != genuine
    send(publisher, harbour, forged)
    eventually(lambda: any("signature" in reason for reason in refusals(harbour)), what="the refusal in the record")
    assert harbour.containers(f"x{prefix[1:]}") == {}
