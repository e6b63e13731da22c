"""The deployer's settings, out of the environment."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from kernel.settings import setting


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What the web process needs."""

    database_url: str = setting("FAIRLEAD_DATABASE_URL", "the deployer's database, as its application role", secret=True)
    identity_url: str = setting("FAIRLEAD_IDENTITY_URL", "the identity service, inside")
    catalog_url: str = setting("FAIRLEAD_CATALOG_URL", "the catalog service, inside")
    public_url: str = setting("FAIRLEAD_PUBLIC_URL", "the address that users type")
    signing_key_file: Path = setting("FAIRLEAD_SIGNING_KEY_FILE", "the Ed25519 seed (base64) that signs commands to nodes")
    broker_management_url: str = setting(
        "FAIRLEAD_BROKER_MANAGEMENT_URL", "RabbitMQ's management API, with the provisioner's log-in", secret=True
    )
    agent_broker_url: str = setting("FAIRLEAD_AGENT_BROKER_URL", "the broker's address as agents reach it, without a log-in")
    agent_broker_authority_file: Path | None = setting(
        "FAIRLEAD_AGENT_BROKER_AUTHORITY_FILE",
        "PEM: whose certificate agents want of an amqps broker, told them at enrolment; without it, those that their machine trusts",
        default=None,
    )
    log_format: str = setting("FAIRLEAD_LOG_FORMAT", "json or console", default="json")
    log_level: str = setting("FAIRLEAD_LOG_LEVEL", "debug, info, warning or error", default="info")


@dataclass(frozen=True, kw_only=True)
class WorkerSettings(Settings):
    """What the worker needs besides."""

    broker_core_url: str = setting("FAIRLEAD_BROKER_CORE_URL", "the broker's virtual host for events between services", secret=True)
    broker_agents_url: str = setting("FAIRLEAD_BROKER_AGENTS_URL", "the broker's virtual host for agents", secret=True)
    metrics_port: int = setting("FAIRLEAD_METRICS_PORT", "the local port of the worker's metrics (0: none)", default=0)
    event_days: int = setting(
        "FAIRLEAD_EVENT_DAYS",
        "events of deployments and nodes are kept so many days (0: for ever); those of a live or last attempt always",
        default=90,
    )
