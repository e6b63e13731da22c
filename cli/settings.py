"""What the command reads from the environment; it goes before what a log-in has kept."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from kernel.settings import setting


@dataclass(frozen=True)
class Settings:
    """All optional: for CI, a token and an address are enough."""

    url: str | None = setting("FAIRLEAD_URL", "the control plane that the command talks to, instead of the one of the log-in", default=None)
    token: str | None = setting("FAIRLEAD_TOKEN", "an API token that the command uses instead of a log-in", default=None, secret=True)
    team: str | None = setting("FAIRLEAD_TEAM", "the team that the command works in: its id, slug or name", default=None)
    ca_file: Path | None = setting(
        "FAIRLEAD_CA_FILE", "the authority (PEM) that the command trusts instead of the public ones", default=None
    )
    password: str | None = setting(
        "FAIRLEAD_PASSWORD", "the password of `fairlead login`; without it, it is asked for", default=None, secret=True
    )
    registry_password: str | None = setting(
        "FAIRLEAD_REGISTRY_PASSWORD", "the password of `fairlead registry add`; without it, it is asked for", default=None, secret=True
    )
