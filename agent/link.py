"""The agent's side of the broker: one thread that receives commands, one that sends reports, both healing themselves."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from urllib.parse import quote, urlsplit, urlunsplit

import structlog

from agent.identity import Node
from agent.journal import Journal, Report
from agent.messages.commands import Commands
from agent.messages.reports import Reports
from kernel import clock
from kernel.errors import Unavailable
from kernel.messaging import topology
from kernel.messaging.connection import Backoff
from kernel.messaging.consumer import Consumer
from kernel.messaging.publisher import Confirm, Outgoing, Publisher

log = structlog.get_logger(__name__)

_HEARTBEAT_SECONDS = 30  # of AMQP, not ours
_BATCH = 100
_IDLE_SECONDS = 1.0
_REFUSED_PATIENCE_SECONDS = 120.0
_REFUSED_WAIT_SECONDS = 120.0
_PRUNE_EVERY_SECONDS = 600.0


def broker_url(node: Node) -> str:
    """The broker's address with the node's credentials in it."""
    parts = urlsplit(node.broker_url)
    login = f"{quote(node.broker_user, safe='')}:{quote(node.broker_password, safe='')}"
    return urlunsplit(parts._replace(netloc=f"{login}@{parts.netloc.rpartition('@')[2]}"))


class _Announcing(threading.Event):
    """An event that calls somebody when it is set."""

    def __init__(self, announce: Callable[[], None]) -> None:
        super().__init__()
        self._announce = announce

    def set(self) -> None:
        super().set()
        self._announce()


class Link:
    """What is known of the connection, shared by the two threads."""

    def __init__(self, node: Node, journal: Journal, reports: Reports, commands: Commands) -> None:
        self._node = node
        self._journal = journal
        self._reports = reports
        self._commands = commands
        self._stopping = threading.Event()
        self._hello_due = threading.Event()
        self._heartbeat: Report | None = None
        self._consumer: Consumer | None = None
        self._refused_since: float | None = None
        self._is_sending = False
        commands.on_outdone = self._greet
        self._has_lost = False  # the broker seems to have lost what it had; noted once an outage
        self._publisher = Publisher(
            broker_url(node),
            f"agent {node.node_id} reports",
            heartbeat_seconds=_HEARTBEAT_SECONDS,
            on_refused=self._note_refusal,
            authority=node.broker_authority,
        )

    @property
    def is_connected(self) -> bool:
        """Whether commands come in, reports go out, and the hello has been taken."""
        consumer = self._consumer
        is_receiving = consumer is not None and consumer.connected.is_set()
        return is_receiving and self._is_sending and not self._hello_due.is_set()

    @property
    def is_refused(self) -> bool:
        """Whether the broker does not know this node, or not any more."""
        return self._refused_since is not None

    def stop(self) -> None:
        """Let both threads return."""
        self._stopping.set()
        self._reports.wake.set()
        if self._consumer is not None:
            self._consumer.stop()

    def beat(self, heartbeat: Report) -> None:
        """Send a heartbeat when possible; only the newest counts."""
        self._heartbeat = heartbeat
        self._reports.wake.set()

    # -- the receiving thread ---------------------------------------------------------------------------

    def receive(self) -> None:
        """Consume commands until stopped. Refused for long, it comes back only every few minutes."""
        while not self._stopping.is_set():
            consumer = Consumer(
                broker_url(self._node),
                topology.commands_queue(self._node.node_id),
                self._commands.handle,
                name=f"agent {self._node.node_id} commands",
                read=self._commands.read,
                prefetch=1,
                park=False,
                authority=self._node.broker_authority,
            )
            consumer.connected = _Announcing(self._greet)
            self._consumer = consumer
            if self._stopping.is_set():
                return
            consumer.run()
            if not self._stopping.is_set():
                self._stopping.wait(self._refused_wait_seconds())

    def _greet(self) -> None:
        self._hello_due.set()
        self._reports.wake.set()

    def _note_refusal(self) -> None:
        if self._refused_since is None:
            self._refused_since = clock.monotonic()
            log.warning("the broker refuses this node's user: it was revoked, or the broker lost its data", user=self._node.broker_user)
        self._note_loss()
        if self._refused_for_long() and self._consumer is not None:
            log.error("the broker has refused this node's user for long; trying every two minutes", user=self._node.broker_user)
            self._consumer.stop()

    def _refused_for_long(self) -> bool:
        return self._refused_since is not None and clock.monotonic() - self._refused_since > _REFUSED_PATIENCE_SECONDS

    def _refused_wait_seconds(self) -> float:
        return _REFUSED_WAIT_SECONDS if self._refused_for_long() else 1.0

    # -- the sending thread --------------------------------------------------------------------------------

    def send(self) -> None:
        """Send what the journal holds until stopped."""
        backoff = Backoff(0.5, 30.0)
        pruned_at = clock.monotonic()
        while not self._stopping.is_set():
            try:
                is_done = self._send_some()
                if clock.monotonic() - pruned_at > _PRUNE_EVERY_SECONDS:
                    pruned_at = clock.monotonic()
                    self._journal.prune()
            except Unavailable as error:
                self._is_sending = False
                if "NOT_FOUND" in error.detail:
                    self._note_loss()
                wait = self._refused_wait_seconds() if self._refused_for_long() else backoff.next_seconds()
                log.warning("reports wait", error=error.detail, wait_seconds=round(wait, 1))
                self._hello_due.set()
                self._stopping.wait(wait)
                continue
            if is_done:
                backoff.reset()
                self._rest()
            else:
                self._stopping.wait(backoff.next_seconds())
        self._publisher.close()

    def _rest(self) -> None:
        self._reports.wake.wait(_IDLE_SECONDS)
        self._reports.wake.clear()

    def _send_some(self) -> bool:
        """Send a batch, then the hello, then a heartbeat. False when the broker could not place something."""
        self._reports.queue()
        while pending := self._journal.pending(_BATCH):
            if not self._publish(pending, persistent=True):
                return False
            if self._stopping.is_set():
                return True
        if self._hello_due.is_set():
            self._hello_due.clear()
            if not self._publish([self._reports.hello()], persistent=True):
                self._hello_due.set()
                return False
            log.info("hello sent")
        heartbeat, self._heartbeat = self._heartbeat, None
        return self._publish([heartbeat], persistent=False) if heartbeat is not None else True

    def _publish(self, reports: Sequence[Report], *, persistent: bool) -> bool:
        exchange = topology.reports_exchange(self._node.node_id)
        confirms = self._publisher.publish(
            [Outgoing(exchange, "", report.body, report.id, user_id=self._node.broker_user, persistent=persistent) for report in reports]
        )
        taken = [report.sequence for report, said in zip(reports, confirms, strict=True) if said is Confirm.CONFIRMED]
        if persistent and taken:
            self._journal.confirm(taken)
        if Confirm.UNROUTABLE in confirms:
            self._note_loss()
        self._is_sending = len(taken) == len(reports)
        if self._is_sending:
            self._refused_since = None
            self._has_lost = False
        return self._is_sending

    def _note_loss(self) -> None:
        """The broker has forgotten us or our exchange: what it had confirmed lately may be gone with it."""
        if not self._has_lost:
            self._has_lost = True
            log.warning("the broker seems to have lost its data; sending the last hour's reports again", count=self._journal.send_again())
