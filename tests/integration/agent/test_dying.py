"""kill -9 at any line: after the restart the attempt ends true, with exactly one set of containers."""

from __future__ import annotations

import base64
import json
import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from deploy.native.ports import free_port
from kernel.contracts.agent import DeploymentFinished
from kernel.contracts.config import Config
from kernel.contracts.deployer import ApplyDeployment, CancelDeployment
from kernel.contracts.envelope import encode
from kernel.contracts.spec import ContainerSpec
from kernel.signing import sign_body
from tests.integration.agent.ground import Ground, names, spec

ROOT = Path(__file__).resolve().parents[3]
# Every moment takes minutes; a run takes some of them, others each day. FAIRLEAD_EVERY_MOMENT=1 takes all.
_MOMENTS_A_RUN = 6


@dataclass
class Story:
    """A place with three containers, and an upgrade that replaces two, removes one and makes one."""

    ground: Ground
    order: ApplyDeployment
    before: dict[str, str]
    body: bytes

    def run(self, chosen: str, *bodies: bytes) -> int | None:
        """One life of the agent's process. The moments that it passed, or None if it died."""
        text = "".join(base64.b64encode(body).decode() + "\n" for body in bodies)
        done = subprocess.run(
            [sys.executable, "-m", "tests.integration.agent.mortal", str(self.ground.directory), chosen],
            input=text, text=True, capture_output=True, timeout=150, check=False, cwd=ROOT,
        )  # fmt: skip
        if done.returncode == -signal.SIGKILL:
            return None
        assert done.returncode == 0, done.stderr
        moments: int = json.loads(done.stdout.splitlines()[-1])["moments"]
        return moments

    def end(self) -> DeploymentFinished:
        """The end as the journal has it; it was reported exactly once."""
        self.ground.open()
        [finished] = self.ground.finished_all(self.order.attempt_id)
        return finished

    def check_upgraded(self) -> None:
        finished = self.end()
        assert finished.outcome == "succeeded", finished
        after = self.ground.running()
        assert names(after, self.ground.prefix) == {"web", "db", "same", "fresh"}
        assert set(after.values()) & set(self.before.values()) == {self.before[f"{self.ground.prefix}-same"]}
        assert self.ground.inspect("web")["Config"]["Image"] == self.ground.other_image
        assert self.ground.execute("fresh", "cat", "/run/secrets/KEY", "/etc/note", "/data/init") == "keynotedone\n"
        for name in after:
            assert self.ground.docker.api.inspect_container(name)["HostConfig"]["RestartPolicy"]["Name"] == "unless-stopped"
        assert sorted(self.ground.leftovers()) == sorted(
            [f"fairlead-{self.ground.prefix}", f"{self.ground.prefix}-data", f"{self.ground.prefix}-fresh.g2"]
        )

    def check_undone(self, outcome: str, code: str) -> None:
        finished = self.end()
        assert (finished.outcome, finished.code, finished.restored) == (outcome, code, True), finished
        assert self.ground.running() == self.before
        assert self.ground.leftovers() == [f"fairlead-{self.ground.prefix}"]


def begin(ground: Ground, *, health: Config | None = None) -> Story:
    """Deploy the first version in this process, write the order for the second, and leave the place to other processes."""
    ports = [{"container_port": 80, "host_port": free_port(), "host_ip": "127.0.0.1"}]
    first = [spec("web", ground.image, ports=ports), spec("db", ground.image), spec("same", ground.image), spec("gone", ground.image)]
    assert ground.apply(*first).outcome == "succeeded"
    before = ground.running()
    order = ground.order(*_second(ground, ports, health))
    body = sign_body(ground.deployer, encode(ground.envelope(order, generation=2)))
    ground.generation = 2
    ground.close()
    return Story(ground, order, before, body)


def _second(ground: Ground, ports: list[Config], health: Config | None) -> list[ContainerSpec]:
    volume = {"path": "/data", "type": "volume", "name": "data"}
    init = {"name": "make", "image": ground.image, "command": ["sh", "-c", "echo done > /data/init"], "volumes": [volume]}
    checked = {"healthcheck": health} if health else {}
    return [
        spec("web", ground.other_image, ports=ports),
        spec("db", ground.other_image),
        spec("same", ground.image),
        spec(
            "fresh",
            ground.image,
            sealed={"KEY": ground.sealed("KEY", "key", as_="file")},
            files=[{"path": "/etc/note", "content": "note"}],
            volumes=[volume],
            init_containers=[init],
            **checked,
        ),
    ]


FAILING: Config = {"test": ["false"], "interval_seconds": 0.2, "retries": 2}
PATIENT: Config = {"test": ["false"], "interval_seconds": 1, "retries": 100}


@pytest.mark.parametrize("chosen", [f"{when}:{call}" for call in ("prepare", "commit", "finish") for when in ("before", "after")])
def test_an_upgrade_succeeds_although_the_agent_is_killed(ground: Ground, chosen: str) -> None:
    story = begin(ground)
    assert story.run(chosen, story.body) is None
    story.run("never")
    story.check_upgraded()


@pytest.mark.parametrize(
    "chosen", ["after:accept", *(f"{when}:{call}" for call in ("begin_undo", "finish") for when in ("before", "after"))]
)
def test_a_failure_is_undone_although_the_agent_is_killed(ground: Ground, chosen: str) -> None:
    story = begin(ground, health=FAILING)
    assert story.run(chosen, story.body) is None
    story.run("never")
    story.check_undone("failed", "unhealthy")


def test_a_command_that_was_not_yet_in_the_journal_does_its_work_when_it_comes_again(ground: Ground) -> None:
    story = begin(ground)
    assert story.run("before:accept", story.body) is None
    story.run("never", story.body)
    story.check_upgraded()


def test_a_cancellation_that_meets_a_restarted_agent_undoes(ground: Ground) -> None:
    story = begin(ground, health=PATIENT)
    cancel = CancelDeployment(deployment_id=story.order.deployment_id, attempt_id=story.order.attempt_id, prefix=ground.prefix)
    body = sign_body(ground.deployer, encode(ground.envelope(cancel, generation=3)))
    assert story.run("after:start", story.body) is None
    story.run("never", body)
    story.check_undone("cancelled", "cancelled")


def test_an_agent_that_is_killed_again_and_again_still_ends_true(ground: Ground) -> None:
    story = begin(ground)
    bodies: tuple[bytes, ...] = (story.body,)
    for moment in (9, 5, 7, 11):
        if story.run(str(moment), *bodies) is not None:
            break
        bodies = ()
    else:
        story.run("never")
    story.check_upgraded()


def test_an_undoing_that_is_killed_again_and_again_still_ends_true(ground: Ground) -> None:
    story = begin(ground, health=FAILING)
    assert story.run("after:begin_undo", story.body) is None
    for moment in (1, 2, 3):
        if story.run(str(moment)) is not None:
            break
    else:
        story.run("never")
    story.check_undone("failed", "unhealthy")


def _moments(total: int) -> list[int]:
    if os.environ.get("FAIRLEAD_EVERY_MOMENT"):
        return list(range(1, total))
    return list(range(3, total, max(1, total // _MOMENTS_A_RUN)))


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("kind", ["upgrade", "failure"])
def test_no_call_of_docker_is_one_too_many_to_die_at(ground: Ground, kind: str) -> None:
    health = FAILING if kind == "failure" else None
    total = 60
    moment_at = 0
    while moment_at < len(moments := _moments(total)):
        story = begin(ground, health=health)
        passed = story.run(str(moments[moment_at]), story.body)
        if passed is not None:
            total = passed
        story.run("never")
        if kind == "failure":
            story.check_undone("failed", "unhealthy")
        else:
            story.check_upgraded()
        ground.sweep()
        ground.generation = 0
        ground.prefix = f"{ground.prefix[:8]}{moment_at:03d}"
        for leftover in ground.directory.glob("secrets/*"):
            for path in sorted(leftover.rglob("*"), reverse=True):
                path.unlink() if path.is_file() else path.rmdir()
            leftover.rmdir()
        moment_at += 1
