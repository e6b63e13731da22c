"""A catalog, and a real registry behind a password, for the catalog's tests."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from deploy.native import ports
from deploy.native.registry import USER, RegistryServer
from tests.fixtures.catalog import TestCatalog, make_catalog
from tests.fixtures.registry_images import Pusher
from tests.fixtures.servers import TestDatabase


@pytest.fixture
def catalog(database: Callable[[str], TestDatabase]) -> Iterator[TestCatalog]:
    made = make_catalog(database("catalog"))
    yield made
    made.db.close()


@pytest.fixture(scope="session")
def password_registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pusher]:
    """A registry with a password, by plain HTTP on loopback."""
    server = RegistryServer(tmp_path_factory.mktemp("registry"), ports.free_port())
    server.start()
    yield Pusher(server.url, (USER, server.registry.password))
    server.kill()
