"""What the deployer's own clock brings about: attempts end, silent nodes are told of, what waited is sent."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from uuid import UUID

import structlog
from nacl.signing import SigningKey
from sqlalchemy.orm import Session

from kernel import clock
from kernel.db import Database
from kernel.errors import NotFound
from kernel.outbox import put_event
from services.deployer.domain.reports import CANCEL_PATIENCE_SECONDS, Expiry, expiry_of
from services.deployer.domain.states import Outcome
from services.deployer.models import Attempt
from services.deployer.store import nodes as node_store
from services.deployer.store import places
from services.deployer.store import reports as store
from services.deployer.store.attempts import attempt_of
from services.deployer.usecases.nodes import node_event
from services.deployer.usecases.send import send_cancel, send_waiting
from services.deployer.usecases.settle import settle

log = structlog.get_logger(__name__)

_FACTS = {"actor": "system:deployer", "actorname": "Fairlead"}

# An abandoned cancel is settled as timed out: should the node have succeeded after all, its late word corrects it.
_ENDS: Mapping[Expiry, tuple[Outcome, str]] = {
    Expiry.TIMED_OUT: (Outcome.TIMED_OUT, "The node did not finish in time. It is told to undo what it has begun."),
    Expiry.NODE_UNREACHABLE: (Outcome.FAILED, "The node did not come back within the time that the start allowed for it."),
    Expiry.CANCEL_ABANDONED: (
        Outcome.TIMED_OUT,
        f"The node did not answer the cancel within {CANCEL_PATIENCE_SECONDS} s. What runs there is known once it answers.",
    ),
}


def watch_clock(db: Database, signing_key: SigningKey) -> None:
    """One look at everything that time alone changes; any number of workers may do it at once. Raises Unavailable."""
    with db.system() as session:
        due = store.due_attempts(session)
        waited_for = store.connected_with_waiting(session)
    for attempt_id in due:
        with _unless_gone(attempt_id), db.system() as session:
            end_attempt(session, attempt_id, signing_key)
    for node_id in waited_for:
        with _unless_gone(node_id), db.system() as session:
            _send_waiting(session, node_id, signing_key)
    with db.system() as session:
        tell_silent_nodes(session)


@contextmanager
def _unless_gone(identity: UUID) -> Iterator[None]:
    """What was deleted since it was found ends the work on itself, not the worker."""
    try:
        yield
    except NotFound as error:
        log.info("gone before its time came", id=str(identity), error=error.detail)


def end_attempt(session: Session, attempt_id: UUID, signing_key: SigningKey) -> None:
    """End an attempt whose time is up: fence its place, settle it, and tell the node to undo."""
    due = store.lock_due(session, attempt_id)
    if due is None:
        return
    expiry = expiry_of(is_past_deadline=due.is_past_deadline, is_sent=due.is_sent, is_cancel_overdue=due.is_cancel_overdue)
    attempt = attempt_of(session, attempt_id)
    if expiry is None or attempt is None or attempt.outcome is not None:
        return
    outcome, detail = _ENDS[expiry]
    fence = store.fence(session, attempt)
    settle(session, attempt_id, outcome=outcome, code=expiry.value, detail=detail, restored=not due.is_sent, at=clock.now(), cause=None)
    if due.is_sent:
        _tell_to_undo(session, attempt, fence, expiry, signing_key)


def _tell_to_undo(session: Session, attempt: Attempt, fence: int, expiry: Expiry, signing_key: SigningKey) -> None:
    node = places.node_of(session, attempt.node_id)
    reason = "timed-out" if expiry is Expiry.TIMED_OUT else "cancelled"
    send_cancel(session, attempt, node, signing_key, generation=fence, reason=reason)


def _send_waiting(session: Session, node_id: UUID, signing_key: SigningKey) -> None:
    node = node_store.lock(session, node_id)
    send_waiting(session, node, signing_key)


def tell_silent_nodes(session: Session) -> None:
    """Each node that has turned silent is told of once."""
    at = clock.now()
    for node in node_store.lock_turned_silent(session):
        seen = clock.rfc3339(node.last_seen_at) if node.last_seen_at else None
        node_store.append_event(session, node, "unreachable", at, {"last_seen_at": seen})
        facts = _FACTS | {"team": node.team_id, "node": node.id}
        put_event(session, "deployer", node_event("unreachable", node, facts, after={"last_seen_at": seen}))
