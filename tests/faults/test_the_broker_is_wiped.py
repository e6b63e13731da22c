"""RabbitMQ loses all its data in the middle of a deployment; the databases are the truth, and it still ends true."""

from __future__ import annotations

import shutil

from deploy.native.supervisor import SERVERS
from kernel import clock
from tests.faults.test_kills_during_a_deployment import SLOW, expect_a_whole_record, running
from tests.fixtures.stack import Harbour
from tests.fixtures.waiting import eventually


def test_a_deployment_ends_true_although_the_broker_lost_everything(harbour: Harbour) -> None:
    prefix = f"w{clock.new_id().hex[-10:]}"
    version = harbour.version(harbour.image("web", "1", **SLOW))
    deployment = harbour.deployment(version, prefix)
    harbour.start(deployment)
    harbour.await_step(deployment, "started")
    _wipe(harbour)
    end = harbour.await_end(deployment, seconds=120)
    assert end["status"] == "successful", harbour.attempt(deployment, 1)
    assert set(running(harbour, prefix)) == {f"{prefix}-web"}
    expect_a_whole_record(harbour, deployment, "deployer.deployment.succeeded")


def test_after_a_wipe_the_next_deployment_works_too(harbour: Harbour) -> None:
    _wipe(harbour)
    eventually(
        lambda: Harbour._patiently(lambda: harbour.client.get(f"{harbour.path}/nodes/{harbour.node.id}")["status"] == "connected"),
        seconds=60,
        what="the node is connected again",
    )
    prefix = f"w{clock.new_id().hex[-10:]}"
    deployment = harbour.deployment(harbour.version(harbour.image("other", "1")), prefix)
    harbour.start(deployment, wait_for_node_seconds=60)
    assert harbour.await_end(deployment, seconds=90)["status"] == "successful"


def _wipe(harbour: Harbour) -> None:
    stack = harbour.stack
    stack.stop("rabbitmq", SERVERS)
    shutil.rmtree(stack.layout.rabbitmq / "data")
    stack.start("rabbitmq", SERVERS)
    stack.await_ready()
