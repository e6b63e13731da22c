"""Images out of BusyBox alone: built on a real engine, pushed to a real registry, and they run."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import docker
import pytest

from deploy.native import images, ports
from deploy.native.errors import StackError
from deploy.native.registry import RegistryServer
from kernel import clock
from tests.fixtures.waiting import eventually


@pytest.fixture(scope="module")
def server(open_module_directory: Path) -> Iterator[RegistryServer]:
    server = RegistryServer(open_module_directory / "registry", ports.free_port())
    server.start()
    yield server
    server.stop()


@pytest.fixture
def engine() -> Iterator[docker.DockerClient]:
    client = docker.from_env()
    yield client
    client.close()


@pytest.fixture
def name(server: RegistryServer, engine: docker.DockerClient) -> Iterator[str]:
    repository = f"{server.host}/fairlead-test/web-{clock.new_id().hex[-12:]}"
    yield repository
    for container in engine.containers.list(all=True, filters={"label": f"image={repository}"}):
        container.remove(force=True)
    for image in engine.images.list(repository):
        engine.images.remove(str(image.id), force=True)


def test_a_built_image_serves_its_page_and_becomes_healthy(engine: docker.DockerClient, name: str) -> None:
    images.build(name, "1", files={"www/index.html": "version one\n"}, labels={"version": "1"}, client=engine)
    container = engine.containers.run(f"{name}:1", detach=True, labels={"image": name})
    ask = ["wget", "-q", "-O", "-", "http://127.0.0.1/"]
    eventually(lambda: tuple(container.exec_run(ask)) == (0, b"version one\n"), what="its page")  # it listens a moment after its start
    eventually(lambda: engine.api.inspect_container(str(container.id))["State"]["Health"]["Status"] == "healthy")
    assert engine.images.get(f"{name}:1").labels == {"version": "1"}


def test_the_same_content_makes_the_same_layers(engine: docker.DockerClient, name: str) -> None:
    images.build(name, "1", files={"www/index.html": "same"}, client=engine)
    images.build(name, "2", files={"www/index.html": "same"}, healthcheck=None, client=engine)
    first, second = (engine.images.get(f"{name}:{tag}") for tag in ("1", "2"))
    assert first.attrs["RootFS"]["Layers"] == second.attrs["RootFS"]["Layers"]
    assert second.attrs["Config"].get("Healthcheck") is None


def test_an_image_is_pushed_and_pulled_by_its_digest(engine: docker.DockerClient, server: RegistryServer, name: str) -> None:
    images.build(name, "1", files={"www/index.html": name}, client=engine)
    login = {"username": server.registry.user, "password": server.registry.password}
    digest = images.push(f"{name}:1", **login, client=engine)
    assert digest.startswith("sha256:")
    assert engine.images.pull(f"{name}@{digest}", auth_config=login).id == engine.images.get(f"{name}:1").id


def test_a_push_with_a_wrong_password_is_refused(engine: docker.DockerClient, name: str) -> None:
    images.build(name, "1", files={}, client=engine)
    with pytest.raises(StackError, match="registry: does not take"):
        images.push(f"{name}:1", "fairlead", "wrong", client=engine)
