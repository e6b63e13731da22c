"""A Compose file against the specification's JSON Schema (schema.json): everything that is wrong, by its path."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import cast

from jsonschema import Draft202012Validator
from jsonschema.exceptions import ValidationError

from kernel.errors import FieldError, Invalid
from services.catalog.compose.document import Json

VALIDATOR = Draft202012Validator(json.loads(Path(__file__).with_name("schema.json").read_text()))
_MOST_ERRORS = 100
_KINDS = {
    "string": "a text", "object": "a mapping", "array": "a list", "boolean": "true or false", "integer": "a whole number",
    "number": "a number", "null": "empty",
}  # fmt: skip


def check(document: Mapping[str, Json]) -> None:
    """Raises Invalid naming each wrong thing of `document`, whose variables are filled in."""
    wrong = []
    for error in _fields(VALIDATOR.iter_errors(document)):
        if error not in wrong:
            wrong.append(error)
        if len(wrong) >= _MOST_ERRORS:
            break
    if wrong:
        raise Invalid(wrong)


def _fields(errors: Iterable[ValidationError], form: str | None = None) -> Iterator[FieldError]:
    for error in errors:
        path = ".".join(str(part) for part in error.absolute_path)
        if error.validator == "anyOf":
            meant = _meant(error)
            yield from _fields(meant, _schema(error).get("description")) if meant else iter([FieldError(path, _message(error, form))])
        elif error.validator == "additionalProperties":
            yield from (FieldError(_below(path, key), "is not in the Compose specification") for key in _strange(error))
        elif error.validator == "required":
            missing = [key for key in _schema(error)["required"] if key not in _value(error)]
            yield from (FieldError(_below(path, key), "is needed") for key in missing)
        else:
            yield FieldError(path, _message(error, form))


def _meant(error: ValidationError) -> list[ValidationError]:
    """Of the forms that a value may have: what is wrong with the one that it has; nothing if it has none of them."""
    forms: dict[int, list[ValidationError]] = {}
    for one in error.context or ():
        forms.setdefault(int(one.schema_path[0]), []).append(one)
    fitting = [found for found in forms.values() if not any(one.validator in ("type", "const") and not one.path for one in found)]
    return fitting[0] if len(fitting) == 1 else []


def _strange(error: ValidationError) -> list[str]:
    known = _schema(error).get("properties", {})
    patterns = _schema(error).get("patternProperties", {})
    return [key for key in _value(error) if key not in known and not any(re.search(pattern, key) for pattern in patterns)]


def _message(error: ValidationError, form: str | None) -> str:
    """What the schema says of the value, or else what it demands."""
    said = _schema(error).get("description") or (form if not error.path else None)
    if said:
        return str(said)
    wanted: Json = _schema(error).get(str(error.validator))
    if error.validator == "type":
        return "must be " + " or ".join(_KINDS[kind] for kind in ([wanted] if isinstance(wanted, str) else wanted))
    if error.validator == "enum":
        return "must be one of " + ", ".join(wanted)
    return form or "is not as the Compose specification has it"


def _schema(error: ValidationError) -> dict[str, Json]:
    """The part of the schema that the value breaks."""
    return cast("dict[str, Json]", error.schema)


def _value(error: ValidationError) -> dict[str, Json]:
    """The value that is wrong, of an error that only a mapping can have."""
    return cast("dict[str, Json]", error.instance)


def _below(path: str, key: str) -> str:
    return f"{path}.{key}" if path else key
