"""What a worker deletes now and then: idempotency keys of yesterday, and inbox rows that no message can meet again."""

from __future__ import annotations

from sqlalchemy import text

from kernel import inbox
from kernel.db import Database

_FORGET_KEYS = text("DELETE FROM idempotency_keys WHERE created_at < now() - interval '24 hours'")


def forget_keys(db: Database) -> None:
    """Delete idempotency keys older than a day."""
    with db.system() as session:
        session.execute(_FORGET_KEYS)


def forget_old(db: Database) -> None:
    """Delete idempotency keys older than a day and inbox rows older than 30 days."""
    forget_keys(db)
    inbox.forget_old(db)
