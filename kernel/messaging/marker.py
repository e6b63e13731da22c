"""Tells whether a broker has lost its data: a durable queue of each service that nobody uses must still be there."""

from __future__ import annotations

import pika
from pika.exceptions import ChannelClosedByBroker

from kernel.errors import Unavailable
from kernel.messaging.connection import BROKEN, parameters
from kernel.messaging.topology import marker_queue

_NOT_FOUND = 404


def was_wiped(url: str, service: str) -> bool:
    """True as long as the marker queue is missing. Raises Unavailable when the broker is away."""
    return not _declare(url, service, passive=True)


def set_marker(url: str, service: str) -> None:
    """Whatever the loss asked for is done: declare the marker queue. Raises Unavailable."""
    _declare(url, service, passive=False)


def _declare(url: str, service: str, *, passive: bool) -> bool:
    """False when the queue is not there and was to be looked for only."""
    try:
        connection = pika.BlockingConnection(parameters(url, f"{service} marker"))
        try:
            connection.channel().queue_declare(marker_queue(service), passive=passive, durable=True)
            return True
        except ChannelClosedByBroker as error:
            if not passive or error.reply_code != _NOT_FOUND:
                raise
            return False
        finally:
            if connection.is_open:
                connection.close()
    except BROKEN as error:
        raise Unavailable(f"RabbitMQ cannot be reached: {error!r}", code="broker-unavailable") from error
