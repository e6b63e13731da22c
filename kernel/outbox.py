"""The outbox: a message is saved with the change it tells of; one relay a service and virtual host publishes in order."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from uuid import UUID

import psycopg
import structlog
from nacl.signing import SigningKey
from psycopg import sql
from sqlalchemy import text
from sqlalchemy.orm import Session

from kernel import clock, signing
from kernel.contracts.envelope import Envelope, encode
from kernel.db import plain_dsn
from kernel.errors import Unavailable
from kernel.messaging import topology
from kernel.messaging.connection import Backoff
from kernel.messaging.marker import set_marker, was_wiped
from kernel.messaging.publisher import Confirm, Outgoing, Publisher
from kernel.metrics import OUTBOX_RELAYED, OUTBOX_WAITING

log = structlog.get_logger(__name__)

_INSERT = text("INSERT INTO outbox (message_id, vhost, exchange, key, body) VALUES (:message_id, :vhost, :exchange, :key, :body)")
_WAKE = text("SELECT pg_notify(:channel, '')")
_POLL_SECONDS = 1.0
_KEPT = "24 hours"
_LOCK = 0x0FA1_27EA  # first half of a relay's advisory lock, the second names the virtual host; each service has a database of its own

# A row whose broker queue was missing waits; later rows of the same destination wait behind it, all others go on.
_UNSENT = """
SELECT id, message_id, exchange, key, body FROM outbox AS o
WHERE sent_at IS NULL AND vhost = %s AND (not_before IS NULL OR not_before <= now()) AND NOT EXISTS (
  SELECT 1 FROM outbox AS earlier WHERE earlier.sent_at IS NULL AND earlier.not_before > now()
  AND earlier.exchange = o.exchange AND earlier.key = o.key AND earlier.vhost = o.vhost AND earlier.id < o.id)
ORDER BY id LIMIT 500
"""
_WAITING = "SELECT count(*) FROM outbox WHERE sent_at IS NULL AND vhost = %s"


def put_event(session: Session, sender: str, *envelopes: Envelope) -> None:
    """Save events of `sender` for the core virtual host, in the caller's transaction."""
    exchange = topology.events_exchange(sender)
    _put(session, topology.CORE, [(envelope, exchange, envelope.type, encode(envelope)) for envelope in envelopes])


def put_command(session: Session, envelope: Envelope, key: SigningKey) -> None:
    """Sign a command for the node in its envelope and save it, in the caller's transaction."""
    body = signing.sign_body(key, encode(envelope))
    _put(session, topology.AGENTS, [(envelope, topology.COMMANDS, str(envelope.node), body)])


def _channel(vhost: str) -> str:
    """The PostgreSQL notification that wakes the relay of one virtual host."""
    return f"outbox_{vhost}"


def _put(session: Session, vhost: str, rows: Sequence[tuple[Envelope, str, str, bytes]]) -> None:
    if not rows:
        return
    session.execute(
        _INSERT,
        [
            {"message_id": envelope.id, "vhost": vhost, "exchange": exchange, "key": key, "body": body}
            for envelope, exchange, key, body in rows
        ],
    )
    session.execute(_WAKE, {"channel": _channel(vhost)})


@dataclass(frozen=True)
class _Row:
    id: int
    message_id: UUID
    exchange: str
    key: str
    body: bytes


class Relay:
    """Publishes what a service's outbox has for one virtual host: when another one is away, this one goes on.

    Any number may run: an advisory lock lets one work, the others stand by. `on_wiped` is told when the broker has lost
    its data; on `core` what was sent in the last 24 hours is then sent again (readers drop what they know).
    """

    def __init__(self, database_url: str, vhost: str, url: str, service: str, on_wiped: Callable[[], None] | None = None) -> None:
        self._dsn = plain_dsn(database_url)
        self._vhost = vhost
        self._url = url
        self._service = service
        self._publisher = Publisher(url, f"{service} outbox")
        self._connections_seen = 0
        self._on_wiped = on_wiped
        self._stopping = threading.Event()
        self._pruned_at = 0.0

    def stop(self) -> None:
        self._stopping.set()

    def run(self) -> None:
        """Relay until stopped; faults of the database and the broker are healed inside."""
        backoff = Backoff(longest_seconds=5.0)
        while not self._stopping.is_set():
            try:
                with psycopg.connect(self._dsn, autocommit=True, connect_timeout=5) as connection:
                    self._work(connection, backoff)
            except (psycopg.OperationalError, psycopg.InterfaceError, Unavailable) as error:
                wait = backoff.next_seconds()
                log.warning("outbox relay waits", vhost=self._vhost, error=str(error).strip(), wait_seconds=round(wait, 1))
                self._stopping.wait(wait)
        self._publisher.close()

    def _work(self, connection: psycopg.Connection[tuple[object, ...]], backoff: Backoff) -> None:
        while not self._stopping.is_set() and not self._lead(connection):
            self._stopping.wait(_POLL_SECONDS)
        connection.execute(sql.SQL("LISTEN {}").format(sql.Identifier(_channel(self._vhost))))
        while not self._stopping.is_set():
            try:
                # After a broker was wiped its queues stand again before anything new is sent, and the old is sent first.
                self._notice_wiped_broker(connection)
                sent = self._relay_once(connection)
            except Unavailable:
                # Counted while the broker is away: that is when somebody must hear of it.
                OUTBOX_WAITING.labels(self._vhost).set(_count(connection, self._vhost))
                raise
            if not sent:
                for _ in connection.notifies(timeout=_POLL_SECONDS, stop_after=1):
                    pass
            backoff.reset()
            self._prune(connection)

    def _lead(self, connection: psycopg.Connection[tuple[object, ...]]) -> bool:
        row = connection.execute("SELECT pg_try_advisory_lock(%s, hashtext(%s))", (_LOCK, self._vhost)).fetchone()
        return bool(row and row[0])

    def _relay_once(self, connection: psycopg.Connection[tuple[object, ...]]) -> int:
        """Publish one batch; returns how many rows the broker has taken. Raises Unavailable when it is away."""
        rows = [_Row(*row) for row in connection.execute(_UNSENT, (self._vhost,)).fetchall()]  # type: ignore[arg-type]  # psycopg's rows are objects
        confirms = self._publisher.publish([Outgoing(row.exchange, row.key, row.body, str(row.message_id)) for row in rows])
        sent = [row.id for row, confirm in zip(rows, confirms, strict=True) if confirm is Confirm.CONFIRMED]
        self._delay(connection, [row for row, confirm in zip(rows, confirms, strict=True) if confirm is not Confirm.CONFIRMED])
        if sent:
            connection.execute("UPDATE outbox SET sent_at = now(), not_before = NULL, last_error = NULL WHERE id = ANY(%s)", (sent,))
        OUTBOX_RELAYED.labels(self._vhost).inc(len(sent))
        OUTBOX_WAITING.labels(self._vhost).set(len(rows) - len(sent))
        return len(sent)

    def _delay(self, connection: psycopg.Connection[tuple[object, ...]], rows: Sequence[_Row]) -> None:
        for row in rows:
            log.warning("message has no queue yet", vhost=self._vhost, exchange=row.exchange, key=row.key)
            connection.execute(
                "UPDATE outbox SET attempts = attempts + 1, last_error = 'unroutable',"
                " not_before = now() + make_interval(secs => least(30, power(2, least(attempts, 5)))) WHERE id = %s",
                (row.id,),
            )

    def _notice_wiped_broker(self, connection: psycopg.Connection[tuple[object, ...]]) -> None:
        # An idle relay must notice as well: others wait for what `on_wiped` puts in order.
        if self._publisher.is_open and self._connections_seen == self._publisher.connections:
            return
        if was_wiped(self._url, self._service):
            if self._vhost == topology.CORE:
                again = connection.execute(
                    "UPDATE outbox SET sent_at = NULL WHERE vhost = %s AND sent_at > now() - %s::interval", (self._vhost, _KEPT)
                ).rowcount
                log.warning("the broker lost its data, sending again", vhost=self._vhost, messages=again)
            if self._on_wiped is not None:
                self._on_wiped()
            # Last: were this cut short before, the next look would still tell of the loss.
            set_marker(self._url, self._service)
        self._publisher.connect()
        self._connections_seen = self._publisher.connections

    def _prune(self, connection: psycopg.Connection[tuple[object, ...]]) -> None:
        if clock.monotonic() - self._pruned_at < 600:
            return
        self._pruned_at = clock.monotonic()
        if self._vhost == topology.AGENTS:
            # A command whose node has had no queue for a day: the node is gone, and no agent would obey so old an order.
            connection.execute(
                "DELETE FROM outbox WHERE sent_at IS NULL AND attempts > 0 AND vhost = %s AND created_at < now() - %s::interval",
                (self._vhost, _KEPT),
            )
        connection.execute(
            "DELETE FROM outbox WHERE id IN (SELECT id FROM outbox WHERE vhost = %s AND sent_at < now() - %s::interval LIMIT 20000)",
            (self._vhost, _KEPT),
        )


def _count(connection: psycopg.Connection[tuple[object, ...]], vhost: str) -> int:
    row = connection.execute(_WAITING, (vhost,)).fetchone()
    return int(str(row[0])) if row else 0
