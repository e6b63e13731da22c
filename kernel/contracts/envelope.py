"""The envelope of every message: CloudEvents 1.0 in structured JSON, with Fairlead's extensions."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any
from uuid import UUID

from marshmallow import EXCLUDE, Schema, ValidationError, post_load

from kernel import clock
from kernel.contracts.config import flatten
from kernel.errors import FieldError, Invalid

CONTENT_TYPE = "application/cloudevents+json"
LONGEST_BODY_BYTES = 4 * 1024 * 1024


@dataclass(frozen=True)
class Message:
    """The base of every message's data. Subclasses are registered by `message(name, version)`."""


class MessageSchema(Schema):
    """Reads and writes one message class. Unknown fields are ignored when reading: a newer sender may add some."""

    kind: type[Message]

    class Meta:
        unknown = EXCLUDE

    @post_load
    def _build(self, data: dict[str, Any], **_: object) -> Message:
        return self.kind(**data)


@dataclass(frozen=True)
class _Registered:
    name: str
    version: int
    kind: type[Message]
    schema: MessageSchema


_by_type: dict[str, _Registered] = {}
_by_kind: dict[type[Message], list[_Registered]] = {}


def register(name: str, version: int, schema: type[MessageSchema]) -> None:
    """Make `name` (`deployer.deployment.started`) in `version` a message that `schema` reads and writes."""
    full = f"{name}.v{version}"
    if full in _by_type:
        raise ValueError(f"two messages are called {full}")
    entry = _Registered(name, version, schema.kind, schema())
    _by_type[full] = entry
    _by_kind.setdefault(schema.kind, []).append(entry)


def registered() -> dict[str, type[MessageSchema]]:
    """Every message type (`name.vN`) with its schema class; for the contract tests and the manual."""
    return {full: type(entry.schema) for full, entry in sorted(_by_type.items())}


@dataclass(frozen=True)
class Envelope:
    """One message. `data` is a registered message class; times are aware; a sequence counts one sender's reports."""

    type: str
    source: str
    data: Message
    subject: str = ""
    id: UUID = field(default_factory=clock.new_id)
    time: datetime = field(default_factory=clock.now)
    team: UUID | None = None
    actor: str = "system:fairlead"
    actorname: str | None = None
    address: str | None = None
    correlation: str | None = None
    causation: str | None = None
    traceparent: str | None = None
    node: UUID | None = None
    epoch: int | None = None
    generation: int | None = None
    sequence: int | None = None
    ttl_seconds: int | None = None

    @property
    def name(self) -> str:
        """The type without its version."""
        return self.type.rpartition(".v")[0]

    def caused(self, **changes: Any) -> Envelope:
        """A copy for what follows from this message. Any: the fields of the envelope."""
        return replace(self, causation=str(self.id), **changes)


_OPTIONAL_TEXT = ("actorname", "address", "correlation", "causation", "traceparent")
_OPTIONAL_NUMBER = ("epoch", "generation", "sequence", "ttl_seconds")


def type_of(kind: type[Message], name: str | None = None) -> str:
    """The wire type of a message class; `name` is needed where one class serves several names."""
    entries = _by_kind[kind]
    if name is not None:
        entries = [entry for entry in entries if entry.name == name]
    if len(entries) != 1:
        raise ValueError(f"{kind.__name__} has {len(entries)} types called {name}")
    return f"{entries[0].name}.v{entries[0].version}"


def encode(envelope: Envelope) -> bytes:
    """The exact bytes that travel (and are signed). Raises Invalid when the data breaks its own schema."""
    entry = _by_type[envelope.type]
    data = entry.schema.dump(envelope.data)
    wrong = entry.schema.validate(data)
    if wrong:
        raise Invalid(flatten(wrong, "data"), code="message-invalid", detail=f"{envelope.type} breaks its schema: {wrong}")
    document: dict[str, object] = {
        "specversion": "1.0",
        "id": str(envelope.id),
        "source": envelope.source,
        "type": envelope.type,
        "subject": envelope.subject,
        "time": clock.rfc3339(envelope.time),
        "datacontenttype": "application/json",
        "actor": envelope.actor,
    }
    if envelope.team is not None:
        document["team"] = str(envelope.team)
    if envelope.node is not None:
        document["node"] = str(envelope.node)
    for key in _OPTIONAL_TEXT + _OPTIONAL_NUMBER:
        value = getattr(envelope, key)
        if value is not None:
            document[key] = value
    document["data"] = data
    body = json.dumps(document, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()
    if len(body) > LONGEST_BODY_BYTES:
        raise Invalid([FieldError("data", f"makes the message longer than {LONGEST_BODY_BYTES} bytes")], code="message-invalid")
    return body


class UnknownType(Invalid):
    """A well-formed envelope whose type nobody here knows."""


def peek(body: bytes) -> Mapping[str, Any]:
    """The JSON object in `body`, not yet checked further. Raises Invalid."""
    if len(body) > LONGEST_BODY_BYTES:
        raise Invalid([FieldError("body", f"is longer than {LONGEST_BODY_BYTES} bytes")], code="message-invalid")
    try:
        document = json.loads(body, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise Invalid([FieldError("body", f"is not JSON: {error}")], code="message-invalid", detail=f"not JSON: {error}") from error
    if not isinstance(document, dict):
        raise Invalid([FieldError("body", "is not a JSON object")], code="message-invalid", detail="not a JSON object")
    return document


def _refuse_constant(name: str) -> object:
    raise ValueError(f"{name} is not a number of JSON")


def decode(body: bytes) -> Envelope:
    """The message in `body`. Raises Invalid (`message-invalid`) naming each wrong field, UnknownType for an unknown type."""
    return from_document(peek(body))


def from_document(document: Mapping[str, Any]) -> Envelope:
    """As `decode`, from an object that was parsed already."""
    wrong: list[FieldError] = []
    values: dict[str, Any] = {}
    if document.get("specversion") != "1.0":
        wrong.append(FieldError("specversion", "must be 1.0"))
    for key, convert in (("id", UUID), ("time", clock.parse_rfc3339), ("type", _text), ("source", _text), ("actor", _text)):
        _take(document, key, convert, values, wrong, required=True)
    for key in ("team", "node"):
        _take(document, key, UUID, values, wrong)
    for key in (*_OPTIONAL_TEXT, "subject"):
        _take(document, key, _text, values, wrong)
    for key in _OPTIONAL_NUMBER:
        _take(document, key, _natural, values, wrong)
    if wrong:
        raise _invalid(wrong)
    entry = _by_type.get(values["type"])
    if entry is None:
        raise UnknownType(
            [FieldError("type", f"{values['type']} is not known here")], code="type-unknown", detail=f"unknown type {values['type']}"
        )
    try:
        data = entry.schema.load(document.get("data"))  # type: ignore[arg-type]  # a non-mapping is refused by the schema
    except ValidationError as error:
        raise _invalid(flatten(error.messages, "data")) from error
    return Envelope(data=data, **values)


def _invalid(wrong: list[FieldError]) -> Invalid:
    return Invalid(wrong, code="message-invalid", detail="; ".join(f"{e.field} {e.message}" for e in wrong))


def _take(
    document: Mapping[str, Any], key: str, convert: Any, values: dict[str, Any], wrong: list[FieldError], *, required: bool = False
) -> None:
    raw = document.get(key)
    if raw is None:
        if required:
            wrong.append(FieldError(key, "is missing"))
        return
    try:
        values[key] = convert(raw)
    except (ValueError, TypeError, AttributeError):
        wrong.append(FieldError(key, "has the wrong form"))


def _text(raw: object) -> str:
    if not isinstance(raw, str) or len(raw) > 2048:
        raise ValueError
    return raw


def _natural(raw: object) -> int:
    if not isinstance(raw, int) or isinstance(raw, bool) or raw < 0 or raw >= 1 << 63:
        raise ValueError
    return raw
