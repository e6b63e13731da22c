"""A publisher with asynchronous, batched confirms: one connection in one thread, usable from any thread."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import pika
import structlog
from pika.exceptions import AMQPError

from kernel import clock
from kernel.contracts.envelope import CONTENT_TYPE
from kernel.errors import Unavailable
from kernel.messaging.connection import BROKEN, REFUSED, parameters

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Outgoing:
    """One message to publish. `user_id`, when given, must be the connection's own user: the broker checks it."""

    exchange: str
    key: str
    body: bytes
    message_id: str
    user_id: str | None = None
    headers: dict[str, Any] = field(default_factory=dict)  # any AMQP table value
    persistent: bool = True
    mandatory: bool = True


class Confirm(StrEnum):
    """What the broker said of one message."""

    CONFIRMED = "confirmed"
    UNROUTABLE = "unroutable"
    REFUSED = "refused"


@dataclass
class _Batch:
    messages: Sequence[Outgoing]
    results: list[Confirm | None]
    done: threading.Event
    error: str | None = None
    left: int = 0


class Publisher:
    """Publishes batches and waits for all their confirms. Raises Unavailable when the broker is away; sending again is then right.

    A message that was not confirmed may still have arrived: readers drop what they know by its id.
    """

    def __init__(
        self,
        url: str,
        name: str,
        *,
        heartbeat_seconds: int = 20,
        on_refused: Callable[[], None] | None = None,
        authority: str | None = None,
    ) -> None:
        self._parameters = parameters(url, name, heartbeat_seconds=heartbeat_seconds, authority=authority)
        self._on_refused = on_refused
        self._lock = threading.Lock()
        self._connection: pika.SelectConnection | None = None
        self._channel: Any = None  # pika's Channel is untyped
        self._ready = threading.Event()
        self._failure = "not connected"
        self._batch: _Batch | None = None
        self._next_tag = 1
        self._tags: dict[int, int] = {}
        self._closed = False
        self.connections = 0
        """How often a connection was opened: a change says that the broker may be another one."""

    def connect(self) -> None:
        """Open the connection if it is not open. Raises Unavailable."""
        with self._lock:
            self._ensure_open(15.0)

    @property
    def is_open(self) -> bool:
        """Is the connection open at this moment?"""
        connection = self._connection
        return self._ready.is_set() and connection is not None and bool(connection.is_open)

    def publish(self, messages: Sequence[Outgoing], *, timeout_seconds: float = 30.0) -> list[Confirm]:
        """Send all, in order, and return what the broker said of each, in the same order."""
        if not messages:
            return []
        with self._lock:
            self._ensure_open(timeout_seconds)
            batch = _Batch(messages, [None] * len(messages), threading.Event(), left=len(messages))
            assert self._connection is not None
            self._connection.ioloop.add_callback_threadsafe(functools.partial(self._send, batch))
            if not batch.done.wait(timeout_seconds):
                self._drop("the broker did not confirm in time")
                raise Unavailable(f"RabbitMQ did not confirm {batch.left} messages in {timeout_seconds:.0f} s", code="broker-unavailable")
            if batch.error is not None:
                raise Unavailable(f"RabbitMQ: {batch.error}", code="broker-unavailable")
            return [result or Confirm.REFUSED for result in batch.results]

    def call(self, action: Callable[[Any, Callable[[], None]], None], *, timeout_seconds: float = 15.0) -> None:
        """Run `action(channel, done)` on the connection's own thread (declares and such). Raises Unavailable when it fails."""
        with self._lock:
            self._ensure_open(timeout_seconds)
            batch = _Batch((), [], threading.Event())
            self._batch = batch
            assert self._connection is not None
            self._connection.ioloop.add_callback_threadsafe(functools.partial(self._act, action, batch))
            if not batch.done.wait(timeout_seconds) or batch.error is not None:
                raise Unavailable(f"RabbitMQ: {batch.error or 'no answer in time'}", code="broker-unavailable")

    def close(self) -> None:
        """Close the connection; the publisher opens no other."""
        self._closed = True
        self._drop("closed")

    # -- everything below runs on the connection's thread, except _ensure_open and _drop ------------

    def _ensure_open(self, timeout_seconds: float) -> None:
        if self.is_open:
            return
        if self._closed:
            raise Unavailable("the publisher is closed", code="broker-unavailable")
        self._ready = threading.Event()
        failed = threading.Event()
        thread = threading.Thread(target=self._run, args=(self._ready, failed), name="publisher", daemon=True)
        thread.start()
        deadline = clock.monotonic() + min(timeout_seconds, 20.0)
        while not self._ready.wait(0.02):
            if failed.is_set() or clock.monotonic() > deadline:
                self._drop(self._failure)
                raise Unavailable(f"RabbitMQ cannot be reached: {self._failure}", code="broker-unavailable")

    def _drop(self, why: str) -> None:
        connection, self._connection = self._connection, None
        self._failure = why
        self._ready.clear()
        if connection is not None:
            try:
                connection.ioloop.add_callback_threadsafe(functools.partial(_close, connection))
            except BROKEN:
                log.debug("a broken connection could not be closed")

    def _run(self, ready: threading.Event, failed: threading.Event) -> None:
        def on_open(connection: Any) -> None:
            connection.channel(on_open_callback=functools.partial(self._on_channel, ready))

        def on_failure(connection: Any, error: BaseException) -> None:
            self._failure = repr(error)
            if isinstance(error, REFUSED) and self._on_refused is not None:
                self._on_refused()
            failed.set()
            connection.ioloop.stop()

        def on_close(connection: Any, error: BaseException) -> None:
            self._abandon(repr(error))
            ready.clear()
            connection.ioloop.stop()

        connection = None
        try:
            connection = pika.SelectConnection(
                self._parameters, on_open_callback=on_open, on_open_error_callback=on_failure, on_close_callback=on_close
            )
            self._connection = connection
            connection.ioloop.start()
        except BROKEN as error:
            self._failure = repr(error)
        finally:
            failed.set()
            ready.clear()
            self._abandon(self._failure)
            if connection is not None:
                connection.ioloop.close()

    def _on_channel(self, ready: threading.Event, channel: Any) -> None:
        self._channel = channel
        self._next_tag = 1
        self._tags = {}
        channel.add_on_return_callback(self._on_return)
        channel.add_on_close_callback(self._on_channel_closed)
        channel.confirm_delivery(self._on_confirm, callback=lambda _frame: self._on_ready(ready))

    def _on_ready(self, ready: threading.Event) -> None:
        self.connections += 1
        ready.set()

    def _on_channel_closed(self, channel: Any, error: BaseException) -> None:
        self._abandon(repr(error))
        self._ready.clear()
        _close(channel.connection)

    def _abandon(self, why: str) -> None:
        batch, self._batch = self._batch, None
        self._failure = why
        if batch is not None and not batch.done.is_set():
            batch.error = why
            batch.done.set()

    def _send(self, batch: _Batch) -> None:
        self._batch = batch
        try:
            for index, message in enumerate(batch.messages):
                self._tags[self._next_tag] = index
                self._next_tag += 1
                self._channel.basic_publish(
                    message.exchange, message.key, message.body, self._properties(message), mandatory=message.mandatory
                )
        except (AMQPError, AttributeError) as error:
            self._abandon(repr(error))

    @staticmethod
    def _properties(message: Outgoing) -> pika.BasicProperties:
        return pika.BasicProperties(
            content_type=CONTENT_TYPE,
            delivery_mode=2 if message.persistent else 1,
            message_id=message.message_id,
            user_id=message.user_id,
            headers=message.headers or None,
        )

    def _act(self, action: Callable[[Any, Callable[[], None]], None], batch: _Batch) -> None:
        try:
            action(self._channel, batch.done.set)
        except (AMQPError, AttributeError) as error:
            self._abandon(repr(error))

    def _on_return(self, _channel: Any, _method: Any, properties: Any, _body: bytes) -> None:
        batch = self._batch
        if batch is None:
            return
        for index, message in enumerate(batch.messages):
            if message.message_id == properties.message_id:
                batch.results[index] = Confirm.UNROUTABLE

    def _on_confirm(self, frame: Any) -> None:
        method = frame.method
        accepted = type(method).__name__ == "Ack"
        tags = [method.delivery_tag]
        if method.multiple:
            tags = [tag for tag in self._tags if tag <= method.delivery_tag]
        batch = self._batch
        for tag in tags:
            index = self._tags.pop(tag, None)
            if index is None or batch is None:
                continue
            if batch.results[index] is None:
                batch.results[index] = Confirm.CONFIRMED if accepted else Confirm.REFUSED
            batch.left -= 1
        if batch is not None and batch.left <= 0:
            self._batch = None
            batch.done.set()


def _close(connection: Any) -> None:
    if connection is not None and not (connection.is_closing or connection.is_closed):
        connection.close()
