"""The catalog's worker on a real broker: what it hears is done, what it tells arrives."""

from __future__ import annotations

import base64
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from kernel.contracts import envelope
from kernel.contracts.envelope import Envelope
from kernel.messaging.publisher import Confirm, Outgoing, Publisher
from services.catalog.settings import WorkerSettings
from services.catalog.worker import parts
from tests.fixtures.catalog import TestCatalog, team_event
from tests.fixtures.servers import TestBroker
from tests.fixtures.waiting import eventually


@pytest.fixture
def worker(catalog: TestCatalog, broker: TestBroker, tmp_path: Path) -> Iterator[None]:
    keys = tmp_path / "keys"
    keys.write_text(f"test:{base64.b64encode(bytes(range(32))).decode()}\n")
    settings = WorkerSettings(
        database_url=catalog.db.url,
        identity_url="http://127.0.0.1:9",
        encryption_keys_file=keys,
        broker_core_url=broker.core_url("catalog"),
    )
    running = parts(settings, catalog.db)
    threads = [threading.Thread(target=part.run, daemon=True) for part in running]
    for thread in threads:
        thread.start()
    yield
    for part in running:
        part.stop()
    for thread in threads:
        thread.join(60)
    assert not any(thread.is_alive() for thread in threads)


@pytest.mark.usefixtures("worker")
def test_a_new_team_gets_its_first_registry_and_the_others_hear_of_it(catalog: TestCatalog, broker: TestBroker) -> None:
    publisher = Publisher(broker.core_url("identity"), "test")
    event = team_event(catalog.team_id, "created")
    assert _publish(publisher, event) == [Confirm.CONFIRMED]
    assert _publish(publisher, event) == [Confirm.CONFIRMED]
    publisher.close()
    found = eventually(lambda: catalog.ask("GET", "/registries")["items"], what="the team's first registry")
    assert [one["name"] for one in found] == ["Docker Hub Library"]
    eventually(lambda: broker.depth(broker.core, "audit.inbox") >= 3, what="two events of identity and one of the catalog")


def _publish(publisher: Publisher, event: Envelope) -> list[Confirm]:
    return list(publisher.publish([Outgoing("identity.events", event.type, envelope.encode(event), str(event.id))]))
