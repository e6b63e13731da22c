"""What comes in and goes out of the audit log over HTTP."""

from __future__ import annotations

from datetime import UTC

from marshmallow import RAISE, Schema, ValidationError, fields, post_load, validate, validates_schema

from kernel.http import PageArguments, page_schema
from services.audit.domain import Filters


def _text(longest: int = 256) -> fields.String:
    # An export that fails in its database has begun to answer: what cannot be searched for is refused here.
    no_nul = validate.ContainsNoneOf("\0", error="must not contain a NUL character")
    return fields.String(load_default=None, validate=[validate.Length(1, longest), no_nul])


def _moment(key: str) -> fields.AwareDateTime:
    return fields.AwareDateTime(load_default=None, data_key=key, format="iso", default_timezone=UTC)


class _Range(Schema):
    class Meta:
        unknown = RAISE

    start = _moment("from")
    end = _moment("to")

    @validates_schema
    def _in_order(self, data: dict[str, object], **_: object) -> None:
        start, end = data.get("start"), data.get("end")
        if start is not None and end is not None and end < start:  # type: ignore[operator]  # both are moments by their fields
            raise ValidationError("must not be before `from`", "to")


class _Filtered(_Range):
    actor = _text()
    action = _text()
    resource_type = _text(64)
    resource_id = _text()
    outcome = fields.String(load_default=None, validate=validate.OneOf(["allowed", "refused"]))
    query = _text()

    @post_load
    def _build(self, data: dict[str, object], **_: object) -> dict[str, object]:
        names = ("start", "end", "actor", "action", "resource_type", "resource_id", "outcome", "query")
        filters = Filters(**{name: data.pop(name, None) for name in names})  # type: ignore[arg-type]  # checked field by field
        return data | {"filters": filters}


class SearchArguments(_Filtered, PageArguments):  # type: ignore[misc]  # their two Metas say the same
    """`?from=&to=&actor=&action=&resource_type=&resource_id=&outcome=&query=&limit=&cursor=`"""


class ExportArguments(_Filtered):
    """As a search, without pages."""

    format = fields.String(load_default="ndjson", validate=validate.OneOf(["ndjson", "csv"]))


class VerifyArguments(_Range):
    """`?from=&to=`: a range is verified from its lowest to its highest number."""

    @post_load
    def _build(self, data: dict[str, object], **_: object) -> dict[str, object]:
        return {"filters": Filters(start=data["start"], end=data["end"])}  # type: ignore[arg-type]  # moments by their fields


class ActorSchema(Schema):
    kind = fields.String(required=True)
    id = fields.String(required=True)
    name = fields.String(required=True, allow_none=True)


class ResourceSchema(Schema):
    type = fields.String(required=True)
    id = fields.String(required=True)
    name = fields.String(required=True)


class EntrySchema(Schema):
    """One entry; `hash` is SHA-256 over the canonical JSON of all other fields, of which `prev_hash` is one."""

    id = fields.String(required=True, metadata={"format": "uuid"})
    team_id = fields.String(required=True, metadata={"format": "uuid"})
    number = fields.Integer(required=True)
    at = fields.String(required=True, metadata={"format": "date-time"})
    recorded_at = fields.String(required=True, metadata={"format": "date-time"})
    action = fields.String(required=True)
    actor = fields.Nested(ActorSchema, required=True)
    address = fields.String(required=True, allow_none=True)
    resource = fields.Nested(ResourceSchema, required=True)
    outcome = fields.String(required=True)
    before = fields.Dict(fields.String(), required=True, allow_none=True)
    after = fields.Dict(fields.String(), required=True, allow_none=True)
    reason = fields.String(required=True, allow_none=True)
    correlation = fields.String(required=True, allow_none=True)
    source = fields.String(required=True)
    data = fields.Dict(fields.String(), required=True)
    prev_hash = fields.String(required=True)
    hash = fields.String(required=True)


class CheckpointSchema(Schema):
    """A signed statement about the chain; `signature` (Ed25519, base64) covers the canonical JSON of all other fields."""

    version = fields.Integer(required=True)
    team_id = fields.String(required=True, metadata={"format": "uuid"})
    sequence = fields.Integer(required=True)
    number = fields.Integer(required=True)
    hash = fields.String(required=True)
    at = fields.String(required=True, metadata={"format": "date-time"})
    previous = fields.String(required=True)
    key = fields.String(required=True)
    signature = fields.String(required=True)


class FindingSchema(Schema):
    """What a verification found; `broken_at` is the first entry that is wrong or missing, `reason` says how."""

    valid = fields.Boolean(required=True)
    entries = fields.Integer(required=True)
    first = fields.Integer(required=True, allow_none=True)
    last = fields.Integer(required=True, allow_none=True)
    checkpoints = fields.Integer(required=True)
    broken_at = fields.Integer(required=True, allow_none=True)
    reason = fields.String(required=True, allow_none=True)


EntryPageSchema = page_schema(EntrySchema)
CheckpointPageSchema = page_schema(CheckpointSchema)
