"""The broker is made to have what the database says: after it was wiped, and against drift at all times."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

import structlog

from kernel import clock
from kernel.db import Database
from services.deployer.provisioning import Provisioner, Repair, compare
from services.deployer.store import nodes as store

log = structlog.get_logger(__name__)

_CHUNK = 200
_LONGEST_SECONDS = 40.0


def reconcile(db: Database, provisioner: Provisioner) -> Repair | None:
    """Compare and repair; returns what there was to do, or None when another worker is at it. Raises Unavailable."""
    deadline = clock.monotonic() + _LONGEST_SECONDS
    with db.system() as session:
        if not store.try_lock_reconciliation(session):
            return None
        # The broker is looked at first: whatever is there was in the database before it was made.
        state = provisioner.survey()
        repair = compare(store.list_access(session), state)
        if repair.is_needed:
            _carry_out(db, provisioner, repair, deadline)
    return repair


def _carry_out(db: Database, provisioner: Provisioner, repair: Repair, deadline: float) -> None:
    log.info(
        "broker differs from the database",
        nodes_missing=len(repair.missing),
        users_unknown=len(repair.users),
        queues_unknown=len(repair.queues),
    )
    provisioner.remove_strays(repair)
    ids = [access.node_id for access in repair.missing]
    for start in range(0, len(ids), _CHUNK):
        if clock.monotonic() > deadline:
            log.warning("reconciliation goes on the next time", nodes_left=len(ids) - start)
            return
        _ensure(db, provisioner, ids[start : start + _CHUNK])


def _ensure(db: Database, provisioner: Provisioner, ids: Sequence[UUID]) -> None:
    """Read again under a lock: a node that is being revoked must not get its user back."""
    with db.system() as session:
        provisioner.ensure(store.lock_access(session, ids))


class Reconciler:
    """Says when it is time: every `every_seconds`, at once when asked, and soon again after a failure."""

    def __init__(self, db: Database, provisioner: Provisioner, *, every_seconds: float = 60.0) -> None:
        self._db = db
        self._provisioner = provisioner
        self._every = every_seconds
        self._due_at = 0.0

    def ask(self) -> None:
        """Reconcile at the next tick."""
        self._due_at = 0.0

    def tick(self) -> None:
        """Reconcile if it is time. Raises Unavailable; the next tick tries again."""
        if clock.monotonic() < self._due_at:
            return
        # Set before the work: what is asked for meanwhile is done once more.
        self._due_at = clock.monotonic() + self._every
        is_done = False
        try:
            reconcile(self._db, self._provisioner)
            is_done = True
        finally:
            if not is_done:
                self._due_at = 0.0
