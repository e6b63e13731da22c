"""Cursors, and JSON merge patch by the table of RFC 7396."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from marshmallow import Schema, ValidationError, fields

from kernel import clock
from kernel.errors import Invalid
from kernel.http.paging import LARGEST_LIMIT, PageArguments, decode_cursor, encode_cursor, page_of, page_schema
from kernel.http.patch import merge_patch

# RFC 7396, appendix A: (original, patch, result).
RFC_7396: list[tuple[Any, Any, Any]] = [
    ({"a": "b"}, {"a": "c"}, {"a": "c"}),
    ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}),
    ({"a": "b"}, {"a": None}, {}),
    ({"a": "b", "b": "c"}, {"a": None}, {"b": "c"}),
    ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
    ({"a": "c"}, {"a": ["b"]}, {"a": ["b"]}),
    ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
    ({"a": [{"b": "c"}]}, {"a": [1]}, {"a": [1]}),
    (["a", "b"], ["c", "d"], ["c", "d"]),
    ({"a": "b"}, ["c"], ["c"]),
    ({"a": "foo"}, None, None),
    ({"a": "foo"}, "bar", "bar"),
    ({"e": None}, {"a": 1}, {"e": None, "a": 1}),
    ([1, 2], {"a": "b", "c": None}, {"a": "b"}),
    ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
]
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=10,
)


@pytest.mark.parametrize(("original", "patch", "result"), RFC_7396, ids=json.dumps)
def test_merge_patch_follows_the_table_of_its_rfc(original: Any, patch: Any, result: Any) -> None:
    assert merge_patch(original, patch) == result


@given(JSON, JSON)
def test_a_patch_leaves_its_target_alone_and_twice_is_once(target: Any, patch: Any) -> None:
    before = json.dumps(target)
    once = merge_patch(target, patch)
    assert json.dumps(target) == before
    assert merge_patch(once, patch) == once


@given(st.uuids(), st.datetimes(timezones=st.just(UTC)), st.integers(), st.text(max_size=50))
def test_a_cursor_is_read_back(id_: UUID, at: datetime, number: int, name: str) -> None:
    cursor = encode_cursor(id_, at.isoformat(), number, name)
    assert decode_cursor(cursor, UUID, datetime.fromisoformat, int, str) == (id_, at, number, name)


def test_no_cursor_is_the_first_page() -> None:
    assert decode_cursor(None, UUID) is None


@pytest.mark.parametrize(
    "cursor",
    ["", "x", "ä", "!!!!", "AAAA", encode_cursor(), encode_cursor("a", "b"), encode_cursor("no uuid"), "W10=" * 100, "eyJhIjoxfQ"],
)
def test_a_cursor_of_another_list_is_invalid(cursor: str) -> None:
    with pytest.raises(Invalid) as caught:
        decode_cursor(cursor, UUID)
    assert [error.field for error in caught.value.errors] == ["cursor"]


@given(st.text(max_size=100))
def test_any_text_is_a_cursor_or_invalid(text: str) -> None:
    try:
        decode_cursor(text, UUID, clock.parse_rfc3339, int, Decimal)
    except Invalid:
        return
    raise AssertionError(f"{text!r} is no cursor")


@given(st.lists(st.integers(), max_size=12), st.integers(1, 10))
def test_pages_put_together_are_the_list(numbers: list[int], limit: int) -> None:
    rows = sorted(set(numbers))
    seen: list[int] = []
    cursor: str | None = None
    while True:
        after = decode_cursor(cursor, int)
        fetched = [row for row in rows if after is None or row > after[0]][: limit + 1]
        page = page_of(fetched, limit, lambda row: (row,))
        assert len(page.items) <= limit
        seen += page.items
        cursor = page.next_cursor
        if cursor is None:
            break
    assert seen == rows


@pytest.mark.parametrize("limit", ["0", "-1", str(LARGEST_LIMIT + 1), "many", "1.5", ""])
def test_a_limit_out_of_bounds_is_refused(limit: str) -> None:
    with pytest.raises(ValidationError):
        PageArguments().load({"limit": limit})


def test_a_list_takes_no_unknown_filter() -> None:
    with pytest.raises(ValidationError):
        PageArguments().load({"colour": "red"})


def test_a_pages_schema_is_named_after_its_item() -> None:
    class NodeSchema(Schema):
        name = fields.String()

    made = page_schema(NodeSchema)
    assert made.__name__ == "NodePageSchema"
    assert made().dump({"items": [{"name": "a"}], "next_cursor": None}) == {"items": [{"name": "a"}], "next_cursor": None}
