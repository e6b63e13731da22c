"""From a container's specification to the arguments of Docker's create. Pure."""

from __future__ import annotations

import posixpath
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from agent.plan import host_ports
from kernel.contracts.config import Config
from kernel.contracts.spec import (
    LABEL_ATTEMPT,
    LABEL_CONTAINER,
    LABEL_DEPLOYMENT,
    LABEL_GENERATION,
    LABEL_NODE,
    LABEL_PREFIX,
    LABEL_ROLE,
    LABEL_SPEC,
    LABEL_TEAM,
    ContainerSpec,
    spec_hash,
)

SECRETS_DIRECTORY = "/run/secrets"

# What Docker's API takes. Any: JSON has no closer type.
Arguments = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Origin:
    """Which attempt at which place makes the container; stands in its labels."""

    node_id: UUID
    team_id: UUID
    prefix: str
    deployment_id: UUID
    attempt_id: UUID
    generation: int


@dataclass(frozen=True, kw_only=True)
class Ceilings:
    """What a container without a limit of its own gets: the most that the node's owner allows."""

    memory_bytes: int | None = None
    cpus: float | None = None
    pids: int | None = None


@dataclass(frozen=True, kw_only=True)
class Local:
    """What is known on the node only: opened secrets, where their files lie, and bind mounts with links resolved."""

    environment: Mapping[str, str] = field(default_factory=dict)
    secrets_directory: str | None = None
    files_directory: str | None = None  # where the files lie when the root is read-only
    host_paths: Mapping[str, str] = field(default_factory=dict)
    ceilings: Ceilings = Ceilings()


def place_network(prefix: str) -> str:
    """The bridge network that all containers of a prefix share."""
    return f"fairlead-{prefix}"


def volume_name(prefix: str, name: str) -> str:
    """The engine's name for a volume: prefixes do not share data."""
    return f"{prefix}-{name}"


def named_volumes(config: Config) -> list[str]:
    """The names of the volumes that a configuration mounts, its init containers' too."""
    mounts = list(config.get("volumes") or [])
    for init in config.get("init_containers") or []:
        mounts += init.get("volumes") or []
    return sorted({mount["name"] for mount in mounts if mount["type"] == "volume"})


def networks(config: Config, prefix: str) -> list[str]:
    """The networks to join, the first at creation; none where the mode is `host` or `none`."""
    if config.get("network_mode") in ("host", "none"):
        return []
    own = place_network(prefix)
    return [own, *(name for name in config.get("networks") or [] if name != own)]


def labels(origin: Origin, name: str, role: str, spec: str) -> dict[str, str]:
    """Who made it, for what."""
    return {
        LABEL_NODE: str(origin.node_id),
        LABEL_TEAM: str(origin.team_id),
        LABEL_PREFIX: origin.prefix,
        LABEL_CONTAINER: name,
        LABEL_DEPLOYMENT: str(origin.deployment_id),
        LABEL_ATTEMPT: str(origin.attempt_id),
        LABEL_GENERATION: str(origin.generation),
        LABEL_SPEC: spec,
        LABEL_ROLE: role,
    }


def final_restart_policy(config: Config) -> str:
    """The policy after the switch. Never `always`: Docker would start at boot what Fairlead has stopped."""
    expected = (config.get("expected_state") or {}).get("state")
    policy = config.get("restart_policy") or ("no" if expected == "exited" else "unless-stopped")
    return "unless-stopped" if policy == "always" else str(policy)


def create_arguments(spec: ContainerSpec, origin: Origin, local: Local) -> Arguments:
    """The body of `POST /containers/create` for a container of a stack; it starts with the restart policy `no`."""
    config = spec.config
    body: Arguments = {
        "Image": spec.image,
        "Env": _environment(config, local.environment),
        "Labels": _texts(config.get("labels")) | labels(origin, spec.name, "main", spec_hash(spec)),
        "ExposedPorts": {f"{port}/{protocol}": {} for port, protocol in _container_ports(config)},
        "HostConfig": _host_config(config, origin.prefix, local),
    } | _process(config)
    health = _healthcheck(config)
    if health is not None:
        body["Healthcheck"] = health
    joined = networks(config, origin.prefix)
    if joined:
        body["NetworkingConfig"] = {"EndpointsConfig": {joined[0]: endpoint(spec.name, origin.prefix)}}
    return body


def init_arguments(spec: ContainerSpec, init: Config, origin: Origin, local: Local) -> Arguments:
    """As `create_arguments`, for an init container: it sees the main one's network, secrets and its own volumes."""
    config: Config = {
        "environment": init.get("environment"),
        "command": init.get("command"),
        "volumes": init.get("volumes"),
        "network_mode": spec.config.get("network_mode"),
        "networks": spec.config.get("networks"),
        "resources": spec.config.get("resources"),
        "user": spec.config.get("user"),
        "logging": spec.config.get("logging"),
    }
    body: Arguments = {
        "Image": init["image"],
        "Env": _environment(config, local.environment),
        "Labels": labels(origin, f"{spec.name}-{init['name']}", "init", ""),
        "HostConfig": _host_config(config, origin.prefix, local),
        "Healthcheck": {"Test": ["NONE"]},
    } | _process(config)
    joined = networks(config, origin.prefix)
    if joined:
        body["NetworkingConfig"] = {"EndpointsConfig": {joined[0]: {}}}
    return body


def endpoint(name: str, prefix: str) -> Arguments:
    """How a container is called on a network: by its name in the stack and by its name on the engine."""
    return {"Aliases": [name, f"{prefix}-{name}"]}


def _process(config: Config) -> Arguments:
    """Which program runs, as whom and how it stops; absent fields are left to the image."""
    grace = config.get("stop_grace_seconds")
    fields: Mapping[str, object] = {
        "Cmd": config.get("command"),
        "Entrypoint": config.get("entrypoint"),
        "User": config.get("user"),
        "WorkingDir": config.get("working_dir"),
        "Tty": config.get("tty"),
        "StopSignal": config.get("stop_signal"),
        "StopTimeout": grace,
    }
    return {key: value for key, value in fields.items() if value is not None}


def _host_config(config: Config, prefix: str, local: Local) -> Arguments:
    joined = networks(config, prefix)
    capabilities = config.get("capabilities") or {}
    host: Arguments = {
        "RestartPolicy": {"Name": "no"},
        "NetworkMode": joined[0] if joined else config["network_mode"],
        "Mounts": _mounts(config, prefix, local),
        "PortBindings": _port_bindings(config),
    }
    optional: Mapping[str, object] = {
        "Privileged": config.get("privileged"),
        "Init": config.get("init"),
        "ReadonlyRootfs": config.get("read_only_root"),
        "CapAdd": capabilities.get("add") or None,
        "CapDrop": capabilities.get("drop") or None,
    }
    host |= {key: value for key, value in optional.items() if value is not None}
    logging = config.get("logging")
    if logging:
        host["LogConfig"] = {"Type": logging["driver"], "Config": logging.get("options") or {}}
    return host | _limits(config, local.ceilings)


def _limits(config: Config, ceilings: Ceilings) -> Arguments:
    wanted = config.get("resources") or {}
    memory = wanted.get("memory_bytes") or ceilings.memory_bytes
    cpus = wanted.get("cpus") or ceilings.cpus
    pids = wanted.get("pids") or ceilings.pids
    limits: Arguments = {}
    if memory:
        limits["Memory"] = memory
    if cpus:
        limits["NanoCpus"] = int(cpus * 1_000_000_000)
    if pids:
        limits["PidsLimit"] = pids
    return limits


def _mounts(config: Config, prefix: str, local: Local) -> list[Arguments]:
    mounts = [_mount(volume, prefix, local.host_paths) for volume in config.get("volumes") or []]
    if local.secrets_directory is not None:
        mounts.append({"Type": "bind", "Source": local.secrets_directory, "Target": SECRETS_DIRECTORY, "ReadOnly": True})
    if local.files_directory is not None:
        mounts += [
            {"Type": "bind", "Source": f"{local.files_directory}/{index}", "Target": posixpath.normpath(file["path"]), "ReadOnly": True}
            for index, file in enumerate(config.get("files") or [])
        ]
    return mounts


def _mount(volume: Config, prefix: str, host_paths: Mapping[str, str]) -> Arguments:
    mount: Arguments = {"Type": volume["type"], "Target": posixpath.normpath(volume["path"]), "ReadOnly": bool(volume.get("read_only"))}
    if volume["type"] == "volume":
        mount["Source"] = volume_name(prefix, volume["name"])
    elif volume["type"] == "bind":
        mount["Source"] = host_paths.get(volume["host_path"], volume["host_path"])
    elif volume.get("size_bytes"):
        mount["TmpfsOptions"] = {"SizeBytes": volume["size_bytes"]}
    return mount


def _container_ports(config: Config) -> Sequence[tuple[int, str]]:
    found = {(port["container_port"], port["protocol"]) for port in config.get("ports") or []}
    for span in config.get("port_ranges") or []:
        found |= {(port, span["protocol"]) for port in range(span["container"]["first"], span["container"]["last"] + 1)}
    return sorted(found)


def _port_bindings(config: Config) -> Arguments:
    if config.get("network_mode") in ("host", "none") or not host_ports(config):
        return {}
    bindings: dict[str, list[dict[str, str]]] = {}

    def bind(container_port: int, host_port: int, one: Config) -> None:
        bound = {"HostIp": one.get("host_ip") or "", "HostPort": str(host_port)}
        bindings.setdefault(f"{container_port}/{one['protocol']}", []).append(bound)

    for port in config.get("ports") or []:
        if port.get("host_port"):
            bind(port["container_port"], port["host_port"], port)
    for span in config.get("port_ranges") or []:
        for offset in range(span["host"]["last"] - span["host"]["first"] + 1):
            bind(span["container"]["first"] + offset, span["host"]["first"] + offset, span)
    return bindings


def _healthcheck(config: Config) -> Arguments | None:
    check = config.get("healthcheck")
    if not check:
        return None
    test = check.get("test")
    if not test:
        return {"Test": ["NONE"]}  # the agent asks over http or tcp instead of the image's own check
    words = test if test[0] in ("CMD", "CMD-SHELL", "NONE") else ["CMD", *test]
    return {
        "Test": words,
        "Interval": _nanoseconds(check["interval_seconds"]),
        "Timeout": _nanoseconds(check["timeout_seconds"]),
        "StartPeriod": _nanoseconds(check["start_period_seconds"]),
        "Retries": check["retries"],
    }


def _nanoseconds(seconds: float) -> int:
    return int(seconds * 1_000_000_000)


def _environment(config: Config, secret: Mapping[str, str]) -> list[str]:
    merged = _texts(config.get("environment")) | dict(secret)
    return [f"{name}={value}" for name, value in sorted(merged.items())]


def _texts(values: Mapping[str, str | None] | None) -> dict[str, str]:
    """Without the names that were set to null, which means: not there."""
    return {name: value for name, value in (values or {}).items() if value is not None}
