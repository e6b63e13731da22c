"""Projects, versions and images over HTTP."""

from __future__ import annotations

from marshmallow import fields, validate

from kernel.http import PageArguments, page_schema
from services.catalog.domain import ProjectType, VersionType
from services.catalog.domain.versions import MOST_IMAGES
from services.catalog.schemas.base import ConfigField, ConfigPatchField, Strict, TimesSchema, name_field, text_field

_CHANGELOG = 65_536


class ProjectChangeSchema(Strict):
    name = name_field()
    description = text_field(4000)


class ProjectCreateSchema(Strict):
    name = name_field(required=True)
    description = text_field(4000, load_default="")
    type = fields.Enum(ProjectType, by_value=True, load_default=ProjectType.VERSIONED)


class ProjectSchema(TimesSchema):
    id = fields.UUID(required=True)
    name = fields.String(required=True)
    description = fields.String(required=True)
    type = fields.Enum(ProjectType, by_value=True, required=True)
    version_count = fields.Integer(required=True)
    default_version_id = fields.UUID(
        required=True, allow_none=True, metadata={"description": "Of a versionless project: its one hidden version."}
    )
    revision = fields.Integer(required=True)


ProjectPageSchema = page_schema(ProjectSchema)


class ProjectPageArguments(PageArguments):
    query = fields.String(validate=validate.Length(max=128), load_default=None)
    type = fields.String(validate=validate.OneOf([kind.value for kind in ProjectType]), load_default=None)


class VersionChangeSchema(Strict):
    name = name_field(64)
    changelog = text_field(_CHANGELOG)
    auto_copy_deployments = fields.Boolean()


class VersionCreateSchema(Strict):
    name = name_field(64, required=True)
    type = fields.Enum(VersionType, by_value=True, load_default=VersionType.INCREMENTAL)
    changelog = text_field(_CHANGELOG, load_default="")
    auto_copy_deployments = fields.Boolean(load_default=False)
    copy_from = fields.UUID(load_default=None, allow_none=True, metadata={"description": "A version whose images the new one begins with."})


class VersionIncreaseSchema(Strict):
    name = name_field(64, required=True)
    changelog = text_field(_CHANGELOG, load_default="")


class VersionPageArguments(PageArguments):
    type = fields.String(validate=validate.OneOf([kind.value for kind in VersionType]), load_default=None)


class ImageRegistrySchema(Strict):
    id = fields.UUID(required=True)
    name = fields.String(required=True)
    type = fields.String(required=True)
    host = fields.String(required=True, allow_none=True)


class EnvironmentRuleSchema(Strict):
    """What the image itself asks for, by its labels `dev.fairlead.env.*`."""

    name = fields.String(required=True)
    type = fields.String(required=True)
    required = fields.Boolean(required=True)
    secret = fields.Boolean(required=True)
    default = fields.String(required=True, allow_none=True)


class ImageSchema(TimesSchema):
    id = fields.UUID(required=True)
    version_id = fields.UUID(required=True)
    registry_id = fields.UUID(required=True)
    registry = fields.Nested(ImageRegistrySchema, required=True)
    name = fields.String(required=True, metadata={"description": "What its container is called, unless a stronger level says otherwise."})
    repository = fields.String(required=True)
    tag = fields.String(required=True, allow_none=True)
    digest = fields.String(required=True, allow_none=True)
    reference = fields.String(required=True, metadata={"description": "The whole name, as Docker would take it."})
    position = fields.Integer(required=True)
    labels = fields.Dict(fields.String(), fields.String(), required=True)
    environment_rules = fields.List(fields.Nested(EnvironmentRuleSchema), required=True)
    warnings = fields.List(fields.String(), required=True)
    config = ConfigField(required=True)
    revision = fields.Integer(required=True)


class ImageListSchema(Strict):
    """All images of a version: there are at most 100."""

    items = fields.List(fields.Nested(ImageSchema), required=True)
    next_cursor = fields.String(required=True, allow_none=True)


class VersionSummarySchema(TimesSchema):
    id = fields.UUID(required=True)
    project_id = fields.UUID(required=True)
    name = fields.String(required=True)
    type = fields.Enum(VersionType, by_value=True, required=True)
    seq = fields.Integer(required=True)
    changelog = fields.String(required=True)
    default = fields.Boolean(required=True)
    auto_copy_deployments = fields.Boolean(required=True)
    parent_id = fields.UUID(required=True, allow_none=True)
    child_id = fields.UUID(required=True, allow_none=True)
    chain_id = fields.UUID(required=True, allow_none=True, metadata={"description": "The first version of the line that this one goes on."})
    mutable = fields.Boolean(required=True)
    increasable = fields.Boolean(required=True)
    deletable = fields.Boolean(required=True)
    image_count = fields.Integer(required=True)
    created_by = fields.String(required=True)
    created_by_name = fields.String(required=True)
    warnings = fields.List(fields.String(), required=True)
    revision = fields.Integer(required=True)


class VersionSchema(VersionSummarySchema):
    images = fields.List(fields.Nested(ImageSchema), required=True)


VersionPageSchema = page_schema(VersionSummarySchema)


class NewImageSchema(Strict):
    registry_id = fields.UUID(
        load_default=None, allow_none=True, metadata={"description": "Found by the host in repository when left out."}
    )
    repository = fields.String(required=True, validate=validate.Length(1, 512), metadata={"description": "[host/]path[:tag][@digest]"})
    tag = fields.String(load_default=None, allow_none=True, validate=validate.Length(1, 128))
    digest = fields.String(load_default=None, allow_none=True, validate=validate.Length(1, 128))
    config = ConfigField(load_default=dict)


class NewImagesSchema(Strict):
    images = fields.List(fields.Nested(NewImageSchema), required=True, validate=validate.Length(1, MOST_IMAGES))


class ImageChangeSchema(Strict):
    registry_id = fields.UUID()
    repository = fields.String(validate=validate.Length(1, 512))
    tag = fields.String(allow_none=True, validate=validate.Length(1, 128))
    digest = fields.String(allow_none=True, validate=validate.Length(1, 128))
    config = ConfigPatchField(allow_none=True)


class ImageOrderSchema(Strict):
    image_ids = fields.List(fields.UUID(), required=True, validate=validate.Length(max=MOST_IMAGES))
