"""Fixtures that every test may use."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tests.fixtures import servers as fixture
from tests.fixtures.engine import running_engine
from tests.fixtures.servers import Servers, TestBroker, TestDatabase
from tests.fixtures.stack import Harbour, Stack, make_harbour, remove_harbour, running_stack

TESTS = Path(__file__).parent

# The same examples each time, however slow the machine: a run tells of a change, not of luck. `--hypothesis-profile=default`
# looks for new ones.
settings.register_profile("steady", derandomize=True, database=None, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("steady")


@pytest.fixture(scope="session", autouse=True)
def engine_runs(request: pytest.FixtureRequest) -> Iterator[None]:
    """Every test but the pure ones may use Docker: where no engine runs, the run starts one."""
    if all(_needs_no_server(item) for item in request.session.items):
        yield
    else:
        yield from running_engine()


def _needs_no_server(item: pytest.Item) -> bool:
    return item.path.relative_to(TESTS).parts[0] in ("unit", "contracts", "architecture")


@pytest.fixture(scope="session")
def servers() -> Iterator[Servers]:
    """PostgreSQL and RabbitMQ, real ones."""
    yield from fixture.running_servers()


@pytest.fixture
def database(servers: Servers) -> Iterator[Callable[[str], TestDatabase]]:
    """`database("catalog")` is a fresh migrated database of that service; it is dropped after the test."""
    made: list[TestDatabase] = []

    def make(service: str) -> TestDatabase:
        made.append(fixture.make_database(servers, service))
        return made[-1]

    yield make
    for one in made:
        fixture.drop_database(servers, one)


@pytest.fixture
def broker(servers: Servers) -> Iterator[TestBroker]:
    """Two virtual hosts of this test's own, with the whole topology."""
    made = fixture.make_broker(servers)
    yield made
    fixture.drop_broker(made)


@pytest.fixture(scope="session")
def stack() -> Iterator[Stack]:
    """The whole of Fairlead, running natively in a directory of its own."""
    yield from running_stack()


@pytest.fixture(scope="module")
def harbour(stack: Stack) -> Iterator[Harbour]:
    """A team with a registry and a node, for the tests of one file."""
    made = make_harbour(stack)
    yield made
    remove_harbour(made)
