"""What a worker deletes now and then: idempotency keys of yesterday, and inbox rows that no message can meet again."""

from __future__ import annotations

from collections.abc import Callable

from sqlalchemy import text
from sqlalchemy.orm import Session

from kernel import inbox
from kernel.db import Database

BATCH = 5000
_FORGET_KEYS = text(
    "DELETE FROM idempotency_keys WHERE (owner, key) IN"
    " (SELECT owner, key FROM idempotency_keys WHERE created_at < now() - interval '24 hours' LIMIT :most) RETURNING 1"
)


def in_batches(db: Database, delete: Callable[[Session, int], int]) -> int:
    """Call `delete(session, most)` until it finds fewer rows than it may delete; returns how many it has deleted.

    Each batch is a transaction of its own: no lock is held for long, and what was done stays done.
    """
    done = 0
    while True:
        with db.system() as session:
            found = delete(session, BATCH)
        done += found
        if found < BATCH:
            return done


def forget_keys(db: Database) -> None:
    """Delete idempotency keys older than a day."""
    in_batches(db, lambda session, most: len(session.execute(_FORGET_KEYS, {"most": most}).all()))


def forget_old(db: Database) -> None:
    """Delete idempotency keys older than a day and inbox rows older than 30 days."""
    forget_keys(db)
    in_batches(db, inbox.forget_old)
