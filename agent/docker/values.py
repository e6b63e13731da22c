"""What the engine's answers become: values without the library's types."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from agent.plan import HostPort, Seen

# One object of the engine's JSON. Any: the library gives it untyped.
Raw = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Inspected:
    """One container, looked at closely. `health` is None where it has no health check."""

    id: str
    name: str
    state: str
    exit_code: int = 0
    health: str | None = None
    health_output: str = ""
    started_at: str = ""
    restart_count: int = 0
    image: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    restart_policy: str = ""
    stop_seconds: int = 10
    addresses: Mapping[str, str] = field(default_factory=dict)
    is_on_host_network: bool = False
    was_oom_killed: bool = False
    error: str = ""
    ports: tuple[Mapping[str, Any], ...] = ()

    @property
    def is_running(self) -> bool:
        return self.state == "running"

    @property
    def has_ended(self) -> bool:
        return self.state in ("exited", "dead")


@dataclass(frozen=True)
class PullLine:
    """One line of a pull: a layer and how much of it is there."""

    layer: str
    status: str
    current: int = 0
    total: int = 0


def seen(raw: Raw) -> Seen:
    """A container of the list call."""
    mode = str((raw.get("HostConfig") or {}).get("NetworkMode", ""))
    ports = raw.get("Ports") or []
    names = raw.get("Names") or [""]
    return Seen(
        id=raw["Id"],
        name=names[0].lstrip("/"),
        state=raw.get("State", ""),
        status=raw.get("Status", ""),
        image=raw.get("Image", ""),
        image_id=raw.get("ImageID", ""),
        labels=dict(raw.get("Labels") or {}),
        host_ports=frozenset(HostPort(one["PublicPort"], one["Type"], one.get("IP", "")) for one in ports if one.get("PublicPort")),
        networks=frozenset((raw.get("NetworkSettings") or {}).get("Networks") or {}),
        is_on_host_network=mode == "host",
        has_data=any(one.get("RW") and one.get("Type") in ("volume", "bind") for one in raw.get("Mounts") or []),
    )


def inspected(raw: Raw) -> Inspected:
    """A container of the inspect call."""
    state, config, host = raw["State"], raw["Config"], raw["HostConfig"]
    health = state.get("Health") or {}
    said = health.get("Log") or []
    networks = (raw.get("NetworkSettings") or {}).get("Networks") or {}
    grace = config.get("StopTimeout")
    status = health.get("Status")
    return Inspected(
        id=raw["Id"],
        name=raw["Name"].lstrip("/"),
        state=state["Status"],
        exit_code=state.get("ExitCode", 0),
        health=None if status in (None, "none") else status,
        health_output=str(said[-1].get("Output", ""))[-500:] if said else "",
        started_at=state.get("StartedAt", ""),
        restart_count=raw.get("RestartCount", 0),
        image=config.get("Image", ""),
        labels=dict(config.get("Labels") or {}),
        restart_policy=(host.get("RestartPolicy") or {}).get("Name", ""),
        stop_seconds=10 if grace is None else grace,
        addresses={name: one.get("IPAddress", "") for name, one in networks.items() if one.get("IPAddress")},
        is_on_host_network=host.get("NetworkMode") == "host",
        was_oom_killed=bool(state.get("OOMKilled")),
        error=state.get("Error", ""),
        ports=tuple(_ports((raw.get("NetworkSettings") or {}).get("Ports") or {})),
    )


def _ports(raw: Raw) -> list[Mapping[str, Any]]:
    found: list[Mapping[str, Any]] = []
    for name, bindings in raw.items():
        number, _, protocol = name.partition("/")
        for one in bindings or []:
            host = {"host_ip": one.get("HostIp", ""), "host_port": int(one["HostPort"])}
            found.append({"container_port": int(number), "protocol": protocol or "tcp"} | host)
    return found
