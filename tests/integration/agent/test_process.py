"""The agent as a process of its own, with a real broker and a real Docker Engine."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import UUID

import psutil
import pytest

from agent.main import Agent, Core
from agent.settings import Settings
from kernel import clock
from kernel.contracts.agent import ContainersObserved, DeploymentFinished, DeploymentProgressed, Heartbeat, Hello
from kernel.contracts.deployer import WelcomeNode
from tests.fixtures.servers import TestBroker
from tests.fixtures.waiting import eventually
from tests.integration.agent.control import Control, make_control
from tests.integration.agent.ground import Ground, spec

ROOT = Path(__file__).resolve().parents[3]
_MOST_MEGABYTES = 60


@contextmanager
def process(ground: Ground) -> Iterator[subprocess.Popen[bytes]]:
    """`python -m agent.main` on the ground's directory."""
    environment = os.environ | {"FAIRLEAD_AGENT_DIR": str(ground.directory), "MALLOC_ARENA_MAX": "2"}
    with (ground.directory / "log").open("ab") as log:
        running = subprocess.Popen([sys.executable, "-m", "agent.main"], cwd=ROOT, env=environment, stdout=log, stderr=log)
    try:
        yield running
    finally:
        running.kill()
        running.wait()


@pytest.fixture
def control(broker: TestBroker, ground: Ground) -> Iterator[Control]:
    ground.close()
    made = make_control(broker, ground)
    yield made
    made.close()
    ground.open()  # for the fixture below, which closes it


def test_an_agent_says_hello_obeys_and_reports(ground: Ground, control: Control) -> None:
    with process(ground) as running:
        hello = control.await_report(Hello)
        assert isinstance(hello.data, Hello)
        assert hello.data.facts["engine_version"]
        control.welcome(hello)
        eventually(lambda: _state(ground).get("welcomed"), what="the welcome")

        order = ground.order(spec("web", ground.image))
        control.send(order, generation=1)
        finished = control.await_report(DeploymentFinished)
        assert isinstance(finished.data, DeploymentFinished)
        assert (finished.data.outcome, finished.epoch) == ("succeeded", 1)
        assert control.reports(DeploymentProgressed)
        control.await_report(Heartbeat, 2)

        eventually(lambda: _observed(control) == [("web", "running")], what="the container is observed")
        ground.docker.api.remove_container(f"{ground.prefix}-web", force=True)
        eventually(lambda: _observed(control) == [], what="its end is observed")

        status = subprocess.run(
            [sys.executable, "-m", "agent.main", "status"],
            cwd=ROOT, env=os.environ | {"FAIRLEAD_AGENT_DIR": str(ground.directory)}, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert (status.returncode, status.stdout.startswith("connected, engine ok")) == (0, True), status
        assert _megabytes(running.pid) < _MOST_MEGABYTES
        running.send_signal(signal.SIGTERM)
        assert running.wait(60) == 0


def _observed(control: Control) -> list[tuple[str, str]]:
    reports = control.reports(ContainersObserved)
    if not reports:
        return [("nothing", "yet")]
    newest = max(reports, key=lambda one: one.sequence or 0)
    assert isinstance(newest.data, ContainersObserved)
    return [(one.name, one.state) for one in newest.data.containers]


def _state(ground: Ground) -> dict[str, Any]:
    """What the agent last wrote of itself. Any: text, numbers, truth."""
    path = ground.directory / "state.json"
    return dict(json.loads(path.read_text())) if path.exists() else {}


def _megabytes(pid: int) -> float:
    return float(psutil.Process(pid).memory_full_info().pss) / 1024 / 1024


def test_a_killed_agent_says_where_each_place_stands(ground: Ground, control: Control) -> None:
    with process(ground):
        first = control.await_report(Hello)
        control.welcome(first)
        order = ground.order(spec("web", ground.image))
        control.send(order, generation=1)
        control.await_report(DeploymentFinished)
    with process(ground):
        second = control.await_report(Hello, 2)
        assert isinstance(first.data, Hello)
        assert isinstance(second.data, Hello)
        assert first.data.boot_id != second.data.boot_id
        [place] = second.data.places
        assert (place.attempt_id, place.outcome) == (order.attempt_id, "succeeded")
        assert (second.sequence or 0) > (first.sequence or 0)


def test_an_agent_says_hello_again_when_another_process_counts_as_its_node(ground: Ground, control: Control) -> None:
    with process(ground):
        first = control.await_report(Hello)
        control.welcome(first)
        eventually(lambda: _state(ground).get("epoch") == 1, what="the welcome")
        control.epoch += 1
        control.send(WelcomeNode(boot_id=clock.new_id()))
        again = control.await_report(Hello, 2)
        assert isinstance(first.data, Hello)
        assert isinstance(again.data, Hello)
        assert again.data.boot_id == first.data.boot_id


def test_a_wiped_broker_gets_the_last_hours_outcomes_again(ground: Ground, control: Control) -> None:
    with process(ground):
        control.welcome(control.await_report(Hello))
        control.send(ground.order(spec("web", ground.image)), generation=1)
        first = control.await_report(DeploymentFinished)
        control.wipe()
        eventually(lambda: _state(ground).get("refused"), what="the agent is refused")
        hellos = len(control.reports(Hello))
        control.provision()
        again = control.await_report(DeploymentFinished, 2, seconds=60)
        assert again.id == first.id
        control.await_report(Hello, hellos + 1, seconds=60)
        # The connection for commands is back too.
        order = ground.order(spec("web", ground.other_image))
        control.send(order, generation=2)
        eventually(lambda: order.attempt_id in _finished(control), what="the end of the second")


def _finished(control: Control) -> set[UUID]:
    """The attempts whose end was reported."""
    return {one.data.attempt_id for one in control.reports(DeploymentFinished) if isinstance(one.data, DeploymentFinished)}


def test_a_revoked_agent_waits_and_does_not_end(ground: Ground, control: Control) -> None:
    with process(ground) as running:
        control.await_report(Hello)
        control.cut()
        eventually(lambda: _state(ground).get("refused"), what="the agent is refused")
        assert running.poll() is None
        assert psutil.Process(running.pid).cpu_percent(1.0) < 50
        control.provision()


def test_a_second_agent_on_the_same_directory_gives_up(ground: Ground, control: Control) -> None:
    with process(ground) as first:
        control.await_report(Hello)
        with process(ground) as second:
            assert second.wait(60) == 2
        assert first.poll() is None


def test_a_dead_thread_ends_the_process_with_a_fault(ground: Ground) -> None:
    ground.close()
    core = Core(Settings(directory=ground.directory))
    core.observer.run = lambda: None  # type: ignore[method-assign]  # a thread that ends at once
    assert Agent(core).run() == 1
    core.close()
    ground.open()


def test_reports_wait_in_the_journal_for_a_broker(ground: Ground, broker: TestBroker) -> None:
    done = ground.apply(spec("web", ground.image))
    ground.close()
    control = make_control(broker, ground)
    with process(ground):
        finished = control.await_report(DeploymentFinished)
        assert finished.data == done
        control.await_report(Hello)
        order = [one.envelope.name for one in control.received if one.envelope.name != "agent.heartbeat"]
        assert order.index("agent.deployment.finished") < order.index("agent.hello")
    control.close()
    ground.open()


def test_the_state_file_is_readable_by_people_and_machines(ground: Ground, control: Control) -> None:
    with process(ground):
        control.await_report(Hello)
        state = eventually(lambda: _state(ground), what="the state file")
        assert state["node_id"] == str(ground.node.node_id)
