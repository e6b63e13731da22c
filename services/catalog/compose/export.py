"""A version as a Compose file that docker-compose accepts and that imports to the same again."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from kernel.contracts.config import Config, parse_config
from kernel.errors import Invalid
from services.catalog.compose.document import Json, dump
from services.catalog.compose.mounts import Sources
from services.catalog.compose.services import Reader


@dataclass(frozen=True)
class ExportedImage:
    """One image of a version: its container's name and its whole reference."""

    name: str
    image: str
    config: Config


def export_compose(images: Sequence[ExportedImage], *, title: str) -> str:
    """YAML. What Compose has no words for stands below `x-fairlead` of its service, where docker-compose passes over it."""
    services: dict[str, Json] = {}
    volumes: dict[str, Json] = {}
    networks: dict[str, Json] = {}
    before: str | None = None
    for image in images:
        name = image.name
        while name in services:
            name += "-2"
        service = _service(image)
        if before is not None:
            service["depends_on"] = [before]
        services[name] = service | _leftover(name, service, image.config)
        for volume in image.config.get("volumes") or ():
            if volume.get("type") == "volume" and volume.get("name"):
                volumes[volume["name"]] = {"name": volume["name"]}
        networks |= {network: {"name": network} for network in image.config.get("networks") or ()}
        before = name
    document: dict[str, Json] = {"services": services}
    document |= {key: found for key, found in (("volumes", volumes), ("networks", networks)) if found}
    # Some characters break a YAML comment although a name may hold them.
    comment = "".join(character if character.isprintable() else " " for character in title)
    return f"# {comment}\n{dump(_escaped(document))}"


def _escaped(value: Json) -> Json:
    """With `$$` for every dollar sign, which Compose would take for a variable."""
    if isinstance(value, str):
        return value.replace("$", "$$")
    if isinstance(value, dict):
        return {key: _escaped(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_escaped(item) for item in value]
    return value


def _leftover(name: str, service: Mapping[str, Json], config: Config) -> dict[str, Json]:
    """What a reader of the Compose part alone would get wrong: the configuration's own words for it."""
    reader = Reader(name, service, Sources({}, {}, {}), {}, {})
    try:
        read = parse_config({"name": name} | reader.read())
    except Invalid:
        read = {"name": name}
    own = {key: value for key, value in config.items() if read.get(key) != value}
    gone = {key: None for key in read if key not in config and key != "name"}
    leftover = own | gone
    if "name" not in config and "name" in read:
        leftover |= {"name": None}
    return {"x-fairlead": leftover} if leftover else {}


def _service(image: ExportedImage) -> dict[str, Json]:
    service: dict[str, Json] = {"image": image.image}
    for key, value in image.config.items():
        writer = _WRITERS.get(key)
        if writer is not None and value not in (None, {}, []):
            service |= writer(value)
    return service


def _as(key: str) -> Callable[[Json], dict[str, Json]]:
    return lambda value: {key: value}


def _ports(entries: Sequence[Mapping[str, Json]]) -> dict[str, Json]:
    found = [
        {"target": one["container_port"], "protocol": one["protocol"]}
        | ({"published": str(one["host_port"])} if one.get("host_port") else {})
        | ({"host_ip": one["host_ip"]} if one.get("host_ip") else {})
        for one in entries
        # docker-compose 1.29 knows no host_ip in the long form: the short one says it for every version.
        if not one.get("host_ip") and one.get("host_port")
    ]
    short = [_short_port(one) for one in entries if one.get("host_ip") and one.get("host_port")]
    hidden = [str(one["container_port"]) for one in entries if not one.get("host_port")]
    return ({"ports": [*_numbered(found), *short]} if found or short else {}) | ({"expose": hidden} if hidden else {})


def _numbered(entries: list[dict[str, Json]]) -> list[dict[str, Json]]:
    return [entry | {"published": int(entry["published"])} for entry in entries]


def _short_port(one: Mapping[str, Json]) -> str:
    host_ip = f"[{one['host_ip']}]" if ":" in one["host_ip"] else one["host_ip"]
    return f"{host_ip}:{one['host_port']}:{one['container_port']}/{one['protocol']}"


def _volumes(entries: Sequence[Mapping[str, Json]]) -> dict[str, Json]:
    found: list[Json] = []
    for one in entries:
        entry: dict[str, Json] = {"type": one["type"], "target": one["path"]}
        if one["type"] == "tmpfs":
            size = one.get("size_bytes")
            found.append(entry | ({"tmpfs": {"size": size}} if size else {}))
            continue
        source = one.get("name") if one["type"] == "volume" else one.get("host_path")
        found.append(entry | {"source": source} | ({"read_only": True} if one.get("read_only") else {}))
    return {"volumes": found}


def _healthcheck(check: Mapping[str, Json]) -> dict[str, Json]:
    if "test" not in check:
        return {}
    test = list(check["test"])
    if test[:1] == ["NONE"]:
        return {"healthcheck": {"disable": True}}
    found: dict[str, Json] = {"test": test, "retries": check.get("retries", 3)}
    for key, source in (("interval", "interval_seconds"), ("timeout", "timeout_seconds"), ("start_period", "start_period_seconds")):
        if source in check:
            found[key] = _duration(check[source])
    return {"healthcheck": found}


def _duration(seconds: float) -> str:
    return f"{int(seconds)}s" if float(seconds).is_integer() else f"{round(seconds * 1000)}ms"


def _resources(limits: Mapping[str, Json]) -> dict[str, Json]:
    found: dict[str, Json] = {}
    if limits.get("cpus"):
        found["cpus"] = str(limits["cpus"])
    if limits.get("memory_bytes"):
        found["memory"] = f"{limits['memory_bytes']}b"
    service: dict[str, Json] = {"deploy": {"resources": {"limits": found}}} if found else {}
    return service | ({"pids_limit": limits["pids"]} if limits.get("pids") else {})


def _capabilities(value: Mapping[str, Json]) -> dict[str, Json]:
    return {f"cap_{side}": value[side] for side in ("add", "drop") if value.get(side)}


def _environment(value: Mapping[str, Json]) -> dict[str, Json]:
    found = {name: text for name, text in value.items() if text is not None}
    return {"environment": found} if found else {}


def _labels(value: Mapping[str, Json]) -> dict[str, Json]:
    found = {name: text for name, text in value.items() if text is not None}
    return {"labels": found} if found else {}


_WRITERS: Mapping[str, Callable[[Json], dict[str, Json]]] = {
    "environment": _environment,
    "command": _as("command"),
    "entrypoint": _as("entrypoint"),
    "user": _as("user"),
    "working_dir": _as("working_dir"),
    "tty": _as("tty"),
    "init": _as("init"),
    "privileged": _as("privileged"),
    "ports": _ports,
    "volumes": _volumes,
    "networks": _as("networks"),
    "network_mode": _as("network_mode"),
    "labels": _labels,
    "restart_policy": _as("restart"),
    "logging": _as("logging"),
    "healthcheck": _healthcheck,
    "resources": _resources,
    "capabilities": _capabilities,
    "read_only_root": _as("read_only"),
    "stop_signal": _as("stop_signal"),
    "stop_grace_seconds": lambda value: {"stop_grace_period": _duration(value)},
}
