"""What the gateway's routes work with, put together once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from gateway.addresses import Network, networks
from gateway.exchange import Exchange
from gateway.limiting import AddressLimits
from gateway.live import Live
from gateway.settings import Settings
from gateway.upstream import Upstream

if TYPE_CHECKING:
    from kernel.http.auth import TokenVerifier


@dataclass(frozen=True)
class Parts:
    """One process's connections, caches and counters."""

    settings: Settings
    trusted: tuple[Network, ...]
    upstreams: Mapping[str, Upstream]
    exchange: Exchange
    limits: AddressLimits
    live: Live

    @cached_property
    def verifier(self) -> TokenVerifier:
        """Checks internal tokens where the gateway itself decides; loaded when first needed, as most processes never do."""
        from kernel.http.auth import TokenVerifier

        return TokenVerifier(f"{self.settings.identity_url.rstrip('/')}/api/v1/.well-known/jwks.json")


def make_parts(settings: Settings) -> Parts:
    """The parts by the settings; nothing connects and no thread starts yet. Raises ValueError."""
    upstreams = {
        name: Upstream(name, url, connections=settings.threads, timeout_seconds=settings.upstream_timeout_seconds)
        for name, url in settings.services.items()
    }
    exchange = Exchange(upstreams["identity"])
    limits = AddressLimits(
        {
            "login": settings.limit_login,
            "register": settings.limit_register,
            "refresh": settings.limit_refresh,
            "auth": settings.limit_auth,
            "enroll": settings.limit_enroll,
        }
    )
    live = Live(settings.broker_core_url, largest_streams=settings.streams, on_rights_changed=exchange.forget)
    return Parts(settings, networks(settings.trusted_proxies), upstreams, exchange, limits, live)
