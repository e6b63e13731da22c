"""A listener on events as they happen: a queue of its own that dies with it, nothing kept, nothing promised."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any

import pika
import structlog
from pika.exceptions import ChannelWrongStateError

from kernel import clock
from kernel.messaging.connection import BROKEN, REFUSED, Backoff, parameters

log = structlog.get_logger(__name__)

_LARGEST_QUEUE = 5000


class Listener:
    """Hands each message's body to `on_body` until `stop`; `on_gap` is told after each new connection: some may have been missed.

    Its queues are called `<name>.<id>`. `bindings` are (exchange, key) pairs of existing topic exchanges.
    The callbacks run on the listener's thread and must be quick.
    """

    def __init__(
        self, url: str, name: str, bindings: Sequence[tuple[str, str]], *, on_body: Callable[[bytes], None], on_gap: Callable[[], None]
    ) -> None:
        self._url = url
        self._name = name
        self._bindings = bindings
        self._on_body = on_body
        self._on_gap = on_gap
        self._stopping = threading.Event()
        self.connected = threading.Event()

    def stop(self) -> None:
        self._stopping.set()

    def run(self) -> None:
        """Listen until stopped; every fault of the broker is healed inside."""
        backoff = Backoff(longest_seconds=5.0)
        while not self._stopping.is_set():
            try:
                self._listen(backoff)
            except BROKEN as error:
                wait = 5.0 if isinstance(error, REFUSED) else backoff.next_seconds()
                log.warning("listener lost its connection", listener=self._name, error=repr(error), wait_seconds=round(wait, 1))
                self._stopping.wait(wait)
            finally:
                self.connected.clear()

    def _listen(self, backoff: Backoff) -> None:
        # A new name each time: after a broken network the broker holds the old queue for the connection that it believes in.
        queue = f"{self._name}.{clock.new_id()}"
        connection = pika.BlockingConnection(parameters(self._url, queue))
        try:
            channel = connection.channel()
            # The oldest goes when nobody reads fast enough: the broker's memory is not ours to fill.
            channel.queue_declare(queue, exclusive=True, auto_delete=True, arguments={"x-max-length": _LARGEST_QUEUE})
            for exchange, key in self._bindings:
                channel.queue_bind(queue, exchange, key)
            tag = channel.basic_consume(queue, self._deliver, auto_ack=True)
            self.connected.set()
            self._on_gap()
            backoff.reset()
            while not self._stopping.is_set():
                connection.process_data_events(time_limit=1)
                # A closed channel or a deleted queue ends deliveries without any error: look each time.
                if not channel.is_open or tag not in channel.consumer_tags:
                    raise ChannelWrongStateError("the channel or the consumer is gone")
        finally:
            if connection.is_open:
                connection.close()

    def _deliver(self, _channel: Any, _method: Any, _properties: Any, body: bytes) -> None:
        self._on_body(body)
