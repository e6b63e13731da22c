"""Publisher and consumer on a real broker: confirms, unroutable messages, retries, parked messages."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

import pika
import pytest

from kernel import clock
from kernel.contracts import identity  # noqa: F401 - registers the messages that these tests send
from kernel.contracts.envelope import Envelope, encode
from kernel.contracts.recorded import Recorded
from kernel.errors import Conflict, Unavailable
from kernel.messaging import topology
from kernel.messaging.consumer import Consumer, Received
from kernel.messaging.publisher import Confirm, Outgoing, Publisher
from tests.fixtures.servers import TestBroker
from tests.fixtures.waiting import eventually

QUEUE = "audit.inbox"


def outgoing(name: str = "thing") -> Outgoing:
    envelope = Envelope(
        type="identity.team.created.v1", source="/identity", data=Recorded(resource_type="team", resource_id="1", resource_name=name)
    )
    return Outgoing("identity.events", envelope.type, encode(envelope), str(envelope.id))


class Recorder:
    """A handler that keeps what it was given, and fails as told."""

    def __init__(self, fail: Callable[[str, int], Exception | None] = lambda name, attempts: None) -> None:
        self.seen: list[str] = []
        self.tries: list[tuple[str, int]] = []
        self._fail = fail

    def __call__(self, batch: Sequence[Received]) -> Mapping[int, Exception]:
        errors: dict[int, Exception] = {}
        for index, received in enumerate(batch):
            assert isinstance(received.envelope.data, Recorded)
            name, attempts = received.envelope.data.resource_name, received.delivery.attempts
            self.tries.append((name, attempts))
            error = self._fail(name, attempts)
            if error is None:
                self.seen.append(name)
            else:
                errors[index] = error
        return errors


@contextmanager
def consuming(broker: TestBroker, handler: Recorder) -> Iterator[Consumer]:
    consumer = Consumer(broker.core_url("audit"), QUEUE, handler, name="test")
    thread = threading.Thread(target=consumer.run)
    thread.start()
    try:
        assert consumer.connected.wait(60)
        yield consumer
    finally:
        consumer.stop()
        thread.join(60)
        assert not thread.is_alive()


Parked = tuple[bytes, Mapping[str, object]]


def parked(broker: TestBroker) -> Parked:
    """The next parked message, as soon as there is one."""
    found: list[Parked] = []

    def take() -> bool:
        one = take_parked(broker)
        found.extend([one] if one else [])
        return bool(found)

    eventually(take)
    return found[0]


def take_parked(broker: TestBroker, queue: str = QUEUE) -> Parked | None:
    with pika.BlockingConnection(pika.URLParameters(broker.core_url("audit"))) as connection:
        _method, properties, body = connection.channel().basic_get(topology.parked_queue(queue), auto_ack=True)
        return None if body is None else (body, properties.headers)


@pytest.fixture
def publisher(broker: TestBroker) -> Iterator[Publisher]:
    one = Publisher(broker.core_url("identity"), "test")
    yield one
    one.close()


def test_a_batch_is_confirmed_in_order(publisher: Publisher, broker: TestBroker) -> None:
    names = [f"n{number}" for number in range(500)]
    assert publisher.publish([outgoing(name) for name in names]) == [Confirm.CONFIRMED] * 500
    handler = Recorder()
    with consuming(broker, handler):
        eventually(lambda: len(handler.seen) == 500)
    assert handler.seen == names


def test_an_unroutable_message_is_told_from_its_neighbours(servers: object, broker: TestBroker) -> None:
    publisher = Publisher(broker.agents_url("deployer"), "test")
    good = Outgoing("dead-letters", "deployer.reports", b"{}", "1")
    lost = Outgoing("commands", str(clock.new_id()), b"{}", "2")
    assert publisher.publish([good, lost, good]) == [Confirm.CONFIRMED, Confirm.UNROUTABLE, Confirm.CONFIRMED]
    publisher.close()


def test_a_forbidden_exchange_is_an_error_and_the_publisher_goes_on(publisher: Publisher) -> None:
    with pytest.raises(Unavailable, match="ACCESS_REFUSED"):
        publisher.publish([Outgoing("catalog.events", "catalog.x", b"{}", "1")])
    assert publisher.publish([outgoing()]) == [Confirm.CONFIRMED]


def test_a_routing_key_of_another_service_is_refused(publisher: Publisher) -> None:
    with pytest.raises(Unavailable, match="ACCESS_REFUSED"):
        publisher.publish([Outgoing("identity.events", "deployer.deployment.succeeded.v1", b"{}", "1")])


def test_a_broken_connection_is_opened_again(publisher: Publisher, broker: TestBroker) -> None:
    publisher.publish([outgoing()])
    before = publisher.connections

    def close_from_the_broker() -> bool:
        open_ones = [c for c in broker.servers.manage("GET", "/api/connections") if c.get("vhost") == broker.core]
        for one in open_ones:
            broker.servers.manage("DELETE", f"/api/connections/{one['name'].replace(' ', '%20').replace('>', '%3E')}")
        return bool(open_ones)

    eventually(close_from_the_broker)
    eventually(lambda: _publishes(publisher))
    assert publisher.connections > before


def _publishes(publisher: Publisher) -> bool:
    try:
        return publisher.publish([outgoing()]) == [Confirm.CONFIRMED]
    except Unavailable:
        return False


def test_a_broker_that_is_away_is_unavailable() -> None:
    with pytest.raises(Unavailable) as caught:
        Publisher("amqp://nobody:none@127.0.0.1:9/none", "test").publish([outgoing()])
    assert caught.value.code == "broker-unavailable"


def test_a_poison_message_is_parked_with_its_reason_and_the_queue_goes_on(publisher: Publisher, broker: TestBroker) -> None:
    poison = Outgoing("identity.events", "identity.x", b"not json", "poison")
    handler = Recorder()
    with consuming(broker, handler):
        publisher.publish([outgoing("before"), poison, outgoing("after")])
        eventually(lambda: handler.seen == ["before", "after"])
        body, headers = parked(broker)
    assert body == b"not json"
    assert "not JSON" in str(headers["x-fairlead-reason"])


def test_a_handlers_error_parks_only_its_own_message(publisher: Publisher, broker: TestBroker) -> None:
    handler = Recorder(lambda name, attempts: Conflict("no-good", "never") if name == "bad" else None)
    with consuming(broker, handler):
        publisher.publish([outgoing("a"), outgoing("bad"), outgoing("b")])
        eventually(lambda: handler.seen == ["a", "b"])
        _body, headers = parked(broker)
    assert headers["x-fairlead-reason"] == "no-good: never"


def test_a_defect_parks_the_message_that_shows_it_and_not_its_neighbours(publisher: Publisher, broker: TestBroker) -> None:
    def stumble(name: str, _attempts: int) -> None:
        if name == "bad":
            raise AttributeError(name)

    handler = Recorder(stumble)
    publisher.publish([outgoing(name) for name in ("a", "bad", "b")])
    with consuming(broker, handler):
        eventually(lambda: set(handler.seen) == {"a", "b"})
        _body, headers = parked(broker)
    assert headers["x-fairlead-reason"] == "AttributeError('bad')"
    assert take_parked(broker) is None


def test_a_consumer_that_parks_nothing_drops_nothing_that_is_only_unavailable(publisher: Publisher, broker: TestBroker) -> None:
    tries: list[int] = []

    def handle(batch: Sequence[Received]) -> Mapping[int, Exception]:
        tries.append(len(batch))
        if len(tries) < 3:
            raise Unavailable("the disk is full")
        return {}

    consumer = Consumer(broker.core_url("audit"), QUEUE, handle, name="test", park=False, patience_seconds=0)
    thread = threading.Thread(target=consumer.run)
    thread.start()
    publisher.publish([outgoing("kept")])
    eventually(lambda: tries == [1, 1, 1])
    consumer.stop()
    thread.join(60)


def test_what_is_unavailable_is_tried_again_later_while_others_go_on(publisher: Publisher, broker: TestBroker) -> None:
    handler = Recorder(lambda name, attempts: Unavailable("not yet") if name == "early" and attempts < 2 else None)
    with consuming(broker, handler):
        publisher.publish([outgoing("early"), outgoing("other")])
        eventually(lambda: "early" in handler.seen)
    assert handler.seen == ["other", "early"]
    assert [attempts for name, attempts in handler.tries if name == "early"] == [0, 1, 2]


def test_a_retry_has_an_end(broker: TestBroker) -> None:
    consumer = Consumer(broker.core_url("audit"), QUEUE, Recorder(), name="test")
    from kernel.messaging.consumer import Delivery

    def fate(attempts: int) -> str:
        delivery = Delivery(b"{}", "x", "k", None, "1", 1, attempts)
        return consumer._again_or_parked(delivery, Unavailable("away")).exchange

    assert fate(0) == "retry.1s"
    assert fate(topology.LONGEST_RETRIES - 1) == "retry.300s"
    assert fate(topology.LONGEST_RETRIES) == topology.DEAD_LETTERS


def test_a_consumer_whose_queue_is_deleted_says_so_and_comes_back(publisher: Publisher, broker: TestBroker) -> None:
    handler = Recorder()
    with consuming(broker, handler) as consumer:
        broker.servers.manage("DELETE", f"/api/queues/{broker.core}/{QUEUE}")
        eventually(lambda: not consumer.connected.is_set())
        broker.servers.manage("PUT", f"/api/queues/{broker.core}/{QUEUE}", {"durable": True, "arguments": topology.QUORUM})
        broker.servers.manage("POST", f"/api/bindings/{broker.core}/e/identity.events/q/{QUEUE}", {"routing_key": "#", "arguments": {}})
        assert consumer.connected.wait(60)
        publisher.publish([outgoing("late")])
        eventually(lambda: handler.seen == ["late"])
