"""Outbox and inbox: saved together or not at all, in order, once."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import pytest
from sqlalchemy import text
from sqlalchemy.orm import Session

from kernel import clock, outbox
from kernel.contracts import identity  # noqa: F401 - registers the messages that these tests send
from kernel.contracts.envelope import Envelope
from kernel.contracts.recorded import Recorded
from kernel.db import Database
from kernel.errors import Conflict, Unavailable
from kernel.inbox import InboxHandler
from kernel.messaging.consumer import Consumer, Delivery, Received
from kernel.metrics import OUTBOX_WAITING
from kernel.outbox import Relay, put_event
from tests.fixtures.servers import TestBroker
from tests.fixtures.waiting import eventually


def event(name: str = "thing") -> Envelope:
    return Envelope(
        type="identity.team.changed.v1", source="/identity", data=Recorded(resource_type="team", resource_id="1", resource_name=name)
    )


def received(envelope: Envelope) -> Received:
    return Received(Delivery(b"", "identity.events", envelope.type, None, str(envelope.id), 1), envelope)


def name_of(one: Received) -> str:
    assert isinstance(one.envelope.data, Recorded)
    return one.envelope.data.resource_name


@contextmanager
def running(*parts: Relay | Consumer) -> Iterator[None]:
    threads = [threading.Thread(target=part.run) for part in parts]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        for part in parts:
            part.stop()
        for thread in threads:
            thread.join(20)


def relay(kernel_url: str, broker: TestBroker) -> Relay:
    return Relay(kernel_url, "core", broker.core_url("identity"), "identity")


@contextmanager
def listening(broker: TestBroker) -> Iterator[list[str]]:
    seen: list[str] = []

    def handle(batch: Sequence[Received]) -> dict[int, Exception]:
        seen.extend(name_of(one) for one in batch)
        return {}

    with running(Consumer(broker.core_url("audit"), "audit.inbox", handle, name="test")):
        yield seen


def unsent(db: Database) -> int:
    with db.system() as session:
        return int(session.execute(text("SELECT count(*) FROM outbox WHERE sent_at IS NULL")).scalar_one())


def reasons(db: Database) -> list[str | None]:
    """Why rows that were tried have not been sent."""
    with db.system() as session:
        return list(session.execute(text("SELECT last_error FROM outbox WHERE sent_at IS NULL AND attempts > 0")).scalars())


def test_what_was_rolled_back_is_never_told(db: Database, kernel_url: str, broker: TestBroker) -> None:
    def write_and_fail() -> None:
        with db.system() as session:
            put_event(session, "identity", event("never"))
            raise KeyError

    with pytest.raises(KeyError):
        write_and_fail()
    with db.system() as session:
        put_event(session, "identity", event("kept"))
    with listening(broker) as seen, running(relay(kernel_url, broker)):
        eventually(lambda: seen == ["kept"])


def test_eight_writers_lose_nothing_and_one_of_two_relays_works(db: Database, kernel_url: str, broker: TestBroker) -> None:
    def write(number: int) -> None:
        for index in range(50):
            with db.system() as session:
                put_event(session, "identity", event(f"{number}-{index}"))

    with listening(broker) as seen, running(relay(kernel_url, broker), relay(kernel_url, broker)):
        writers = [threading.Thread(target=write, args=(number,)) for number in range(8)]
        for writer in writers:
            writer.start()
        for writer in writers:
            writer.join()
        eventually(lambda: len(seen) >= 400)
        eventually(lambda: unsent(db) == 0)
    assert len(seen) == len(set(seen)) == 400
    for number in range(8):
        mine = [name for name in seen if name.startswith(f"{number}-")]
        assert mine == [f"{number}-{index}" for index in range(50)]


def test_what_was_sent_is_sent_again_after_the_broker_lost_its_data(db: Database, kernel_url: str, broker: TestBroker) -> None:
    with db.system() as session:
        put_event(session, "identity", event("first"))
    with listening(broker) as seen:
        with running(relay(kernel_url, broker)):
            eventually(lambda: seen == ["first"])
            eventually(lambda: unsent(db) == 0)
        broker.servers.manage("DELETE", f"/api/queues/{broker.core}/identity.marker")
        with running(relay(kernel_url, broker)):
            eventually(lambda: seen == ["first", "first"])
        with running(relay(kernel_url, broker)):
            with db.system() as session:
                put_event(session, "identity", event("second"))
            eventually(lambda: seen == ["first", "first", "second"])


def test_a_relay_that_dies_while_it_sends_again_begins_again(
    db: Database, kernel_url: str, broker: TestBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    died: list[str] = []

    def die(_url: str, service: str) -> None:
        died.append(service)
        raise Unavailable("killed here")

    with db.system() as session:
        put_event(session, "identity", event("first"))
    with listening(broker) as seen:
        with running(relay(kernel_url, broker)):
            eventually(lambda: unsent(db) == 0)
        broker.servers.manage("DELETE", f"/api/queues/{broker.core}/identity.marker")
        with monkeypatch.context() as patched:
            patched.setattr(outbox, "set_marker", die)
            with running(relay(kernel_url, broker)):
                eventually(lambda: len(died) > 0)
        with running(relay(kernel_url, broker)):
            eventually(lambda: seen == ["first", "first"])
            eventually(lambda: unsent(db) == 0)


def test_a_message_without_a_queue_waits_and_others_go_on(db: Database, kernel_url: str, broker: TestBroker) -> None:
    with db.system() as session:
        session.execute(
            text("INSERT INTO outbox (message_id, vhost, exchange, key, body) VALUES (:id, 'core', 'retry.1s', 'x', '{}')"),
            {"id": clock.new_id()},
        )
        put_event(session, "identity", event("next"))
    broker.servers.manage("DELETE", f"/api/queues/{broker.core}/retry.1s")
    # The deployer may write to retry.1s; identity may not, so that its relay would fail rather than be unroutable.
    other = Relay(kernel_url, "core", broker.core_url("provisioner"), "identity")
    with listening(broker) as seen, running(other):
        eventually(lambda: seen == ["next"])
        # The broker tells its readers before the relay writes down what became of each row.
        eventually(lambda: unsent(db) == 1 and reasons(db) == ["unroutable"])


def test_one_virtual_host_goes_on_while_another_is_away(db: Database, kernel_url: str, broker: TestBroker) -> None:
    with db.system() as session:
        session.execute(
            text("INSERT INTO outbox (message_id, vhost, exchange, key, body) VALUES (:id, 'agents', 'commands', 'x', '{}')"),
            {"id": clock.new_id()},
        )
    away = Relay(kernel_url, "agents", broker.core_url("deployer").replace(broker.core, "no-such-host"), "deployer")
    with listening(broker) as seen, running(away, relay(kernel_url, broker)):
        for number in range(600):
            with db.system() as session:
                put_event(session, "identity", event(str(number)))
        eventually(lambda: len(seen) == 600)
        eventually(lambda: unsent(db) == 1)
        assert seen == [str(number) for number in range(600)]
        eventually(lambda: OUTBOX_WAITING.labels("agents")._value.get() == 1)
        assert OUTBOX_WAITING.labels("core")._value.get() == 0


def test_a_command_for_a_node_that_is_gone_is_given_up_and_an_event_never(db: Database, kernel_url: str, broker: TestBroker) -> None:
    rows = [("agents", "2 days"), ("agents", "1 hour"), ("core", "2 days")]
    with db.system() as session:
        for vhost, age in rows:
            session.execute(
                text(
                    "INSERT INTO outbox (message_id, vhost, exchange, key, body, attempts, not_before, created_at) VALUES"
                    " (:id, :vhost, 'commands', 'nobody', '{}', 9, now() + interval '1 hour', now() - CAST(:age AS interval))"
                ),
                {"id": clock.new_id(), "vhost": vhost, "age": age},
            )
    with running(Relay(kernel_url, "agents", broker.agents_url("deployer"), "deployer")):
        eventually(lambda: unsent(db) == 2)
    with db.system() as session:
        left = session.execute(text("SELECT vhost, created_at < now() - interval '1 day' FROM outbox ORDER BY vhost")).all()
    assert [tuple(row) for row in left] == [("agents", False), ("core", True)]


def test_told_twice_is_done_once(db: Database) -> None:
    done: list[str] = []

    def handle(_session: Session, batch: Sequence[Received]) -> None:
        done.extend(name_of(one) for one in batch)

    handler = InboxHandler(db, "test", handle)
    first = received(event("once"))
    assert handler([first, first]) == {}
    assert handler([first, received(event("other"))]) == {}
    assert done == ["once", "other"]


def test_a_pulse_is_handled_each_time_and_not_remembered(db: Database) -> None:
    done: list[str] = []

    def handle(_session: Session, batch: Sequence[Received]) -> None:
        done.extend(name_of(one) for one in batch)

    handler = InboxHandler(db, "test", handle, pulses=("identity.team.changed",))
    pulse = received(event("pulse"))
    assert handler([pulse]) == handler([pulse]) == {}
    assert done == ["pulse", "pulse"]
    with db.system() as session:
        assert session.execute(text("SELECT count(*) FROM inbox WHERE message_id = :id"), {"id": pulse.envelope.id}).scalar_one() == 0


def test_one_bad_message_does_not_undo_its_neighbours(db: Database) -> None:
    team = clock.new_id()

    def handle(session: Session, batch: Sequence[Received]) -> None:
        for one in batch:
            session.execute(
                text("INSERT INTO things (id, team_id, name) VALUES (:id, :team, :name)"),
                {"id": clock.new_id(), "team": team, "name": name_of(one)},
            )
            if name_of(one) == "bad":
                raise Conflict("bad", "it is")

    errors = InboxHandler(db, "test", handle)([received(event(name)) for name in ("a", "bad", "b")])
    assert {index: str(error) for index, error in errors.items()} == {1: "bad: it is"}
    with db.team(team) as session:
        assert sorted(session.execute(text("SELECT name FROM things")).scalars()) == ["a", "b"]
