"""Ports of the host: which a configuration takes, and when two takers clash."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

_ANYWHERE = ("", "0.0.0.0", "::")  # noqa: S104  # compared with, never bound


@dataclass(frozen=True, order=True)
class HostPort:
    """A port of the host; an empty `ip` means every address."""

    port: int
    protocol: str = "tcp"
    ip: str = ""

    def clashes(self, other: HostPort) -> bool:
        if (self.port, self.protocol) != (other.port, other.protocol):
            return False
        return self.ip == other.ip or self.ip in _ANYWHERE or other.ip in _ANYWHERE

    def __str__(self) -> str:
        return f"{self.port}/{self.protocol}"


def host_ports(config: Mapping[str, Any]) -> list[HostPort]:
    """The ports of the host that a configuration (open JSON) publishes."""
    found = [_port(port, port["host_port"]) for port in config.get("ports") or () if port.get("host_port")]
    for span in config.get("port_ranges") or ():
        found += [_port(span, number) for number in range(span["host"]["first"], span["host"]["last"] + 1)]
    return found


def observed_ports(ports: list[dict[str, Any]]) -> list[HostPort]:
    """The ports of the host that an observed container holds; open JSON, as the agent's report has it."""
    return [_port(port, int(port["host_port"])) for port in ports if port.get("host_port")]


def _port(said: Mapping[str, Any], number: int) -> HostPort:
    return HostPort(number, said.get("protocol") or "tcp", said.get("host_ip") or "")
