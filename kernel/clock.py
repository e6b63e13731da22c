"""Time, ids and randomness: the only place that asks the machine for them."""

from __future__ import annotations

import os
import secrets
import time
from datetime import UTC, datetime
from uuid import UUID


def now() -> datetime:
    """The present moment, aware and in UTC."""
    return datetime.now(UTC)  # noqa: TID251 - this is the one place


def monotonic() -> float:
    """Seconds on a clock that never goes back; for deadlines inside one process."""
    return time.monotonic()


def new_id() -> UUID:
    """A UUIDv7 (RFC 9562, section 5.7): 48 bits of milliseconds, then randomness; sorts by time of making."""
    milliseconds = time.time_ns() // 1_000_000
    value = (milliseconds & 0xFFFFFFFFFFFF) << 80 | int.from_bytes(os.urandom(10), "big")
    value = value & ~(0xF << 76) | 0x7 << 76
    value = value & ~(0x3 << 62) | 0x2 << 62
    return UUID(int=value)


def random_token(size_bytes: int = 32) -> str:
    """`size_bytes` of randomness as URL-safe text (43 characters for 32 bytes)."""
    return secrets.token_urlsafe(size_bytes)


def random_fraction() -> float:
    """A number in [0, 1), for jitter."""
    return secrets.randbelow(1 << 53) / (1 << 53)


def rfc3339(moment: datetime) -> str:
    """`2026-11-22T10:00:00.123456Z`: how times are written on the wire and in chains."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def parse_rfc3339(text: str) -> datetime:
    """The aware moment that `text` names. Raises ValueError when it names none, or has no offset."""
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError(f"a time needs an offset: {text!r}")
    try:
        return moment.astimezone(UTC)
    except OverflowError as error:
        raise ValueError(f"no such time in UTC: {text!r}") from error
