"""What carrying out needs: the parts that all works share, and what one attempt knows."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import ParamSpec, TypeVar

from agent.containers import Origin
from agent.crew import Crew
from agent.docker import Engine, EngineAway
from agent.identity import Keys, Node
from agent.interrupt import Interrupt
from agent.journal import Journal, Work
from agent.messages.reports import Cause, Reports, shorten
from agent.outcomes import Cancelled
from agent.plan import Plan
from agent.policy import Policy
from agent.secrets import Opened, redact
from kernel import clock
from kernel.contracts.agent import DeploymentProgressed
from kernel.contracts.deployer import ApplyDeployment
from kernel.contracts.envelope import Envelope
from kernel.contracts.spec import ContainerSpec
from kernel.errors import Conflict
from kernel.messaging.connection import Backoff

P = ParamSpec("P")
T = TypeVar("T")


@dataclass(frozen=True)
class Parts:
    """Shared by all works of the process."""

    node: Node
    keys: Keys
    engine: Engine
    journal: Journal
    reports: Reports
    crew: Crew
    policy: Callable[[], Policy]
    directory: Path

    @property
    def secrets_path(self) -> Path:
        return self.directory / "secrets"


@dataclass(frozen=True, kw_only=True)
class Memory:
    """What the journal remembers before anything is touched."""

    plan: Plan
    networks: tuple[str, ...] = ()  # those that were not there
    volumes: tuple[str, ...] = ()  # those that were not there

    def to_text(self) -> str:
        return json.dumps({"plan": self.plan.to_json(), "networks": self.networks, "volumes": self.volumes}, separators=(",", ":"))

    @classmethod
    def from_text(cls, text: str) -> Memory:
        raw = json.loads(text)
        return cls(plan=Plan.from_json(raw["plan"]), networks=tuple(raw["networks"]), volumes=tuple(raw["volumes"]))


@dataclass(kw_only=True)
class Attempt:
    """One attempt while it is carried out. The containers' ids and names are what they are on the engine now."""

    parts: Parts
    work: Work
    command: Envelope
    order: ApplyDeployment
    interrupt: Interrupt
    is_resumed: bool = False
    specs: tuple[ContainerSpec, ...] = ()
    opened: dict[str, Opened] = field(default_factory=dict)
    host_paths: Mapping[str, str] = field(default_factory=dict)
    memory: Memory | None = None
    ids: dict[str, str] = field(default_factory=dict)  # container -> id of the new one
    names: dict[str, str] = field(default_factory=dict)  # id -> name, new and old
    init_ids: dict[str, str] = field(default_factory=dict)  # container-init -> id
    started: set[str] = field(default_factory=set)  # containers that were found started already
    checked: dict[str, bool] = field(default_factory=dict)  # container -> whether anything tells its health
    seconds: dict[str, float] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def origin(self) -> Origin:
        node = self.parts.node
        return Origin(
            node_id=node.node_id,
            team_id=node.team_id,
            prefix=self.order.prefix,
            deployment_id=self.order.deployment_id,
            attempt_id=self.order.attempt_id,
            generation=self.work.generation,
        )

    @property
    def plan(self) -> Plan:
        assert self.memory is not None
        return self.memory.plan

    @property
    def by_name(self) -> dict[str, ContainerSpec]:
        return {spec.name: spec for spec in self.specs}

    def tell(self, step: str, container: str | None = None, message: str = "", progress: float | None = None) -> None:
        """Report a step; it may get lost with the process."""
        data = DeploymentProgressed(
            deployment_id=self.order.deployment_id,
            attempt_id=self.order.attempt_id,
            prefix=self.order.prefix,
            step=step,
            container=container,
            message=shorten(self.hide(message)),
            progress=progress,
        )
        self.parts.reports.note(self.parts.reports.make(data, subject=self.order.prefix, cause=Cause.of(self.command)))

    def hide(self, text: str) -> str:
        """`text` without the values of the attempt's secrets."""
        return redact(text, list(self.opened.values()))

    def patiently(self, action: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """`action`, again and again while the engine is away. Raises `engine-unavailable` when the time is up."""
        return patiently(self.interrupt, action, *args, **kwargs)

    def clocked(self, name: str, began: float) -> None:
        """Note how long a part of the work took."""
        self.seconds[name] = round(self.seconds.get(name, 0.0) + clock.monotonic() - began, 3)


def patiently(interrupt: Interrupt, action: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """`action`, again and again while the engine is away and the work may go on."""
    backoff = Backoff(0.2, 3.0)
    interrupt.check()
    while True:
        try:
            return action(*args, **kwargs)
        except EngineAway as error:
            away = Conflict(error.code, f"{error.detail}, and did not come back in time.")
            wait = backoff.next_seconds()
            if wait >= interrupt.remaining_seconds():
                raise away from error
        try:
            interrupt.wait(wait)
        except Cancelled:
            raise
        except Conflict as late:  # its time was over a moment before it could be tried again
            raise away from late
