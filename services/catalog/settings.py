"""The catalog's settings, out of the environment."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from kernel.settings import setting


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What the web process needs."""

    database_url: str = setting("FAIRLEAD_DATABASE_URL", "the catalog's database, as its application role", secret=True)
    identity_url: str = setting("FAIRLEAD_IDENTITY_URL", "the identity service, inside")
    encryption_keys_file: Path = setting("FAIRLEAD_ENCRYPTION_KEYS_FILE", "the key ring that encrypts registry passwords")
    egress_allowed_networks: tuple[str, ...] = setting(
        "FAIRLEAD_EGRESS_ALLOWED_NETWORKS",
        "private networks (CIDR, comma separated) that registries may lie in, also by plain http",
        default=(),
    )
    log_format: str = setting("FAIRLEAD_LOG_FORMAT", "json or console", default="json")
    log_level: str = setting("FAIRLEAD_LOG_LEVEL", "debug, info, warning or error", default="info")


@dataclass(frozen=True, kw_only=True)
class WorkerSettings(Settings):
    """What the worker needs besides."""

    broker_core_url: str = setting("FAIRLEAD_BROKER_CORE_URL", "the broker's virtual host for events between services", secret=True)
    metrics_port: int = setting("FAIRLEAD_METRICS_PORT", "the local port of the worker's metrics (0: none)", default=0)
    deleted_deployment_days: int = setting(
        "FAIRLEAD_DELETED_DEPLOYMENT_DAYS",
        "a deleted deployment is remembered so many days against old news of it (0: for ever); longer than a message stays parked",
        default=90,
    )
