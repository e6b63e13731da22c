"""Who calls: the address, the token that came, and the internal token that it is exchanged for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from flask import g, request

from gateway.addresses import Network, client_address
from gateway.exchange import Exchange
from kernel.errors import Unauthenticated

# Tokens that are good for one thing: the service that made them checks them itself.
OWN_TOKENS = ("fl_enr_", "fl_trg_")


def find_address(trusted: Sequence[Network]) -> str:
    """The client's address, found once a request."""
    if "address" not in g:
        g.address = client_address(request.remote_addr, ",".join(request.headers.getlist("X-Forwarded-For")), trusted)
    address: str = g.address
    return address


@dataclass(frozen=True)
class Caller:
    """Whoever sent the present request."""

    address: str
    token: str | None

    def internal_token(self, exchange: Exchange, team_id: UUID | None) -> str:
        """The internal token. Raises Unauthenticated when none came or it is worth nothing."""
        if self.token is None:
            raise Unauthenticated
        return exchange.internal_token(self.token, team_id, self.address)


def bearer(authorization: str | None) -> str | None:
    """The token in an Authorization header, None without one. Raises Unauthenticated for another scheme."""
    if not authorization:
        return None
    scheme, _, token = authorization.partition(" ")
    token = token.strip()
    if scheme.lower() != "bearer" or not token or len(token) > 8000:
        raise Unauthenticated("Send `Authorization: Bearer <token>`.")
    return token


def find_caller(trusted: Sequence[Network]) -> Caller:
    """The present request's caller. Raises Unauthenticated."""
    return Caller(find_address(trusted), bearer(request.headers.get("Authorization")))
