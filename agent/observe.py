"""What runs here: reports of our containers, when something changes and fully every minute."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import datetime
from typing import Any
from uuid import UUID

import structlog

from agent.docker import Engine, EngineAway, Inspected, NotThere
from agent.identity import Node
from agent.messages.reports import Reports
from agent.plan import Seen
from kernel import clock
from kernel.contracts.agent import ContainersObserved, ObservedContainer
from kernel.contracts.spec import LABEL_ATTEMPT, LABEL_DEPLOYMENT, LABEL_NODE, LABEL_PREFIX, LABEL_SPEC
from kernel.errors import FairleadError, Unavailable
from kernel.messaging.connection import Backoff

log = structlog.get_logger(__name__)

# Health checks run by exec: without this list each of them would wake us.
EVENTS = ["create", "start", "die", "destroy", "rename", "health_status", "pause", "unpause", "oom"]
_FULL_EVERY_SECONDS = 60.0
_QUIET_SECONDS = 0.3
_LONGEST_WAIT_SECONDS = 2.0
_MOST_CONTAINERS = 10_000


class Observer:
    """Two threads: one follows the engine's events, the other reports."""

    def __init__(self, engine: Engine, node: Node, reports: Reports, *, on_look: Callable[[str], None] | None = None) -> None:
        self._engine = engine
        self._node = node
        self._reports = reports
        self.on_look = on_look or (lambda _engine: None)
        self._label = f"{LABEL_NODE}={node.node_id}"
        self._stopping = threading.Event()
        self._changed = threading.Event()
        self._stream: Any = None  # the library's stream
        self._last: ContainersObserved | None = None
        self._reported_at = 0.0

    def stop(self) -> None:
        """Let both threads return."""
        self._stopping.set()
        self._changed.set()
        stream = self._stream
        if stream is not None:
            stream.close()

    def look_soon(self) -> None:
        """Report at the next opportunity, changed or not."""
        self._reported_at = 0.0
        self._changed.set()

    def follow(self) -> None:
        """The first thread: wake the second at each event."""
        backoff = Backoff(0.5, 10.0)
        while not self._stopping.is_set():
            try:
                self._stream = self._engine.events(self._label, EVENTS)
                self._changed.set()  # something may have happened while nobody listened
                for _event in self._stream:
                    backoff.reset()
                    self._changed.set()
            except FairleadError as error:
                log.debug("events are not to be had", error=str(error))
            self._stopping.wait(backoff.next_seconds())

    def run(self) -> None:
        """The second thread: look and report."""
        while not self._stopping.is_set():
            due = self._reported_at + _FULL_EVERY_SECONDS - clock.monotonic()
            if self._changed.wait(max(0.1, due)):
                self._settle()
            if not self._stopping.is_set():
                self.report()

    def _settle(self) -> None:
        """Events come in crowds: wait until they have passed, but not for ever."""
        deadline = clock.monotonic() + _LONGEST_WAIT_SECONDS
        while clock.monotonic() < deadline and not self._stopping.is_set():
            self._changed.clear()
            if not self._changed.wait(_QUIET_SECONDS):
                return

    def report(self) -> None:
        """Report what there is, if it differs from the last report or that is a minute old."""
        try:
            data = ContainersObserved(containers=self._look(), engine="ok")
        except EngineAway:
            data = ContainersObserved(containers=[], engine="unavailable")
        except FairleadError as error:
            log.warning("containers could not be observed", error=str(error))
            return
        self.on_look(data.engine)
        is_old = clock.monotonic() - self._reported_at >= _FULL_EVERY_SECONDS or self._reported_at == 0.0
        # With the engine away nothing is known of the containers: the heartbeat says so, an empty list would be a lie.
        if data.engine == "ok" and (is_old or data != self._last):
            self._queue(data)
        elif data.engine != "ok":
            self._stopping.wait(1.0)

    def _queue(self, data: ContainersObserved) -> None:
        try:
            self._reports.queue(self._reports.make(data))
        except Unavailable as error:
            log.warning("what was observed cannot be kept", error=error.detail)
            self._stopping.wait(1.0)
            return
        self._last = data
        self._reported_at = clock.monotonic()

    def _look(self) -> list[ObservedContainer]:
        found = []
        for one in self._engine.containers(self._label)[:_MOST_CONTAINERS]:
            try:
                found.append(_observed(one, self._engine.inspect(one.id)))
            except NotThere:
                continue
        return sorted(found, key=lambda one: (one.prefix, one.name))


def _observed(one: Seen, found: Inspected) -> ObservedContainer:
    labels = found.labels
    _, _, digest = found.image.partition("@")
    return ObservedContainer(
        prefix=labels.get(LABEL_PREFIX, ""),
        name=one.container or found.name,
        container_id=found.id,
        image=found.image,
        state=found.state,
        spec=labels.get(LABEL_SPEC) or None,
        digest=digest or None,
        deployment_id=_uuid(labels.get(LABEL_DEPLOYMENT)),
        attempt_id=_uuid(labels.get(LABEL_ATTEMPT)),
        generation=one.generation or None,
        health=found.health or "none",
        exit_code=found.exit_code if found.has_ended else None,
        restart_count=found.restart_count,
        started_at=_moment(found.started_at),
        ports=[dict(port) for port in found.ports],
        detail=found.error or None,
    )


def _uuid(text: str | None) -> UUID | None:
    try:
        return UUID(text) if text else None
    except ValueError:
        return None


def _moment(text: str) -> datetime | None:
    """Docker writes nanoseconds, and the year 1 for never."""
    if not text or text.startswith("0001-"):
        return None
    whole, _, rest = text.partition(".")
    try:
        return clock.parse_rfc3339(f"{whole}.{rest.rstrip('Z')[:6].ljust(6, '0')}+00:00" if rest.endswith("Z") else text)
    except ValueError:
        return None
