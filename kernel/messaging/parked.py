"""Parked messages: list them, show why they were set aside, send them back to their queue, or drop them."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import pika

from kernel.contracts.envelope import peek
from kernel.errors import Conflict, FairleadError, Invalid
from kernel.messaging.consumer import ATTEMPTS_HEADER, REASON_HEADER, USER_HEADER
from kernel.messaging.parked_count import channel_of, count
from kernel.messaging.topology import AGENT_QUEUES, CORE_QUEUES, parked_queue, retry_exchange

QUEUES: tuple[str, ...] = (*CORE_QUEUES, *AGENT_QUEUES)
_MOST = 100


@dataclass(frozen=True)
class Parked:
    """One parked message: `reason` says what was wrong when it was tried the last time."""

    id: str
    type: str
    reason: str
    attempts: int
    body: bytes


def show(url: str, queue: str, *, most: int = _MOST) -> list[Parked]:
    """The first `most` parked messages of `queue`; they stay parked. Raises Unavailable."""
    found: list[Parked] = []

    def look(channel: Any, method: Any, properties: Any, body: bytes) -> None:
        found.append(_parked(properties, body))

    _walk(url, queue, look, most)
    return found


def retry(url: str, queue: str, *, ids: Sequence[str] = (), most: int = _MOST) -> int:
    """Send messages back to `queue` (those of `ids`, or all); returns how many. A message may so be told twice, never lost."""
    done = 0

    def back(channel: Any, method: Any, properties: Any, body: bytes) -> None:
        nonlocal done
        if ids and str(properties.message_id) not in ids:
            return
        user = (properties.headers or {}).get(USER_HEADER)
        again = pika.BasicProperties(
            content_type=properties.content_type,
            delivery_mode=2,
            message_id=properties.message_id,
            headers={USER_HEADER: user} if user else None,
        )
        # Confirmed and routed, or an exception: only then is the parked copy let go.
        channel.basic_publish(retry_exchange(1), queue, body, again, mandatory=True)
        channel.basic_ack(method.delivery_tag)
        done += 1

    _walk(url, queue, back, most)
    return done


def drop(url: str, queue: str, *, ids: Sequence[str], most: int = _MOST) -> int:
    """Forget the parked messages `ids` for good; returns how many there were."""
    done = 0

    def forget(channel: Any, method: Any, properties: Any, body: bytes) -> None:
        nonlocal done
        if str(properties.message_id) in ids:
            channel.basic_ack(method.delivery_tag)
            done += 1

    _walk(url, queue, forget, most)
    return done


def _walk(url: str, queue: str, visit: Callable[[Any, Any, Any, bytes], None], most: int) -> None:
    """Give each parked message to `visit`; what it does not acknowledge goes back when the channel closes."""
    with channel_of(url) as channel:
        channel.confirm_delivery()
        for _ in range(most):
            method, properties, body = channel.basic_get(parked_queue(queue))
            if method is None:
                return
            visit(channel, method, properties, body)


def _parked(properties: Any, body: bytes) -> Parked:
    headers = properties.headers or {}
    try:
        kind = str(peek(body).get("type"))
    except Invalid:
        kind = "unreadable"
    reason = headers.get(REASON_HEADER) or (headers.get("x-death") or [{}])[0].get("reason", "unknown")
    return Parked(str(properties.message_id), kind, str(reason), int(headers.get(ATTEMPTS_HEADER, 0)), body)


def main(arguments: Sequence[str], url_of: Callable[[str], str | None] = lambda queue: os.environ.get(_variable(queue))) -> int:
    """The command. `url_of` gives the broker's address for a queue's own service, or None where it is not at hand."""
    parser = argparse.ArgumentParser(prog="parked", description=__doc__)
    parser.add_argument("verb", choices=("list", "show", "retry", "drop"))
    parser.add_argument("queue", nargs="?", choices=QUEUES, help="needed but for list")
    parser.add_argument("ids", nargs="*", help="messages; retry without any sends all back")
    given = parser.parse_args(arguments)
    try:
        lines = _carry_out(given.verb, given.queue, given.ids, url_of)
    except FairleadError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    sys.stdout.writelines(f"{line}\n" for line in lines)
    return 0


def _carry_out(verb: str, queue: str | None, ids: Sequence[str], url_of: Callable[[str], str | None]) -> list[str]:
    if verb == "list":
        known = [(name, url_of(name)) for name in QUEUES]
        return [f"{name:<20} {count(url, (name,))[name]} parked" for name, url in known if url]
    url = url_of(queue) if queue else None
    if queue is None or url is None:
        raise Conflict("queue-needed", f"Name a queue whose broker address is at hand: one of {', '.join(QUEUES)}.")
    if verb == "show":
        return [f"{one.id}  {one.type}  after {one.attempts} tries: {one.reason}" for one in show(url, queue)]
    if verb == "retry":
        return [f"{retry(url, queue, ids=ids)} messages sent back to {queue}"]
    if not ids:
        raise Conflict("ids-needed", "Name the messages to drop; `show` lists them.")
    return [f"{drop(url, queue, ids=ids)} messages dropped for good"]


def _variable(queue: str) -> str:
    return "FAIRLEAD_BROKER_AGENTS_URL" if queue in AGENT_QUEUES else "FAIRLEAD_BROKER_CORE_URL"


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
