"""Writes the samples that are missing: `python -m tests.contracts.samples`. A sample that stands there is never changed."""

from __future__ import annotations

import json
import sys
from typing import Any

from marshmallow import Schema, fields

from kernel.contracts.envelope import MessageSchema
from tests.contracts import catalogue, values
from tests.contracts.catalogue import Document, Kind


def make(full: str, schema: type[MessageSchema], size: str) -> Document:
    """A whole message: `minimal` has what is required, `full` has every field."""
    kind = catalogue.kind_of(full, schema)
    sender, thing = full.split(".")[0], full.rpartition(".")[0]
    whole = size == "full"
    document: Document = {
        "specversion": "1.0",
        "id": str(values.fixed_id(f"message {full} {size}")),
        "source": f"agent/{values.NODE}" if kind is Kind.REPORT else sender,
        "type": full,
    }
    if whole:
        document |= {"subject": values.subject(full, kind), "time": values.TIME, "datacontenttype": "application/json"}
    else:
        document["time"] = values.TIME
    document["actor"] = f"node:{values.NODE}" if kind is Kind.REPORT else f"user:{values.USER}"
    wanted = catalogue.REQUIRED[kind] + (catalogue.FULL[kind] if whole else ())
    document |= {name: value for name, value in values.ENVELOPE.items() if name in wanted}
    document["data"] = _object(schema(), thing, whole)
    return document


def _object(schema: Schema, thing: str, whole: bool) -> Document:
    return {
        field.data_key or name: _value(field, field.data_key or name, thing, whole)
        for name, field in schema.fields.items()
        if whole or field.required
    }


def _value(field: fields.Field[Any], name: str, thing: str, whole: bool) -> Any:
    known = values.known(name, thing)
    if isinstance(field, fields.Nested):
        one = _object(field.schema, thing, whole)
        return [one] if field.many else one
    if isinstance(field, fields.List):
        if isinstance(known, list):
            return known
        return [_value(field.inner, name, thing, whole)]
    if known is not None:
        return known
    if isinstance(field, fields.Dict):
        if field.value_field is not None and isinstance(field.value_field, fields.Nested):
            return {"DATABASE_PASSWORD": _value(field.value_field, name, thing, whole)}
        return {}
    if isinstance(field, fields.UUID):
        return str(values.fixed_id(name))
    raise LookupError(f"tests/contracts/values.py knows no sample for the field {name} of {thing}")


def main() -> int:
    """Write what is missing; say what was written."""
    for full, schema in catalogue.message_types().items():
        for size in ("minimal", "full"):
            target = catalogue.folder(full) / f"{size}.json"
            if target.exists():
                continue
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(json.dumps(make(full, schema, size), indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
            sys.stdout.write(f"wrote {target.relative_to(catalogue.DOCUMENTS)}\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
