"""What every event on the core virtual host says, so that the audit log can record any of them alike."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from marshmallow import fields, validate

from kernel.contracts.envelope import Message, MessageSchema


@dataclass(frozen=True, kw_only=True)
class Recorded(Message):
    """A change (or a refused try): what it was done to, and how that looked before and after. Never a secret."""

    resource_type: str
    resource_id: str
    resource_name: str = ""
    outcome: str = "allowed"
    before: dict[str, Any] | None = None  # any JSON: the resource as the API shows it
    after: dict[str, Any] | None = None
    reason: str | None = None


class RecordedSchema(MessageSchema):
    kind: type[Message] = Recorded

    resource_type = fields.String(required=True, validate=validate.Length(1, 64))
    resource_id = fields.String(required=True, validate=validate.Length(max=256))
    resource_name = fields.String(load_default="", validate=validate.Length(max=512))
    outcome = fields.String(load_default="allowed", validate=validate.OneOf(["allowed", "refused"]))
    before = fields.Dict(fields.String(), load_default=None, allow_none=True)
    after = fields.Dict(fields.String(), load_default=None, allow_none=True)
    reason = fields.String(load_default=None, allow_none=True, validate=validate.Length(max=2048))
