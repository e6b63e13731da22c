"""Two images for the run, and a node a test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import docker
import pytest
from nacl.signing import SigningKey

from kernel import clock
from tests.integration.agent import ground as grounds
from tests.integration.agent.ground import Ground


@pytest.fixture(scope="session")
def images() -> Iterator[tuple[str, str]]:
    """Two different images that are on the engine only."""
    mark = clock.new_id().hex[-10:]
    with grounds.image(f"agenttest-{mark}:1", "one") as first, grounds.image(f"agenttest-{mark}:2", "two") as second:
        yield first, second


@pytest.fixture
def ground(tmp_path: Path, images: tuple[str, str]) -> Iterator[Ground]:
    """A node with an agent that has no broker."""
    deployer = SigningKey.generate()
    node = grounds.prepare_directory(tmp_path / "agent", deployer)
    client = docker.from_env()
    made = Ground(tmp_path / "agent", deployer, node, images[0], images[1], client)
    yield made
    made.close()
    made.sweep()
    client.close()
