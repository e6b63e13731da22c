"""The gateway's settings, from the environment."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from kernel.settings import setting

ROOT = Path(__file__).resolve().parents[1]
_SCRIPT = ROOT / "deploy" / "agent" / "install.sh"
_LOCK = ROOT / "requirements" / "agent.lock"


@dataclass(frozen=True)
class Settings:
    """Where the services are, and how much a stranger may ask of us."""

    identity_url: str = setting("FAIRLEAD_IDENTITY_URL", "internal address of identity")
    catalog_url: str = setting("FAIRLEAD_CATALOG_URL", "internal address of catalog")
    deployer_url: str = setting("FAIRLEAD_DEPLOYER_URL", "internal address of deployer")
    audit_url: str = setting("FAIRLEAD_AUDIT_URL", "internal address of audit")
    broker_core_url: str = setting("FAIRLEAD_BROKER_CORE_URL", "AMQP address of the virtual host core, for live events", secret=True)
    public_url: str = setting("FAIRLEAD_PUBLIC_URL", "the address that people type, without a slash at the end")
    broker_agents_url: str = setting(
        "FAIRLEAD_BROKER_AGENTS_URL",
        "AMQP address of the virtual host agents; without it its parked messages are not seen",
        default="",
        secret=True,
    )
    trusted_proxies: tuple[str, ...] = setting(
        "FAIRLEAD_GATEWAY_TRUSTED_PROXIES", "networks (CIDR) of proxies before the gateway, whose X-Forwarded-For is believed", default=()
    )
    largest_body_bytes: int = setting("FAIRLEAD_LARGEST_BODY_BYTES", "a longer request is refused with 413", default=2 * 1024 * 1024)
    upstream_timeout_seconds: float = setting(
        "FAIRLEAD_UPSTREAM_TIMEOUT_SECONDS", "how long a service may be silent during an answer", default=60.0
    )
    threads: int = setting("WEB_THREADS", "threads of this process (gunicorn's setting)", default=16)
    largest_streams: int = setting(
        "FAIRLEAD_LARGEST_STREAMS", "live streams at once in one process; 0 means five of eight threads", default=0
    )
    limit_login: str = setting("FAIRLEAD_LIMIT_LOGIN", "log-ins from one address", default="30/minute")
    limit_register: str = setting("FAIRLEAD_LIMIT_REGISTER", "registrations from one address", default="30/minute")
    limit_refresh: str = setting("FAIRLEAD_LIMIT_REFRESH", "refreshed tokens from one address", default="120/minute")
    limit_auth: str = setting("FAIRLEAD_LIMIT_AUTH", "other calls below /auth from one address", default="30/minute")
    limit_enroll: str = setting("FAIRLEAD_LIMIT_ENROLL", "enrolments and hooks from one address", default="120/minute")
    metrics_public: bool = setting("FAIRLEAD_METRICS_PUBLIC", "show /metrics to more than loopback", default=False)
    wheel_dir: Path = setting("FAIRLEAD_WHEEL_DIR", "where the agent's wheel lies", default=ROOT / "dist")
    install_script: Path = setting("FAIRLEAD_INSTALL_SCRIPT", "the agent's install script", default=_SCRIPT)
    agent_lock: Path = setting("FAIRLEAD_AGENT_LOCK", "the agent's locked requirements", default=_LOCK)
    log_format: str = setting("FAIRLEAD_LOG_FORMAT", "json or console", default="json")
    log_level: str = setting("FAIRLEAD_LOG_LEVEL", "debug, info, warning or error", default="info")

    @property
    def services(self) -> dict[str, str]:
        """Name -> internal address."""
        return {
            "identity": self.identity_url,
            "catalog": self.catalog_url,
            "deployer": self.deployer_url,
            "audit": self.audit_url,
        }

    @property
    def streams(self) -> int:
        """Live streams at once: each holds a thread, and some must be left for everybody else."""
        return self.largest_streams or max(1, self.threads * 5 // 8)
