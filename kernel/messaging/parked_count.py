"""How many messages are parked: light enough for the gateway, which loads no message."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pika

from kernel.errors import Unavailable
from kernel.messaging.connection import BROKEN, parameters
from kernel.messaging.topology import parked_queue


def count(url: str, queues: Sequence[str]) -> dict[str, int]:
    """How many messages of each queue of one virtual host are parked. Raises Unavailable.

    Whoever may connect may ask: a passive declaration needs no permission.
    """
    with channel_of(url) as channel:
        return {one: int(channel.queue_declare(parked_queue(one), passive=True).method.message_count) for one in queues}


@contextmanager
def channel_of(url: str) -> Iterator[Any]:  # Any: pika's channel is untyped
    """A channel for a moment. Raises Unavailable."""
    try:
        connection = pika.BlockingConnection(parameters(url, "parked messages"))
        try:
            yield connection.channel()
        finally:
            if connection.is_open:
                connection.close()
    except BROKEN as error:
        raise Unavailable(f"RabbitMQ: {error!r}", code="broker-unavailable") from error
