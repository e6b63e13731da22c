"""Each part is killed with SIGKILL in the middle of a deployment: it ends, ends true, and the record has no gap."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from kernel import clock
from tests.fixtures.stack import Harbour
from tests.fixtures.waiting import eventually

SLOW = {
    "environment": {"READY_AFTER": "5"},
    "healthcheck": {"test": ["test", "-f", "/tmp/ready"], "interval_seconds": 0.5, "retries": 40},
    "expected_state": {"state": "healthy", "timeout_seconds": 60, "stable_seconds": 1},
    "stop_grace_seconds": 1,
}
NEVER = SLOW | {"environment": {"READY_AFTER": "3600"}, "expected_state": {"state": "healthy", "timeout_seconds": 8}}
QUICK = {"expected_state": {"stable_seconds": 0}, "stop_grace_seconds": 1}


def fresh_prefix() -> str:
    return f"k{clock.new_id().hex[-10:]}"


def kill_agent(harbour: Harbour) -> None:
    harbour.node.kill()


def kill_program(name: str) -> Callable[[Harbour], None]:
    def kill(harbour: Harbour) -> None:
        harbour.stack.kill(name)

    return kill


KILLS: dict[str, Callable[[Harbour], None]] = {
    "the agent": kill_agent,
    "the deployer's worker": kill_program("deployer-worker"),
    "the deployer's web process": kill_program("deployer-web"),
    "RabbitMQ": kill_program("rabbitmq"),
    "PostgreSQL": kill_program("postgres"),
    "the audit worker": kill_program("audit-worker"),
}


def expect_a_whole_record(harbour: Harbour, deployment: str, final: str) -> None:
    """Started and ended stand in the audit log once each, nothing stands there twice, and the chain verifies."""

    def actions() -> Counter[str]:
        return Counter(entry["action"] for entry in harbour.audit() if entry["resource"]["id"] == deployment)

    once = ("deployer.deployment.created", "deployer.deployment.started", final)
    eventually(lambda: Harbour._patiently(lambda: all(actions()[one] for one in once)), every=0.5, what=f"{final} in the record")
    counted = actions()
    assert [counted[one] for one in once] == [1, 1, 1]
    entries = harbour.audit()
    ids = [entry["id"] for entry in entries]
    assert len(ids) == len(set(ids))
    numbers = sorted(entry["number"] for entry in entries)
    assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))
    assert harbour.client.get(f"{harbour.path}/audit/verify")["valid"]


def running(harbour: Harbour, prefix: str) -> dict[str, tuple[str, str]]:
    return {name: one for name, one in harbour.containers(prefix).items() if one[1] == "running"}


@pytest.mark.parametrize("victim", KILLS)
def test_a_good_deployment_succeeds_although_a_part_is_killed(harbour: Harbour, victim: str) -> None:
    prefix = fresh_prefix()
    version = harbour.version(harbour.image("web", "1", **SLOW), harbour.image("other", "1", **QUICK))
    deployment = harbour.deployment(version, prefix)
    harbour.start(deployment)
    harbour.await_step(deployment, "started")
    KILLS[victim](harbour)
    end = harbour.await_end(deployment)
    assert end["status"] == "successful", harbour.attempt(deployment, 1)
    assert set(harbour.containers(prefix)) == {f"{prefix}-web", f"{prefix}-other"}
    assert set(running(harbour, prefix)) == {f"{prefix}-web", f"{prefix}-other"}
    expect_a_whole_record(harbour, deployment, "deployer.deployment.succeeded")


@pytest.mark.parametrize("victim", ["the agent", "the deployer's worker", "RabbitMQ", "PostgreSQL"])
def test_a_bad_upgrade_changes_nothing_although_a_part_is_killed(harbour: Harbour, victim: str) -> None:
    prefix = fresh_prefix()
    version = harbour.version(harbour.image("web", "1", **QUICK), harbour.image("other", "1", **QUICK))
    deployment = harbour.deployment(version, prefix)
    harbour.start(deployment)
    assert harbour.await_end(deployment)["status"] == "successful"
    before = running(harbour, prefix)
    web = next(image for image in harbour.images(version) if image["repository"] == "test/web")
    harbour.configure(web["id"], tag="2", config=NEVER)
    harbour.start(deployment)
    attempt_steps = _steps_of(harbour, deployment, 2)
    eventually(lambda: "started" in attempt_steps(), seconds=60, what="the second attempt has started containers")
    KILLS[victim](harbour)
    assert harbour.await_end(deployment)["status"] == "failed"
    assert harbour.containers(prefix) == before
    expect_valid_chain(harbour)


def _steps_of(harbour: Harbour, deployment: str, number: int) -> Callable[[], set[str]]:
    def steps() -> set[str]:
        events: list[dict[str, Any]] = harbour.client.get(f"{harbour.path}/deployments/{deployment}/events", attempt=number, limit=200)[
            "items"
        ]
        return {str((event.get("data") or {}).get("step") or event.get("step")) for event in events}

    return steps


def expect_valid_chain(harbour: Harbour) -> None:
    eventually(lambda: Harbour._patiently(lambda: harbour.client.get(f"{harbour.path}/audit/verify")["valid"]), what="a valid chain")
