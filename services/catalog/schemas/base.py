"""What the catalog's schemas have alike."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from typing import Any

from marshmallow import RAISE, Schema, ValidationError, fields, validate

from kernel.contracts.config import ConfigSchema


class Strict(Schema):
    """Unknown fields are an error."""

    class Meta:
        unknown = RAISE


def no_control_characters(text: str) -> None:
    if any(unicodedata.category(character) in ("Cc", "Zl", "Zp") for character in text):
        raise ValidationError("must not contain control characters")


def _no_nul(text: str) -> None:
    if "\0" in text:
        raise ValidationError("must not contain a NUL character")


def _not_blank(text: str) -> None:
    if text != text.strip():
        raise ValidationError("must not begin or end with a space")


def name_field(longest: int = 128, **more: Any) -> fields.String:
    """A name that people give. Any: options of the field."""
    return fields.String(validate=[validate.Length(1, longest), no_control_characters, _not_blank], **more)


def text_field(longest: int, **more: Any) -> fields.String:
    """Free text. Any: options of the field."""
    return fields.String(validate=[validate.Length(max=longest), _no_nul], **more)


def word_field(longest: int, **more: Any) -> fields.String:
    """One line without control characters. Any: options of the field."""
    return fields.String(validate=[validate.Length(1, longest), no_control_characters], **more)


class ConfigField(fields.Nested):
    """A configuration: checked by the schema that every level shares, handed on as JSON with defaults filled in."""

    def __init__(self, **more: Any) -> None:
        super().__init__(ConfigSchema, **more)

    def _deserialize(self, value: Any, attr: str | None, data: Mapping[str, Any] | None, *args: Any, **more: Any) -> Any:
        return self.schema.dump(super()._deserialize(value, attr, data, *args, **more))

    # Its bases disagree on the name of the first argument.
    def _serialize(self, nested_obj: Any, attr: Any, obj: Any, **kwargs: Any) -> Any:  # type: ignore[override]  # as said above
        # It was checked when it was stored, and is JSON already.
        return nested_obj


class ConfigPatchField(fields.Dict):
    """A merge patch of a configuration; the result is checked as a whole. Any: as above."""

    def __init__(self, **more: Any) -> None:
        super().__init__(keys=fields.String(), validate=validate.Length(max=64), **more)


class TimesSchema(Strict):
    created_at = fields.AwareDateTime(required=True)
    updated_at = fields.AwareDateTime(required=True)
