"""The audit service's settings, out of the environment."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from kernel.settings import setting


@dataclass(frozen=True, kw_only=True)
class _Common:
    """What both processes need."""

    database_url: str = setting("FAIRLEAD_DATABASE_URL", "the audit database, as its application role", secret=True)
    signing_key_file: Path = setting("FAIRLEAD_SIGNING_KEY_FILE", "the Ed25519 seed (base64) that signs checkpoints")
    log_format: str = setting("FAIRLEAD_LOG_FORMAT", "json or console", default="json")
    log_level: str = setting("FAIRLEAD_LOG_LEVEL", "debug, info, warning or error", default="info")


@dataclass(frozen=True, kw_only=True)
class Settings(_Common):
    """What the web process needs."""

    identity_url: str = setting("FAIRLEAD_IDENTITY_URL", "the identity service, inside")


@dataclass(frozen=True, kw_only=True)
class WorkerSettings(_Common):
    """What the worker needs."""

    broker_core_url: str = setting("FAIRLEAD_BROKER_CORE_URL", "the broker's virtual host for events between services", secret=True)
    broker_agents_url: str = setting("FAIRLEAD_BROKER_AGENTS_URL", "the broker's virtual host for agents", secret=True)
    metrics_port: int = setting("FAIRLEAD_METRICS_PORT", "the local port of the worker's metrics (0: none)", default=0)
