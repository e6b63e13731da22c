"""Getting images: pulled side by side, with progress, retried while the fault may pass and the time allows."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import structlog

from agent.docker import Engine, PullLine
from agent.interrupt import Interrupt
from agent.outcomes import Cancelled
from agent.policy import registry_host
from kernel import clock
from kernel.errors import Conflict, FairleadError, Unavailable
from kernel.messaging.connection import Backoff

log = structlog.get_logger(__name__)

_REPORT_EVERY_SECONDS = 0.4
_LOOK_EVERY_SECONDS = 0.1
_AT_ONCE = 3

# (image, share between 0 and 1, what Docker says)
Tell = Callable[[str, float, str], None]


def login_for(image: str, logins: Mapping[str, Mapping[str, str]]) -> Mapping[str, str] | None:
    """The log-in whose key, `host` or `host/path`, names the most of the image's whole name."""
    host = registry_host(image)
    path = image.partition("/")[2] if image.lower().startswith(f"{host}/") else image
    path = path.partition("@")[0]
    directory, slash, last = path.rpartition("/")
    path = directory + slash + last.partition(":")[0]
    if host == "docker.io" and "/" not in path:
        path = f"library/{path}"
    name = f"{host}/{path}/"
    fitting = [key for key in logins if name.startswith(f"{key}/")]
    return logins[max(fitting, key=len)] if fitting else None


@dataclass(frozen=True)
class Needed:
    """An image that must be on the engine. A local one is taken as it is and never pulled."""

    image: str
    credentials: Mapping[str, str] | None = None
    is_local: bool = False


def ensure(engine: Engine, needed: Iterable[Needed], interrupt: Interrupt, tell: Tell) -> None:
    """Pull what is missing. Raises Conflict `image-missing`, `registry-denied`, `disk-full`, or what `interrupt` says."""
    missing = [one for one in needed if engine.image_id(one.image) is None]
    for one in missing:
        if one.is_local:
            raise Conflict("image-missing", f"The image {one.image} is not on this node, and no registry is known for it.")
    for first in range(0, len(missing), _AT_ONCE):
        _pull_all(engine, missing[first : first + _AT_ONCE], interrupt, tell)


def _pull_all(engine: Engine, missing: list[Needed], interrupt: Interrupt, tell: Tell) -> None:
    pulls = [_Pull(engine, one) for one in missing]
    try:
        for pull in pulls:
            pull.begin()
        told_at = 0.0
        while [pull for pull in pulls if not pull.is_settled(interrupt)]:
            _wait(interrupt, pulls)
            if clock.monotonic() - told_at >= _REPORT_EVERY_SECONDS:
                told_at = clock.monotonic()
                for pull in pulls:
                    tell(pull.needed.image, pull.share(), pull.said)
    finally:
        for pull in pulls:
            pull.abandon()


def _wait(interrupt: Interrupt, pulls: list[_Pull]) -> None:
    """Look again soon. When the time is over while a registry does not answer, that is the reason."""
    try:
        interrupt.wait(_LOOK_EVERY_SECONDS)
    except Cancelled:
        raise
    except Conflict as late:
        for pull in pulls:
            if pull.away is not None:
                raise pull.away from late
        raise


class _Pull:
    """One image, in a thread of its own: a registry that stalls must not hold up a cancellation."""

    def __init__(self, engine: Engine, needed: Needed) -> None:
        self.needed = needed
        self.said = "waiting"
        self._engine = engine
        self._layers: dict[str, tuple[int, int]] = {}
        self.away: Unavailable | None = None
        self._error: FairleadError | None = None
        self._done = threading.Event()
        self._is_abandoned = False
        self._backoff = Backoff(1.0, 30.0)
        self._again_at: float | None = None

    def begin(self) -> None:
        self._error = None
        self._done.clear()
        threading.Thread(target=self._run, name="pull", daemon=True).start()

    def abandon(self) -> None:
        self._is_abandoned = True

    def share(self) -> float:
        total = sum(size for _, size in self._layers.values())
        return min(1.0, sum(there for there, _ in self._layers.values()) / total) if total else 0.0

    def is_settled(self, interrupt: Interrupt) -> bool:
        """Whether the image is there. Raises what cannot be mended by trying again."""
        if not self._done.is_set():
            return False
        if self._error is None:
            return True
        if not isinstance(self._error, Unavailable):
            raise self._error
        self.away = self._error
        if self._again_at is None:
            wait = self._backoff.next_seconds()
            if wait >= interrupt.remaining_seconds():
                raise self._error
            log.warning("pull failed, trying again", image=self.needed.image, error=str(self._error), wait_seconds=round(wait, 1))
            self.said = f"{self._error.detail[:200]}; trying again"
            self._again_at = clock.monotonic() + wait
        elif clock.monotonic() >= self._again_at:
            self._again_at = None
            self.begin()
        return False

    def _run(self) -> None:
        try:
            for line in self._engine.pull(self.needed.image, self.needed.credentials):
                if self._is_abandoned:
                    return
                self._note(line)
        except FairleadError as error:
            self._error = error
        finally:
            self._done.set()

    def _note(self, line: PullLine) -> None:
        self.away = None
        self.said = line.status or self.said
        if line.total and line.status == "Downloading":
            self._layers[line.layer] = (line.current, line.total)
        elif line.layer in self._layers:
            total = self._layers[line.layer][1]
            self._layers[line.layer] = (total, total)
