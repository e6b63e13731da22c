"""Every message has samples that are read and written as they stand there."""

from __future__ import annotations

import json
from dataclasses import fields as dataclass_fields
from typing import Any

import pytest
from marshmallow import Schema, fields

from kernel.contracts.envelope import Envelope, MessageSchema, decode, encode
from kernel.errors import Invalid
from tests.contracts import catalogue, index, samples
from tests.contracts.catalogue import Document

TYPES = catalogue.message_types()
each = pytest.mark.parametrize("full", TYPES)


def as_bytes(document: Document) -> bytes:
    return json.dumps(document).encode()


@each
def test_a_full_sample_is_written_again_as_it_stands(full: str) -> None:
    document = catalogue.read(full, "full")
    assert json.loads(encode(decode(as_bytes(document)))) == document


@each
def test_a_minimal_sample_is_read_and_written_with_its_defaults(full: str) -> None:
    document = catalogue.read(full, "minimal")
    message = decode(as_bytes(document))
    again = json.loads(encode(message))
    assert decode(as_bytes(again)) == message
    assert holds(again, document), "nothing that was said is lost"


@each
def test_a_full_sample_has_every_field(full: str) -> None:
    document = catalogue.read(full, "full")
    kind = catalogue.kind_of(full, TYPES[full])
    envelope = {*catalogue.ALWAYS, *catalogue.WRITTEN, *catalogue.REQUIRED[kind], *catalogue.FULL[kind]}
    assert envelope <= document.keys()
    assert missing(TYPES[full](), document["data"], "data") == []


@each
def test_a_minimal_sample_has_what_is_required_and_no_more(full: str) -> None:
    document = catalogue.read(full, "minimal")
    assert set(document) == {*catalogue.ALWAYS, *catalogue.REQUIRED[catalogue.kind_of(full, TYPES[full])]}
    assert superfluous(TYPES[full](), document["data"], "data") == []


@each
def test_without_any_one_required_field_a_message_is_refused_by_name(full: str) -> None:
    document = catalogue.read(full, "minimal")
    for name in TYPES[full]().fields.values():
        if not name.required:
            continue
        key = str(name.data_key or name.name)
        data = {field: value for field, value in document["data"].items() if field != key}
        with pytest.raises(Invalid) as caught:
            decode(as_bytes(document | {"data": data}))
        assert [error.field for error in caught.value.errors] == [f"data.{key}"]


@each
def test_a_reader_ignores_what_a_newer_sender_adds(full: str) -> None:
    document = catalogue.read(full, "full")
    expected = decode(as_bytes(document))
    assert decode(as_bytes(grown(document, TYPES[full]()))) == expected


@each
def test_a_sample_says_its_own_type_and_no_message_says_another_version(full: str) -> None:
    for size in ("minimal", "full"):
        document = catalogue.read(full, size)
        assert document["type"] == full
        name, _, version = full.rpartition(".")
        assert version == f"v{int(version[1:])}"
        assert decode(as_bytes(document)).name == name


def test_there_is_no_sample_of_an_unknown_message() -> None:
    present = {path.parent.relative_to(catalogue.DOCUMENTS).as_posix() for path in catalogue.DOCUMENTS.rglob("*.json")} - {"."}
    assert present == {catalogue.folder(full).relative_to(catalogue.DOCUMENTS).as_posix() for full in TYPES}


def test_a_missing_sample_is_made_as_the_others_were() -> None:
    for full, schema in TYPES.items():
        for size in ("minimal", "full"):
            made = samples.make(full, schema, size)
            assert json.loads(encode(decode(as_bytes(made))))["data"] is not None


def test_the_index_tells_what_the_code_does() -> None:
    assert index.TARGET.read_text(encoding="utf-8") == index.text(), "run `python -m tests.contracts.record`"


@pytest.mark.parametrize(
    ("pattern", "key", "fits"),
    [
        ("#", "a.b.c", True),
        ("a.#", "a", True),
        ("a.#", "a.b.c", True),
        ("a.*", "a.b", True),
        ("a.*", "a.b.c", False),
        ("a.b", "a.c", False),
        ("*.b.#", "a.b.c", True),
        ("deployer.deployment.#", "deployer.node.created.v1", False),
    ],
)
def test_bindings_are_matched_as_the_broker_does(pattern: str, key: str, fits: bool) -> None:
    assert index.matches(pattern, key) is fits


def test_each_message_class_can_be_written_out() -> None:
    for full, schema in TYPES.items():
        message = decode(as_bytes(catalogue.read(full, "full")))
        assert isinstance(message, Envelope)
        named = {field.name for field in dataclass_fields(schema.kind)}
        assert named == set(schema().fields), f"{full}: the class and its schema name the same fields"


def holds(bigger: Any, smaller: Any) -> bool:
    """Is everything of `smaller` in `bigger`? Any: JSON."""
    if isinstance(smaller, dict):
        return isinstance(bigger, dict) and all(key in bigger and holds(bigger[key], value) for key, value in smaller.items())
    if isinstance(smaller, list):
        return isinstance(bigger, list) and len(bigger) == len(smaller) and all(map(holds, bigger, smaller))
    return bool(bigger == smaller)


def nested(field: fields.Field[Any]) -> Schema | None:
    """The schema of the objects that a field holds, in whatever it holds them."""
    if isinstance(field, fields.Nested):
        return field.schema
    if isinstance(field, fields.List):
        return nested(field.inner)
    if isinstance(field, fields.Dict) and field.value_field is not None:
        return nested(field.value_field)
    return None


def objects(field: fields.Field[Any], value: Any) -> list[Document]:
    """The objects in the value of such a field."""
    if isinstance(field, fields.List):
        return [one for item in value for one in objects(field.inner, item)]
    if isinstance(field, fields.Dict) and field.value_field is not None:
        return [one for item in value.values() for one in objects(field.value_field, item)]
    return [value]


def missing(schema: Schema, value: Document, path: str) -> list[str]:
    found = []
    for name, field in schema.fields.items():
        key = str(field.data_key or name)
        if value.get(key) in (None, [], {}, ""):
            found.append(f"{path}.{key}")
        elif (inside := nested(field)) is not None:
            found += [gap for one in objects(field, value[key]) for gap in missing(inside, one, f"{path}.{key}")]
    return found


def superfluous(schema: Schema, value: Document, path: str) -> list[str]:
    known = {str(field.data_key or name): field for name, field in schema.fields.items()}
    found = [f"{path}.{key}" for key in value if key not in known or not known[key].required]
    for key, field in known.items():
        inside = nested(field)
        if inside is not None and key in value:
            found += [more for one in objects(field, value[key]) for more in superfluous(inside, one, f"{path}.{key}")]
    return found


def grown(document: Document, schema: MessageSchema) -> Document:
    """The message as a newer sender might write it: with a further field in every object."""
    copy: Document = json.loads(json.dumps(document))
    copy["added_later"] = {"x": 1}
    _grow(schema, copy["data"])
    return copy


def _grow(schema: Schema, value: Document) -> None:
    for name, field in schema.fields.items():
        inside = nested(field)
        if inside is not None:
            for one in objects(field, value[str(field.data_key or name)]):
                _grow(inside, one)
    value["added_later"] = [1, {"x": None}]
