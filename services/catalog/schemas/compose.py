"""Compose files and templates over HTTP."""

from __future__ import annotations

from marshmallow import fields, validate

from kernel.contracts.config import ENVIRONMENT_NAME_PATTERN
from services.catalog.domain import ProjectType
from services.catalog.schemas.base import ConfigField, Strict, name_field, text_field
from services.catalog.schemas.versions import ImageSchema, ProjectSchema

_VARIABLE = validate.Regexp(rf"(?:{ENVIRONMENT_NAME_PATTERN})\Z", error="must be the name of a variable")


class ComposeImportSchema(Strict):
    compose = text_field(524_288, required=True, metadata={"description": "The Compose file's text."})
    env_files = fields.Dict(
        fields.String(validate=validate.Length(1, 512)),
        text_field(262_144),
        load_default=dict,
        validate=validate.Length(max=64),
        metadata={"description": "Contents of the files that it names (env_file, configs, small mounts), by path."},
    )
    variables = fields.Dict(fields.String(validate=_VARIABLE), text_field(65_536), load_default=dict, validate=validate.Length(max=512))
    profiles = fields.List(fields.String(validate=validate.Length(1, 128)), load_default=list, validate=validate.Length(max=64))
    registries = fields.Dict(
        fields.String(validate=validate.Length(1, 256)),
        fields.UUID(),
        load_default=dict,
        validate=validate.Length(max=64),
        metadata={"description": "Which registry is meant by a host, where the team has several (docker.io for names without one)."},
    )


class NoteSchema(Strict):
    path = fields.String(required=True)
    detail = fields.String(required=True)


class ImportedImageSchema(Strict):
    service = fields.String(required=True)
    image = fields.Nested(ImageSchema, required=True)


class ComposeImportedSchema(Strict):
    imported = fields.List(fields.Nested(ImportedImageSchema), required=True)
    changed = fields.List(fields.Nested(NoteSchema), required=True)
    skipped = fields.List(fields.Nested(NoteSchema), required=True)


class TemplateServiceSchema(Strict):
    name = fields.String(required=True)
    image = fields.String(required=True)
    config = ConfigField(required=True)


class TemplateSchema(Strict):
    id = fields.String(required=True)
    name = fields.String(required=True)
    description = fields.String(required=True)
    website = fields.String(required=True)
    services = fields.List(fields.Nested(TemplateServiceSchema), required=True)


class TemplateListSchema(Strict):
    items = fields.List(fields.Nested(TemplateSchema), required=True)
    next_cursor = fields.String(required=True, allow_none=True)


class TemplateUseSchema(Strict):
    name = name_field(required=True)
    description = text_field(4000, load_default=None, allow_none=True)
    type = fields.Enum(ProjectType, by_value=True, load_default=ProjectType.VERSIONED)


class TemplateUsedSchema(Strict):
    project = fields.Nested(ProjectSchema, required=True)
    version_id = fields.UUID(required=True)
    notes = fields.List(fields.Nested(NoteSchema), required=True)
