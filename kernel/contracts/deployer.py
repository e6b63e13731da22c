"""Events and commands that the deployer sends."""

from __future__ import annotations

from dataclasses import dataclass, field
from uuid import UUID

from marshmallow import fields, validate

from kernel.contracts.envelope import Message, MessageSchema, register
from kernel.contracts.recorded import Recorded, RecordedSchema
from kernel.contracts.spec import PREFIX_PATTERN, StackSpec, StackSpecSchema

_prefix = validate.Regexp(rf"(?:{PREFIX_PATTERN})\Z")

# -- events on the core virtual host --------------------------------------------------------------

NAMES = (
    "deployer.node.created",
    "deployer.node.changed",
    "deployer.node.enrollment_requested",
    "deployer.node.connected",
    "deployer.node.unreachable",
    "deployer.node.revoked",
    "deployer.node.deleted",
    "deployer.node.duplicated",
    "deployer.place.removed",
    "deployer.place.removal_failed",
    "deployer.secrets.set",
    "deployer.request.refused",
)

for _name in NAMES:
    register(_name, 1, RecordedSchema)


@dataclass(frozen=True, kw_only=True)
class NodeEnrolled(Recorded):
    """A node has keys: whoever checks its reports needs `verify_key` (Ed25519, base64)."""

    node_id: UUID
    verify_key: str
    seal_key: str


class NodeEnrolledSchema(RecordedSchema):
    kind = NodeEnrolled

    node_id = fields.UUID(required=True)
    verify_key = fields.String(required=True)
    seal_key = fields.String(required=True)


register("deployer.node.enrolled", 1, NodeEnrolledSchema)

DEPLOYMENT_STATUSES = ("preparing", "in-progress", "successful", "failed", "obsolete", "downgraded")


@dataclass(frozen=True, kw_only=True)
class DeploymentChanged(Recorded):
    """A deployment was made or changed. `revision` grows by one with each event of a deployment: a lower one is old news."""

    deployment_id: UUID
    version_id: UUID
    project_id: UUID
    node_id: UUID
    prefix: str
    status: str
    revision: int
    attempt: int | None = None
    attempt_outcome: str | None = None


class DeploymentChangedSchema(RecordedSchema):
    kind = DeploymentChanged

    deployment_id = fields.UUID(required=True)
    version_id = fields.UUID(required=True)
    project_id = fields.UUID(required=True)
    node_id = fields.UUID(required=True)
    prefix = fields.String(required=True, validate=_prefix)
    status = fields.String(required=True, validate=validate.OneOf([*DEPLOYMENT_STATUSES, "deleted"]))
    revision = fields.Integer(required=True, strict=True)
    attempt = fields.Integer(load_default=None, allow_none=True, strict=True)
    # succeeded | failed | cancelled | refused | timed-out
    attempt_outcome = fields.String(load_default=None, allow_none=True)


DEPLOYMENT_EVENTS = (
    "deployer.deployment.created",
    "deployer.deployment.changed",
    "deployer.deployment.deleted",
    "deployer.deployment.started",
    "deployer.deployment.cancel_requested",
    "deployer.deployment.succeeded",
    "deployer.deployment.failed",
    "deployer.deployment.corrected",
    "deployer.deployment.obsoleted",
    "deployer.deployment.downgraded",
    "deployer.deployment.drifted",
)

for _name in DEPLOYMENT_EVENTS:
    register(_name, 1, DeploymentChangedSchema)

# -- commands to one node; node, epoch, generation and ttl_seconds stand in the envelope ------------


@dataclass(frozen=True, kw_only=True)
class ApplyDeployment(Message):
    """Make the place (node, prefix) run exactly `stack`, or leave it as it was."""

    deployment_id: UUID
    attempt_id: UUID
    attempt: int
    prefix: str
    stack: StackSpec
    timeout_seconds: int = 900
    force_recreate: bool = False
    # `host` or `host/path` -> sealed box whose value is JSON {"username", "password"}; the longest that fits an image counts
    credentials: dict[str, str] = field(default_factory=dict)


class ApplyDeploymentSchema(MessageSchema):
    kind = ApplyDeployment

    deployment_id = fields.UUID(required=True)
    attempt_id = fields.UUID(required=True)
    attempt = fields.Integer(required=True, strict=True)
    prefix = fields.String(required=True, validate=_prefix)
    stack = fields.Nested(StackSpecSchema, required=True)
    timeout_seconds = fields.Integer(load_default=900, strict=True, validate=validate.Range(1, 86_400))
    force_recreate = fields.Boolean(load_default=False)
    credentials = fields.Dict(fields.String(), fields.String(), load_default=dict)


@dataclass(frozen=True, kw_only=True)
class CancelDeployment(Message):
    """Undo `attempt_id` if it is not finished, and answer with its true outcome. The envelope's generation is the fence."""

    deployment_id: UUID
    attempt_id: UUID
    prefix: str
    reason: str = "cancelled"


class CancelDeploymentSchema(MessageSchema):
    kind = CancelDeployment

    deployment_id = fields.UUID(required=True)
    attempt_id = fields.UUID(required=True)
    prefix = fields.String(required=True, validate=_prefix)
    reason = fields.String(load_default="cancelled", validate=validate.OneOf(["cancelled", "timed-out"]))


@dataclass(frozen=True, kw_only=True)
class RemovePlace(Message):
    """Remove all containers of a prefix, and its volumes if asked; answered by `agent.place.removed`. Told again, it is done already."""

    prefix: str
    remove_volumes: bool = False


class RemovePlaceSchema(MessageSchema):
    kind = RemovePlace

    prefix = fields.String(required=True, validate=_prefix)
    remove_volumes = fields.Boolean(load_default=False)


@dataclass(frozen=True, kw_only=True)
class WelcomeNode(Message):
    """The answer to a hello: from now on the process `boot_id` is the node, and the envelope's epoch is its epoch."""

    boot_id: UUID


class WelcomeNodeSchema(MessageSchema):
    kind = WelcomeNode

    boot_id = fields.UUID(required=True)


register("deployer.deployment.apply", 1, ApplyDeploymentSchema)
register("deployer.deployment.cancel", 1, CancelDeploymentSchema)
register("deployer.place.remove", 1, RemovePlaceSchema)
register("deployer.node.welcome", 1, WelcomeNodeSchema)
