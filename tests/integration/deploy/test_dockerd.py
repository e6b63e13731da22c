"""An engine of our own beside the machine's: containers outlive its death, go with it when it is stopped, and come back with it."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import docker
import psutil
import pytest

from deploy.native import dockerd, images, supervisor
from deploy.native.dockerd import Engine
from deploy.native.layout import Layout
from deploy.native.supervisor import SERVERS, Program, Supervisor
from tests.fixtures.waiting import eventually


class Supervised:
    """An engine under supervisord, as the stack runs it."""

    def __init__(self, layout: Layout, engine: Engine) -> None:
        self.layout = layout
        self.engine = engine
        self.control = Supervisor(layout)

    def start(self) -> None:
        command = dockerd.prepare(self.engine)
        # An engine without a bridge deletes docker0, which belongs to the machine's own engine: this one gets a network of its own.
        command = replace(command, arguments=("unshare", "--net", *command.arguments))
        program = Program(command, SERVERS, starts_itself=True)
        supervisor.save(self.layout, [program])
        self.control.start()
        eventually(lambda: dockerd.answers(self.engine.socket))

    def kill(self) -> None:
        state = self.control.state("docker")
        assert state is not None
        os.kill(state.pid, signal.SIGKILL)
        eventually(lambda: self._runs_anew(state.pid) and dockerd.answers(self.engine.socket))

    def _runs_anew(self, old: int) -> bool:
        state = self.control.state("docker")
        return state is not None and state.pid not in (0, old)

    def stop(self) -> None:
        dockerd.let_go_of_containers(self.engine)
        self.control.stop_group(SERVERS)
        self.control.shut_down()


@pytest.fixture
def engine(open_directory: Path) -> Iterator[Engine]:
    flags = ("--bridge=none", "--iptables=false")
    yield Engine(open_directory / "docker", open_directory / "exec", open_directory / "docker.sock", extra=flags)
    dockerd.unmount_below(open_directory)


@pytest.fixture
def server(open_directory: Path, engine: Engine) -> Iterator[Supervised]:
    layout = Layout(Path.cwd(), open_directory / "run")
    layout.make()
    server = Supervised(layout, engine)
    server.start()
    yield server
    server.stop()


@pytest.fixture
def client(server: Supervised, engine: Engine) -> Iterator[docker.DockerClient]:
    connected = docker.DockerClient(base_url=f"unix://{engine.socket}")
    yield connected
    for container in connected.containers.list(all=True):
        container.remove(force=True)
    connected.close()


SLEEP = ("sh", "-c", "trap 'exit 0' TERM; sleep 600 & wait")


def run_sleeper(client: docker.DockerClient) -> int:
    """Starts a container that stays, and returns its process id."""
    images.build("sleeper", "1", files={}, healthcheck=None, cmd=SLEEP, client=client)
    started = client.containers.run("sleeper:1", detach=True, name="sleeper", network_mode="none", restart_policy={"Name": "always"})
    return int(client.api.inspect_container(str(started.id))["State"]["Pid"])


def is_alive(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def processes_of(engine: Engine) -> list[str]:
    """The command lines of everything that works for this engine."""
    commands = (process.info["cmdline"] or [] for process in psutil.process_iter(["cmdline"]))
    return [" ".join(command) for command in commands if any(str(engine.exec_root) in word for word in command)]


def test_containers_outlive_a_killed_engine(server: Supervised, client: docker.DockerClient) -> None:
    pid = run_sleeper(client)
    server.kill()
    assert is_alive(pid)
    assert client.api.inspect_container("sleeper")["State"]["Pid"] == pid


def test_a_stopped_engine_leaves_no_process_and_its_containers_come_back_with_it(
    server: Supervised, client: docker.DockerClient, engine: Engine
) -> None:
    pid = run_sleeper(client)
    server.stop()
    assert not is_alive(pid)
    eventually(lambda: processes_of(engine) == [], what="the end of its helpers, which end by themselves")
    server.start()
    eventually(lambda: client.api.inspect_container("sleeper")["State"]["Running"])


def test_containers_of_a_node_are_removed_and_others_stay(server: Supervised, client: docker.DockerClient, engine: Engine) -> None:
    images.build("sleeper", "1", files={}, healthcheck=None, cmd=SLEEP, client=client)
    for name, node in (("mine", "node-1"), ("other", "node-2")):
        client.containers.run("sleeper:1", detach=True, name=name, network_mode="none", labels={"dev.fairlead.node": node})
    client.volumes.create("mine-data", labels={"dev.fairlead.node": "node-1"})
    assert dockerd.remove_of_node("node-1", at=engine.socket) == ["mine", "mine-data"]
    assert [container.name for container in client.containers.list(all=True)] == ["other"]


def test_nothing_answers_where_no_engine_runs(open_directory: Path) -> None:
    assert not dockerd.answers(open_directory / "none.sock")
