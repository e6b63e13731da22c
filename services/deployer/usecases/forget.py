"""What is deleted because it is old and nobody needs it: events of deployments and nodes. The audit log is not here, and is kept."""

from __future__ import annotations

import structlog

from kernel.db import Database
from kernel.housekeeping import BATCH
from services.deployer.store import history

log = structlog.get_logger(__name__)


def forget_events(db: Database, *, days: int) -> int:
    """Delete events older than `days` (0: keep all); those of a live or last attempt stay. Returns how many may have gone.

    In short transactions that lock nothing but the deleted rows: writers and readers go on meanwhile. Raises Unavailable.
    """
    if days <= 0:
        return 0
    gone = sum(_forget(db, kind, days) for kind in (history.DEPLOYMENTS, history.NODES))
    if gone:
        log.info("old events deleted", events=gone, days=days)
    return gone


def _forget(db: Database, kind: history.Kind, days: int) -> int:
    gone, after = 0, None
    while True:
        with db.system() as session:
            page = history.find_old(session, kind, days=days, after=after)
        for old in page:
            gone += old.until - old.first
            left: history.Old | None = old
            while left is not None:
                with db.system() as session:
                    left = history.forget(session, kind, left, most=BATCH)
        if len(page) < history.PAGE:
            return gone
        after = page[-1].id
