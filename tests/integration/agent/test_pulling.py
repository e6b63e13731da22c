"""Images out of a real registry behind a password."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import docker
import pytest
import requests

from agent.identity import load_or_make_keys
from deploy.native import ports
from deploy.native.registry import Registry, prepare
from kernel import clock
from kernel.signing import seal
from tests.fixtures.waiting import eventually
from tests.integration.agent.ground import Ground, rootfs, spec


@dataclass
class Shelf:
    """A registry with one image in it, named by tag and by digest."""

    registry: Registry
    tag: str
    digest: str

    @property
    def image(self) -> str:
        return f"{self.tag.rpartition(':')[0]}@{self.digest}"


@pytest.fixture(scope="module")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shelf]:
    directory: Path = tmp_path_factory.mktemp("registry")
    registry = Registry(directory, ports.free_port(), clock.random_token())
    command = prepare(registry)
    running = subprocess.Popen(command.arguments, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    client = docker.from_env()
    tag = f"{registry.host}/agenttest/{clock.new_id().hex[-8:]}:1"
    try:
        eventually(lambda: _answers(registry), what="the registry")
        client.api.import_image_from_data(rootfs("pulled"), repository=tag.rpartition(":")[0], tag="1")
        login = {"username": registry.user, "password": registry.password}
        lines = list(client.api.push(tag, stream=True, decode=True, auth_config=login))
        digest = next(line["aux"]["Digest"] for line in lines if "aux" in line)
        client.images.remove(tag, force=True)
        yield Shelf(registry, tag, digest)
    finally:
        running.kill()
        running.wait()
        client.close()


def _answers(registry: Registry) -> bool:
    try:
        return requests.get(f"{registry.url}/v2/", timeout=2).status_code == 401
    except requests.RequestException:
        return False


@pytest.fixture
def unpulled(shelf: Shelf, ground: Ground) -> Iterator[Shelf]:
    """The image is not on the engine, neither before nor after the test."""
    yield shelf
    ground.sweep()
    client = docker.from_env()
    for one in client.images.list(name=shelf.tag.rpartition(":")[0]):
        client.images.remove(str(one.id), force=True)
    client.close()


def _credentials(ground: Ground, shelf: Shelf, *, password: str | None = None, below: str = "") -> dict[str, str]:
    value = json.dumps({"username": shelf.registry.user, "password": password or shelf.registry.password})
    key = load_or_make_keys(ground.directory).unseal.public_key
    name = shelf.registry.host + below
    return {name: seal(key, team=str(ground.node.team_id), node=str(ground.node.node_id), name=f"registry:{name}", value=value)}


def test_an_image_is_pulled_by_digest_with_sealed_credentials(ground: Ground, unpulled: Shelf) -> None:
    wanted = replace(spec("web", unpulled.image), digest=unpulled.digest, registry=unpulled.registry.host)
    finished = ground.apply(wanted, credentials=_credentials(ground, unpulled))
    assert finished.outcome == "succeeded", finished
    assert ground.inspect("web")["Config"]["Image"] == unpulled.image
    assert {"pulling", "pulled", "created"} <= set(ground.steps(finished.attempt_id))
    assert all(unpulled.registry.password not in str(report) for report in ground.reports())

    again = ground.apply(replace(wanted, name="other"), credentials=_credentials(ground, unpulled))
    assert again.outcome == "succeeded"
    assert "pulling" not in ground.steps(again.attempt_id)


def test_without_or_with_wrong_credentials_the_registry_denies(ground: Ground, unpulled: Shelf) -> None:
    ground.apply(spec("web", ground.image))
    before = ground.running()
    wanted = replace(spec("web", unpulled.image), digest=unpulled.digest, registry=unpulled.registry.host)
    assert ground.apply(wanted).code == "registry-denied"
    assert ground.apply(wanted, credentials=_credentials(ground, unpulled, password="wrong")).code == "registry-denied"
    assert ground.running() == before


def test_the_log_in_for_an_images_namespace_goes_before_the_one_for_its_host(ground: Ground, unpulled: Shelf) -> None:
    wanted = replace(spec("web", unpulled.image), digest=unpulled.digest, registry=unpulled.registry.host)
    of_host = _credentials(ground, unpulled, password="wrong")
    elsewhere = _credentials(ground, unpulled, below="/agent")
    assert ground.apply(wanted, credentials=of_host | elsewhere).code == "registry-denied"
    finished = ground.apply(wanted, credentials=of_host | elsewhere | _credentials(ground, unpulled, below="/agenttest"))
    assert finished.outcome == "succeeded", finished


def test_an_image_that_the_registry_does_not_have_is_missing(ground: Ground, unpulled: Shelf) -> None:
    wrong = f"sha256:{'0' * 64}"
    image = f"{unpulled.tag.rpartition(':')[0]}@{wrong}"
    wanted = replace(spec("web", image), digest=wrong, registry=unpulled.registry.host)
    finished = ground.apply(wanted, credentials=_credentials(ground, unpulled))
    assert (finished.outcome, finished.code) == ("failed", "image-missing"), finished


def test_a_registry_that_is_away_is_tried_again_within_the_time(ground: Ground) -> None:
    host = f"127.0.0.1:{ports.free_port()}"
    wanted = replace(spec("web", f"{host}/nothing:1"), registry=host)
    finished = ground.apply(wanted, timeout_seconds=3)
    assert (finished.outcome, finished.code) == ("failed", "registry-unavailable"), finished
    assert ground.containers() == {}


def test_a_pull_is_cancelled_at_once(ground: Ground) -> None:
    host = f"127.0.0.1:{ports.free_port()}"
    attempt = ground.start(replace(spec("web", f"{host}/nothing:1"), registry=host), timeout_seconds=600)
    eventually(lambda: "pulling" in ground.steps(attempt), what="the pull")
    ground.cancel(attempt)
    assert ground.finished(attempt, seconds=30).outcome == "cancelled"
