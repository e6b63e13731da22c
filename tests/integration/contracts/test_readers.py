"""Every reader takes every sample that its queue can bring, twice, with one effect."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

import pytest
from nacl.signing import SigningKey
from sqlalchemy import text

from kernel import clock, signing
from kernel.contracts import agent
from kernel.contracts.envelope import decode, encode
from kernel.db import Database
from kernel.inbox import InboxHandler, one_by_one
from kernel.messaging import topology
from kernel.messaging.consumer import Delivery, Received
from services.audit import messages as audit
from services.catalog import messages as catalog
from services.deployer import messages as deployer
from services.deployer.models import Node
from services.deployer.provisioning import Provisioner
from tests.contracts import catalogue, index, values
from tests.contracts.catalogue import Document, Kind
from tests.fixtures.servers import TestDatabase

TYPES = catalogue.message_types()
Handle = Callable[[Sequence[Received]], Mapping[int, Exception]]


def of_kind(kind: Kind) -> list[str]:
    return [full for full, schema in TYPES.items() if catalogue.kind_of(full, schema) is kind]


def brought_by(queue: str) -> list[str]:
    """The events that the bindings of a queue bring to it."""
    sources = topology.CORE_QUEUES[queue]
    return [
        full
        for full in of_kind(Kind.EVENT)
        if any(exchange == topology.events_exchange(full.split(".")[0]) and index.matches(key, full) for exchange, key in sources)
    ]


def delivery(document: Document, *, key: SigningKey | None = None) -> Delivery:
    """The sample as the broker would deliver it; with a key it is signed, and comes from the sample's node."""
    body = encode(decode(json.dumps(document).encode()))
    if key is None:
        sender = document["type"].split(".")[0]
        return Delivery(body, topology.events_exchange(sender), document["type"], None, document["id"], 1)
    user = topology.agent_user(values.NODE, 1)
    return Delivery(signing.sign_body(key, body), topology.reports_exchange(values.NODE), "", user, document["id"], 1)


@contextmanager
def opened(made: TestDatabase) -> Iterator[Database]:
    db = Database(made.url)
    yield db
    db.close()


def contents(made: TestDatabase) -> dict[str, list[str]]:
    """Every row of every table of a service, in an order; what only says when it was told is left out."""
    with opened(made) as db, db.system() as session:
        tables = session.execute(text("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")).scalars().all()
        tables = sorted(set(tables) - {"alembic_version", "inbox"})
        return {
            table: sorted(str(row) for row in session.execute(text(f'SELECT to_jsonb(t) FROM "{table}" AS t')).scalars())
            for table in tables
        }


def handled_twice_with_one_effect(made: TestDatabase, handle: Handle, batch: Sequence[Received]) -> None:
    assert handle(batch) == {}
    once = contents(made)
    assert handle(batch) == {}
    assert handle([batch[0]]) == {}
    assert contents(made) == once


@pytest.mark.parametrize("size", ["minimal", "full"])
def test_audit_records_every_event_once(database: Callable[[str], TestDatabase], size: str) -> None:
    made = database("audit")
    deliveries = [delivery(catalogue.read(full, size)) for full in brought_by("audit.inbox")]
    assert len(deliveries) == len(of_kind(Kind.EVENT)), "audit hears everything"
    batch = [Received(one, audit.read_event(one)) for one in deliveries]
    with opened(made) as db:
        handled_twice_with_one_effect(made, audit.Recorder(db, audit.fact_of_event), batch)
    assert sorted(actions(made)) == sorted(one.envelope.name for one in batch)


def actions(made: TestDatabase) -> list[str]:
    with opened(made) as db, db.system() as session:
        return list(session.execute(text("SELECT action FROM entries")).scalars())


@pytest.mark.parametrize("size", ["minimal", "full"])
def test_audit_records_every_report_but_pulses_once(database: Callable[[str], TestDatabase], size: str) -> None:
    made = database("audit")
    key = SigningKey.generate()
    enrolled = catalogue.read("deployer.node.enrolled.v1", "full")
    enrolled["data"] |= {"node_id": str(values.NODE), "verify_key": signing.to_text(key.verify_key)}
    with opened(made) as db:
        event = delivery(enrolled)
        assert audit.Recorder(db, audit.fact_of_event)([Received(event, audit.read_event(event))]) == {}
        read = audit.ReportReader(db)
        reports = [delivery(catalogue.read(full, size), key=key) for full in of_kind(Kind.REPORT)]
        batch = [Received(one, read(one)) for one in reports]
        handled_twice_with_one_effect(made, audit.Recorder(db, audit.fact_of_report), batch)
    names = {one.envelope.name for one in batch}
    assert sorted(actions(made)) == sorted({"deployer.node.enrolled"} | (names - agent.PULSES))


@pytest.mark.parametrize("size", ["minimal", "full"])
def test_catalog_takes_every_event_of_its_queue_once(database: Callable[[str], TestDatabase], size: str) -> None:
    made = database("catalog")
    team = {"team": str(values.TEAM)}
    deliveries = [delivery(catalogue.read(full, size) | team) for full in brought_by("catalog.inbox")]
    assert {one.key for one in deliveries} >= set(catalog.HANDLERS), "whatever is handled is also brought"
    with opened(made) as db:
        handle = InboxHandler(db, catalog.QUEUE, one_by_one(catalog.HANDLERS))
        handled_twice_with_one_effect(made, handle, [Received(one, decode(one.body)) for one in deliveries])


@pytest.mark.parametrize("size", ["minimal", "full"])
def test_the_deployer_takes_every_event_of_its_queue_once(database: Callable[[str], TestDatabase], size: str) -> None:
    made = database("deployer")
    team = {"team": str(values.TEAM)}
    deliveries = [delivery(catalogue.read(full, size) | team) for full in brought_by("deployer.inbox")]
    assert {one.key for one in deliveries} >= {full for full in deployer.HANDLED if not full.startswith("agent.")}
    nowhere = Provisioner("http://nobody:none@127.0.0.1:9", "agents")
    with opened(made) as db:
        handled_twice_with_one_effect(made, deployer.events_handler(db, nowhere), [Received(one, decode(one.body)) for one in deliveries])


@pytest.mark.parametrize("size", ["minimal", "full"])
def test_the_deployer_takes_every_report_once(database: Callable[[str], TestDatabase], size: str) -> None:
    made = database("deployer")
    key = SigningKey.generate()
    with opened(made) as db:
        with db.team(values.TEAM) as session:
            now = clock.now()
            session.add(
                Node(
                    id=values.NODE, team_id=values.TEAM, name="harbour-1", created_at=now, updated_at=now, enrolled_at=now,
                    verify_key=signing.to_text(key.verify_key), epoch=3,
                )
            )  # fmt: skip
        reports = [delivery(catalogue.read(full, size), key=key) for full in of_kind(Kind.REPORT)]
        assert {json.loads(one.body)["type"] for one in reports} <= set(deployer.HANDLED)
        batch = [Received(one, deployer.read_report(one)) for one in reports]
        handle = deployer.ReportsHandler(db, SigningKey.generate())
        handled_twice_with_one_effect(made, handle, [one for one in batch if one.envelope.name not in agent.PULSES])
        # Told again, a pulse says once more that the node is there (an old process is welcomed once more): no state changes.
        pulses = [one for one in batch if one.envelope.name in agent.PULSES]
        assert len(pulses) == len(agent.PULSES)
        assert handle(pulses) == {}
        once = states(made)
        assert handle(pulses) == {}
        assert states(made) == once


def states(made: TestDatabase) -> dict[str, list[str]]:
    """What is so, without when a node was heard last and what waits to be sent."""
    with opened(made) as db, db.system() as session:
        nodes = session.execute(text("SELECT to_jsonb(n) - 'last_seen_at' FROM nodes n")).scalars()
        return contents(made) | {"nodes": [str(row) for row in nodes], "outbox": []}
