"""Events that the catalog service sends."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from marshmallow import fields

from kernel.contracts.envelope import register
from kernel.contracts.recorded import Recorded, RecordedSchema

NAMES = (
    "catalog.registry.created",
    "catalog.registry.changed",
    "catalog.registry.deleted",
    "catalog.project.created",
    "catalog.project.changed",
    "catalog.project.converted",
    "catalog.project.deleted",
    "catalog.version.created",
    "catalog.version.changed",
    "catalog.version.deleted",
    "catalog.version.pinned",
    "catalog.version.released",
    "catalog.image.added",
    "catalog.image.changed",
    "catalog.image.removed",
    "catalog.image.reordered",
    "catalog.config_bundle.created",
    "catalog.config_bundle.changed",
    "catalog.config_bundle.deleted",
    "catalog.request.refused",
)

for _name in NAMES:
    register(_name, 1, RecordedSchema)


@dataclass(frozen=True, kw_only=True)
class VersionIncreased(Recorded):
    """A version has a child. With `auto_copy`, the deployer copies the parent's latest deployment of each place."""

    project_id: UUID
    parent_id: UUID
    version_id: UUID
    version_name: str
    version_seq: int
    auto_copy: bool = False
    image_ids: dict[str, str] | None = None


class VersionIncreasedSchema(RecordedSchema):
    kind = VersionIncreased

    project_id = fields.UUID(required=True)
    parent_id = fields.UUID(required=True)
    version_id = fields.UUID(required=True)
    version_name = fields.String(required=True)
    version_seq = fields.Integer(required=True, strict=True)
    auto_copy = fields.Boolean(load_default=False)
    # The parent's image id -> the child's image id, so that instance configurations follow their image.
    image_ids = fields.Dict(fields.String(), fields.String(), load_default=None, allow_none=True)


register("catalog.version.increased", 1, VersionIncreasedSchema)
