"""The audit worker on a real RabbitMQ: every event and report once, poison aside, forgeries refused."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import UUID

import pytest
from nacl.public import PrivateKey
from nacl.signing import SigningKey

from kernel import clock, signing
from kernel.contracts import agent
from kernel.contracts.deployer import NodeEnrolled
from kernel.contracts.envelope import Envelope, encode
from kernel.contracts.recorded import Recorded
from kernel.db import Database
from kernel.messaging import topology
from kernel.messaging.publisher import Confirm, Outgoing, Publisher
from services.audit import store
from services.audit.domain import Entry, Filters
from services.audit.settings import WorkerSettings
from services.audit.worker import consumers
from tests.fixtures.servers import TestBroker
from tests.fixtures.waiting import eventually
from tests.unit.services.audit.samples import TEAM

NODE = UUID("01900000-0000-7000-8000-0000000000f0")


@pytest.fixture
def worker(db: Database, broker: TestBroker) -> Iterator[None]:
    settings = WorkerSettings(
        database_url=db.url,
        signing_key_file=Path("unused"),
        broker_core_url=broker.core_url("audit"),
        broker_agents_url=broker.agents_url("audit"),
    )
    parts = consumers(settings, db)
    threads = [threading.Thread(target=part.run, daemon=True) for part in parts]
    for thread in threads:
        thread.start()
    yield
    for part in parts:
        part.stop()
    for thread in threads:
        thread.join(10)


@pytest.fixture
def publish(broker: TestBroker) -> Iterator[Callable[..., None]]:
    """Publishes bodies to core as `catalog` or `deployer`."""
    publishers = {sender: Publisher(broker.core_url(sender), f"test {sender}") for sender in ("catalog", "deployer")}

    def send(sender: str, *bodies: bytes) -> None:
        outgoing = [Outgoing(f"{sender}.events", f"{sender}.x", body, str(clock.new_id())) for body in bodies]
        assert set(publishers[sender].publish(outgoing)) == {Confirm.CONFIRMED}

    yield send
    for publisher in publishers.values():
        publisher.close()


@pytest.fixture
def node(broker: TestBroker) -> Iterator[Callable[..., None]]:
    """A node's broker user, with its exchange; publishes reports as that user."""
    user, password = topology.agent_user(NODE, 1), clock.random_token(12)
    manage, vhost = broker.servers.manage, broker.agents
    manage("PUT", f"/api/users/{user}", {"password": password, "tags": ""})
    manage("PUT", f"/api/permissions/{vhost}/{user}", topology.node_permission(NODE))
    resources = topology.node_resources(NODE)
    for name, body in resources.exchanges:
        manage("PUT", f"/api/exchanges/{vhost}/{name}", body)
    for exchange, queue, key in resources.bindings[1:]:
        manage("POST", f"/api/bindings/{vhost}/e/{exchange}/q/{queue}", {"routing_key": key})
    publisher = Publisher(f"amqp://{user}:{password}@127.0.0.1:{broker.servers.rabbit_port}/{vhost}", "test node")

    def send(*bodies: bytes, with_user: bool = True) -> None:
        exchange = topology.reports_exchange(NODE)
        outgoing = [Outgoing(exchange, "", body, str(clock.new_id()), user_id=user if with_user else None) for body in bodies]
        assert set(publisher.publish(outgoing)) == {Confirm.CONFIRMED}

    yield send
    publisher.close()
    manage("DELETE", f"/api/users/{user}")


def event(**changes: object) -> Envelope:
    data = Recorded(resource_type="registry", resource_id="r-1", resource_name="local")
    values: dict[str, object] = {
        "type": "catalog.registry.created.v1",
        "source": "catalog",
        "data": data,
        "team": TEAM,
        "actor": "user:u-1",
    }
    return Envelope(**values | changes)  # type: ignore[arg-type]  # the fields of an envelope


def entries(db: Database) -> list[Entry]:
    with db.team(TEAM) as session:
        return store.find_newest(session, TEAM, Filters(), below=None, limit=10_000)


def enrolled(key: SigningKey) -> bytes:
    data = NodeEnrolled(
        resource_type="node",
        resource_id=str(NODE),
        node_id=NODE,
        verify_key=signing.to_text(key.verify_key),
        seal_key=signing.to_text(PrivateKey.generate().public_key),
    )
    return encode(event(type="deployer.node.enrolled.v1", source="deployer", data=data))


def report(key: SigningKey, **changes: object) -> bytes:
    data = agent.CommandRefused(command_id="c-1", command_type="deployer.deployment.apply.v1", code="superseded", detail="older")
    values: dict[str, object] = {"type": "agent.command.refused.v1", "source": "agent", "data": data, "node": NODE, "sequence": 1}
    return signing.sign_body(key, encode(Envelope(**values | changes)))  # type: ignore[arg-type]  # the fields of an envelope


def test_every_event_is_recorded_once_though_it_comes_twice(worker: None, db: Database, publish: Callable[..., None]) -> None:
    bodies = [encode(event()) for _ in range(300)]
    publish("catalog", *bodies)
    publish("catalog", *bodies[:50], encode(event()))
    eventually(lambda: len(entries(db)) == 301)
    assert [entry.number for entry in entries(db)] == list(range(301, 0, -1))


def test_a_poisoned_event_is_parked_and_the_others_are_recorded(
    worker: None, db: Database, publish: Callable[..., None], broker: TestBroker
) -> None:
    deep = encode(event()).replace(b'"before":null', b'"before":' + b'{"a":' * 900 + b"1" + b"}" * 900)
    publish("catalog", encode(event()), b"not json", deep, encode(event(type="identity.user.changed.v1")), encode(event()))
    eventually(lambda: len(entries(db)) >= 2)
    eventually(lambda: broker.depth(broker.core, "audit.inbox.parked") >= 2)
    eventually(lambda: broker.depth(broker.core, "audit.inbox") == 0)


def test_a_report_before_its_enrolment_waits_for_it(
    worker: None, db: Database, publish: Callable[..., None], node: Callable[..., None]
) -> None:
    key = SigningKey.generate()
    node(report(key))
    eventually(lambda: not entries(db), seconds=1)
    publish("deployer", enrolled(key))
    eventually(lambda: {entry.action for entry in entries(db)} == {"deployer.node.enrolled", "agent.command.refused"})
    told = next(entry for entry in entries(db) if entry.action == "agent.command.refused")
    assert (told.team_id, told.actor_kind, told.actor_id, told.outcome) == (TEAM, "node", str(NODE), "refused")


def test_a_forged_report_is_parked(
    worker: None, db: Database, publish: Callable[..., None], node: Callable[..., None], broker: TestBroker
) -> None:
    key = SigningKey.generate()
    publish("deployer", enrolled(key))
    eventually(lambda: len(entries(db)) == 1)
    node(report(SigningKey.generate()), report(key, node=clock.new_id()), encode(event()))
    node(report(key), with_user=False)
    node(report(key))
    eventually(lambda: broker.depth(broker.agents, "audit.reports.parked") == 4)
    eventually(lambda: len(entries(db)) == 2)


def test_a_pulse_leaves_no_entry(worker: None, db: Database, publish: Callable[..., None], node: Callable[..., None]) -> None:
    key = SigningKey.generate()
    publish("deployer", enrolled(key))
    node(report(key, type="agent.heartbeat.v1", data=agent.Heartbeat(boot_id=NODE)), report(key))
    eventually(lambda: len(entries(db)) == 2)
    assert "agent.heartbeat" not in {entry.action for entry in entries(db)}
