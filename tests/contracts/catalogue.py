"""Every registered message type, what kind it is, and where its samples stand."""

from __future__ import annotations

import importlib
import json
import pkgutil
from enum import StrEnum
from pathlib import Path
from typing import Any

import kernel.contracts
from kernel.contracts import envelope
from kernel.contracts.envelope import MessageSchema
from kernel.contracts.recorded import RecordedSchema

DOCUMENTS = Path(__file__).resolve().parents[2] / "docs" / "messages"
FINGERPRINTS = DOCUMENTS / "fingerprints.json"

Document = dict[str, Any]  # Any: JSON


class Kind(StrEnum):
    """What a message is, which decides what its envelope must say."""

    EVENT = "event"
    COMMAND = "command"
    REPORT = "report"


# What readers of a kind rely on beside what every envelope has.
ALWAYS = ("specversion", "id", "source", "type", "time", "actor", "data")
REQUIRED: dict[Kind, tuple[str, ...]] = {
    Kind.EVENT: (),
    Kind.COMMAND: ("node", "epoch", "generation", "ttl_seconds"),
    Kind.REPORT: ("node", "epoch", "sequence"),
}
# What the writer adds to each message, whether a reader needs it or not.
WRITTEN = ("subject", "datacontenttype")
COMMON = ("team", "correlation", "causation", "traceparent")
FULL: dict[Kind, tuple[str, ...]] = {
    Kind.EVENT: (*COMMON, "actorname", "address"),
    Kind.COMMAND: (*COMMON, "actorname"),
    Kind.REPORT: COMMON,
}


def message_types() -> dict[str, type[MessageSchema]]:
    """All types (`name.vN`) of all modules of kernel.contracts, of which each registers its own when imported."""
    for module in pkgutil.iter_modules(kernel.contracts.__path__):
        importlib.import_module(f"kernel.contracts.{module.name}")
    own = {name: schema for name, schema in envelope.registered().items() if schema.__module__.startswith("kernel.contracts.")}
    return dict(sorted(own.items()))


def kind_of(full: str, schema: type[MessageSchema]) -> Kind:
    """Agents send reports; what tells of a change is an event; the rest orders something."""
    if full.startswith("agent."):
        return Kind.REPORT
    return Kind.EVENT if issubclass(schema, RecordedSchema) else Kind.COMMAND


def folder(full: str) -> Path:
    """`docs/messages/deployer.deployment.started/v1`."""
    name, _, version = full.rpartition(".")
    return DOCUMENTS / name / version


def read(full: str, size: str) -> Document:
    """The sample `minimal` or `full` of a type."""
    document: Document = json.loads((folder(full) / f"{size}.json").read_text(encoding="utf-8"))
    return document
