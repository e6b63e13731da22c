"""Deployments, their instances, secrets, plans, attempts and events over HTTP."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from marshmallow import RAISE, Schema, ValidationError, fields, pre_load, validate

from kernel.contracts.config import ENVIRONMENT_NAME_PATTERN, ConfigSchema
from kernel.http import PageArguments
from services.deployer.domain.rules import is_prefix
from services.deployer.domain.states import EventKind, NodeStatus, Outcome, Status, Sync, VersionType

_note = validate.Length(max=4000)
_bundles = validate.Length(max=32)
_config = {"description": "image < config bundles < deployment < instance; null takes a key away"}
_name = validate.Regexp(
    re.compile(rf"(?:{ENVIRONMENT_NAME_PATTERN})\Z"), error="must be letters, digits and underscores, and not begin with a digit"
)


def _prefix(text: str) -> bool:
    if not is_prefix(text):
        raise ValidationError("must be lower-case letters and digits, 1 to 32")
    return True


def _whole_characters(text: str) -> None:
    # Half a surrogate pair is text in JSON and nowhere else: no file and no variable can hold it.
    if any("\ud800" <= character <= "\udfff" for character in text):
        raise ValidationError("holds half a character")


class _Strict(Schema):
    class Meta:
        unknown = RAISE


class ConfigField(fields.Nested):
    """A configuration: checked here, and handed on as the JSON that it is."""

    def __init__(self, **more: Any) -> None:
        super().__init__(ConfigSchema, metadata=_config, **more)

    # Any: marshmallow's own signature.
    def _deserialize(self, value: Any, attr: str | None, data: Mapping[str, Any] | None, partial: Any = None, **more: Any) -> Any:
        return ConfigSchema().dump(super()._deserialize(value, attr, data, partial, **more))


class DeploymentFiltersSchema(PageArguments):
    """What a list is narrowed to."""

    node = fields.UUID(load_default=None)
    prefix = fields.String(load_default=None, validate=validate.Length(max=64))
    version = fields.UUID(load_default=None)
    project = fields.UUID(load_default=None)
    status = fields.Enum(Status, by_value=True, load_default=None)


class DeploymentCreateSchema(_Strict):
    """This version, on this node, under this prefix."""

    version_id = fields.UUID(required=True)
    node_id = fields.UUID(required=True)
    prefix = fields.String(required=True, validate=_prefix, metadata={"example": "shop"})
    note = fields.String(load_default="", validate=_note)
    protected = fields.Boolean(load_default=False)
    config_bundle_ids = fields.List(fields.UUID(), load_default=list, validate=_bundles)
    config = ConfigField(load_default=dict)


class DeploymentPatchSchema(_Strict):
    """A merge patch: what is left out stays; in `config` a null takes away what this deployment says of a key."""

    node_id = fields.UUID()
    prefix = fields.String(validate=_prefix)
    note = fields.String(allow_none=True, validate=_note)
    protected = fields.Boolean()
    config_bundle_ids = fields.List(fields.UUID(), allow_none=True, validate=_bundles)
    config = fields.Dict(fields.String(), allow_none=True, metadata=_config)


class InstancePatchSchema(_Strict):
    """A merge patch of the instance's own configuration."""

    config = fields.Dict(fields.String(), required=True, allow_none=True, metadata=_config)


class InstancePutSchema(_Strict):
    """The instance's own configuration as a whole: here a null is kept, and takes away what the image or a bundle says."""

    config = ConfigField(required=True)


class CopySchema(_Strict):
    """Where the copy goes; what is left out is as in the original."""

    node_id = fields.UUID(load_default=None)
    prefix = fields.String(load_default=None, validate=_prefix)


class DeleteArguments(_Strict):
    remove_containers = fields.Boolean(load_default=False)
    remove_volumes = fields.Boolean(load_default=False)


class InstanceSchema(Schema):
    """An image of the version as this deployment runs it."""

    id = fields.UUID(required=True)
    image_id = fields.UUID(required=True)
    image_name = fields.String(required=True)
    position = fields.Integer(required=True)
    config = fields.Dict(fields.String(), required=True)
    revision = fields.Integer(required=True)


class DifferenceSchema(Schema):
    """One field in which a container is not what the last success put there."""

    container = fields.String(required=True)
    field = fields.String(required=True)
    wanted = fields.String(allow_none=True)
    observed = fields.String(allow_none=True)


class SyncSchema(Schema):
    """Does the node still run it? Unknown where nothing fresh was seen."""

    state = fields.Enum(Sync, by_value=True, required=True)
    observed_at = fields.AwareDateTime(allow_none=True)
    differences = fields.List(fields.Nested(DifferenceSchema), required=True)


class ContainerOutcomeSchema(Schema):
    name = fields.String()
    action = fields.String()
    container_id = fields.String(allow_none=True)
    health_checked = fields.Boolean()


class AttemptSchema(Schema):
    """One try: how it was started and how it ended. No outcome while it is being worked on."""

    id = fields.UUID(required=True)
    number = fields.Integer(required=True)
    generation = fields.Integer(required=True)
    outcome = fields.Enum(Outcome, by_value=True, allow_none=True)
    code = fields.String(allow_none=True)
    detail = fields.String(allow_none=True)
    restored = fields.Boolean(allow_none=True, metadata={"description": "what ran before runs again; null while that is not known"})
    node_id = fields.UUID(required=True)
    prefix = fields.String(required=True)
    options = fields.Dict(fields.String())
    started_by = fields.String(required=True)
    started_by_name = fields.String()
    started_at = fields.AwareDateTime(required=True)
    sent_at = fields.AwareDateTime(allow_none=True)
    deadline_at = fields.AwareDateTime(required=True)
    cancel_requested_at = fields.AwareDateTime(allow_none=True)
    finished_at = fields.AwareDateTime(allow_none=True)
    containers = fields.List(fields.Nested(ContainerOutcomeSchema))
    seconds = fields.Dict(fields.String(), fields.Float(), metadata={"description": "how long each phase took on the node"})


class AttemptDetailSchema(AttemptSchema):
    """With the frozen specification; of secrets only names."""

    spec = fields.Dict(fields.String(), required=True)


class DeploymentSchema(Schema):
    """A deployment and how it stands."""

    id = fields.UUID(required=True)
    team_id = fields.UUID(required=True)
    node_id = fields.UUID(required=True)
    node_name = fields.String(required=True)
    node_status = fields.Enum(NodeStatus, by_value=True, required=True)
    prefix = fields.String(required=True)
    version_id = fields.UUID(required=True)
    version_name = fields.String(required=True)
    version_type = fields.Enum(VersionType, by_value=True, required=True)
    version_seq = fields.Integer(required=True)
    project_id = fields.UUID(required=True)
    project_name = fields.String(required=True)
    note = fields.String(required=True)
    protected = fields.Boolean(required=True)
    status = fields.Enum(Status, by_value=True, required=True)
    sync = fields.Nested(SyncSchema, required=True, allow_none=True)
    mutable = fields.Boolean(required=True)
    startable = fields.Boolean(required=True)
    deletable = fields.Boolean(required=True)
    copyable = fields.Boolean(required=True)
    config = fields.Dict(fields.String(), required=True)
    config_bundle_ids = fields.List(fields.UUID(), required=True)
    instances = fields.List(fields.Nested(InstanceSchema), required=True)
    last_attempt = fields.Nested(AttemptSchema, required=True, allow_none=True)
    revision = fields.Integer(required=True)
    created_by = fields.String(required=True)
    created_at = fields.AwareDateTime(required=True)
    updated_at = fields.AwareDateTime(required=True)


class PlanAskSchema(_Strict):
    """The options of a start that change what it would do."""

    instances = fields.List(fields.UUID(), load_default=None, allow_none=True, validate=validate.Length(1, 100))
    force_recreate = fields.Boolean(load_default=False)
    ignore_protection = fields.Boolean(load_default=False)
    wait_for_node_seconds = fields.Integer(load_default=0, strict=True, validate=validate.Range(0, 7 * 86_400))


class StartSchema(PlanAskSchema):
    """How to start. With a plan's fingerprint the start is refused when anything has changed since."""

    plan_fingerprint = fields.String(load_default=None, allow_none=True, validate=validate.Length(1, 128))
    timeout_seconds = fields.Integer(load_default=900, strict=True, validate=validate.Range(1, 86_400))


class StepSchema(Schema):
    """What becomes of one container; `reason` says why it is replaced: changed, image-changed, not-running, unhealthy, force-recreate."""

    name = fields.String(required=True)
    action = fields.String(required=True, validate=validate.OneOf(["create", "replace", "keep", "remove"]))
    image = fields.String(allow_none=True)
    reason = fields.String(required=True, allow_none=True)
    downtime = fields.Boolean(required=True)


class BlockedSchema(Schema):
    code = fields.String(required=True)
    message = fields.String(required=True)


class PlanSchema(Schema):
    """What a start would do now; `blocked` names what would stop it."""

    actions = fields.List(fields.Nested(StepSchema), required=True)
    downtime = fields.Boolean(required=True)
    fingerprint = fields.String(required=True)
    observed_at = fields.AwareDateTime(required=True, allow_none=True)
    frozen = fields.Boolean(required=True, metadata={"description": "brings back exactly what ran"})
    blocked = fields.List(fields.Nested(BlockedSchema), required=True)


class StartedSchema(Schema):
    attempt = fields.Nested(AttemptSchema, required=True)


class SecretValueSchema(_Strict):
    """Exactly one of the two."""

    value = fields.String(validate=[validate.Length(max=65_536), _whole_characters], load_only=True)
    sealed = fields.String(validate=validate.Length(max=131_072), load_only=True, metadata={"description": "a sealed box, base64"})


class SecretsPutSchema(Schema):
    """`{NAME: {value}}`, `{NAME: {sealed}}`, or `{NAME: null}` to take one away; others stay."""

    class Meta:
        unknown = RAISE

    secrets = fields.Dict(
        fields.String(validate=_name), fields.Nested(SecretValueSchema, allow_none=True), required=True, validate=validate.Length(max=128)
    )

    @pre_load
    def _wrap(self, data: Any, **_: object) -> dict[str, Any]:  # whatever a client sent; the field checks it
        return {"secrets": data}


class SecretStateSchema(Schema):
    """A secret's name and whether it is set; never its value."""

    name = fields.String(required=True)
    set = fields.Boolean(required=True, attribute="is_set")
    usable = fields.Boolean(required=True, metadata={"description": "sealed to the node's present key"})
    required = fields.Boolean(required=True)
    instances = fields.List(fields.String(), required=True)
    set_at = fields.AwareDateTime(allow_none=True)
    set_by = fields.String(allow_none=True)


class SecretsSchema(Schema):
    """Clients that seal by themselves need the node's key, and team, node and name inside the box."""

    items = fields.List(fields.Nested(SecretStateSchema), required=True)
    next_cursor = fields.String(dump_default=None, allow_none=True, metadata={"description": "always null: the list is whole"})
    seal_key = fields.String(allow_none=True)
    node_id = fields.UUID(required=True)
    team_id = fields.UUID(required=True)


class EventArguments(_Strict):
    """`after` is the number of the last event that was read."""

    attempt = fields.Integer(load_default=None, validate=validate.Range(1, 2**31 - 1))
    after = fields.Integer(load_default=0, validate=validate.Range(0, 2**31 - 1))
    limit = fields.Integer(load_default=200, validate=validate.Range(1, 500))


class EventSchema(Schema):
    number = fields.Integer(required=True)
    attempt = fields.Integer(allow_none=True)
    at = fields.AwareDateTime(required=True)
    kind = fields.Enum(EventKind, by_value=True, required=True)
    container = fields.String(allow_none=True)
    message = fields.String(required=True)
    data = fields.Dict(fields.String(), required=True)


class EventPageSchema(Schema):
    """Read on with `?after=<next_after>`; `done` says that nothing is being worked on and all was read."""

    items = fields.List(fields.Nested(EventSchema), required=True)
    next_after = fields.Integer(required=True)
    more = fields.Boolean(required=True)
    done = fields.Boolean(required=True)
    status = fields.Enum(Status, by_value=True, required=True)
    lost = fields.Boolean(
        required=True, metadata={"description": "events after `after` were deleted as too old: this page begins with the oldest kept"}
    )
