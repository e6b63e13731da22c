"""What identity's use cases work with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from kernel import telemetry
from kernel.db import Database
from kernel.keyring import KeyRing
from services.identity.oidc import Provider
from services.identity.passwords import Hasher
from services.identity.settings import Settings
from services.identity.signer import Signer

# Raises PreconditionFailed when the client named another revision.
CheckRevision = Callable[[object], None]


@dataclass(frozen=True)
class Parts:
    """The parts of one process."""

    db: Database
    hasher: Hasher
    signer: Signer
    ring: KeyRing
    settings: Settings
    provider: Provider


@dataclass(frozen=True)
class Origin:
    """Where a request came from that nobody has signed yet."""

    address: str | None
    user_agent: str | None = None

    @property
    def correlation(self) -> str | None:
        return telemetry.correlation.get()


def make_parts(settings: Settings, name: str) -> Parts:
    """The parts as `settings` want them; nothing connects yet."""
    db = Database(settings.database_url, name=name)
    ring = KeyRing.load(settings.encryption_keys_file)
    hasher = Hasher(
        memory_kib=settings.argon2_memory_kib,
        passes=settings.argon2_passes,
        lanes=settings.argon2_lanes,
        concurrent=settings.concurrent_hashes,
    )
    return Parts(db, hasher, Signer(db, ring), ring, settings, Provider(settings))
