"""Nodes, their enrolment, events and containers over HTTP."""

from __future__ import annotations

import json
from typing import Any

from marshmallow import EXCLUDE, RAISE, Schema, ValidationError, fields, validate

from kernel.http import PageArguments
from services.deployer.domain.states import NodeStatus

_LARGEST_FACTS = 64 * 1024

_name = [validate.Length(1, 128), validate.Regexp(r"[^\x00-\x1f\x7f]+\Z", error="must not hold control characters")]
_key = validate.Length(equal=44, error="must be 32 bytes in base64")


def _facts_are_small(facts: dict[str, Any]) -> None:
    if len(json.dumps(facts)) > _LARGEST_FACTS:
        raise ValidationError(f"must be at most {_LARGEST_FACTS} bytes of JSON")


class NodeCreateSchema(Schema):
    """What a node is made from."""

    class Meta:
        unknown = RAISE

    name = fields.String(required=True, validate=_name, metadata={"example": "shop-1"})
    description = fields.String(load_default="", validate=validate.Length(max=2000))
    icon = fields.String(load_default=None, allow_none=True, validate=validate.Length(max=64))


class NodePatchSchema(Schema):
    """A merge patch: what is left out stays."""

    class Meta:
        unknown = RAISE

    name = fields.String(validate=_name)
    description = fields.String(allow_none=True, validate=validate.Length(max=2000))
    icon = fields.String(allow_none=True, validate=validate.Length(max=64))


class NodeSchema(Schema):
    """A node as people see it; ages are by the database's clock."""

    id = fields.UUID(required=True)
    team_id = fields.UUID(required=True)
    name = fields.String(required=True)
    description = fields.String(required=True)
    icon = fields.String(allow_none=True)
    status = fields.Enum(NodeStatus, by_value=True, required=True)
    agent_version = fields.String(allow_none=True)
    engine = fields.String(allow_none=True, metadata={"description": "ok, or why the node's Docker Engine does not answer"})
    facts = fields.Dict(fields.String())
    epoch = fields.Integer(metadata={"description": "grows with each start of the agent"})
    verify_key = fields.String(allow_none=True, metadata={"description": "Ed25519, base64: checks the node's reports"})
    seal_key = fields.String(allow_none=True, metadata={"description": "X25519, base64: secrets are sealed to it"})
    enrolled_at = fields.AwareDateTime(allow_none=True)
    revoked_at = fields.AwareDateTime(allow_none=True)
    last_seen_at = fields.AwareDateTime(allow_none=True)
    last_seen_age_seconds = fields.Float(allow_none=True)
    observed_at = fields.AwareDateTime(allow_none=True)
    observed_age_seconds = fields.Float(allow_none=True)
    duplicated = fields.Boolean(
        metadata={"description": "two agents carry this node's identity now: stop one, or revoke the node and enrol it anew"}
    )
    duplicate_seen_at = fields.AwareDateTime(allow_none=True, metadata={"description": "when a second one was last heard"})
    revision = fields.Integer(required=True)
    created_at = fields.AwareDateTime(required=True)
    updated_at = fields.AwareDateTime(required=True)


class EnrollmentSchema(Schema):
    """The one-line install; the token is shown this once and dies with its first use or after an hour."""

    command = fields.String(required=True, metadata={"example": "curl -fsSL https://fairlead.example/install/fl_enr_… | sh"})
    script_url = fields.String(required=True)
    token = fields.String(required=True)
    expires_at = fields.AwareDateTime(required=True)


class NodeEventSchema(Schema):
    """What happened to a node."""

    number = fields.Integer(required=True)
    at = fields.AwareDateTime(required=True)
    kind = fields.String(required=True)
    data = fields.Dict(fields.String())


class ContainerPortSchema(Schema):
    """A port as the engine published it."""

    container_port = fields.Integer()
    protocol = fields.String()
    host_ip = fields.String(allow_none=True)
    host_port = fields.Integer(allow_none=True)


class ContainerSchema(Schema):
    """A container of ours as it was last seen."""

    prefix = fields.String(required=True)
    name = fields.String(required=True)
    container_id = fields.String(required=True)
    image = fields.String(required=True)
    digest = fields.String(allow_none=True)
    state = fields.String(required=True)
    health = fields.String(required=True)
    exit_code = fields.Integer(allow_none=True)
    restart_count = fields.Integer()
    started_at = fields.String(allow_none=True)
    ports = fields.List(fields.Nested(ContainerPortSchema))
    deployment_id = fields.String(allow_none=True)
    attempt_id = fields.String(allow_none=True)
    generation = fields.Integer(allow_none=True)
    detail = fields.String(allow_none=True)


class ContainerArguments(PageArguments):
    """`?prefix=`"""

    prefix = fields.String(load_default=None, allow_none=True, validate=validate.Length(max=32))


class ContainerPageSchema(Schema):
    """A page, and how old the look at the node is: stale is shown as stale."""

    items = fields.List(fields.Nested(ContainerSchema), required=True)
    next_cursor = fields.String(required=True, allow_none=True)
    observed_at = fields.AwareDateTime(required=True, allow_none=True)
    observed_age_seconds = fields.Float(required=True, allow_none=True)


class EnrollSchema(Schema):
    """What an agent says of itself. A newer agent may say more."""

    class Meta:
        unknown = EXCLUDE

    verify_key = fields.String(required=True, validate=_key)
    seal_key = fields.String(required=True, validate=_key)
    agent_version = fields.String(required=True, validate=validate.Length(1, 64))
    boot_id = fields.UUID(load_default=None, allow_none=True)
    facts = fields.Dict(fields.String(), load_default=dict, validate=[validate.Length(max=64), _facts_are_small])


class BrokerAccessSchema(Schema):
    """How an agent reaches the broker; the password is kept nowhere else."""

    url = fields.String(required=True)
    username = fields.String(required=True)
    password = fields.String(required=True)
    authority = fields.String(allow_none=True, metadata={"description": "PEM; whose certificate the broker shows, if not a public one's"})


class EnrolledSchema(Schema):
    """What an agent needs from now on; `verify_key` (Ed25519, base64) checks the commands that it gets."""

    node_id = fields.UUID(required=True)
    team_id = fields.UUID(required=True)
    epoch = fields.Integer(required=True)
    broker = fields.Nested(BrokerAccessSchema, required=True)
    verify_key = fields.String(required=True)
    heartbeat_seconds = fields.Integer(required=True)
