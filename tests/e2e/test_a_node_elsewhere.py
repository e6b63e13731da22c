"""Main job: a machine on another network becomes a node. It reaches the gateway and, over TLS, the broker, and nothing else."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from deploy.native import ports
from deploy.native.layout import ROOT
from kernel import clock
from tests.fixtures.stack import Harbour, Node, Stack, remove_deployed, running_stack
from tests.fixtures.waiting import eventually


@dataclass(frozen=True)
class Elsewhere:
    """Another machine as far as the network goes: a namespace that is linked to this machine by one cable."""

    name: str
    here: str

    def command(self, *words: str) -> list[str]:
        """`words`, run there."""
        return ["ip", "netns", "exec", self.name, *words]

    def reaches(self, port: int, host: str | None = None) -> bool:
        """Whether somebody answers at a port of this machine, asked from there."""
        program = f"import socket; socket.create_connection(({host or self.here!r}, {port}), 3)"
        return subprocess.run(self.command(sys.executable, "-c", program), capture_output=True, timeout=30, check=False).returncode == 0


@pytest.fixture(scope="module")
def elsewhere() -> Iterator[Elsewhere]:
    mark = clock.new_id().hex[-8:]
    # Out of the range that is kept for tests of networks.
    block = int(mark[-4:-2], 16), int(mark[-2:], 16) & 0xFC
    here, there = (f"198.18.{block[0]}.{block[1] + number}" for number in (1, 2))
    name, outer, inner = f"fl{mark}", f"fo{mark}", f"fi{mark}"

    def ip(*words: str) -> None:
        subprocess.run(["ip", *words], check=True, capture_output=True, timeout=30)

    ip("netns", "add", name)
    try:
        ip("link", "add", outer, "type", "veth", "peer", "name", inner, "netns", name)
        ip("address", "add", f"{here}/30", "dev", outer)
        ip("link", "set", outer, "up")
        ip("-n", name, "address", "add", f"{there}/30", "dev", inner)
        ip("-n", name, "link", "set", inner, "up")
        ip("-n", name, "link", "set", "lo", "up")
        yield Elsewhere(name, here)
    finally:
        ip("netns", "delete", name)  # the cable goes with it


@pytest.fixture(scope="module")
def stack(elsewhere: Elsewhere) -> Iterator[Stack]:
    yield from running_stack(FAIRLEAD_HOST=elsewhere.here)


@contextmanager
def joined(stack: Stack, elsewhere: Elsewhere, directory: Path) -> Iterator[Harbour]:
    """A team whose node's agent runs elsewhere. Its packages are this machine's: there is no index to install from."""
    client = stack.person()
    mark = clock.new_id().hex[-10:]
    team = client.post("/teams", {"name": f"Team {mark}", "slug": f"t-{mark}"})["id"]
    node = client.post(f"/teams/{team}/nodes", {"name": "elsewhere"})["id"]
    offer = client.post(f"/teams/{team}/nodes/{node}/enrollment")
    address = offer["script_url"].partition("/install/")[0]
    environ = {**os.environ, "FAIRLEAD_AGENT_DIR": str(directory), "FAIRLEAD_AGENT_TOKEN": offer["token"]}
    agent = elsewhere.command(sys.executable, "-m", "agent.main")
    subprocess.run([*agent, "enroll", address], env=environ, cwd=ROOT, check=True, capture_output=True, timeout=60)
    registry = client.post(f"/teams/{team}/registries", {"name": "images on the node", "type": "unchecked"})["id"]
    harbour = Harbour(stack, client, team, Node(node, directory), registry)
    with (directory / "agent.log").open("w") as log:
        process = subprocess.Popen(agent, env=environ, cwd=ROOT, stdout=log, stderr=subprocess.STDOUT)
    try:
        yield harbour
    finally:
        process.terminate()
        process.wait(30)
        remove_deployed(harbour)


@contextmanager
def named(stack: Stack, name: str) -> Iterator[None]:
    """A sample image under a name without a registry, as if it had been loaded on the node by hand."""
    stack.engine.images.get(f"{stack.registry_address}/test/web:1").tag(name, "1")
    try:
        yield
    finally:
        stack.engine.images.remove(f"{name}:1", force=True)


def test_it_gets_what_it_is_told_to_run_and_reaches_only_what_it_must(stack: Stack, elsewhere: Elsewhere, tmp_path: Path) -> None:
    recorded = ports.load(stack.layout.ports)
    with joined(stack, elsewhere, tmp_path / "agent") as harbour:
        eventually(lambda: harbour.client.get(f"{harbour.path}/nodes/{harbour.node.id}")["status"] == "connected")
        identity = json.loads((tmp_path / "agent" / "identity.json").read_text())
        assert identity["broker_url"] == f"amqps://{elsewhere.here}:{recorded['agents']}/agents"
        prefix = f"n{clock.new_id().hex[-10:]}"
        with named(stack, prefix):
            image = {"registry_id": harbour.registry_id, "repository": prefix, "tag": "1", "config": {"name": "web"}}
            deployment = harbour.deployment(harbour.version(image), prefix)
            harbour.start(deployment)
            assert harbour.await_end(deployment)["status"] == "successful"
            assert [state for _, state in harbour.containers(prefix).values()] == ["running"]
    answering = {name for name, port in recorded.items() if elsewhere.reaches(port)}
    assert answering == {"gateway", "agents"}


def test_the_machine_itself_still_finds_the_gateway_on_loopback(stack: Stack) -> None:
    port = ports.load(stack.layout.ports)["gateway"]
    with socket.create_connection(("127.0.0.1", port), 3):
        assert stack.operator.status() == 0
