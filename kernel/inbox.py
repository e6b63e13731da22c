"""The inbox: what was told twice is done once, because its id is saved with the work."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from uuid import UUID

import structlog
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from kernel.db import Database
from kernel.errors import FairleadError, Unavailable
from kernel.messaging.consumer import Received
from kernel.metrics import MESSAGES_HANDLED

log = structlog.get_logger(__name__)

_REMEMBER = text(
    "INSERT INTO inbox (consumer, message_id) SELECT :consumer, unnest(CAST(:ids AS uuid[])) ON CONFLICT DO NOTHING RETURNING message_id"
)
_FORGET = text(
    "DELETE FROM inbox WHERE (consumer, message_id) IN"
    " (SELECT consumer, message_id FROM inbox WHERE received_at < now() - interval '30 days' LIMIT :most) RETURNING 1"
)

HandleBatch = Callable[[Session, Sequence[Received]], None]


def remember(session: Session, consumer: str, ids: Sequence[UUID]) -> set[UUID]:
    """Record the ids for `consumer` and return those that are new to it."""
    rows = session.execute(_REMEMBER, {"consumer": consumer, "ids": list(dict.fromkeys(ids))})
    return {row[0] for row in rows}


def forget_old(session: Session, most: int) -> int:
    """Delete some of what was recorded more than 30 days ago, as no message is kept that long; returns how many."""
    return len(session.execute(_FORGET, {"most": most}).all())


class InboxHandler:
    """Handles a consumer's batch in one transaction, each message once. If the batch fails, its messages go one by one.

    Messages whose names are in `pulses` are not remembered: handling one again must change nothing.
    """

    def __init__(self, db: Database, consumer: str, handle: HandleBatch, *, pulses: Collection[str] = ()) -> None:
        self._db = db
        self._consumer = consumer
        self._handle = handle
        self._pulses = pulses

    def __call__(self, batch: Sequence[Received]) -> Mapping[int, Exception]:
        """The errors by index. Raises Unavailable when the database is away."""
        try:
            self._transact(batch)
            MESSAGES_HANDLED.labels(self._consumer, "done").inc(len(batch))
            return {}
        except (FairleadError, DBAPIError, LookupError, ValueError, TypeError) as error:
            if isinstance(error, Unavailable) and error.code == "database-unavailable":
                raise
            if len(batch) == 1:
                MESSAGES_HANDLED.labels(self._consumer, "failed").inc()
                return {0: error}
        errors: dict[int, Exception] = {}
        for index, received in enumerate(batch):
            for alone in self([received]).values():
                errors[index] = alone
        return errors

    def _transact(self, batch: Sequence[Received]) -> None:
        with self._db.system() as session:
            lasting = [received.envelope.id for received in batch if received.envelope.name not in self._pulses]
            fresh = remember(session, self._consumer, lasting) if lasting else set()
            first: dict[UUID, Received] = {}
            for received in batch:
                if received.envelope.id in fresh or received.envelope.name in self._pulses:
                    first.setdefault(received.envelope.id, received)
            if first:
                self._handle(session, list(first.values()))


def one_by_one(handlers: Mapping[str, Callable[[Session, Received], None]]) -> HandleBatch:
    """A batch handler out of handlers by message type; a type that is not in the table is of no interest here."""

    def handle(session: Session, batch: Sequence[Received]) -> None:
        for received in batch:
            handler = handlers.get(received.envelope.type)
            if handler is not None:
                handler(session, received)

    return handle
