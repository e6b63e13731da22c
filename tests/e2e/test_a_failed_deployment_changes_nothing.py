"""Promise 2: unless the whole new stack comes up, what ran before still runs, as it was."""

from __future__ import annotations

from typing import Any

import pytest

from deploy.native.ports import free_port
from kernel import clock
from tests.fixtures.stack import Harbour
from tests.fixtures.waiting import eventually

QUICK: dict[str, Any] = {"expected_state": {"stable_seconds": 0}, "stop_grace_seconds": 1}

BROKEN: dict[str, dict[str, Any]] = {
    "never healthy": {
        "healthcheck": {"test": ["false"], "interval_seconds": 0.2, "retries": 2},
        "expected_state": {"state": "healthy", "timeout_seconds": 10},
    },
    "exits at once": {"command": ["false"], "expected_state": {"stable_seconds": 1, "timeout_seconds": 10}},
    "no such program": {"command": ["/no/such/program"], "expected_state": {"stable_seconds": 1, "timeout_seconds": 10}},
    "a failing init container": {
        "init_containers": [{"name": "prepare", "image": "{web}", "command": ["false"]}],
        "expected_state": {"stable_seconds": 0},
    },
}


# A merge patch: null takes away what broke it.
MENDED: dict[str, Any] = {
    "command": None,
    "healthcheck": None,
    "init_containers": None,
    "expected_state": {"state": "running", "stable_seconds": 0},
}


@pytest.mark.parametrize("how", BROKEN)
@pytest.mark.parametrize("with_host_port", [False, True], ids=["start-first", "stop-first"])
def test_a_broken_release_leaves_the_old_containers_as_they_were(harbour: Harbour, how: str, with_host_port: bool) -> None:
    prefix = f"f{clock.new_id().hex[-10:]}"
    ports = {"ports": [{"container_port": 80, "host_port": free_port()}]} if with_host_port else {}
    version = harbour.version(harbour.image("web", "1", **QUICK, **ports), harbour.image("other", "1", **QUICK))
    deployment = harbour.deployment(version, prefix)
    harbour.start(deployment)
    assert harbour.await_end(deployment)["status"] == "successful", harbour.attempt(deployment, 1)
    before = harbour.containers(prefix)
    web = next(image for image in harbour.images(version) if image["repository"] == "test/web")
    config = {"name": "web", "stop_grace_seconds": 1, **ports, **_named(BROKEN[how], harbour)}
    harbour.configure(web["id"], tag="2", config=config)
    harbour.start(deployment)
    assert harbour.await_end(deployment)["status"] == "failed"
    attempt = harbour.attempt(deployment, 2)
    assert attempt["outcome"] == "failed"
    assert attempt["code"]
    assert harbour.containers(prefix) == before
    # The next good release goes through: nothing stands in its way.
    harbour.configure(web["id"], config=MENDED)
    harbour.start(deployment)
    assert harbour.await_end(deployment)["status"] == "successful", harbour.attempt(deployment, 3)
    harbour.client.delete(f"{harbour.path}/deployments/{deployment}", remove_containers="true")
    _await_removed(harbour, prefix)


def _named(config: dict[str, Any], harbour: Harbour) -> dict[str, Any]:
    image = f"{harbour.stack.registry_address}/test/web:1"
    init = [one | {"image": image} for one in config.get("init_containers", [])]
    return config | ({"init_containers": init} if init else {})


def _await_removed(harbour: Harbour, prefix: str) -> None:
    eventually(lambda: harbour.containers(prefix) == {}, what="the containers are removed")
    seen = f"{harbour.path}/nodes/{harbour.node.id}/containers"
    eventually(lambda: harbour.client.get(seen, prefix=prefix)["items"] == [], what="the node has told of it")
