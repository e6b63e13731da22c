"""What identity's routes take from a request."""

from __future__ import annotations

import base64
import ipaddress
import json
from functools import lru_cache
from typing import cast
from uuid import UUID

from flask import current_app, request

from kernel.http import principal
from services.identity.usecases.parts import Origin, Parts


def parts() -> Parts:
    """The parts of this process."""
    return cast("Parts", current_app.extensions["fairlead"]["parts"])  # put there by create_app


def origin() -> Origin:
    """Where the request came from, as the gateway says; strangers' headers count for nothing."""
    return Origin(_address(), request.headers.get("User-Agent"))


def _address() -> str | None:
    peer = request.remote_addr
    forwarded = request.headers.get("X-Forwarded-For", "").rpartition(",")[2].strip()
    if forwarded and _is_within(peer or "", parts().settings.trusted_proxies):
        try:
            return str(ipaddress.ip_address(forwarded))
        except ValueError:
            return peer
    return peer


@lru_cache(maxsize=256)
def _is_within(address: str, networks: tuple[str, ...]) -> bool:
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return False
    return any(parsed in ipaddress.ip_network(network, strict=False) for network in networks)


def session_id() -> UUID | None:
    """The log-in session behind the internal token, which was verified already; None for API tokens."""
    body = principal().token.split(".")[1]
    claims = json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))
    return UUID(claims["sid"]) if claims.get("sid") else None
