"""Who asks: a value without Flask, so that use cases may run in a worker."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from kernel.errors import NotFound
from kernel.permissions import Role


@dataclass(frozen=True)
class Principal:
    """Who asks: `kind` is user, token, trigger, node or system; `token` is the internal token, to be handed on."""

    kind: str
    id: UUID
    name: str
    team_id: UUID | None
    role: Role | None
    scopes: tuple[str, ...]
    token: str
    email: str | None = None
    address: str | None = None
    correlation: str | None = None

    @property
    def actor(self) -> str:
        """As it stands in envelopes: `user:<id>`."""
        return f"{self.kind}:{self.id}"

    @property
    def team(self) -> UUID:
        """The team of a team route. Raises NotFound outside of one."""
        if self.team_id is None:
            raise NotFound("team")
        return self.team_id

    def envelope_facts(self) -> dict[str, Any]:
        """The envelope's fields that say who did it. Any: they are spread into Envelope(**…)."""
        return {
            "team": self.team_id,
            "actor": self.actor,
            "actorname": self.name,
            "address": self.address,
            "correlation": self.correlation,
        }
