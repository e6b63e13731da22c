"""The control plane's end of a real broker: provisions a node, sends it signed commands, reads its reports."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from uuid import UUID

from nacl.signing import SigningKey, VerifyKey

from agent.identity import Node, load_or_make_keys, save_node
from kernel import clock
from kernel.contracts.deployer import WelcomeNode
from kernel.contracts.envelope import Envelope, Message, encode, from_document, peek, type_of
from kernel.messaging import topology
from kernel.messaging.consumer import Consumer, Delivery, Received
from kernel.messaging.publisher import Confirm, Outgoing, Publisher
from kernel.signing import sign_body, to_text, verify_body
from tests.fixtures.servers import TestBroker
from tests.fixtures.waiting import eventually
from tests.integration.agent.ground import Ground


@dataclass
class Control:
    """Knows one node. Its reports are checked: signature, sender, exchange."""

    broker: TestBroker
    ground: Ground
    key: VerifyKey
    user: str
    password: str = field(default_factory=clock.random_token)
    received: list[Received] = field(default_factory=list)
    epoch: int = 0
    _consumer: Consumer = field(init=False)
    _publisher: Publisher = field(init=False)
    _thread: threading.Thread = field(init=False)

    def __post_init__(self) -> None:
        self.provision()
        self._publisher = Publisher(self.broker.agents_url("deployer"), "test commands")
        self._consumer = Consumer(
            self.broker.agents_url("deployer"), "deployer.reports", self._handle, name="test reports", read=self._read, park=False
        )
        self._thread = threading.Thread(target=self._consumer.run, daemon=True)
        self._thread.start()
        self._consumer.connected.wait(20)

    @property
    def node_id(self) -> UUID:
        return self.ground.node.node_id

    def close(self) -> None:
        self._consumer.stop()
        self._publisher.close()
        self._thread.join(20)
        self.cut()

    def provision(self) -> None:
        """What the deployer does at enrolment and after the broker was wiped."""
        servers, vhost, resources = self.broker.servers, self.broker.agents, topology.node_resources(self.node_id)
        servers.manage("PUT", f"/api/users/{self.user}", {"password": self.password, "tags": ""})
        servers.manage("PUT", f"/api/permissions/{vhost}/{self.user}", topology.node_permission(self.node_id))
        for name, body in resources.exchanges:
            servers.manage("PUT", f"/api/exchanges/{vhost}/{name}", body)
        for name, body in resources.queues:
            servers.manage("PUT", f"/api/queues/{vhost}/{name}", body)
        for exchange, queue, key in resources.bindings:
            servers.manage("POST", f"/api/bindings/{vhost}/e/{exchange}/q/{queue}", {"routing_key": key, "arguments": {}})

    def cut(self) -> None:
        """Delete the node's user, as revoking does."""
        self.broker.servers.manage("DELETE", f"/api/users/{self.user}")

    def wipe(self) -> None:
        """The broker forgets the node."""
        self.cut()
        for name, _ in topology.node_resources(self.node_id).exchanges:
            self.broker.servers.manage("DELETE", f"/api/exchanges/{self.broker.agents}/{name}")
        self.broker.servers.manage("DELETE", f"/api/queues/{self.broker.agents}/{topology.commands_queue(self.node_id)}")

    def _read(self, delivery: Delivery) -> Envelope:
        assert delivery.user_id == self.user
        assert delivery.exchange == topology.reports_exchange(self.node_id)
        return from_document(peek(verify_body(self.key, delivery.body)))

    def _handle(self, batch: Sequence[Received]) -> Mapping[int, Exception]:
        self.received += batch
        return {}

    def send(self, data: Message, *, generation: int | None = None) -> None:
        envelope = self.ground.envelope(data, generation=generation, epoch=self.epoch)
        body = sign_body(self.ground.deployer, encode(envelope))
        [said] = self._publisher.publish([Outgoing(topology.COMMANDS, str(self.node_id), body, str(envelope.id))])
        assert said is Confirm.CONFIRMED

    def reports(self, kind: type[Message]) -> list[Envelope]:
        return [one.envelope for one in self.received if one.envelope.type == type_of(kind)]

    def await_report(self, kind: type[Message], count: int = 1, *, seconds: float = 60) -> Envelope:
        eventually(lambda: len(self.reports(kind)) >= count, seconds=seconds, what=f"{count} of {kind.__name__}")
        return self.reports(kind)[-1]

    def welcome(self, hello: Envelope) -> None:
        self.epoch += 1
        self.send(WelcomeNode(boot_id=hello.data.boot_id))  # type: ignore[attr-defined]  # a hello has one


def make_control(broker: TestBroker, ground: Ground) -> Control:
    """A control plane for the ground's node, whose identity is written for this broker."""
    keys = load_or_make_keys(ground.directory)
    user = topology.agent_user(ground.node.node_id, 1)
    control = Control(broker, ground, keys.sign.verify_key, user)
    node = Node(
        node_id=ground.node.node_id,
        team_id=ground.node.team_id,
        broker_url=broker.agent_broker_url,
        broker_user=user,
        broker_password=control.password,
        verify_key=to_text(SigningKey(bytes(ground.deployer)).verify_key),
        base_url="http://127.0.0.1:1",
        heartbeat_seconds=0.5,
    )
    save_node(ground.directory, node)
    return control
