"""The resolved specification of a stack: what a command carries, what a plan compares, what labels say."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from uuid import UUID

from marshmallow import EXCLUDE, Schema, fields, post_load, validate

from kernel.contracts.config import NAME_PATTERN, Config

PREFIX_PATTERN = r"[a-z0-9]{1,32}"

# Labels on everything that the agent makes on an engine.
LABEL_NODE = "dev.fairlead.node"
LABEL_TEAM = "dev.fairlead.team"
LABEL_PREFIX = "dev.fairlead.prefix"
LABEL_CONTAINER = "dev.fairlead.container"
LABEL_DEPLOYMENT = "dev.fairlead.deployment"
LABEL_ATTEMPT = "dev.fairlead.attempt"
LABEL_GENERATION = "dev.fairlead.generation"
LABEL_SPEC = "dev.fairlead.spec"
LABEL_ROLE = "dev.fairlead.role"  # main | init


@dataclass(frozen=True)
class SealedSecret:
    """A secret for one container: `sealed` is a box (base64) for the node, `as_` is `env` or `file`."""

    sealed: str
    as_: str = "env"


@dataclass(frozen=True)
class ContainerSpec:
    """One container of a stack, fully resolved. `image` is what Docker pulls: `host/repository@sha256:…` or a local `name:tag`."""

    instance_id: UUID
    name: str
    image: str
    config: Config
    tag: str | None = None
    digest: str | None = None
    registry: str | None = None
    secrets: dict[str, SealedSecret] = field(default_factory=dict)


@dataclass(frozen=True)
class StackSpec:
    """All containers of a deployment in the order of starting, frozen with the attempt."""

    project: str
    version: str
    containers: tuple[ContainerSpec, ...]


def spec_hash(container: ContainerSpec) -> str:
    """What makes two containers the same: image, name, configuration and sealed secrets (64 hex characters)."""
    return hashlib.sha256(canonical(_CONTAINER.dump(container) | {"instance_id": None, "tag": None, "registry": None})).hexdigest()


def canonical(value: object) -> bytes:
    """JSON with sorted keys, no spaces and UTF-8: the same value gives the same bytes everywhere."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()


class _Lenient(Schema):
    class Meta:
        unknown = EXCLUDE


class SealedSecretSchema(_Lenient):
    sealed = fields.String(required=True, validate=validate.Length(max=200_000))
    as_ = fields.String(data_key="as", load_default="env", validate=validate.OneOf(["env", "file"]))

    @post_load
    def _build(self, data: dict[str, str], **_: object) -> SealedSecret:
        return SealedSecret(**data)


class ContainerSpecSchema(_Lenient):
    instance_id = fields.UUID(required=True)
    name = fields.String(required=True, validate=validate.Regexp(rf"(?:{NAME_PATTERN})\Z"))
    image = fields.String(required=True, validate=validate.Length(1, 1024))
    tag = fields.String(load_default=None, allow_none=True)
    digest = fields.String(load_default=None, allow_none=True, validate=validate.Regexp(r"sha256:[0-9a-f]{64}\Z"))
    registry = fields.String(load_default=None, allow_none=True)
    config = fields.Dict(fields.String(), required=True)
    secrets = fields.Dict(fields.String(), fields.Nested(SealedSecretSchema), load_default=dict)

    @post_load
    def _build(self, data: dict[str, object], **_: object) -> ContainerSpec:
        return ContainerSpec(**data)  # type: ignore[arg-type]  # the schema has checked each field


class StackSpecSchema(_Lenient):
    project = fields.String(required=True)
    version = fields.String(required=True)
    containers = fields.List(fields.Nested(ContainerSpecSchema), required=True, validate=validate.Length(1, 100))

    @post_load
    def _build(self, data: dict[str, object], **_: object) -> StackSpec:
        return StackSpec(str(data["project"]), str(data["version"]), tuple(data["containers"]))  # type: ignore[arg-type]  # a list of specs


_CONTAINER = ContainerSpecSchema()
