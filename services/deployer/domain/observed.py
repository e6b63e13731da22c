"""What an agent last saw on its node, as values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from services.deployer.domain.ports import HostPort, observed_ports

_RUNNING = frozenset({"running", "restarting", "paused"})


@dataclass(frozen=True, kw_only=True)
class Observed:
    """One container of ours on the node."""

    prefix: str
    name: str
    container_id: str
    image: str
    state: str
    spec: str | None = None
    digest: str | None = None
    deployment_id: str | None = None
    health: str = "none"
    exit_code: int | None = None
    ports: tuple[HostPort, ...] = field(default=())

    @property
    def is_running(self) -> bool:
        return self.state in _RUNNING

    @property
    def is_sound(self) -> bool:
        """Running, and not found ill by its health check."""
        return self.state == "running" and self.health != "unhealthy"


def observed_of(rows: Sequence[Mapping[str, Any]] | None) -> tuple[Observed, ...]:
    """The containers of a node's row (open JSON, checked when the report came in)."""
    return tuple(
        Observed(
            prefix=row["prefix"],
            name=row["name"],
            container_id=row["container_id"],
            image=row["image"],
            state=row["state"],
            spec=row.get("spec"),
            digest=row.get("digest"),
            deployment_id=row.get("deployment_id"),
            health=row.get("health") or "none",
            exit_code=row.get("exit_code"),
            ports=tuple(observed_ports(row.get("ports") or [])),
        )
        for row in rows or ()
    )
