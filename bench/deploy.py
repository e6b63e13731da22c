"""Three small containers, images on the node: from POST start to successful, against the Docker SDK and docker-compose."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import docker

from bench.measure import Measure, middle, seconds_of
from kernel import clock
from tests.fixtures.stack import Harbour, make_harbour, remove_harbour, running_stack

ROUNDS = 7
NAMES = ("web", "other", "third")
QUICK = {"expected_state": {"stable_seconds": 0}, "stop_grace_seconds": 1}

_SDK_PROCESS = """
import sys, docker
from concurrent.futures import ThreadPoolExecutor
client = docker.from_env()
def run(number):
    made = client.api.create_container(sys.argv[2 + number], name=f"{sys.argv[1]}-{number}")
    client.api.start(made["Id"])
with ThreadPoolExecutor(3) as pool:
    list(pool.map(run, range(3)))
"""


def measure() -> list[Measure]:
    """Medians of interleaved rounds; health waits are zero on all sides."""
    stacks = running_stack()
    stack = next(stacks)
    harbour = make_harbour(stack)
    try:
        images = [f"{stack.registry_address}/test/{name}:1" for name in NAMES]
        version = harbour.version(*(harbour.image(name, "1", **QUICK) for name in NAMES), kind="incremental")
        _ours(harbour, version)  # the images are on the node from here on
        rounds = [
            (_ours(harbour, version), _sdk(stack.engine, images), _sdk_process(stack.engine, images), _compose(images))
            for _ in range(ROUNDS)
        ]
    finally:
        remove_harbour(harbour)
        stacks.close()
    ours, sdk, process, compose = (middle(column) for column in zip(*rounds, strict=True))
    note = f"{ROUNDS} rounds"
    return [
        Measure("deploy", ours, "s", "Docker SDK in parallel, in process", sdk, "at most 1.5", note),
        Measure("deploy", ours, "s", "the same as a whole process", process, "", note),
        Measure("deploy", ours, "s", "docker-compose up -d", compose, "below 1", note),
    ]


def _ours(harbour: Harbour, version: str) -> float:
    deployment = harbour.deployment(version, f"b{clock.new_id().hex[-10:]}")

    def deploy() -> None:
        harbour.start(deployment)
        for event in harbour.client.stream(f"{harbour.path}/deployments/{deployment}/events/stream", seconds=60):
            if event.event == "end":
                return

    took = seconds_of(deploy)
    found = harbour.get(deployment)
    if found["status"] != "successful":
        raise RuntimeError(f"the deployment is {found['status']}")
    return took


@contextmanager
def _throw_away(engine: docker.DockerClient):  # type: ignore[no-untyped-def]  # a generator of str
    name = f"bench-{clock.new_id().hex[-10:]}"
    try:
        yield name
    finally:
        for container in engine.containers.list(all=True, filters={"name": name}):
            container.remove(force=True)


def _sdk(engine: docker.DockerClient, images: list[str]) -> float:
    with _throw_away(engine) as name, ThreadPoolExecutor(3) as pool:

        def run(number: int) -> None:
            made = engine.api.create_container(images[number], name=f"{name}-{number}")
            engine.api.start(made["Id"])

        return seconds_of(lambda: list(pool.map(run, range(3))))


def _sdk_process(engine: docker.DockerClient, images: list[str]) -> float:
    with _throw_away(engine) as name:
        return seconds_of(lambda: subprocess.run([sys.executable, "-c", _SDK_PROCESS, name, *images], check=True))


def _compose(images: list[str]) -> float:
    command = shutil.which("docker-compose")
    if command is None:
        raise RuntimeError("docker-compose is not installed; `make bench` installs it")
    with tempfile.TemporaryDirectory() as directory:
        services = "".join(f"  {name}:\n    image: {image}\n" for name, image in zip(NAMES, images, strict=True))
        path = Path(directory) / "docker-compose.yml"
        path.write_text(f'version: "3"\nservices:\n{services}')
        run: Callable[[str], object] = lambda verb: subprocess.run(  # noqa: E731 - two calls of one line
            [command, "-p", path.parent.name.lower().replace("_", ""), "-f", str(path), *verb.split()], check=True, capture_output=True
        )
        try:
            return seconds_of(lambda: run("up -d"))
        finally:
            run("down -t 1")
