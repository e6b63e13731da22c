"""The configuration of a container: one schema family for image, bundle, deployment and instance, and for commands."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from marshmallow import EXCLUDE, RAISE, Schema, ValidationError, fields, validate, validates_schema

from kernel.errors import FieldError, Invalid

# A configuration is a validated JSON object: merging and null-removal need its open shape. Any: JSON has no closer type.
Config = dict[str, Any]

NAME_PATTERN = r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?"
ENVIRONMENT_NAME_PATTERN = r"[A-Za-z_][A-Za-z0-9_]{0,254}"
_CAPABILITY = r"(CAP_)?[A-Z][A-Z_]{1,30}|ALL"
# Each is opened by itself on the node; enough for the usual range of a media server.
MOST_RANGED_PORTS = 16_384
_DOCKER_NAME = r"[a-zA-Z0-9][a-zA-Z0-9_.-]{0,127}"


def _whole(pattern: str, message: str) -> validate.Regexp:
    return validate.Regexp(re.compile(rf"(?:{pattern})\Z"), error=message)


def _text(longest: int, **more: Any) -> fields.String:
    return fields.String(validate=[validate.Length(max=longest), _no_nul], **more)


def _no_nul(text: str) -> None:
    if "\0" in text:
        raise ValidationError("must not contain a NUL character")


def _absolute(path: str) -> None:
    if not path.startswith("/") or "\0" in path or len(path) > 4096 or ".." in path.split("/"):
        raise ValidationError("must be an absolute path without '..'")


def _number(low: float, high: float, kind: type[fields.Integer] | type[fields.Float] = fields.Integer, **more: Any) -> Any:
    if kind is fields.Integer:
        more["strict"] = True
    return kind(validate=validate.Range(low, high), **more)


def _seconds(high: int, *, low: int = 0, **more: Any) -> Any:
    return _number(low, high, **more)


_name = _whole(NAME_PATTERN, "must be lower-case letters, digits and dashes, at most 63")
_variable = _whole(ENVIRONMENT_NAME_PATTERN, "must be letters, digits and underscores, and not begin with a digit")
_words = fields.List(_text(8192), validate=validate.Length(max=256), allow_none=True)


class _Strict(Schema):
    class Meta:
        unknown = RAISE


class PortSchema(_Strict):
    container_port = _number(1, 65535, required=True)
    host_port = _number(1, 65535, allow_none=True)
    host_ip = fields.IP(allow_none=True)
    protocol = fields.String(validate=validate.OneOf(["tcp", "udp", "sctp"]), load_default="tcp")


class _RangeSchema(_Strict):
    first = _number(1, 65535, required=True)
    last = _number(1, 65535, required=True)

    @validates_schema
    def _grows(self, data: Mapping[str, int], **_: object) -> None:
        if data["first"] > data["last"]:
            raise ValidationError("must not be below first", "last")


class PortRangeSchema(_Strict):
    container = fields.Nested(_RangeSchema, required=True)
    host = fields.Nested(_RangeSchema, required=True)
    host_ip = fields.IP(allow_none=True)
    protocol = fields.String(validate=validate.OneOf(["tcp", "udp", "sctp"]), load_default="tcp")

    @validates_schema
    def _same_size(self, data: Mapping[str, Mapping[str, int]], **_: object) -> None:
        sizes = [data[side]["last"] - data[side]["first"] for side in ("container", "host")]
        if sizes[0] != sizes[1]:
            raise ValidationError("must be as long as the container's range", "host")


class VolumeSchema(_Strict):
    path = fields.String(required=True, validate=_absolute)
    type = fields.String(validate=validate.OneOf(["volume", "bind", "tmpfs"]), load_default="volume")
    name = fields.String(validate=_whole(_DOCKER_NAME, "must be letters, digits, dots, dashes or underscores"), allow_none=True)
    host_path = fields.String(validate=_absolute, allow_none=True)
    read_only = fields.Boolean(load_default=False)
    size_bytes = _number(4096, 1 << 50, allow_none=True)
    snapshot = fields.Boolean(load_default=False)

    @validates_schema
    def _source(self, data: Mapping[str, Any], **_: object) -> None:
        kind = data["type"]
        if kind == "volume" and not data.get("name"):
            raise ValidationError("is needed for a volume", "name")
        if kind == "bind" and not data.get("host_path"):
            raise ValidationError("is needed for a bind mount", "host_path")
        if kind != "bind" and data.get("host_path"):
            raise ValidationError("is for bind mounts only", "host_path")


class SecretSchema(_Strict):
    required = fields.Boolean(load_default=True)
    as_ = fields.String(data_key="as", validate=validate.OneOf(["env", "file"]), load_default="env")


class HttpProbeSchema(_Strict):
    path = fields.String(validate=[validate.Length(max=2048), validate.Regexp(r"/[\x21-\x7e]*\Z")], load_default="/")
    port = _number(1, 65535, required=True)
    status = _number(100, 599, allow_none=True)


class TcpProbeSchema(_Strict):
    port = _number(1, 65535, required=True)


class HealthcheckSchema(_Strict):
    test = fields.List(_text(8192), validate=validate.Length(min=1, max=64))
    http = fields.Nested(HttpProbeSchema)
    tcp = fields.Nested(TcpProbeSchema)
    interval_seconds = _number(0.1, 3600, fields.Float, load_default=10.0)
    timeout_seconds = _number(0.1, 600, fields.Float, load_default=5.0)
    retries = _number(1, 100, load_default=3)
    start_period_seconds = _number(0, 3600, fields.Float, load_default=0.0)

    @validates_schema
    def _one_kind(self, data: Mapping[str, Any], **_: object) -> None:
        if sum(kind in data for kind in ("test", "http", "tcp")) != 1:
            raise ValidationError("needs exactly one of test, http and tcp", "test")


class LoggingSchema(_Strict):
    driver = fields.String(required=True, validate=_whole(_DOCKER_NAME, "must be the name of a logging driver"))
    options = fields.Dict(_text(128), _text(1024), load_default=dict, validate=validate.Length(max=32))


class ResourcesSchema(_Strict):
    cpus = _number(0.01, 1024, fields.Float, allow_none=True)
    memory_bytes = _number(6 * 1024 * 1024, 1 << 50, allow_none=True)
    pids = _number(1, 4_194_304, allow_none=True)


def _capabilities() -> fields.List[Any]:
    one = fields.String(validate=_whole(_CAPABILITY, "must be a capability such as NET_ADMIN"))
    return fields.List(one, load_default=list, validate=validate.Length(max=64))


class CapabilitiesSchema(_Strict):
    add = _capabilities()
    drop = _capabilities()


class ExpectedStateSchema(_Strict):
    state = fields.String(validate=validate.OneOf(["running", "healthy", "exited"]), load_default="running")
    timeout_seconds = _seconds(3600, low=1, load_default=120)
    stable_seconds = _seconds(600, load_default=2)
    exit_code = _number(0, 255, load_default=0)


class InitContainerSchema(_Strict):
    name = fields.String(required=True, validate=_name)
    image = _text(512, required=True)
    command = _words
    environment = fields.Dict(fields.String(validate=_variable), _text(65536), load_default=dict)
    volumes = fields.List(fields.Nested(VolumeSchema), load_default=list, validate=validate.Length(max=32))


class FileSchema(_Strict):
    path = fields.String(required=True, validate=_absolute)
    content = _text(262_144, required=True)
    mode = fields.String(validate=_whole(r"0?[0-7]{3}", "must be octal, such as 0644"), load_default="0644")


class RouteSchema(_Strict):
    domain = fields.String(validate=_whole(r"[a-z0-9*]([a-z0-9.-]{0,251}[a-z0-9])?", "must be a host name"), allow_none=True)
    path = fields.String(validate=[validate.Length(max=1024), validate.Regexp(r"/[\x21-\x7e]*\Z")], load_default="/")
    strip_path = fields.Boolean(load_default=False)
    port = _number(1, 65535, allow_none=True)
    tls = fields.Boolean(load_default=False)


def _many(schema: type[Schema], most: int = 64) -> fields.List[Any]:
    return fields.List(fields.Nested(schema), validate=validate.Length(max=most), allow_none=True)


# What must differ between the entries of a list; a port may be published twice, but not under the same key of merging.
_KEYS: dict[str, tuple[str, ...]] = {
    "ports": ("container_port", "protocol"),
    "volumes": ("path",),
    "files": ("path",),
    "init_containers": ("name",),
    "networks": (),
}


class ConfigSchema(_Strict):
    """Every field is optional; null at one level takes away what a weaker level says."""

    name = fields.String(validate=_name, allow_none=True)
    environment = fields.Dict(
        fields.String(validate=_variable), _text(65536, allow_none=True), allow_none=True, validate=validate.Length(max=512)
    )
    secrets = fields.Dict(
        fields.String(validate=_variable), fields.Nested(SecretSchema, allow_none=True), allow_none=True, validate=validate.Length(max=128)
    )
    command = _words
    entrypoint = _words
    user = fields.String(validate=_whole(r"[A-Za-z0-9_.-]{1,64}(:[A-Za-z0-9_.-]{1,64})?", "must be a user, or user:group"), allow_none=True)
    working_dir = fields.String(validate=_absolute, allow_none=True)
    tty = fields.Boolean(allow_none=True)
    init = fields.Boolean(allow_none=True)
    privileged = fields.Boolean(allow_none=True)
    ports = _many(PortSchema, 256)
    port_ranges = _many(PortRangeSchema)
    volumes = _many(VolumeSchema)
    networks = fields.List(
        fields.String(validate=_whole(_DOCKER_NAME, "must be the name of a network")), validate=validate.Length(max=16), allow_none=True
    )
    network_mode = fields.String(validate=validate.OneOf(["bridge", "host", "none"]), allow_none=True)
    labels = fields.Dict(_text(256), _text(4096, allow_none=True), allow_none=True, validate=validate.Length(max=256))
    restart_policy = fields.String(validate=validate.OneOf(["no", "on-failure", "unless-stopped", "always"]), allow_none=True)
    logging = fields.Nested(LoggingSchema, allow_none=True)
    healthcheck = fields.Nested(HealthcheckSchema, allow_none=True)
    resources = fields.Nested(ResourcesSchema, allow_none=True)
    capabilities = fields.Nested(CapabilitiesSchema, allow_none=True)
    read_only_root = fields.Boolean(allow_none=True)
    stop_signal = fields.String(validate=_whole(r"SIG[A-Z0-9+-]{1,12}|\d{1,2}", "must be a signal such as SIGTERM"), allow_none=True)
    stop_grace_seconds = _seconds(3600, allow_none=True)
    expected_state = fields.Nested(ExpectedStateSchema, allow_none=True)
    init_containers = _many(InitContainerSchema, 16)
    files = _many(FileSchema)
    route = fields.Nested(RouteSchema, allow_none=True)

    @validates_schema
    def _once_each(self, data: Mapping[str, Any], **_: object) -> None:
        """What is merged by a key may name each key once: the second would quietly take the first one's place."""
        twice: dict[str, dict[int, list[str]]] = {}
        for name, keys in _KEYS.items():
            seen: set[tuple[Any, ...]] = set()
            for index, entry in enumerate(data.get(name) or ()):
                key = tuple(entry.get(part) for part in keys) if keys else (entry,)
                if key in seen:
                    twice.setdefault(name, {})[index] = [f"stands there twice ({' and '.join(keys) or 'the name'} must differ)"]
                seen.add(key)
        if twice:
            raise ValidationError(dict(twice))

    @validates_schema
    def _few_ports(self, data: Mapping[str, Any], **_: object) -> None:
        sizes = (span["container"]["last"] - span["container"]["first"] + 1 for span in data.get("port_ranges") or ())
        if sum(sizes) > MOST_RANGED_PORTS:
            raise ValidationError(f"must not name more than {MOST_RANGED_PORTS} ports together", "port_ranges")

    @validates_schema
    def _own_labels(self, data: Mapping[str, Any], **_: object) -> None:
        if any(name.startswith("dev.fairlead.") for name in data.get("labels") or {}):
            raise ValidationError("must not begin with dev.fairlead., which marks what Fairlead made", "labels")


_STRICT = ConfigSchema()
_LENIENT = ConfigSchema(unknown=EXCLUDE)


def parse_config(raw: object, *, field: str = "config", strict: bool = True) -> Config:
    """`raw` with its defaults filled in, as JSON values. Raises Invalid naming each wrong field below `field`.

    `strict=False` ignores unknown fields at the top level: how a command of a newer sender is read.
    """
    schema = _STRICT if strict else _LENIENT
    try:
        loaded = schema.load(raw)  # type: ignore[arg-type]  # a non-mapping is refused by the schema itself
    except ValidationError as error:
        raise Invalid(list(flatten(error.messages if isinstance(error.messages, dict) else {"_schema": error.messages}, field))) from error
    dumped: Config = schema.dump(loaded)
    return dumped


def flatten(messages: object, path: str = "", *, inside_value: bool = False) -> list[FieldError]:
    """marshmallow's nested messages as one flat list: `config.ports.0.host_port`.

    A dictionary's errors stand below `key` or `value`, which are no names of fields; what stands below those is.
    """
    if isinstance(messages, Mapping):
        found = []
        for key, value in messages.items():
            of_dict = key in ("key", "value") and bool(path) and not inside_value
            deeper = path if of_dict or key == "_schema" else f"{path}.{key}" if path else str(key)
            found += flatten(value, deeper, inside_value=of_dict)
        return found
    if isinstance(messages, list):
        return [FieldError(path or "body", _one_line(message)) for message in messages]
    return [FieldError(path or "body", _one_line(messages))]


def _one_line(message: object) -> str:
    return str(message).rstrip(".")
