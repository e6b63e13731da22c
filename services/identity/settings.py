"""Settings of identity, out of the environment."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from kernel.errors import FieldError, Invalid
from kernel.settings import setting

REGISTRATION = ("open", "invite", "closed")
SMTP_SECURITY = ("starttls", "tls", "none")
# OWASP's least: below it a stolen table of hashes is guessed too cheaply.
_LEAST_MEMORY_KIB, _LEAST_PASSES = 19_456, 2


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What the web process and the worker read."""

    database_url: str = setting("FAIRLEAD_DATABASE_URL", "postgresql+psycopg:// address, as the role identity", secret=True)
    public_url: str = setting("FAIRLEAD_PUBLIC_URL", "what people type; links in mails are built from it", default="http://127.0.0.1:8080")
    encryption_keys_file: Path = setting("FAIRLEAD_ENCRYPTION_KEYS_FILE", "key ring, id:base64(32 bytes) a line; the first encrypts")
    broker_core_url: str = setting(
        "FAIRLEAD_BROKER_CORE_URL", "amqp:// address of the virtual host core; for the worker", default="", secret=True
    )
    environment: str = setting("FAIRLEAD_ENVIRONMENT", "production or development", default="production")
    log_format: str = setting("FAIRLEAD_LOG_FORMAT", "json or console", default="json")
    log_level: str = setting("FAIRLEAD_LOG_LEVEL", "debug, info, warning or error", default="info")
    metrics_port: int = setting("FAIRLEAD_METRICS_PORT", "where the worker shows its metrics; 0: nowhere", default=0)
    trusted_proxies: tuple[str, ...] = setting(
        "FAIRLEAD_TRUSTED_PROXIES",
        "networks whose X-Forwarded-For is believed: the gateway's",
        default=("127.0.0.0/8", "::1/128", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16"),
    )

    registration: str = setting("FAIRLEAD_REGISTRATION", "open, invite or closed; the first person may always register", default="open")
    setup_token: str = setting("FAIRLEAD_SETUP_TOKEN", "if set, the first person must register with it", default="", secret=True)
    registrations_per_minute: int = setting("FAIRLEAD_REGISTRATIONS_PER_MINUTE", "from one address", default=60)
    invitation_days: int = setting("FAIRLEAD_INVITATION_DAYS", "an invitation lapses after this many days", default=7)

    argon2_memory_kib: int = setting("FAIRLEAD_ARGON2_MEMORY_KIB", "memory of one password hash", default=65_536)
    argon2_passes: int = setting("FAIRLEAD_ARGON2_PASSES", "passes of one password hash", default=2)
    argon2_lanes: int = setting("FAIRLEAD_ARGON2_LANES", "threads of one password hash", default=1)
    concurrent_hashes: int = setting("FAIRLEAD_CONCURRENT_HASHES", "password hashes at once in one process", default=2)

    access_token_seconds: int = setting("FAIRLEAD_ACCESS_TOKEN_SECONDS", "life of an access token", default=600)
    refresh_token_days: int = setting("FAIRLEAD_REFRESH_TOKEN_DAYS", "a session that is idle for so long ends", default=30)
    session_days: int = setting("FAIRLEAD_SESSION_DAYS", "a session ends after so long, used or not", default=90)
    signing_key_days: int = setting("FAIRLEAD_SIGNING_KEY_DAYS", "signing keys are replaced after so long; 0: only by command", default=90)
    signing_key_lead_seconds: int = setting(
        "FAIRLEAD_SIGNING_KEY_LEAD_SECONDS", "a new key is published so long before it signs", default=330
    )

    smtp_host: str = setting("FAIRLEAD_SMTP_HOST", "mail server; without one no mail is sent and addresses are not verified", default="")
    smtp_port: int = setting("FAIRLEAD_SMTP_PORT", "its port", default=587)
    smtp_security: str = setting("FAIRLEAD_SMTP_SECURITY", "starttls, tls or none", default="starttls")
    smtp_username: str = setting("FAIRLEAD_SMTP_USERNAME", "if it wants one", default="")
    smtp_password: str = setting("FAIRLEAD_SMTP_PASSWORD", "if it wants one", default="", secret=True)
    smtp_from: str = setting("FAIRLEAD_SMTP_FROM", "the sender of mails", default="Fairlead <fairlead@localhost>")

    oidc_issuer: str = setting("FAIRLEAD_OIDC_ISSUER", "OpenID Connect issuer (https://…); empty: no log-in through a provider", default="")
    oidc_client_id: str = setting("FAIRLEAD_OIDC_CLIENT_ID", "our id at the issuer", default="")
    oidc_client_secret: str = setting(
        "FAIRLEAD_OIDC_CLIENT_SECRET", "our secret at the issuer; a public client has none", default="", secret=True
    )
    oidc_name: str = setting("FAIRLEAD_OIDC_NAME", "what people call the provider", default="Single sign-on")
    oidc_scopes: str = setting("FAIRLEAD_OIDC_SCOPES", "what is asked of the issuer", default="openid email profile")
    oidc_redirect_path: str = setting(
        "FAIRLEAD_OIDC_REDIRECT_PATH", "the page below FAIRLEAD_PUBLIC_URL that the issuer returns to", default="/login/oidc"
    )

    def __post_init__(self) -> None:
        wrong = [FieldError(variable, message) for variable, is_wrong, message in self._faults() if is_wrong]
        if wrong:
            raise Invalid(wrong, code="settings-invalid", detail="; ".join(f"{e.field} {e.message}" for e in wrong))

    def _faults(self) -> list[tuple[str, bool, str]]:
        production = self.environment == "production"
        weak = self.argon2_memory_kib < _LEAST_MEMORY_KIB or self.argon2_passes < _LEAST_PASSES
        least = f"{_LEAST_MEMORY_KIB} KiB and {_LEAST_PASSES} passes are the least in production"
        http = ("http://", "https://")
        return [
            ("FAIRLEAD_REGISTRATION", self.registration not in REGISTRATION, f"must be one of {', '.join(REGISTRATION)}"),
            ("FAIRLEAD_SMTP_SECURITY", self.smtp_security not in SMTP_SECURITY, f"must be one of {', '.join(SMTP_SECURITY)}"),
            ("FAIRLEAD_ARGON2_MEMORY_KIB", production and weak, least),
            ("FAIRLEAD_CONCURRENT_HASHES", self.concurrent_hashes < 1, "must be 1 or more"),
            ("FAIRLEAD_PUBLIC_URL", not self.public_url.startswith(http), "must begin with http:// or https://"),
            ("FAIRLEAD_OIDC_CLIENT_ID", bool(self.oidc_issuer) and not self.oidc_client_id, "is missing beside FAIRLEAD_OIDC_ISSUER"),
            ("FAIRLEAD_OIDC_ISSUER", bool(self.oidc_issuer) and not self.oidc_issuer.startswith(http), "must be an address"),
        ]

    @property
    def sends_mail(self) -> bool:
        """Is there a mail server? Only then can addresses be verified, so only then must they be."""
        return bool(self.smtp_host)

    @property
    def has_oidc(self) -> bool:
        return bool(self.oidc_issuer)

    def link(self, path: str) -> str:
        """A page of ours as people reach it; never built from what a request says of the host."""
        return self.public_url.rstrip("/") + path
