"""How a connection to RabbitMQ is opened, and which of pika's errors mean what."""

from __future__ import annotations

import ssl
from urllib.parse import unquote, urlsplit

import pika
from pika.exceptions import (
    AMQPError,
    ProbableAccessDeniedError,
    ProbableAuthenticationError,
)

from kernel import clock

# A connection may die in any of these ways; all are healed by a new one.
BROKEN = (AMQPError, OSError, EOFError, IndexError, AssertionError)
# These are not healed by trying again soon: the user is gone or its password is another.
REFUSED = (ProbableAuthenticationError, ProbableAccessDeniedError)


def parameters(url: str, name: str, *, heartbeat_seconds: int = 20, authority: str | None = None) -> pika.ConnectionParameters:
    """pika's parameters for an `amqp[s]://user:password@host:port/vhost` address; every wait has an end.

    With amqps, the broker's certificate must be of `authority` (PEM); without one, of those that this machine trusts.
    """
    parts = urlsplit(url)
    secure = parts.scheme == "amqps"
    return pika.ConnectionParameters(
        host=parts.hostname or "127.0.0.1",
        port=parts.port or (5671 if secure else 5672),
        virtual_host=unquote(parts.path.lstrip("/")) or "/",
        credentials=pika.PlainCredentials(unquote(parts.username or ""), unquote(parts.password or "")),
        heartbeat=heartbeat_seconds,
        blocked_connection_timeout=30,
        socket_timeout=10,
        stack_timeout=15,
        connection_attempts=1,
        ssl_options=pika.SSLOptions(ssl.create_default_context(cadata=authority), parts.hostname) if secure else None,
        client_properties={"connection_name": name, "product": "fairlead"},
    )


class Backoff:
    """Growing waits with full jitter; `reset` after something worked."""

    def __init__(self, first_seconds: float = 0.5, longest_seconds: float = 30.0) -> None:
        self._first = first_seconds
        self._longest = longest_seconds
        self._tries = 0

    def next_seconds(self) -> float:
        """How long to wait now, between 0.1 s and twice the last bound."""
        bound: float = min(self._longest, self._first * 2**self._tries)
        self._tries = min(self._tries + 1, 16)
        return max(0.1, clock.random_fraction() * bound)

    def reset(self) -> None:
        self._tries = 0
