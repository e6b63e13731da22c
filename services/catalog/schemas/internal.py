"""What the deployer asks and gets."""

from __future__ import annotations

from marshmallow import fields, validate

from services.catalog.schemas.base import Strict
from services.catalog.schemas.versions import EnvironmentRuleSchema


class ContentImageSchema(Strict):
    image_id = fields.UUID(required=True)
    position = fields.Integer(required=True)
    name = fields.String(required=True)
    repository = fields.String(required=True)
    tag = fields.String(required=True, allow_none=True)


class ContentSchema(Strict):
    """A version and the images in it."""

    version_id = fields.UUID(required=True)
    project_id = fields.UUID(required=True)
    project_name = fields.String(required=True)
    project_type = fields.String(required=True)
    name = fields.String(required=True)
    type = fields.String(required=True)
    seq = fields.Integer(required=True)
    images = fields.List(fields.Nested(ContentImageSchema), required=True)


class PinArguments(Strict):
    deployment_id = fields.UUID(required=True)
    node_id = fields.UUID(required=True)
    node_seal_key = fields.String(required=True, validate=validate.Length(1, 64))
    resolve = fields.Boolean(load_default=True)
    hold = fields.Boolean(load_default=False)
    config_bundle_ids = fields.List(fields.UUID(), load_default=list, validate=validate.Length(max=32))
    hosts = fields.List(
        fields.String(validate=validate.Length(1, 256)),
        load_default=list,
        validate=validate.Length(max=200),
        metadata={"description": "Further registries to seal log-ins of."},
    )


class PinnedImageSchema(ContentImageSchema):
    image = fields.String(required=True)
    digest = fields.String(required=True, allow_none=True)
    registry = fields.String(required=True, allow_none=True)
    config = fields.Dict(fields.String(), required=True)
    labels = fields.Dict(fields.String(), fields.String(), required=True)
    environment_rules = fields.List(fields.Nested(EnvironmentRuleSchema), required=True)


class PinnedBundleSchema(Strict):
    id = fields.UUID(required=True)
    name = fields.String(required=True)
    config = fields.Dict(fields.String(), required=True)


class PinnedSchema(ContentSchema):
    images = fields.List(fields.Nested(PinnedImageSchema), required=True)
    bundles = fields.List(fields.Nested(PinnedBundleSchema), required=True)
    credentials = fields.Dict(fields.String(), fields.String(), required=True)


class DigestArguments(Strict):
    node_id = fields.UUID(required=True)
    node_seal_key = fields.String(required=True, validate=validate.Length(1, 64))
    references = fields.List(fields.String(validate=validate.Length(1, 512)), required=True, validate=validate.Length(max=512))
    hold = fields.Boolean(load_default=False)


class DigestsSchema(Strict):
    references = fields.Dict(fields.String(), fields.String(), required=True)
    credentials = fields.Dict(fields.String(), fields.String(), required=True)


class ReleaseArguments(Strict):
    deployment_id = fields.UUID(required=True)


class BundlesArguments(Strict):
    config_bundle_ids = fields.List(fields.UUID(), required=True, validate=validate.Length(max=32))
