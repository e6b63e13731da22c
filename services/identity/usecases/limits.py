"""Draws on limits, in transactions of their own: before a password is hashed, and whatever becomes of the request."""

from __future__ import annotations

from collections.abc import Sequence

from kernel.db import Database
from kernel.errors import RateLimited
from services.identity.domain.throttle import Draw
from services.identity.store import throttles


def draw(db: Database, draws: Sequence[Draw]) -> None:
    """Draw one on each limit, or on none. Raises RateLimited with the seconds to wait."""
    with db.system() as session:
        wait = throttles.take(session, draws)
        if wait:
            raise RateLimited(wait)


def may_draw(db: Database, draws: Sequence[Draw]) -> bool:
    """As `draw`, but says no instead of raising."""
    try:
        draw(db, draws)
    except RateLimited:
        return False
    return True


def give_back(db: Database, draws: Sequence[Draw]) -> None:
    """The tries were right: they do not count."""
    with db.system() as session:
        throttles.give_back(session, draws)
