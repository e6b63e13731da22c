"""Limits counted in PostgreSQL, so that they hold across processes and restarts."""

from __future__ import annotations

import math
from collections.abc import Sequence

from sqlalchemy import text
from sqlalchemy.orm import Session

from services.identity.domain.throttle import Draw

# A bucket that leaks: `full_at` is when all is back. Taking one pushes it on by one step, unless that goes past the burst.
_TAKE = text("""
INSERT INTO throttles AS t (key, full_at) VALUES (:key, now() + make_interval(secs => :step))
ON CONFLICT (key) DO UPDATE SET full_at = greatest(t.full_at, now()) + make_interval(secs => :step)
WHERE greatest(t.full_at, now()) + make_interval(secs => :step) <= now() + make_interval(secs => :span)
RETURNING key""")
_WAIT = text("SELECT extract(epoch FROM full_at - now()) FROM throttles WHERE key = :key")
_GIVE_BACK = text("UPDATE throttles SET full_at = full_at - make_interval(secs => :step) WHERE key = :key")
_FORGET = text("DELETE FROM throttles WHERE full_at < now()")


def take(session: Session, draws: Sequence[Draw]) -> int:
    """Draw one on each. Returns 0, or the seconds to wait when one of them has none left (the caller rolls back)."""
    for draw in sorted(draws, key=lambda one: one.key):
        step, span = draw.limit.every_seconds, draw.limit.span_seconds
        if session.execute(_TAKE, {"key": draw.key, "step": step, "span": span}).first() is None:
            left = float(session.execute(_WAIT, {"key": draw.key}).scalar_one())
            return max(1, math.ceil(left + step - span))
    return 0


def give_back(session: Session, draws: Sequence[Draw]) -> None:
    """Give one back to each: the try was right."""
    for draw in sorted(draws, key=lambda one: one.key):
        session.execute(_GIVE_BACK, {"key": draw.key, "step": draw.limit.every_seconds})


def forget_full(session: Session) -> None:
    session.execute(_FORGET)
