"""Tells whether a broker has lost its data: a durable queue of each service that nobody uses must still be there."""

from __future__ import annotations

import pika
from pika.exceptions import ChannelClosedByBroker

from kernel.errors import Unavailable
from kernel.messaging.connection import BROKEN, parameters
from kernel.messaging.topology import marker_queue

_NOT_FOUND = 404


def was_wiped(url: str, service: str) -> bool:
    """True when the marker queue was missing; it is declared again. Raises Unavailable when the broker is away."""
    queue = marker_queue(service)
    try:
        connection = pika.BlockingConnection(parameters(url, f"{service} marker"))
        try:
            connection.channel().queue_declare(queue, passive=True)
            return False
        except ChannelClosedByBroker as error:
            if error.reply_code != _NOT_FOUND:
                raise
            connection.channel().queue_declare(queue, durable=True)
            return True
        finally:
            if connection.is_open:
                connection.close()
    except BROKEN as error:
        raise Unavailable(f"RabbitMQ cannot be reached: {error!r}", code="broker-unavailable") from error
