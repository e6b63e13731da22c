"""Shows how many messages are parked, and says so in the log when there are more: nothing deletes them, somebody must look."""

from __future__ import annotations

from collections.abc import Mapping

import structlog

from kernel.messaging.parked_count import count
from kernel.metrics import PARKED
from kernel.worker import Timer

log = structlog.get_logger(__name__)

_SECONDS = 60.0


class ParkedGauge(Timer):
    """A part of a worker that counts the parked messages of its queues, given with their broker's addresses."""

    def __init__(self, queues: Mapping[str, str]) -> None:
        super().__init__("parked messages", _SECONDS, self.look)
        self._queues = dict(queues)
        self._seen = dict.fromkeys(queues, 0)

    def look(self) -> None:
        """Count once. Raises Unavailable when a broker is away."""
        for queue, url in self._queues.items():
            found = count(url, (queue,))[queue]
            PARKED.labels(queue).set(found)
            if found > self._seen[queue]:
                log.warning("messages are parked: see docs/operations.md", queue=queue, messages=found)
            self._seen[queue] = found
