"""A message that changes its shape without a new version fails the build, and so does this check when it is broken."""

from __future__ import annotations

import copy

import pytest
from marshmallow import Schema, fields

from tests.contracts import record, shapes
from tests.contracts.record import Record


class Part(Schema):
    size = fields.Integer(required=True)


class Before(Schema):
    name = fields.String(required=True)
    note = fields.String(load_default=None, allow_none=True)
    parts = fields.List(fields.Nested(Part), load_default=list)


class Grown(Before):
    colour = fields.String(load_default="red")


class GrownDeep(Before):
    more = fields.Nested(Part, load_default=None, allow_none=True)


class Demanding(Before):
    colour = fields.String(required=True)


class Retyped(Before):
    note = fields.Integer(load_default=None, allow_none=True)  # type: ignore[assignment]  # the very mistake


class NoLongerOptional(Before):
    note = fields.String(required=True, allow_none=True)


class OtherPart(Part):
    weight = fields.Integer(required=True)


class DemandingInside(Before):
    parts = fields.List(fields.Nested(OtherPart), load_default=list)


class Renamed(Schema):
    title = fields.String(required=True)
    note = fields.String(load_default=None, allow_none=True)
    parts = fields.List(fields.Nested(Part), load_default=list)


def test_no_message_changed_without_a_new_version() -> None:
    now, then = record.present(), record.recorded()
    assert record.refusals(then, now) == []
    assert now == then, "record it: python -m tests.contracts.record"


@pytest.mark.parametrize("schema", [Grown, GrownDeep, Before])
def test_a_further_optional_field_keeps_the_version(schema: type[Schema]) -> None:
    assert shapes.breaks(shapes.shape_of(Before), shapes.shape_of(schema)) == []


@pytest.mark.parametrize(
    ("schema", "said"),
    [
        (Demanding, "colour is new and required"),
        (Retyped, "note was 'String or null' and is 'Integer or null'"),
        (NoLongerOptional, "note was 'String or null' and is 'String required or null'"),
        (DemandingInside, "parts[].weight is new and required"),
        (Renamed, "name was removed"),
    ],
)
def test_whatever_else_changes_needs_a_new_version(schema: type[Schema], said: str) -> None:
    assert said in shapes.breaks(shapes.shape_of(Before), shapes.shape_of(schema))


def test_a_shape_is_told_from_every_other() -> None:
    made = [
        shapes.fingerprint(shapes.shape_of(schema)) for schema in (Before, Grown, GrownDeep, Demanding, Retyped, DemandingInside, Renamed)
    ]
    assert len(set(made)) == len(made)
    assert shapes.fingerprint(shapes.shape_of(Before)) == made[0]


def changed(full: str, **change: object) -> Record:
    broken = copy.deepcopy(record.recorded())
    broken[full] |= change
    return broken


def test_an_edited_minimal_sample_is_refused() -> None:
    broken = changed("deployer.deployment.apply.v1", minimal="0" * 64)
    assert record.refusals(record.recorded(), broken) == [
        "deployer.deployment.apply.v1: its minimal.json was edited; old messages look like it for ever"
    ]


def test_a_message_that_is_gone_is_refused() -> None:
    broken = record.recorded()
    del broken["agent.hello.v1"]
    assert record.refusals(record.recorded(), broken) == ["agent.hello.v1: a message that was sent once must stay readable"]


def test_a_changed_field_of_a_real_message_is_refused() -> None:
    shape = dict(record.recorded()["agent.heartbeat.v1"]["fields"])
    shape["boot_id"] = "String required"
    assert any("make a new version" in reason for reason in record.refusals(record.recorded(), changed("agent.heartbeat.v1", fields=shape)))
