"""The agent's settings: from the environment, and from `agent.env` in its directory for what the environment lacks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from kernel.settings import load, setting

_DIRECTORY = "FAIRLEAD_AGENT_DIR"
_DEFAULT_DIRECTORY = Path("/var/lib/fairlead-agent")


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Where the agent keeps its things and how it works."""

    directory: Path = setting(_DIRECTORY, "keys, journal, secrets and policy of this node", default=_DEFAULT_DIRECTORY)
    policy_file: Path | None = setting(
        "FAIRLEAD_AGENT_POLICY_FILE", "the owner's policy; default policy.toml in the directory", default=None
    )
    docker_address: str = setting("FAIRLEAD_AGENT_DOCKER_HOST", "the Docker Engine", default="unix:///var/run/docker.sock")
    workers: int = setting("FAIRLEAD_AGENT_WORKERS", "deployments at different places at once", default=2)
    heartbeat_seconds: float = setting("FAIRLEAD_AGENT_HEARTBEAT_SECONDS", "0: as the control plane said at enrolment", default=0.0)
    log_format: str = setting("FAIRLEAD_LOG_FORMAT", "json or console", default="json")
    log_level: str = setting("FAIRLEAD_LOG_LEVEL", "debug, info, warning or error", default="info")

    @property
    def policy_path(self) -> Path:
        return self.policy_file or self.directory / "policy.toml"

    @property
    def journal_path(self) -> Path:
        return self.directory / "journal.db"

    @property
    def state_path(self) -> Path:
        """What `agentctl status` reads."""
        return self.directory / "state.json"

    @property
    def secrets_path(self) -> Path:
        return self.directory / "secrets"


def read_settings(environ: Mapping[str, str]) -> Settings:
    """The settings. Raises Invalid naming what is wrong."""
    directory = Path(environ.get(_DIRECTORY) or _DEFAULT_DIRECTORY)
    return load(Settings, _read_file(directory / "agent.env") | dict(environ))


def _read_file(path: Path) -> dict[str, str]:
    if not path.is_file():
        return {}
    lines = (line.strip() for line in path.read_text().splitlines())
    pairs = (line.partition("=") for line in lines if line and not line.startswith("#"))
    return {name.strip(): value.strip().strip('"') for name, _, value in pairs}
