"""A node without a broker: signed commands go in, reports come out of the journal, a real Docker Engine does the work."""

from __future__ import annotations

import io
import json
import tarfile
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID

import docker
from docker.errors import APIError
from nacl.signing import SigningKey

from agent.docker import Engine
from agent.identity import Node, load_or_make_keys, save_node
from agent.main import Core
from agent.settings import Settings
from kernel import clock
from kernel.contracts.agent import DeploymentFinished
from kernel.contracts.config import Config, parse_config
from kernel.contracts.deployer import ApplyDeployment, CancelDeployment, RemovePlace
from kernel.contracts.envelope import Envelope, Message, decode, encode, type_of
from kernel.contracts.spec import LABEL_NODE, LABEL_PREFIX, ContainerSpec, SealedSecret, StackSpec
from kernel.messaging.consumer import Delivery
from kernel.signing import seal, sign_body, to_text
from tests.fixtures.waiting import eventually

_PROGRAMS = (
    "sh", "sleep", "httpd", "cat", "echo", "wget", "true", "false", "ls", "nc", "touch", "id", "test", "kill", "mkdir", "env", "head",
)  # fmt: skip


def rootfs(mark: str) -> bytes:
    """A file system of one static program, as a tar."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name in ("bin", "etc", "run", "tmp", "var", "www", "data"):
            entry = tarfile.TarInfo(name)
            entry.type, entry.mode = tarfile.DIRTYPE, 0o755
            tar.addfile(entry)
        tar.add("/bin/busybox", "bin/busybox")
        for name in _PROGRAMS:
            entry = tarfile.TarInfo(f"bin/{name}")
            entry.type, entry.linkname = tarfile.SYMTYPE, "busybox"
            tar.addfile(entry)
        page = mark.encode()
        entry = tarfile.TarInfo("www/index.html")
        entry.size = len(page)
        tar.addfile(entry, io.BytesIO(page))
    return buffer.getvalue()


@contextmanager
def image(name: str, mark: str = "one") -> Iterator[str]:
    """An image on the engine, removed afterwards."""
    client = docker.from_env()
    repository, _, tag = name.rpartition(":")
    client.api.import_image_from_data(rootfs(mark), repository=repository, tag=tag)
    try:
        yield name
    finally:
        client.images.remove(name, force=True)
        client.close()


def new_prefix() -> str:
    return f"t{clock.new_id().hex[-12:]}"


def spec(name: str, image_name: str, *, sealed: dict[str, SealedSecret] | None = None, **config: Any) -> ContainerSpec:
    """A container that sleeps, unless told otherwise. Any: configuration."""
    base: Config = {"command": ["sleep", "100000"], "init": True, "stop_grace_seconds": 1, "expected_state": {"stable_seconds": 0}}
    parsed = parse_config(base | config)
    return ContainerSpec(UUID(int=7), name, image_name, parsed, secrets=sealed or {})


def prepare_directory(directory: Path, deployer: SigningKey, *, node_id: UUID | None = None, team_id: UUID | None = None) -> Node:
    """What an enrolment leaves behind."""
    directory.mkdir(parents=True, exist_ok=True)
    load_or_make_keys(directory)
    node = Node(
        node_id=node_id or clock.new_id(),
        team_id=team_id or clock.new_id(),
        broker_url="amqp://127.0.0.1:1/none",
        broker_user="nobody",
        broker_password="",
        verify_key=to_text(deployer.verify_key),
        base_url="http://127.0.0.1:1",
    )
    save_node(directory, node)
    return node


@dataclass
class Ground:
    """One node. `core` is its agent without a broker; `restart` is the death of its process as far as a thread can die."""

    directory: Path
    deployer: SigningKey
    node: Node
    image: str
    other_image: str
    docker: docker.DockerClient
    prefix: str = field(default_factory=new_prefix)
    generation: int = 0
    core: Core = field(init=False)
    _threads: list[threading.Thread] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.open()

    def open(self, engine: Engine | None = None) -> None:
        """Start the agent's core."""
        self.core = Core(Settings(directory=self.directory), engine=engine)
        self._threads = [threading.Thread(target=self.core.workers.run, daemon=True) for _ in range(2)]
        for thread in self._threads:
            thread.start()

    def close(self) -> None:
        self.core.workers.stop()
        for thread in self._threads:
            thread.join(30)
        self.core.close()

    # -- commands ---------------------------------------------------------------------------------------------

    def envelope(self, data: Message, *, generation: int | None = None, **changes: Any) -> Envelope:
        """A command. Any: the envelope's fields."""
        values: dict[str, Any] = {
            "type": type_of(type(data)),
            "source": "deployer",
            "data": data,
            "node": self.node.node_id,
            "team": self.node.team_id,
            "epoch": 0,
            "generation": generation,
            "ttl_seconds": 900,
        }
        return Envelope(**(values | changes))

    def send(self, command: Envelope, *, key: SigningKey | None = None) -> None:
        """Hand a command to the agent as the message loop does."""
        self.deliver(sign_body(key or self.deployer, encode(command)))

    def deliver(self, body: bytes) -> None:
        delivery = Delivery(body=body, exchange="commands", key="", user_id=None, message_id=str(clock.new_id()), tag=1)
        self.core.commands.take(self.core.commands.read(delivery), body)

    def order(self, *specs: ContainerSpec, **options: Any) -> ApplyDeployment:
        """An order to apply; `options` are its other fields."""
        ids: dict[str, Any] = {"deployment_id": clock.new_id(), "attempt_id": clock.new_id(), "attempt": 1, "prefix": self.prefix}
        return ApplyDeployment(stack=StackSpec("project", "1", specs), **(ids | options))

    def start(self, *specs: ContainerSpec, **options: Any) -> UUID:
        """Order it as the next generation; the attempt's id."""
        self.generation += 1
        order = self.order(*specs, **options)
        self.send(self.envelope(order, generation=self.generation))
        return order.attempt_id

    def apply(self, *specs: ContainerSpec, **options: Any) -> DeploymentFinished:
        """Order it and wait for its end."""
        return self.finished(self.start(*specs, **options))

    def cancel(self, attempt_id: UUID, *, reason: str = "cancelled") -> None:
        self.generation += 1
        order = CancelDeployment(deployment_id=clock.new_id(), attempt_id=attempt_id, prefix=self.prefix, reason=reason)
        self.send(self.envelope(order, generation=self.generation))

    def remove_place(self, *, volumes: bool = False) -> None:
        self.generation += 1
        self.send(self.envelope(RemovePlace(prefix=self.prefix, remove_volumes=volumes), generation=self.generation))

    def sealed(self, name: str, value: str, *, as_: str = "env", team: str | None = None) -> SealedSecret:
        keys = load_or_make_keys(self.directory)
        box = seal(keys.unseal.public_key, team=team or str(self.node.team_id), node=str(self.node.node_id), name=name, value=value)
        return SealedSecret(box, as_)

    # -- what came out ------------------------------------------------------------------------------------------

    def reports(self, name: str = "") -> list[Envelope]:
        """Every report so far, in order."""
        self.core.reports.queue()
        found = [decode(report.body) for report in self.core.journal.pending(100_000)]
        return [one for one in found if one.name.startswith(name)]

    def finished_all(self, attempt_id: UUID) -> list[DeploymentFinished]:
        found = [one.data for one in self.reports("agent.deployment.finished")]
        return [one for one in found if isinstance(one, DeploymentFinished) and one.attempt_id == attempt_id]

    def finished(self, attempt_id: UUID, seconds: float = 60) -> DeploymentFinished:
        return eventually(lambda: self.finished_all(attempt_id), seconds=seconds, what=f"the end of {attempt_id}")[-1]

    def steps(self, attempt_id: UUID) -> list[str]:
        found = [one.data for one in self.reports("agent.deployment.progressed")]
        return [str(getattr(one, "step", "")) for one in found if getattr(one, "attempt_id", None) == attempt_id]

    def refusals(self) -> list[str]:
        return [str(getattr(one.data, "code", "")) for one in self.reports("agent.command.refused")]

    # -- what Docker says ------------------------------------------------------------------------------------------

    def containers(self, prefix: str | None = None) -> dict[str, tuple[str, str]]:
        """Name -> (id, state) of everything at the place."""
        labels = [f"{LABEL_NODE}={self.node.node_id}", f"{LABEL_PREFIX}={prefix or self.prefix}"]
        found = self.docker.api.containers(all=True, filters={"label": labels})
        return {one["Names"][0].lstrip("/"): (one["Id"], one["State"]) for one in found}

    def running(self) -> dict[str, str]:
        """Name -> id of what runs; everything that is there must run."""
        found = self.containers()
        assert all(state == "running" for _, state in found.values()), found
        return {name: container_id for name, (container_id, _) in found.items()}

    def inspect(self, name: str) -> dict[str, Any]:
        """The engine's JSON of the container `name` in the stack."""
        found: dict[str, Any] = self.docker.api.inspect_container(f"{self.prefix}-{name}")
        return found

    def execute(self, name: str, *command: str) -> str:
        made = self.docker.api.exec_create(f"{self.prefix}-{name}", list(command))
        return bytes(self.docker.api.exec_start(made["Id"])).decode()

    def sweep(self) -> None:
        """Remove everything of this node; what an agent that was killed has begun may come a moment later."""
        eventually(self._is_swept, what="nothing of the node is left")

    def _is_swept(self) -> bool:
        label = f"{LABEL_NODE}={self.node.node_id}"
        try:
            for one in self.docker.api.containers(all=True, filters={"label": label}):
                self.docker.api.remove_container(one["Id"], force=True, v=True)
            for network in self.docker.api.networks(filters={"label": label}):
                self.docker.api.remove_network(network["Id"])
            for volume in self.docker.api.volumes(filters={"label": label})["Volumes"] or []:
                self.docker.api.remove_volume(volume["Name"], force=True)
        except APIError as error:
            raise AssertionError(str(error)) from error
        return True

    def leftovers(self) -> list[str]:
        """Networks and volumes of this node, and secrets on its disk."""
        label = f"{LABEL_NODE}={self.node.node_id}"
        found = [str(one["Name"]) for one in self.docker.api.networks(filters={"label": label})]
        found += [str(one["Name"]) for one in self.docker.api.volumes(filters={"label": label})["Volumes"] or []]
        secrets = self.directory / "secrets"
        return found + ([path.name for path in secrets.iterdir()] if secrets.exists() else [])


def names(found: Iterable[str], prefix: str) -> set[str]:
    """Container names without their prefix."""
    return {name.removeprefix(f"{prefix}-") for name in found}


def as_json(report: Envelope) -> str:
    return json.dumps(json.loads(encode(report)))
