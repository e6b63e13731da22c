"""What a service names must stand in the file: services, networks, volumes, configs and secrets. No schema can say that."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from kernel.errors import FieldError, Invalid
from services.catalog.compose.document import Json
from services.catalog.compose.values import items, mapping

_BUILT_IN_NETWORKS = {"default"}


def check_names(document: Mapping[str, Json]) -> None:
    """Raises Invalid naming each name that stands for nothing. `document` fits the schema."""
    known = {kind: set(mapping(document.get(kind))) for kind in ("services", "networks", "volumes", "configs", "secrets")}
    known["networks"] |= _BUILT_IN_NETWORKS
    wrong = []
    for service, content in document["services"].items():
        for kind, path, name in _named(content):
            if name not in known[kind]:
                wrong.append(FieldError(f"services.{service}.{path}", f"{name[:200]!r} is not one of the file's {kind}"))
    if wrong:
        raise Invalid(wrong)


def _named(service: Mapping[str, Json]) -> Iterator[tuple[str, str, str]]:
    """(what it is a name of, where it stands, the name)"""
    for kind, key in (("services", "depends_on"), ("networks", "networks")):
        value = service.get(key)
        if isinstance(value, dict):
            wanted = [name for name, rule in value.items() if not isinstance(rule, dict) or rule.get("required", True) is not False]
            yield from ((kind, f"{key}.{name}", name) for name in wanted)
        else:
            yield from ((kind, f"{key}.{index}", name) for index, name in enumerate(items(value)))
    for kind in ("configs", "secrets"):
        for index, item in enumerate(items(service.get(kind))):
            yield kind, f"{kind}.{index}", item["source"] if isinstance(item, dict) else item
    for index, item in enumerate(items(service.get("volumes"))):
        name = _volume(item)
        if name is not None:
            yield "volumes", f"volumes.{index}", name


def _volume(item: Json) -> str | None:
    """The volume that a mount names, if it names one: no path, no anonymous one."""
    if isinstance(item, dict):
        return item.get("source") if item["type"] == "volume" else None
    source, colon, _ = item.partition(":")
    return source if colon and source[0] not in "./~" else None
