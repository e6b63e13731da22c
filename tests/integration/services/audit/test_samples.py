"""Every sample of a message, told twice to the real handlers, is one entry; and nothing of it is a secret."""

from __future__ import annotations

import json
from pathlib import Path
from uuid import UUID

import pytest
from nacl.signing import SigningKey

from kernel import clock, signing
from kernel.contracts import agent
from kernel.db import Database
from kernel.messaging import topology
from kernel.messaging.consumer import Delivery, Received
from services.audit import messages, store
from services.audit.chain import Walk, document_of
from services.audit.domain import NO_TEAM, Entry, Filters
from tests.fixtures.servers import ROOT

SAMPLES = sorted(path for path in (ROOT / "docs" / "messages").glob("*/v*/*.json"))
EVENTS = [path for path in SAMPLES if path.parts[-3].startswith(("identity.", "catalog.", "deployer."))]
COMMANDS = {"deployer.deployment.apply", "deployer.deployment.cancel", "deployer.place.remove", "deployer.node.welcome"}
REPORTS = [path for path in SAMPLES if path.parts[-3].startswith("agent.")]


def all_entries(db: Database, teams: set[UUID]) -> list[Entry]:
    """Everything recorded, each chain checked on the way."""
    found: list[Entry] = []
    for team in teams:
        with db.team(team) as session:
            own = store.find_window(session, team, Filters(), above=0, up_to=10_000)
        walk = Walk()
        assert all(walk.take(document_of(entry)) for entry in own)
        found += own
    return found


def test_every_event_told_twice_is_one_entry(db: Database) -> None:
    batch, teams = [], {NO_TEAM}
    for path in EVENTS:
        if path.parts[-3] in COMMANDS:
            continue
        document = json.loads(path.read_text()) | {"id": str(clock.new_id())}
        teams |= {UUID(document["team"])} if document.get("team") else set()
        sender = path.parts[-3].partition(".")[0]
        delivery = Delivery(json.dumps(document).encode(), f"{sender}.events", "", None, None, 1)
        batch.append(Received(delivery, messages.read_event(delivery)))
    handle = messages.Recorder(db, messages.fact_of_event)
    assert handle(batch) == {}
    assert handle(batch[::-1]) == {}
    found = all_entries(db, teams)
    assert sorted(entry.id for entry in found) == sorted(received.envelope.id for received in batch)
    assert {entry.action for entry in found} == {path.parts[-3] for path in EVENTS} - COMMANDS


@pytest.mark.parametrize("path", REPORTS, ids=lambda path: "-".join(path.parts[-3:]))
def test_every_report_told_twice_is_one_entry_or_a_pulse(db: Database, path: Path) -> None:
    key, team = SigningKey.generate(), clock.new_id()
    document = json.loads(path.read_text())
    node = UUID(document["node"])
    with db.system() as session:
        store.add_node_keys(session, [(node, team, signing.to_text(key.verify_key))])
    body = signing.sign_body(key, json.dumps(document, separators=(",", ":")).encode())
    delivery = Delivery(body, topology.reports_exchange(node), "", topology.agent_user(node, 1), None, 1)
    received = Received(delivery, messages.ReportReader(db)(delivery))
    handle = messages.Recorder(db, messages.fact_of_report)
    assert handle([received, received]) == {}
    assert handle([received]) == {}
    found = all_entries(db, {team})
    assert len(found) == (0 if path.parts[-3] in agent.PULSES else 1)
    assert all((entry.actor_kind, entry.actor_id, entry.action) == ("node", str(node), path.parts[-3]) for entry in found)
