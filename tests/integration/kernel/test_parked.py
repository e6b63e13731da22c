"""Parked messages on a real broker: seen without being lost, sent back, dropped."""

from __future__ import annotations

import pytest

from kernel.messaging import parked
from kernel.messaging.consumer import ATTEMPTS_HEADER, REASON_HEADER
from kernel.messaging.parked_count import count
from kernel.messaging.parked_gauge import ParkedGauge
from kernel.messaging.publisher import Outgoing, Publisher
from kernel.metrics import PARKED
from tests.fixtures.servers import TestBroker
from tests.fixtures.waiting import eventually

QUEUE = "audit.inbox"


@pytest.fixture
def url(broker: TestBroker) -> str:
    """The audit service's address, with two parked messages behind it."""
    url = broker.core_url("audit")
    publisher = Publisher(url, "test")
    reason = {REASON_HEADER: "not-json: no", ATTEMPTS_HEADER: 1}
    publisher.publish(
        [Outgoing("dead-letters", QUEUE, body, name, headers=reason) for name, body in (("a", b"{"), ("b", b'{"type":"x.v1"}'))]
    )
    publisher.close()
    return url


def test_looking_shows_the_reason_and_leaves_everything_parked(url: str) -> None:
    for _ in range(3):
        assert [(one.id, one.type, one.reason) for one in parked.show(url, QUEUE)] == [
            ("a", "unreadable", "not-json: no"),
            ("b", "x.v1", "not-json: no"),
        ]
    assert count(url, [QUEUE]) == {QUEUE: 2}


def test_one_message_is_sent_back_to_its_queue(url: str, broker: TestBroker) -> None:
    assert parked.retry(url, QUEUE, ids=["b"]) == 1
    assert [one.id for one in parked.show(url, QUEUE)] == ["a"]
    eventually(lambda: broker.depth(broker.core, QUEUE) == 1, what="it is back")


def test_only_named_messages_are_dropped(url: str) -> None:
    assert parked.drop(url, QUEUE, ids=["a", "unknown"]) == 1
    assert [one.id for one in parked.show(url, QUEUE)] == ["b"]


def test_the_command_lists_and_says_what_it_needs(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert parked.main(["list"], lambda queue: url if queue == QUEUE else None) == 0
    assert "audit.inbox" in capsys.readouterr().out
    assert parked.main(["drop", QUEUE], lambda queue: url) == 1
    assert "ids-needed" in capsys.readouterr().err


def test_a_worker_shows_how_many_are_parked(url: str) -> None:
    gauge = ParkedGauge({QUEUE: url})
    gauge.look()
    assert PARKED.labels(QUEUE)._value.get() == 2
    assert parked.drop(url, QUEUE, ids=["a"]) == 1
    eventually(lambda: count(url, [QUEUE]) == {QUEUE: 1})
    gauge.look()
    assert PARKED.labels(QUEUE)._value.get() == 1


def test_whoever_may_connect_may_count(url: str, broker: TestBroker) -> None:
    assert count(broker.core_url("gateway"), [QUEUE, "deployer.inbox"]) == {QUEUE: 2, "deployer.inbox": 0}
    assert count(broker.agents_url("gateway"), ["audit.reports"]) == {"audit.reports": 0}
