"""The world of the deployments' tests: a deployer on a real database with one team's connected node."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from nacl.public import PrivateKey
from nacl.signing import SigningKey

from kernel import clock
from kernel.db import Database
from kernel.outbox import Relay
from services.deployer.app import create_app
from services.deployer.settings import Settings
from tests.fixtures.deployer import TestDeployer, make_deployer
from tests.fixtures.servers import TestBroker, TestDatabase
from tests.integration.services.deployer.world import PlainVerifier, SmallCatalog, Somebody, World


@pytest.fixture
def world(database: Callable[[str], TestDatabase]) -> Iterator[World]:
    """A deployer with an empty database but for one team's connected node."""
    made = database("deployer")
    db = Database(made.url, pool_size=25, name="deployer.test")
    catalog, key, node_key, team = SmallCatalog(), SigningKey.generate(), PrivateKey.generate(), clock.new_id()
    settings = Settings(
        database_url=made.url,
        identity_url="http://identity.test",
        catalog_url="http://catalog.test",
        public_url="http://fairlead.test",
        signing_key_file=Path("/nowhere"),
        broker_management_url="http://broker.test",
        agent_broker_url="amqp://broker.test/agents",
        log_level="error",
    )
    app = create_app(settings, db=db, verifier=PlainVerifier(), catalog=catalog, signing_key=key)
    world = World(app, db, made, catalog, key, team, node_key, clock.new_id(), Somebody(app, team))
    world.node = world.add_node("n1", key=node_key)
    yield world
    db.close()


@pytest.fixture
def deployer(database: Callable[[str], TestDatabase], broker: TestBroker, tmp_path: Path) -> Iterator[TestDeployer]:
    """With its worker running, but for the relay: what would be sent stays to be looked at."""
    made = make_deployer(database("deployer"), broker, tmp_path)
    with made.worker(without=Relay):
        yield made
    made.db.close()
