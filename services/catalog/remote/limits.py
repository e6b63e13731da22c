"""How registries say that they are asked too often, how long to wait, and how much they still allow."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime

from kernel import clock
from services.catalog.remote.egress import Answer

_USUAL_SECONDS = 60
_LONGEST_SECONDS = 86_400
_LEAST_UNIX_TIME = 1_000_000_000


@dataclass(frozen=True)
class RateLimit:
    """How many pulls a registry still allows (Docker Hub says so)."""

    limit: int
    remaining: int
    window_seconds: int


def parse_rate_limit(headers: Mapping[str, str]) -> RateLimit | None:
    """`ratelimit-limit: 100;w=21600` and `ratelimit-remaining: 76;w=21600`."""
    limit = re.match(r"([0-9]{1,9});w=([0-9]{1,9})", headers.get("ratelimit-limit", ""))
    remaining = re.match(r"[0-9]{1,9}", headers.get("ratelimit-remaining", ""))
    return RateLimit(int(limit[1]), int(remaining[0]), int(limit[2])) if limit and remaining else None


def is_rate_limit(answer: Answer) -> bool:
    """Whether a 403 means "too often": GitHub's API says so in the headers or, of its secondary limits, in the body alone."""
    headers = answer.headers
    return "retry-after" in headers or headers.get("x-ratelimit-remaining") == "0" or b"rate limit" in answer.body[:4096]


def seconds_to_wait(headers: Mapping[str, str]) -> int:
    """`Retry-After` in seconds or as a date.

    Docker Hub's API gives the Unix time there at which it answers again, GitHub's in `X-RateLimit-Reset`.
    """
    told = _number(headers.get("retry-after", ""))
    if told is None:
        told = _date(headers.get("retry-after", ""))
    if told is None and headers.get("x-ratelimit-remaining") == "0":
        told = _number(headers.get("x-ratelimit-reset", ""))
    if told is None:
        return _USUAL_SECONDS
    if told >= _LEAST_UNIX_TIME:
        told -= int(clock.now().timestamp())
    return min(max(told, 1), _LONGEST_SECONDS)


def _date(text: str) -> int | None:
    """The Unix time of a date as HTTP writes it."""
    try:
        return max(int(parsedate_to_datetime(text).timestamp()), _LEAST_UNIX_TIME)
    except (ValueError, OverflowError):
        return None


def _number(text: str) -> int | None:
    return int(text) if re.fullmatch(r"[0-9]{1,11}", text) else None
