"""Every message of every type survives the wire; what is broken is refused with every wrong field named."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from marshmallow import Schema, fields, validate

from kernel import clock
from kernel.contracts.envelope import (
    LONGEST_BODY_BYTES,
    Envelope,
    Message,
    MessageSchema,
    UnknownType,
    decode,
    encode,
    register,
    type_of,
)
from kernel.contracts.recorded import Recorded
from kernel.errors import Invalid
from tests.contracts import catalogue

TYPES = catalogue.message_types()
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
PLAIN = TEXT | st.integers(-(1 << 40), 1 << 40) | st.booleans()
PATTERNS = {"tag": TEXT, "digest": st.just("sha256:" + "0" * 64)}
MOMENTS = st.datetimes(datetime(1970, 1, 1), datetime(2200, 1, 1), timezones=st.just(UTC))


def documents(schema: Schema) -> st.SearchStrategy[dict[str, Any]]:
    """JSON that `schema` accepts, its optional fields there or not."""
    required = {str(f.data_key or name): values(f, name) for name, f in schema.fields.items() if f.required}
    optional = {str(f.data_key or name): values(f, name) for name, f in schema.fields.items() if not f.required}
    return st.fixed_dictionaries(required, optional=optional)


def values(field: fields.Field[Any], name: str) -> st.SearchStrategy[Any]:
    made = _values(field, name)
    return st.none() | made if field.allow_none else made


def _values(field: fields.Field[Any], name: str) -> st.SearchStrategy[Any]:
    rules = field.validators
    choices = next((rule.choices for rule in rules if isinstance(rule, validate.OneOf)), None)
    if choices is not None:
        return st.sampled_from(list(choices))
    if isinstance(field, fields.Nested):
        return documents(field.schema)
    if isinstance(field, fields.List):
        return st.lists(values(field.inner, name), min_size=1, max_size=3)
    if isinstance(field, fields.Dict):
        of_value = values(field.value_field, name) if field.value_field else PLAIN
        return st.dictionaries(TEXT, of_value, max_size=3)
    regular = next((rule for rule in rules if isinstance(rule, validate.Regexp)), None)
    if regular is not None:
        return st.from_regex(regular.regex, fullmatch=True)
    return simple(field)


def simple(field: fields.Field[Any]) -> st.SearchStrategy[Any]:
    if isinstance(field, fields.UUID):
        return st.uuids().map(str)
    if isinstance(field, fields.Boolean):
        return st.booleans()
    if isinstance(field, fields.Integer):
        return st.integers(1, 86_400)
    if isinstance(field, fields.Float):
        return st.floats(0, 1)
    if isinstance(field, fields.AwareDateTime):
        return MOMENTS.map(clock.rfc3339)
    assert isinstance(field, fields.String), type(field)
    return TEXT.filter(bool)


ENVELOPES = st.fixed_dictionaries(
    {},
    optional={
        "subject": TEXT, "team": st.uuids().map(str), "node": st.uuids().map(str), "actorname": TEXT, "address": TEXT, "correlation": TEXT,
        "causation": TEXT, "traceparent": TEXT, "epoch": st.integers(0, 9), "generation": st.integers(0, (1 << 63) - 1),
        "sequence": st.integers(0, 9), "ttl_seconds": st.integers(0, 900),
    },
)  # fmt: skip


def document(full: str = "identity.team.created.v1", **changes: Any) -> dict[str, Any]:
    """A small good message with `changes`; a change to ... takes the field away."""
    base: dict[str, Any] = {
        "specversion": "1.0", "id": str(clock.new_id()), "source": "identity", "type": full, "time": "2026-11-22T10:00:00Z",
        "actor": "user:1", "data": {"resource_type": "team", "resource_id": "1"},
    }  # fmt: skip
    return {key: value for key, value in (base | changes).items() if value is not ...}


def wrong(body: dict[str, Any] | bytes) -> list[str]:
    with pytest.raises(Invalid) as caught:
        decode(body if isinstance(body, bytes) else json.dumps(body).encode())
    assert caught.value.code in ("message-invalid", "type-unknown")
    return [error.field for error in caught.value.errors]


@pytest.mark.parametrize("full", TYPES)
@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(data=st.data())
def test_every_message_survives_the_wire(full: str, data: st.DataObject) -> None:
    sent = document(full, **data.draw(ENVELOPES), data=data.draw(documents(TYPES[full]())))
    message = decode(json.dumps(sent).encode())
    assert decode(encode(message)) == message
    assert encode(decode(encode(message))) == encode(message)


@given(st.recursive(PLAIN | st.none(), lambda inner: st.lists(inner) | st.dictionaries(TEXT, inner), max_leaves=8))
def test_whatever_json_comes_is_read_or_refused(body: Any) -> None:
    with pytest.raises(Invalid):
        decode(json.dumps(body).encode())


@given(st.binary(max_size=100))
def test_whatever_bytes_come_are_refused_as_invalid(body: bytes) -> None:
    with pytest.raises(Invalid):
        decode(body)


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"specversion": "0.3"}, "specversion"),
        ({"specversion": ...}, "specversion"),
        ({"id": ...}, "id"),
        ({"id": "7"}, "id"),
        ({"id": 7}, "id"),
        ({"time": "soon"}, "time"),
        ({"time": "2026-11-22T10:00:00"}, "time"),
        ({"time": "0001-01-01T00:00:00+23:00"}, "time"),
        ({"time": 5}, "time"),
        ({"type": ...}, "type"),
        ({"type": ["x"]}, "type"),
        ({"source": 1}, "source"),
        ({"actor": ...}, "actor"),
        ({"actor": "x" * 2049}, "actor"),
        ({"team": "ours"}, "team"),
        ({"node": 1}, "node"),
        ({"subject": {}}, "subject"),
        ({"correlation": 1}, "correlation"),
        ({"epoch": -1}, "epoch"),
        ({"epoch": True}, "epoch"),
        ({"generation": "1"}, "generation"),
        ({"generation": 1 << 63}, "generation"),
        ({"sequence": 1.5}, "sequence"),
        ({"data": ...}, "data"),
        ({"data": []}, "data"),
        ({"data": {"resource_type": "team"}}, "data.resource_id"),
        ({"data": {"resource_type": "", "resource_id": "1"}}, "data.resource_type"),
        ({"data": {"resource_type": "t", "resource_id": "1", "outcome": "maybe"}}, "data.outcome"),
        ({"data": {"resource_type": "t", "resource_id": "1", "before": []}}, "data.before"),
    ],
)
def test_a_wrong_field_is_named(change: dict[str, Any], field: str) -> None:
    assert wrong(document(**change)) == [field]


def test_every_wrong_field_of_the_envelope_is_named_at_once() -> None:
    assert wrong(document(id="x", time="x", team="x", epoch=-1, actor=...)) == ["id", "time", "actor", "team", "epoch"]


def test_every_wrong_field_of_the_data_is_named_at_once() -> None:
    deep = {"containers": [{"prefix": "a"}, {"name": 1}]}
    found = wrong(document("agent.containers.observed.v1", data=deep))
    assert {"data.containers.0.name", "data.containers.1.name", "data.containers.1.prefix"} <= set(found)


def test_an_unknown_type_is_told_from_a_broken_message() -> None:
    with pytest.raises(UnknownType) as caught:
        decode(json.dumps(document("identity.team.sold.v1")).encode())
    assert caught.value.code == "type-unknown"
    with pytest.raises(UnknownType):
        decode(json.dumps(document("identity.team.created.v2")).encode())


def test_unknown_fields_are_ignored() -> None:
    told = document(added="later", data={"resource_type": "team", "resource_id": "1", "added": {"x": [1]}})
    assert decode(json.dumps(told).encode()).data == Recorded(resource_type="team", resource_id="1")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"[]",
        b'"x"',
        b"{",
        b"\xff",
        b"[" * 100_000,
        b'{"a":' * 100_000,
        b'{"specversion":' + b"9" * 5000 + b"}",
        b" " * (LONGEST_BODY_BYTES + 1),
    ],
    ids=["empty", "null", "list", "text", "open", "not UTF-8", "deep lists", "deep objects", "a long number", "too long"],
)
def test_what_is_no_message_is_refused(body: bytes) -> None:
    assert wrong(body)


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity"])
def test_what_json_does_not_know_is_refused(number: str) -> None:
    body = json.dumps(document()).replace('"resource_type"', f'"before": {{"x": {number}}}, "resource_type"')
    assert wrong(body.encode()) == ["body"]


def test_a_sender_is_strict() -> None:
    with pytest.raises(Invalid) as caught:
        encode(Envelope(type="identity.team.created.v1", source="x", data=Recorded(resource_type="", resource_id="1", outcome="maybe")))
    assert {error.field for error in caught.value.errors} == {"data.resource_type", "data.outcome"}
    with pytest.raises(Invalid):
        encode(
            Envelope(
                type="identity.team.created.v1",
                source="x",
                data=Recorded(resource_type="t", resource_id="1", before={"x": "y" * LONGEST_BODY_BYTES}),
            )
        )


def test_a_message_without_team_or_node_does_not_mention_them() -> None:
    plain = Envelope(type="identity.team.created.v1", source="identity", data=Recorded(resource_type="t", resource_id="1"))
    assert json.loads(encode(plain)).keys() == {
        "specversion", "id", "source", "type", "subject", "time", "datacontenttype", "actor", "data",
    }  # fmt: skip


def test_what_follows_names_its_cause() -> None:
    first = Envelope(type="identity.team.created.v1", source="identity", data=Recorded(resource_type="t", resource_id="1"), correlation="c")
    second = first.caused(id=clock.new_id(), type="identity.team.changed.v1")
    assert (second.causation, second.correlation, second.name) == (str(first.id), "c", "identity.team.changed")


def test_two_messages_of_one_name_and_version_cannot_be() -> None:
    class Other(MessageSchema):
        kind = Message

    with pytest.raises(ValueError, match=r"identity\.team\.created\.v1"):
        register("identity.team.created", 1, Other)


def test_a_class_that_serves_many_names_needs_to_be_told_which() -> None:
    from kernel.contracts.agent import Hello

    assert type_of(Hello) == "agent.hello.v1"
    assert type_of(Recorded, "identity.team.created") == "identity.team.created.v1"
    with pytest.raises(ValueError, match="types called"):
        type_of(Recorded)


def test_each_envelope_has_an_id_and_a_time_of_its_own() -> None:
    made = [Envelope(type="t", source="s", data=Recorded(resource_type="t", resource_id="1")) for _ in range(3)]
    assert len({one.id for one in made}) == 3
    assert all(isinstance(one.id, UUID) and one.time.tzinfo is not None for one in made)
