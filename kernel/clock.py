"""Time, ids and randomness: the only place that asks the machine for them."""

from __future__ import annotations

import secrets
import threading
import time
from datetime import UTC, datetime
from uuid import UUID


def now() -> datetime:
    """The present moment, aware and in UTC."""
    return datetime.now(UTC)  # noqa: TID251 - this is the one place


def monotonic() -> float:
    """Seconds on a clock that never goes back; for deadlines inside one process."""
    return time.monotonic()


class _Rising:
    """Numbers of 48 bits of milliseconds and 74 of randomness, each above the one before."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._last = 0

    def next(self) -> int:
        fresh = (time.time_ns() // 1_000_000 & 0xFFFFFFFFFFFF) << 74 | secrets.randbits(74)
        with self._lock:
            # In the same millisecond, or after the clock was set back: a random step beyond the last one.
            self._last = fresh if fresh > self._last else self._last + 1 + secrets.randbits(32)
            return self._last


_rising = _Rising()


def new_id() -> UUID:
    """A UUIDv7 (RFC 9562, section 5.7): 48 bits of milliseconds, then randomness. Those of one process sort as they were made."""
    number = _rising.next()
    time_and_a, b = number >> 62, number & (1 << 62) - 1
    value = time_and_a >> 12 << 80 | 0x7 << 76 | (time_and_a & 0xFFF) << 64 | 0x2 << 62 | b
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
