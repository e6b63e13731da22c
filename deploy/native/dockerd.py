"""The Docker Engine: one that runs already is used and left alone; otherwise one of our own runs under supervision."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deploy.native.errors import StackError
from deploy.native.processes import Command, find_program, make_directory, run, wait_until, write_file

SOCKET = Path("/var/run/docker.sock")


class _UnixConnection(http.client.HTTPConnection):
    """HTTP over a unix socket; the docker library would cost a third of a second of each `make status`."""

    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=10)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


@dataclass(frozen=True)
class Engine:
    """An engine of our own: its data, its sockets and namespaces, and where clients find it."""

    directory: Path
    exec_root: Path
    socket: Path = SOCKET
    extra: Sequence[str] = ()

    @property
    def pid_file(self) -> Path:
        """Written by dockerd."""
        return self.directory / "dockerd.pid"

    @property
    def config(self) -> Path:
        """Read at start and at SIGHUP."""
        return self.directory / "daemon.json"


def get(path: str, *, at: Path = SOCKET) -> Any:
    """An answer of the engine, decoded. Any: Docker's JSON. Raises OSError when no engine answers."""
    connection = _UnixConnection(at)
    try:
        connection.request("GET", path)
        text = connection.getresponse().read()
    except http.client.HTTPException as error:
        raise ConnectionError(str(error)) from error
    finally:
        connection.close()
    return json.loads(text) if text[:1] in (b"{", b"[") else text.decode()


def answers(at: Path = SOCKET) -> bool:
    """Whether an engine runs there."""
    try:
        return bool(get("/_ping", at=at) == "OK")
    except OSError:
        return False


def prepare(engine: Engine) -> Command:
    """Writes the engine's files and returns the command that runs it. Raises StackError when we may not."""
    if os.geteuid() != 0:
        raise StackError("docker", "no Docker Engine runs, and only root may start one; use sudo or start yours")
    make_directory(engine.directory, mode=0o711)
    make_directory(engine.exec_root, mode=0o711)
    _write_config(engine, live_restore=True)
    return Command(
        part="docker",
        arguments=(
            find_program("dockerd"), "--config-file", str(engine.config), "--data-root", str(engine.directory / "data"),
            "--exec-root", str(engine.exec_root), "--pidfile", str(engine.pid_file), "--host", f"unix://{engine.socket}",
            *engine.extra,
        ),
        directory=engine.directory,
        environment={"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME": str(engine.directory)},
        stop_seconds=45,
    )  # fmt: skip


def _write_config(engine: Engine, *, live_restore: bool) -> None:
    config = {
        # Containers outlive a killed or upgraded engine; only `let_go_of_containers` ends that, before we stop it.
        "live-restore": live_restore,
        "log-driver": "json-file",
        "log-opts": {"max-size": "10m", "max-file": "2"},
    }
    write_file(engine.config, json.dumps(config, indent=1) + "\n")


def let_go_of_containers(engine: Engine) -> None:
    """Makes the running engine take its containers down with it, so that they come back with it as well."""
    if not answers(engine.socket) or not engine.pid_file.exists():
        return
    _write_config(engine, live_restore=False)
    os.kill(int(engine.pid_file.read_text()), signal.SIGHUP)
    wait_until(
        lambda: get("/info", at=engine.socket)["LiveRestoreEnabled"] is False,
        seconds=60,
        part="docker",
        problem="does not take its changed settings",
    )


def unmount_below(directory: Path) -> None:
    """Lets go of what a killed engine left mounted, so that its data can be removed."""
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    points = [line.split()[4].encode().decode("unicode_escape") for line in lines]
    for point in sorted(points, key=len, reverse=True):
        if Path(point).is_relative_to(directory):
            run(["umount", "--lazy", point], part="docker")


def remove_of_node(node_id: str, *, at: Path = SOCKET) -> list[str]:
    """Removes the containers, networks and volumes of one node from an engine that is not ours; returns their names."""
    import docker

    from kernel.contracts.spec import LABEL_NODE

    client = docker.DockerClient(base_url=f"unix://{at}")
    wanted: dict[str, str | list[str] | bool] = {"label": f"{LABEL_NODE}={node_id}"}
    removed: list[str] = []
    for container in client.containers.list(all=True, filters=wanted):
        container.remove(force=True, v=True)
        removed.append(str(container.name))
    for network in client.networks.list(filters=wanted):
        network.remove()
        removed.append(str(network.name))
    for volume in client.volumes.list(filters=wanted):
        volume.remove(force=True)
        removed.append(str(volume.name))
    client.close()
    return removed
