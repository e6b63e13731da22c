"""Promise 1: whatever happens, a deployment reaches the status that describes what runs on the node."""

from __future__ import annotations

import pytest

from cli.client import ApiError
from kernel import clock
from tests.fixtures.stack import Harbour
from tests.fixtures.waiting import eventually

QUICK = {"expected_state": {"stable_seconds": 0}, "stop_grace_seconds": 1}
NEVER = {
    "environment": {"READY_AFTER": "3600"},
    "healthcheck": {"test": ["test", "-f", "/tmp/ready"], "interval_seconds": 0.5, "retries": 100},
    "expected_state": {"state": "healthy", "timeout_seconds": 600},
    "stop_grace_seconds": 1,
}


@pytest.fixture
def prefix() -> str:
    return f"e{clock.new_id().hex[-10:]}"


def test_a_success_is_seen_in_the_stream_and_in_sync_afterwards(harbour: Harbour, prefix: str) -> None:
    deployment = harbour.deployment(harbour.version(harbour.image("web", "1", **QUICK)), prefix)
    harbour.start(deployment)
    seen = list(harbour.client.stream(f"{harbour.path}/deployments/{deployment}/events/stream", seconds=60))
    assert seen[-1].event == "end"
    ids = [int(event.id) for event in seen if event.id]
    assert ids == sorted(set(ids))
    assert harbour.get(deployment)["status"] == "successful"
    eventually(lambda: harbour.get(deployment)["sync"]["state"] == "in-sync", seconds=120, what="in-sync")


def test_drift_is_noticed(harbour: Harbour, prefix: str) -> None:
    deployment = harbour.deployment(harbour.version(harbour.image("web", "1", **QUICK)), prefix)
    harbour.start(deployment)
    assert harbour.await_end(deployment)["status"] == "successful"
    harbour.stack.engine.containers.get(f"{prefix}-web").stop(timeout=1)
    eventually(lambda: harbour.get(deployment)["sync"]["state"] == "drifted", what="drifted")


def test_a_cancelled_deployment_is_undone(harbour: Harbour, prefix: str) -> None:
    version = harbour.version(harbour.image("web", "1", **QUICK))
    deployment = harbour.deployment(version, prefix)
    harbour.start(deployment)
    assert harbour.await_end(deployment)["status"] == "successful"
    before = harbour.containers(prefix)
    harbour.configure(harbour.images(version)[0]["id"], tag="2", config={"name": "web", **NEVER})
    harbour.start(deployment)
    eventually(lambda: len(harbour.containers(prefix)) > 1, what="the new container was created")
    harbour.client.post(f"{harbour.path}/deployments/{deployment}/cancel")
    assert harbour.await_end(deployment)["status"] == "failed"
    assert harbour.attempt(deployment, 2)["outcome"] == "cancelled"
    assert harbour.containers(prefix) == before


def test_a_deployment_past_its_deadline_fails_and_is_undone(harbour: Harbour, prefix: str) -> None:
    deployment = harbour.deployment(harbour.version(harbour.image("web", "1", **NEVER)), prefix)
    harbour.start(deployment, timeout_seconds=10)
    assert harbour.await_end(deployment, seconds=60)["status"] == "failed"
    assert harbour.attempt(deployment, 1)["outcome"] in ("timed-out", "failed")
    eventually(lambda: harbour.containers(prefix) == {}, what="nothing of it is left")


def test_an_offline_node_is_refused_at_once_unless_told_to_wait(harbour: Harbour, prefix: str) -> None:
    deployment = harbour.deployment(harbour.version(harbour.image("web", "1", **QUICK)), prefix)
    harbour.node.control("stop")
    try:
        node = f"{harbour.path}/nodes/{harbour.node.id}"
        eventually(lambda: harbour.client.get(node)["status"] == "unreachable", seconds=90, every=0.5, what="unreachable")
        with pytest.raises(ApiError) as refused:
            harbour.start(deployment)
        assert (refused.value.status, refused.value.code) == (409, "node-not-connected")
        harbour.start(deployment, wait_for_node_seconds=60)
    finally:
        harbour.node.control("start")
    assert harbour.await_end(deployment)["status"] == "successful"
    assert set(harbour.containers(prefix)) == {f"{prefix}-web"}
