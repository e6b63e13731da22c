"""Live events of the whole process: one listener on the broker, and whoever looks at a team gets its events."""

from __future__ import annotations

import json
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from uuid import UUID

from kernel.errors import Unavailable
from kernel.messaging import topology
from kernel.messaging.live import Listener

_LARGEST_BACKLOG = 1000

Event = dict[str, Any]  # a CloudEvents document, as it came


class Subscription:
    """One looker's events, in order. Full: the oldest are dropped, and `lost` says so."""

    def __init__(self, matches: Callable[[Event], bool]) -> None:
        self.matches = matches
        self.lost = False
        self._events: deque[Event] = deque()
        self._ready = threading.Condition()
        self._poked = False

    def put(self, event: Event) -> None:
        with self._ready:
            if len(self._events) >= _LARGEST_BACKLOG:
                self._events.popleft()
                self.lost = True
            self._events.append(event)
            self._ready.notify()

    def poke(self, *, gap: bool = False) -> None:
        """Wake the looker though there is no event: something may have been missed."""
        with self._ready:
            self._poked = True
            self.lost = self.lost or gap
            self._ready.notify()

    def take(self, seconds: float) -> list[Event]:
        """What has come, after waiting at most `seconds` for something."""
        with self._ready:
            if not self._events and not self._poked:
                self._ready.wait(seconds)
            self._poked = False
            taken = list(self._events)
            self._events.clear()
            return taken


class Live:
    """Subscriptions by team, fed by one listener thread that starts when first needed (never before the process forked)."""

    def __init__(self, broker_url: str, *, largest_streams: int, on_rights_changed: Callable[[], None]) -> None:
        self._lock = threading.Lock()
        self._subscriptions: dict[UUID, set[Subscription]] = {}
        self._open = 0
        self._largest = largest_streams
        self._on_rights_changed = on_rights_changed
        self._thread: threading.Thread | None = None
        self._listener = Listener(
            broker_url,
            "gateway.live",
            [(topology.events_exchange(sender), "#") for sender in topology.EVENT_SENDERS],
            on_body=self._on_body,
            on_gap=self._on_gap,
        )

    @property
    def is_connected(self) -> bool:
        return self._listener.connected.is_set()

    @property
    def streams(self) -> int:
        """How many look now."""
        return self._open

    def start(self) -> None:
        """Listen, if nobody does yet."""
        with self._lock:
            if self._thread is None:
                self._thread = threading.Thread(target=self._listener.run, name="live events", daemon=True)
                self._thread.start()

    def wait_connected(self, seconds: float) -> bool:
        """True as soon as the listener listens; False if it does not within `seconds`."""
        self.start()
        return self._listener.connected.wait(seconds)

    def close(self) -> None:
        self._listener.stop()
        if self._thread is not None:
            self._thread.join(5)

    @contextmanager
    def subscribe(self, team_id: UUID, matches: Callable[[Event], bool] = lambda _event: True) -> Iterator[Subscription]:
        """The team's events from now on. Raises Unavailable `stream-limit` when too many look already."""
        self.start()
        subscription = Subscription(matches)
        with self._lock:
            if self._open >= self._largest:
                raise Unavailable("Too many live streams are open here. Try again soon.", code="stream-limit", retry_after_seconds=5)
            self._open += 1
            self._subscriptions.setdefault(team_id, set()).add(subscription)
        try:
            yield subscription
        finally:
            with self._lock:
                self._open -= 1
                mine = self._subscriptions[team_id]
                mine.discard(subscription)
                if not mine:
                    del self._subscriptions[team_id]

    def _on_gap(self) -> None:
        self._on_rights_changed()
        with self._lock:
            everybody = [one for mine in self._subscriptions.values() for one in mine]
        for one in everybody:
            one.poke(gap=True)

    def _on_body(self, body: bytes) -> None:
        try:
            event: Event = json.loads(body)
            kind = str(event["type"])
            team_id = UUID(event["team"]) if event.get("team") else None
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
            return
        if kind.startswith("identity.") and not kind.startswith(("identity.session.started", "identity.session.refused")):
            self._on_rights_changed()
        if team_id is None:
            return
        with self._lock:
            lookers = list(self._subscriptions.get(team_id, ()))
        for looker in lookers:
            if looker.matches(event):
                looker.put(event)
