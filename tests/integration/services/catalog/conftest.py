"""A catalog, and a real registry behind a password, for the catalog's tests."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from deploy.native import ports
from deploy.native.registry import USER, RegistryServer
from tests.fixtures.catalog import TestCatalog, make_catalog
from tests.fixtures.recorded import Registries
from tests.fixtures.recorded import registries as replayed
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


@pytest.fixture
def registries(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Registries]:
    """The recorded registries; a test plays what they answer."""
    with replayed(tmp_path, monkeypatch) as made:
        yield made


@pytest.fixture
def recorded_catalog(database: Callable[[str], TestDatabase], registries: Registries) -> Iterator[TestCatalog]:
    """A catalog that has only the recorded registries around it."""
    made = make_catalog(database("catalog"), egress=registries.egress())
    yield made
    made.db.close()
