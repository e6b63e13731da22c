"""Lists: a limit, an opaque cursor, a stable order."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from marshmallow import RAISE, Schema, fields, validate

from kernel.errors import FieldError, Invalid

T = TypeVar("T")

DEFAULT_LIMIT = 50
LARGEST_LIMIT = 200


class PageArguments(Schema):
    """`?limit=&cursor=`; lists with filters inherit from it."""

    class Meta:
        unknown = RAISE

    limit = fields.Integer(load_default=DEFAULT_LIMIT, validate=validate.Range(1, LARGEST_LIMIT))
    cursor = fields.String(load_default=None, allow_none=True, validate=validate.Length(max=512))


@dataclass(frozen=True)
class Page:
    """One page as a response: {"items": […], "next_cursor": …}."""

    items: Sequence[Any]
    next_cursor: str | None


def encode_cursor(*key: object) -> str:
    """The sort key of a page's last item as opaque text."""
    return base64.urlsafe_b64encode(json.dumps([str(part) for part in key]).encode()).decode().rstrip("=")


def decode_cursor(cursor: str | None, *convert: Callable[[str], Any]) -> tuple[Any, ...] | None:
    """The sort key in `cursor`, each part converted. Raises Invalid. Any: what the converters give."""
    if cursor is None:
        return None
    try:
        parts = json.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
        if not isinstance(parts, list) or len(parts) != len(convert):
            raise ValueError("another list's cursor")
        return tuple(one(str(part)) for one, part in zip(convert, parts, strict=True))
    except (ValueError, ArithmeticError) as error:
        raise Invalid([FieldError("cursor", "is not a cursor of this list")]) from error


def page_of(items: Sequence[T], limit: int, key: Callable[[T], Sequence[object]]) -> Page:
    """A page of `items`, of which the caller fetched `limit` + 1 to know whether there are more."""
    more = len(items) > limit
    shown = items[:limit]
    return Page(shown, encode_cursor(*key(shown[-1])) if more else None)


def page_schema(item: type[Schema]) -> type[Schema]:
    """The schema of a page of `item`."""
    name = item.__name__.removesuffix("Schema")
    return type(
        f"{name}PageSchema",
        (Schema,),
        {"items": fields.List(fields.Nested(item), required=True), "next_cursor": fields.String(required=True, allow_none=True)},
    )
