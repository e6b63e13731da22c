"""Registries and config bundles over HTTP."""

from __future__ import annotations

from marshmallow import fields, validate

from kernel.http import PageArguments, page_schema
from services.catalog.domain import RegistryType
from services.catalog.schemas.base import ConfigField, ConfigPatchField, Strict, TimesSchema, name_field, text_field, word_field

_TYPES = [kind.value for kind in RegistryType]
_HOST = validate.Regexp(r"[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?\Z", error="must be a host name in lower case")


class RegistryChangeSchema(Strict):
    name = name_field()
    description = text_field(2000)
    url = word_field(512, allow_none=True)
    api_url = word_field(512, allow_none=True)
    token_host = fields.String(validate=_HOST, allow_none=True)
    namespace = word_field(255, allow_none=True)
    username = word_field(255, allow_none=True)
    password = fields.String(validate=validate.Length(1, 8192), allow_none=True, load_only=True)
    verify_tls = fields.Boolean()
    ca_certificate = text_field(65_536, allow_none=True)


class RegistryCreateSchema(RegistryChangeSchema):
    name = name_field(required=True)
    type = fields.Enum(RegistryType, by_value=True, required=True)


class RegistrySchema(TimesSchema):
    """The password is never shown: `has_password` says whether there is one."""

    id = fields.UUID(required=True)
    name = fields.String(required=True)
    type = fields.Enum(RegistryType, by_value=True, required=True)
    description = fields.String(required=True)
    url = fields.String(required=True, allow_none=True)
    api_url = fields.String(required=True, allow_none=True)
    token_host = fields.String(required=True, allow_none=True)
    namespace = fields.String(required=True, allow_none=True)
    host = fields.String(required=True, allow_none=True, metadata={"description": "The first part of its images' names."})
    username = fields.String(required=True, allow_none=True)
    has_password = fields.Boolean(required=True)
    verify_tls = fields.Boolean(required=True)
    ca_certificate = fields.String(required=True, allow_none=True)
    warnings = fields.List(fields.String(), required=True)
    revision = fields.Integer(required=True)


RegistryPageSchema = page_schema(RegistrySchema)


class RegistryPageArguments(PageArguments):
    type = fields.String(validate=validate.OneOf(_TYPES), load_default=None)


class RateLimitSchema(Strict):
    limit = fields.Integer(required=True)
    remaining = fields.Integer(required=True)
    window_seconds = fields.Integer(required=True)


class CheckedSchema(Strict):
    reachable = fields.Boolean(required=True)
    authenticated = fields.Boolean(required=True)
    detail = fields.String(required=True)
    problem = fields.String(
        required=True, allow_none=True, metadata={"description": "address, certificate, log-in, namespace or rate-limit."}
    )
    rate_limit = fields.Nested(RateLimitSchema, required=True, allow_none=True)
    warnings = fields.List(fields.String(), required=True)


class BrowseArguments(PageArguments):
    query = fields.String(validate=validate.Length(max=255), load_default=None)
    refresh = fields.Boolean(load_default=False)


class TagArguments(BrowseArguments):
    repository = fields.String(required=True, validate=validate.Length(1, 255))


class ManifestArguments(Strict):
    repository = fields.String(required=True, validate=validate.Length(1, 255))
    reference = fields.String(required=True, validate=validate.Length(1, 255))
    refresh = fields.Boolean(load_default=False)


class NamedSchema(Strict):
    name = fields.String(required=True)


class NamesPageSchema(Strict):
    """What a registry holds, as it said at `as_of` (at most a minute ago)."""

    items = fields.List(fields.Nested(NamedSchema), required=True)
    next_cursor = fields.String(required=True, allow_none=True)
    as_of = fields.AwareDateTime(required=True)
    total = fields.Integer(required=True)


class PlatformSchema(Strict):
    os = fields.String(required=True)
    architecture = fields.String(required=True)
    variant = fields.String(required=True, allow_none=True)
    digest = fields.String(required=True, allow_none=True)


class ManifestSchema(Strict):
    repository = fields.String(required=True)
    reference = fields.String(required=True)
    digest = fields.String(required=True)
    media_type = fields.String(required=True)
    size_bytes = fields.Integer(required=True)
    platforms = fields.List(fields.Nested(PlatformSchema), required=True)
    created = fields.String(required=True, allow_none=True)
    labels = fields.Dict(fields.String(), fields.String(), required=True)
    as_of = fields.AwareDateTime(required=True)


class BundleChangeSchema(Strict):
    name = name_field()
    description = text_field(2000)
    config = ConfigPatchField(allow_none=True)


class BundleCreateSchema(Strict):
    name = name_field(required=True)
    description = text_field(2000, load_default="")
    config = ConfigField(load_default=dict)


class BundleSchema(TimesSchema):
    id = fields.UUID(required=True)
    name = fields.String(required=True)
    description = fields.String(required=True)
    config = ConfigField(required=True)
    revision = fields.Integer(required=True)


BundlePageSchema = page_schema(BundleSchema)
