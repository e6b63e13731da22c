"""`extends`: a service on top of another one of the same file, merged as Compose merges."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from services.catalog.compose.document import Json
from services.catalog.compose.values import items, pairs, wrong

Service = dict[str, Json]
Skip = Callable[[str, str], None]  # path, reason

# Compose takes these from nobody: what a service waits for and when it is wanted are its own.
_OWN = {"depends_on", "profiles", "links", "volumes_from"}
# Lists, or mappings, that are one value: the upper one stands for itself.
_WHOLE = {"command", "entrypoint", "test"}
_PAIRS = {"environment", "labels", "annotations", "sysctls", "args"}


def extended(services: Mapping[str, Service], skip: Skip) -> dict[str, Service]:
    """Every service with what it extends beneath it; what stands in another file goes to `skip`. Raises Invalid."""
    done: dict[str, Service] = {}

    def resolve(name: str, trail: tuple[str, ...]) -> Service:
        path = f"services.{name}.extends"
        if name in done:
            return done[name]
        if name in trail:
            wrong(path, "goes round in a circle")
        service = dict(services[name])
        wanted = service.pop("extends", None)
        base = wanted if isinstance(wanted, dict) else {"service": wanted}
        if base.get("file"):
            skip(path, f"{base['service']} of {base['file']} is not part of this file: what it would add is missing")
        elif wanted is not None:
            if base["service"] not in services:
                wrong(path, "must name a service of this file")
            beneath = resolve(base["service"], (*trail, name))
            service = merge_services({key: value for key, value in beneath.items() if key not in _OWN}, service)
        done[name] = service
        return service

    for name in services:
        resolve(name, ())
    return {name: done[name] for name in services}


def merge_services(base: Service, over: Service) -> Service:
    """`over` upon `base`. The two ways into a network exclude each other: the upper one's counts."""
    ways = {"networks", "network_mode"}
    aside = ways if ways & over.keys() and not ways & over.keys() & base.keys() else set()
    return _merged({key: value for key, value in base.items() if key not in aside}, over)


def _merged(base: Service, over: Service) -> Service:
    return base | {key: _field(key, base[key], value) if key in base else value for key, value in over.items()}


def _field(key: str, base: Json, over: Json) -> Json:
    if key.startswith("x-"):
        # What it holds has words of its own: nothing in it is merged by Compose's.
        return base | over if isinstance(base, dict) and isinstance(over, dict) else over
    if key in _WHOLE or base is None or over is None:
        return over
    if key in _PAIRS:
        return pairs(base) | pairs(over)
    if key in _KEYED:
        return _by_key(items(base), items(over), _KEYED[key])
    if key == "logging":
        same = base.get("driver") == over.get("driver") or "driver" not in over
        return _merged(base, over) if same else over
    if key == "networks":
        return _networks(base) | {name: _field("", _networks(base).get(name), rule) for name, rule in _networks(over).items()}
    if isinstance(base, dict) and isinstance(over, dict):
        return _merged(base, over)
    if isinstance(base, list) or isinstance(over, list):
        return [*items(base), *[item for item in items(over) if item not in items(base)]]
    return over


def _by_key(base: list[Json], over: list[Json], key_of: Callable[[Json], Json]) -> list[Json]:
    """What is in `over`, behind what it does not replace."""
    replaced = [key_of(item) for item in over]
    return [*[item for item in base if key_of(item) not in replaced], *over]


def _networks(value: Json) -> dict[str, Json]:
    return value if isinstance(value, dict) else dict.fromkeys(items(value))


def _mount(item: Json) -> Json:
    """Where in the container it is mounted."""
    if isinstance(item, dict):
        return item["target"]
    parts = item.split(":")
    return parts[1] if len(parts) > 1 else parts[0]


def _device(item: Json) -> Json:
    if isinstance(item, dict):
        return item.get("target") or item["source"]
    return _mount(item)


def _source(item: Json) -> Json:
    return item["source"] if isinstance(item, dict) else item


_KEYED: Mapping[str, Callable[[Json], Json]] = {"volumes": _mount, "devices": _device, "configs": _source, "secrets": _source}
