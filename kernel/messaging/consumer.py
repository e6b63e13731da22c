"""A consumer that never stops for one bad message: batches, bounded retries with growing delays, a parked queue."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pika
import structlog

from kernel import clock
from kernel.contracts import envelope
from kernel.contracts.envelope import Envelope
from kernel.errors import FairleadError, Unavailable
from kernel.messaging import topology
from kernel.messaging.connection import BROKEN, REFUSED, Backoff, parameters
from kernel.messaging.publisher import Confirm, Outgoing, Publisher

log = structlog.get_logger(__name__)

ATTEMPTS_HEADER = "x-fairlead-attempts"
USER_HEADER = "x-fairlead-user"
REASON_HEADER = "x-fairlead-reason"
_INFRASTRUCTURE_PATIENCE_SECONDS = 120.0


@dataclass(frozen=True)
class Delivery:
    """A message as it came: `user_id` was checked by the broker against the connection that published it."""

    body: bytes
    exchange: str
    key: str
    user_id: str | None
    message_id: str | None
    tag: int
    attempts: int = 0


@dataclass(frozen=True)
class Received:
    """A delivery and the message that was read out of it."""

    delivery: Delivery
    envelope: Envelope


# Handles a batch in order; returns the errors by index. Raising Unavailable means that nothing can be handled now (the
# database is away): the batch is held and tried again.
Handle = Callable[[Sequence[Received]], Mapping[int, Exception]]
Read = Callable[[Delivery], Envelope]


def read_plain(delivery: Delivery) -> Envelope:
    """The envelope of an unsigned message."""
    return envelope.decode(delivery.body)


class Consumer:
    """Consumes one queue in one thread until `stop`. `run` returns only then; every fault of the broker is healed inside."""

    def __init__(
        self,
        url: str,
        queue: str,
        handle: Handle,
        *,
        name: str,
        read: Read = read_plain,
        prefetch: int = 200,
        park: bool = True,
        patience_seconds: float = _INFRASTRUCTURE_PATIENCE_SECONDS,
        authority: str | None = None,
    ) -> None:
        self._parameters = parameters(url, name, authority=authority)
        self._queue = queue
        self._handle = handle
        self._read = read
        self._prefetch = prefetch
        self._patience = patience_seconds
        self._stopping = threading.Event()
        self._outbound = Publisher(url, f"{name} retry", authority=authority) if park else None
        self._buffer: list[Delivery] = []
        self.connected = threading.Event()

    def stop(self) -> None:
        """Ask `run` to return; what is being handled is finished first."""
        self._stopping.set()

    def run(self) -> None:
        """Consume until stopped."""
        backoff = Backoff()
        while not self._stopping.is_set():
            try:
                self._consume(backoff)
            except BROKEN as error:
                wait = 5.0 if isinstance(error, REFUSED) else backoff.next_seconds()
                log.warning("consumer lost its connection", queue=self._queue, error=repr(error), wait_seconds=round(wait, 1))
                self._stopping.wait(wait)
            finally:
                self.connected.clear()
        if self._outbound is not None:
            self._outbound.close()

    def _consume(self, backoff: Backoff) -> None:
        connection = pika.BlockingConnection(self._parameters)
        try:
            channel = connection.channel()
            channel.basic_qos(prefetch_count=self._prefetch)
            self._buffer = []
            tag = channel.basic_consume(self._queue, self._on_delivery)
            self.connected.set()
            log.info("consumer ready", queue=self._queue)
            while not self._stopping.is_set():
                connection.process_data_events(time_limit=1)
                # A closed channel or a deleted queue ends deliveries without any error: look each time.
                if not channel.is_open or tag not in channel.consumer_tags:
                    raise pika.exceptions.ChannelWrongStateError("the channel or the consumer is gone")
                if self._buffer:
                    self._drain(connection)
                    batch, self._buffer = self._buffer, []
                    self._settle(connection, channel, batch)
                    backoff.reset()
        finally:
            if connection.is_open:
                connection.close()

    def _drain(self, connection: pika.BlockingConnection) -> None:
        """Take what has arrived already: larger batches cost a handler fewer round trips to its database."""
        size = 0
        while size < len(self._buffer) < self._prefetch:
            size = len(self._buffer)
            connection.process_data_events(time_limit=0)

    def _on_delivery(self, _channel: Any, method: Any, properties: Any, body: bytes) -> None:
        headers = properties.headers or {}
        user = properties.user_id
        if method.exchange == "":
            # Only the broker itself and services can reach a queue through the default exchange: a message of ours that waited.
            user = headers.get(USER_HEADER)
        attempts = headers.get(ATTEMPTS_HEADER, 0)
        self._buffer.append(
            Delivery(
                body=body,
                exchange=method.exchange,
                key=method.routing_key,
                user_id=user,
                message_id=properties.message_id,
                tag=method.delivery_tag,
                attempts=attempts if isinstance(attempts, int) else 0,
            )
        )

    def _settle(self, connection: pika.BlockingConnection, channel: Any, batch: list[Delivery]) -> None:
        failures: list[tuple[Delivery, Exception]] = []
        readable: list[Received] = []
        for delivery in batch:
            try:
                readable.append(Received(delivery, self._read(delivery)))
            except Exception as error:  # the message loop: whatever is wrong with one message, the others go on
                failures.append((delivery, error))
        if readable:
            errors = self._handle_patiently(connection, readable)
            failures += [(readable[index].delivery, error) for index, error in errors.items()]
        if failures:
            self._set_aside(failures)
        channel.basic_ack(batch[-1].tag, multiple=True)

    def _handle_patiently(self, connection: pika.BlockingConnection, batch: list[Received]) -> Mapping[int, Exception]:
        deadline = clock.monotonic() + self._patience
        backoff = Backoff(longest_seconds=10.0)
        while True:
            try:
                return self._handle(batch)
            except Unavailable as error:
                if self._stopping.is_set() or clock.monotonic() > deadline:
                    return dict.fromkeys(range(len(batch)), error)
                log.warning("handler is unavailable, holding the batch", queue=self._queue, error=str(error))
                connection.sleep(backoff.next_seconds())
            except Exception as error:  # the message loop: a handler's defect parks the message that shows it, the queue goes on
                log.exception("handler failed", queue=self._queue, messages=len(batch))
                if len(batch) == 1:
                    return {0: error}
                return self._handle_each(connection, batch)

    def _handle_each(self, connection: pika.BlockingConnection, batch: list[Received]) -> Mapping[int, Exception]:
        errors: dict[int, Exception] = {}
        for index, received in enumerate(batch):
            for error in self._handle_patiently(connection, [received]).values():
                errors[index] = error
        return errors

    def _set_aside(self, failures: list[tuple[Delivery, Exception]]) -> None:
        if self._outbound is None:
            if any(isinstance(error, Unavailable) for _, error in failures):
                raise OSError("a message could not be handled yet; it will be delivered again")
            for delivery, error in failures:
                log.error("message dropped", queue=self._queue, message_id=delivery.message_id, error=str(error))
            return
        outgoing = [self._again_or_parked(delivery, error) for delivery, error in failures]
        try:
            confirms = self._outbound.publish(outgoing)
        except Unavailable as error:
            raise OSError("what failed could not be set aside; it will be delivered again") from error
        if any(confirm is not Confirm.CONFIRMED for confirm in confirms):
            raise OSError("the retry or parked queue is missing; the messages will be delivered again")

    def _again_or_parked(self, delivery: Delivery, error: Exception) -> Outgoing:
        attempts = delivery.attempts + 1
        again = isinstance(error, Unavailable) and attempts <= topology.LONGEST_RETRIES
        reason = str(error) if isinstance(error, FairleadError) else repr(error)
        fate = "waits" if again else "parked"
        log.warning("message set aside", queue=self._queue, message_id=delivery.message_id, fate=fate, attempts=attempts, reason=reason)
        headers = {ATTEMPTS_HEADER: attempts, REASON_HEADER: reason[:1000]}
        if delivery.user_id:
            headers[USER_HEADER] = delivery.user_id
        exchange = topology.retry_exchange(topology.retry_delay(attempts)) if again else topology.DEAD_LETTERS
        return Outgoing(exchange, self._queue, delivery.body, delivery.message_id or str(clock.new_id()), headers=headers)
