"""Reports that an agent sends, all signed; node, epoch and sequence stand in the envelope."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from marshmallow import EXCLUDE, Schema, fields, post_load, validate

from kernel.contracts.envelope import Message, MessageSchema, register

OUTCOMES = ("succeeded", "failed", "cancelled", "refused")
REMOVAL_OUTCOMES = ("succeeded", "failed")
# How things are now, every few seconds: told twice they change nothing, and nobody wants to read them later.
PULSES = frozenset({"agent.heartbeat", "agent.containers.observed"})


@dataclass(frozen=True, kw_only=True)
class PlaceState:
    """Where a place stands on the node: its highest generation and its last attempt; no outcome while it is being worked on.

    `restored` is none without an outcome, and from an agent that is too old to say it.
    """

    prefix: str
    generation: int
    attempt_id: UUID | None = None
    outcome: str | None = None
    code: str | None = None
    detail: str | None = None
    restored: bool | None = None


@dataclass(frozen=True, kw_only=True)
class ObservedContainer:
    """One container of ours as Docker shows it. `health` is none when the image has no health check."""

    prefix: str
    name: str
    container_id: str
    image: str
    state: str
    spec: str | None = None
    digest: str | None = None
    deployment_id: UUID | None = None
    attempt_id: UUID | None = None
    generation: int | None = None
    health: str = "none"
    exit_code: int | None = None
    restart_count: int = 0
    started_at: datetime | None = None
    ports: list[dict[str, Any]] = field(default_factory=list)  # {container_port, protocol, host_ip, host_port}
    detail: str | None = None


@dataclass(frozen=True, kw_only=True)
class Hello(Message):
    """An agent is there: who it is, what it can, and where each place stands."""

    boot_id: UUID
    version: str
    facts: dict[str, Any] = field(default_factory=dict)  # host name, os, cpus, memory_bytes, engine versions
    places: list[PlaceState] = field(default_factory=list)
    wall_clock: datetime | None = None


@dataclass(frozen=True, kw_only=True)
class Heartbeat(Message):
    """An agent still runs; `engine` says whether its Docker Engine answers."""

    boot_id: UUID
    engine: str = "ok"
    working_on: list[UUID] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True)
class ContainersObserved(Message):
    """Every container of ours on the node: the whole state, so that order does not matter (sequence tells the newest)."""

    containers: list[ObservedContainer]
    engine: str = "ok"


@dataclass(frozen=True, kw_only=True)
class DeploymentProgressed(Message):
    """One step of an attempt; `step` is pulling, pulled, created, started, healthy, switched, removed, kept, undoing, undone, log…"""

    deployment_id: UUID
    attempt_id: UUID
    prefix: str
    step: str
    container: str | None = None
    message: str = ""
    progress: float | None = None


@dataclass(frozen=True, kw_only=True)
class ContainerOutcome:
    """What became of one container: created, replaced, kept or removed; `health_checked` is false where the image has no check."""

    name: str
    action: str
    container_id: str | None = None
    health_checked: bool = False


@dataclass(frozen=True, kw_only=True)
class DeploymentFinished(Message):
    """The end of an attempt. Unless it `succeeded`, what ran before runs again (`restored` false: undoing failed, see detail)."""

    deployment_id: UUID
    attempt_id: UUID
    prefix: str
    outcome: str
    code: str | None = None
    detail: str | None = None
    restored: bool = True
    containers: list[ContainerOutcome] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class PlaceRemoved(Message):
    """The answer to an order to clear a place: `generation` is the order's. Unless it `succeeded`, `detail` says what is still there."""

    prefix: str
    generation: int
    outcome: str
    code: str | None = None
    detail: str | None = None
    containers: list[str] = field(default_factory=list)  # the names of what was removed
    volumes: list[str] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True)
class CommandRefused(Message):
    """A command that the agent did not obey: its id and type, and why (`superseded`, `stale-epoch`, `expired`, `signature-wrong`…)."""

    command_id: str
    command_type: str
    code: str
    detail: str
    prefix: str | None = None
    attempt_id: UUID | None = None


class _Part(Schema):
    kind: type

    class Meta:
        unknown = EXCLUDE

    @post_load
    def _build(self, data: dict[str, Any], **_: object) -> object:
        return self.kind(**data)


_short = validate.Length(max=256)
_long = validate.Length(max=8192)


class PlaceStateSchema(_Part):
    kind = PlaceState

    prefix = fields.String(required=True, validate=_short)
    generation = fields.Integer(required=True, strict=True)
    attempt_id = fields.UUID(load_default=None, allow_none=True)
    outcome = fields.String(load_default=None, allow_none=True, validate=validate.OneOf(OUTCOMES))
    code = fields.String(load_default=None, allow_none=True)
    detail = fields.String(load_default=None, allow_none=True, validate=_long)
    restored = fields.Boolean(load_default=None, allow_none=True)


class ObservedContainerSchema(_Part):
    kind = ObservedContainer

    prefix = fields.String(required=True, validate=_short)
    name = fields.String(required=True, validate=_short)
    container_id = fields.String(required=True, validate=_short)
    image = fields.String(required=True, validate=validate.Length(max=1024))
    state = fields.String(required=True, validate=_short)
    spec = fields.String(load_default=None, allow_none=True, validate=_short)
    digest = fields.String(load_default=None, allow_none=True, validate=_short)
    deployment_id = fields.UUID(load_default=None, allow_none=True)
    attempt_id = fields.UUID(load_default=None, allow_none=True)
    generation = fields.Integer(load_default=None, allow_none=True, strict=True)
    health = fields.String(load_default="none", validate=_short)
    exit_code = fields.Integer(load_default=None, allow_none=True)
    restart_count = fields.Integer(load_default=0)
    started_at = fields.AwareDateTime(load_default=None, allow_none=True)
    ports = fields.List(fields.Dict(fields.String()), load_default=list, validate=validate.Length(max=1024))
    detail = fields.String(load_default=None, allow_none=True, validate=_long)


class HelloSchema(MessageSchema):
    kind = Hello

    boot_id = fields.UUID(required=True)
    version = fields.String(required=True, validate=_short)
    facts = fields.Dict(fields.String(), load_default=dict, validate=validate.Length(max=64))
    places = fields.List(fields.Nested(PlaceStateSchema), load_default=list, validate=validate.Length(max=10_000))
    wall_clock = fields.AwareDateTime(load_default=None, allow_none=True)


class HeartbeatSchema(MessageSchema):
    kind = Heartbeat

    boot_id = fields.UUID(required=True)
    engine = fields.String(load_default="ok", validate=_short)
    working_on = fields.List(fields.UUID(), load_default=list, validate=validate.Length(max=1000))


class ContainersObservedSchema(MessageSchema):
    kind = ContainersObserved

    containers = fields.List(fields.Nested(ObservedContainerSchema), required=True, validate=validate.Length(max=10_000))
    engine = fields.String(load_default="ok", validate=_short)


class DeploymentProgressedSchema(MessageSchema):
    kind = DeploymentProgressed

    deployment_id = fields.UUID(required=True)
    attempt_id = fields.UUID(required=True)
    prefix = fields.String(required=True, validate=_short)
    step = fields.String(required=True, validate=_short)
    container = fields.String(load_default=None, allow_none=True, validate=_short)
    message = fields.String(load_default="", validate=_long)
    progress = fields.Float(load_default=None, allow_none=True, validate=validate.Range(0, 1))


class ContainerOutcomeSchema(_Part):
    kind = ContainerOutcome

    name = fields.String(required=True, validate=_short)
    action = fields.String(required=True, validate=_short)
    container_id = fields.String(load_default=None, allow_none=True)
    health_checked = fields.Boolean(load_default=False)


class DeploymentFinishedSchema(MessageSchema):
    kind = DeploymentFinished

    deployment_id = fields.UUID(required=True)
    attempt_id = fields.UUID(required=True)
    prefix = fields.String(required=True, validate=_short)
    outcome = fields.String(required=True, validate=validate.OneOf(OUTCOMES))
    code = fields.String(load_default=None, allow_none=True, validate=_short)
    detail = fields.String(load_default=None, allow_none=True, validate=_long)
    restored = fields.Boolean(load_default=True)
    containers = fields.List(fields.Nested(ContainerOutcomeSchema), load_default=list, validate=validate.Length(max=1000))
    seconds = fields.Dict(fields.String(), fields.Float(), load_default=dict)


class PlaceRemovedSchema(MessageSchema):
    kind = PlaceRemoved

    prefix = fields.String(required=True, validate=_short)
    generation = fields.Integer(required=True, strict=True)
    outcome = fields.String(required=True, validate=validate.OneOf(REMOVAL_OUTCOMES))
    code = fields.String(load_default=None, allow_none=True, validate=_short)
    detail = fields.String(load_default=None, allow_none=True, validate=_long)
    containers = fields.List(fields.String(validate=_short), load_default=list, validate=validate.Length(max=1000))
    volumes = fields.List(fields.String(validate=_short), load_default=list, validate=validate.Length(max=1000))


class CommandRefusedSchema(MessageSchema):
    kind = CommandRefused

    command_id = fields.String(required=True, validate=_short)
    command_type = fields.String(required=True, validate=_short)
    code = fields.String(required=True, validate=_short)
    detail = fields.String(required=True, validate=_long)
    prefix = fields.String(load_default=None, allow_none=True, validate=_short)
    attempt_id = fields.UUID(load_default=None, allow_none=True)


register("agent.hello", 1, HelloSchema)
register("agent.heartbeat", 1, HeartbeatSchema)
register("agent.containers.observed", 1, ContainersObservedSchema)
register("agent.deployment.progressed", 1, DeploymentProgressedSchema)
register("agent.deployment.finished", 1, DeploymentFinishedSchema)
register("agent.place.removed", 1, PlaceRemovedSchema)
register("agent.command.refused", 1, CommandRefusedSchema)
