"""The shape of a message: its fields, their types, which are required. A recorded shape may only grow by optional fields."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

from marshmallow import Schema, fields

from kernel.contracts.spec import canonical

Shape = dict[str, str]  # dotted path -> "UUID required"


def shape_of(schema: type[Schema]) -> Shape:
    """Each field of `schema` and of what is nested in it."""
    found: Shape = {}
    _walk(schema(), "", found)
    return dict(sorted(found.items()))


def _walk(schema: Schema, path: str, found: Shape) -> None:
    for name, field in schema.fields.items():
        _describe(field, f"{path}{field.data_key or name}", found)


def _describe(field: fields.Field[object], path: str, found: Shape) -> None:
    words = [type(field).__name__]
    if field.required:
        words.append("required")
    if field.allow_none:
        words.append("or null")
    found[path] = " ".join(words)
    if isinstance(field, fields.Nested):
        _walk(field.schema, f"{path}.", found)
    elif isinstance(field, fields.List):
        _describe(field.inner, f"{path}[]", found)
    elif isinstance(field, fields.Dict):
        if field.key_field is not None:
            _describe(field.key_field, f"{path}{{key}}", found)
        if field.value_field is not None:
            _describe(field.value_field, f"{path}{{value}}", found)


def fingerprint(shape: Mapping[str, str]) -> str:
    """The SHA-256 of a shape (64 hex characters)."""
    return hashlib.sha256(canonical(dict(shape))).hexdigest()


def breaks(before: Mapping[str, str], after: Mapping[str, str]) -> list[str]:
    """What in `after` needs a new version: everything but a further field that is not required."""
    wrong = [f"{path} was removed" for path in before if path not in after]
    wrong += [f"{path} was {before[path]!r} and is {after[path]!r}" for path in before if path in after and before[path] != after[path]]
    wrong += [f"{path} is new and required" for path, words in after.items() if path not in before and _is_demanded(path, words, before)]
    return wrong


def _is_demanded(path: str, words: str, before: Mapping[str, str]) -> bool:
    """A required field inside a thing that is itself new and optional asks nothing of old senders."""
    if " required" not in f" {words}":
        return False
    parents = [path[:position] for position, character in enumerate(path) if character in ".[{"]
    return all(parent in before for parent in parents)
