"""The parts of publisher and consumer that need no broker: parameters, waits, fates, bookkeeping of confirms."""

from __future__ import annotations

import ssl
import threading
from collections.abc import Mapping, Sequence
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernel.errors import Conflict, Forbidden, Unavailable
from kernel.messaging import topology
from kernel.messaging.connection import Backoff, parameters
from kernel.messaging.consumer import Consumer, Delivery, Received
from kernel.messaging.publisher import Confirm, Outgoing, Publisher, _Batch

NOWHERE = "amqp://nobody:none@127.0.0.1:9/core"


def handled(_batch: Sequence[Received]) -> Mapping[int, Exception]:
    """A handler that is content with everything."""
    return {}


class Ack(SimpleNamespace):
    """As pika's Basic.Ack."""


class Nack(SimpleNamespace):
    """As pika's Basic.Nack."""


def sending(count: int) -> tuple[Publisher, _Batch]:
    """A publisher that waits for the confirms of `count` messages."""
    publisher = Publisher(NOWHERE, "test")
    batch = _Batch([Outgoing("x", "k", b"", str(number)) for number in range(count)], [None] * count, threading.Event(), left=count)
    publisher._batch = batch
    publisher._tags = {number + 1: number for number in range(count)}
    return publisher, batch


def confirm(publisher: Publisher, tag: int, *, multiple: bool = False, kind: type[SimpleNamespace] = Ack) -> None:
    publisher._on_confirm(SimpleNamespace(method=kind(delivery_tag=tag, multiple=multiple)))


@pytest.mark.parametrize(
    ("url", "host", "port", "vhost", "user", "password"),
    [
        ("amqp://deployer:s%40cret@broker:5673/core", "broker", 5673, "core", "deployer", "s@cret"),
        ("amqp://u:p@broker/agents", "broker", 5672, "agents", "u", "p"),
        ("amqps://u:p@broker/%2F", "broker", 5671, "/", "u", "p"),
        ("amqp://u:p@broker", "broker", 5672, "/", "u", "p"),
    ],
)
def test_an_address_becomes_parameters(url: str, host: str, port: int, vhost: str, user: str, password: str) -> None:
    made = parameters(url, "test")
    assert (made.host, made.port, made.virtual_host) == (host, port, vhost)
    assert (made.credentials.username, made.credentials.password) == (user, password)


def test_every_wait_for_the_broker_has_an_end() -> None:
    made = parameters(NOWHERE, "test")
    for limit in (made.heartbeat, made.blocked_connection_timeout, made.socket_timeout, made.stack_timeout):
        assert 0 < limit <= 60
    assert made.client_properties["connection_name"] == "test"


def test_a_secure_address_checks_the_certificate() -> None:
    options = parameters("amqps://u:p@broker/core", "test").ssl_options
    assert options.context.verify_mode is ssl.CERT_REQUIRED
    assert options.context.check_hostname
    assert options.server_hostname == "broker"
    assert parameters(NOWHERE, "test").ssl_options is None


@given(st.integers(1, 40))
def test_waits_grow_to_a_bound_and_never_vanish(tries: int) -> None:
    backoff = Backoff(first_seconds=0.5, longest_seconds=30)
    waits = [backoff.next_seconds() for _ in range(tries)]
    assert all(0.1 <= wait <= min(30, max(0.1, 0.5 * 2**number)) for number, wait in enumerate(waits))
    backoff.reset()
    assert backoff.next_seconds() <= 0.5


@pytest.mark.parametrize("error", [Conflict("gone", "It is gone."), Forbidden(), ValueError("x"), KeyError("x")])
def test_what_will_never_work_is_parked_at_once_with_its_reason(error: Exception) -> None:
    fate = Consumer(NOWHERE, "audit.inbox", handled, name="test")._again_or_parked(Delivery(b"body", "e", "k", None, "7", 1), error)
    assert (fate.exchange, fate.key, fate.body, fate.message_id) == (topology.DEAD_LETTERS, "audit.inbox", b"body", "7")
    assert fate.headers["x-fairlead-attempts"] == 1
    assert str(error).split(":")[0] in str(fate.headers["x-fairlead-reason"])


def test_what_is_unavailable_comes_back_later_with_its_sender_and_its_count() -> None:
    consumer = Consumer(NOWHERE, "deployer.reports", handled, name="test")
    fates = [
        consumer._again_or_parked(Delivery(b"b", "e", "k", "agent-1-1", "7", 1, attempts), Unavailable("away"))
        for attempts in range(topology.LONGEST_RETRIES + 1)
    ]
    assert [fate.exchange for fate in fates[:4]] == ["retry.1s", "retry.5s", "retry.30s", "retry.300s"]
    assert fates[-1].exchange == topology.DEAD_LETTERS
    assert all(fate.key == "deployer.reports" and fate.headers["x-fairlead-user"] == "agent-1-1" for fate in fates)
    assert [fate.headers["x-fairlead-attempts"] for fate in fates] == list(range(1, topology.LONGEST_RETRIES + 2))


def test_a_reason_is_cut_to_what_a_header_holds() -> None:
    fate = Consumer(NOWHERE, "q", handled, name="t")._again_or_parked(Delivery(b"", "e", "k", None, None, 1), ValueError("x" * 5000))
    assert len(fate.headers["x-fairlead-reason"]) == 1000
    assert fate.message_id


def deliver(exchange: str, user: str | None, headers: dict[str, object] | None) -> Delivery:
    consumer = Consumer(NOWHERE, "deployer.reports", handled, name="test")
    method = SimpleNamespace(exchange=exchange, routing_key="k", delivery_tag=3)
    consumer._on_delivery(None, method, SimpleNamespace(headers=headers, user_id=user, message_id="7"), b"body")
    (delivery,) = consumer._buffer
    return delivery


def test_a_sender_is_who_the_broker_says() -> None:
    assert deliver("node.x.reports", "agent-1-1", {"x-fairlead-user": "forged"}).user_id == "agent-1-1"
    assert deliver("node.x.reports", None, {"x-fairlead-user": "forged"}).user_id is None


def test_a_message_that_waited_keeps_its_sender_and_its_count() -> None:
    back = deliver("", "deployer", {"x-fairlead-user": "agent-1-1", "x-fairlead-attempts": 3})
    assert (back.user_id, back.attempts) == ("agent-1-1", 3)


def test_headers_that_are_none_of_ours_do_no_harm() -> None:
    assert deliver("e", None, None).attempts == 0
    assert deliver("e", None, {"x-fairlead-attempts": "many"}).attempts == 0


def test_one_confirm_may_stand_for_many() -> None:
    publisher, batch = sending(5)
    confirm(publisher, 3, multiple=True)
    assert batch.results == [Confirm.CONFIRMED] * 3 + [None] * 2
    assert not batch.done.is_set()
    confirm(publisher, 5, multiple=True)
    assert batch.done.is_set()
    assert batch.results == [Confirm.CONFIRMED] * 5


def test_confirms_out_of_order_reach_their_messages() -> None:
    publisher, batch = sending(3)
    confirm(publisher, 3)
    confirm(publisher, 1, kind=Nack)
    confirm(publisher, 2)
    assert batch.done.is_set()
    assert batch.results == [Confirm.REFUSED, Confirm.CONFIRMED, Confirm.CONFIRMED]


def test_a_returned_message_is_unroutable_though_it_is_confirmed() -> None:
    publisher, batch = sending(2)
    publisher._on_return(None, None, SimpleNamespace(message_id="1"), b"")
    confirm(publisher, 2, multiple=True)
    assert batch.results == [Confirm.CONFIRMED, Confirm.UNROUTABLE]


def test_a_late_confirm_of_an_abandoned_batch_touches_nothing() -> None:
    publisher, batch = sending(2)
    publisher._abandon("connection lost")
    assert batch.done.is_set()
    assert batch.error == "connection lost"
    confirm(publisher, 2, multiple=True)
    publisher._on_return(None, None, SimpleNamespace(message_id="1"), b"")
    assert batch.results == [None, None]


def test_a_tag_that_nobody_knows_is_ignored() -> None:
    publisher, batch = sending(1)
    confirm(publisher, 99)
    assert batch.left == 1


def test_a_message_is_persistent_and_mandatory_unless_it_says_otherwise() -> None:
    plain = Publisher._properties(Outgoing("e", "k", b"", "1"))
    assert (plain.delivery_mode, plain.message_id, plain.user_id, plain.headers) == (2, "1", None, None)
    light = Publisher._properties(Outgoing("e", "k", b"", "1", user_id="u", headers={"a": 1}, persistent=False))
    assert (light.delivery_mode, light.user_id, light.headers) == (1, "u", {"a": 1})
    assert Outgoing("e", "k", b"", "1").mandatory


def test_a_closed_publisher_opens_no_other_connection() -> None:
    publisher = Publisher(NOWHERE, "test")
    publisher.close()
    with pytest.raises(Unavailable, match="closed"):
        publisher.publish([Outgoing("e", "k", b"", "1")])
    assert publisher.publish([]) == []
