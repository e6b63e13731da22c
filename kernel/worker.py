"""Runs a worker's parts (consumers, relay, timers), a thread each, until a signal; a part that dies ends the process."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Sequence
from types import FrameType
from typing import Protocol

import structlog

from kernel.errors import Unavailable

log = structlog.get_logger(__name__)


class Part(Protocol):
    """`run` works until `stop` was called from another thread."""

    def run(self) -> None: ...

    def stop(self) -> None: ...


class Timer:
    """Calls `action` every `seconds`, and at once after `wake`. What is Unavailable is tried again the next time."""

    def __init__(self, name: str, seconds: float, action: Callable[[], None]) -> None:
        self.name = name
        self._seconds = seconds
        self._action = action
        self._wake = threading.Event()
        self._stopping = False

    def wake(self) -> None:
        self._wake.set()

    def stop(self) -> None:
        self._stopping = True
        self._wake.set()

    def run(self) -> None:
        while not self._stopping:
            self._wake.clear()
            try:
                self._action()
            except Unavailable as error:
                log.warning("timer could not do its work", timer=self.name, error=str(error))
            self._wake.wait(self._seconds)


def run(parts: Sequence[Part], *, metrics_port: int | None = None) -> int:
    """Run all parts until SIGTERM or SIGINT. Returns the exit status: 1 when a part died, and the supervisor starts anew."""
    if metrics_port is not None:
        from prometheus_client import start_http_server

        start_http_server(metrics_port, addr="127.0.0.1")
    over = threading.Event()
    failed = threading.Event()

    def guard(part: Part) -> None:
        try:
            part.run()
        finally:
            if not over.is_set():
                failed.set()
                over.set()

    def on_signal(_number: int, _frame: FrameType | None) -> None:
        over.set()

    signal.signal(signal.SIGTERM, on_signal)
    signal.signal(signal.SIGINT, on_signal)
    threads = [threading.Thread(target=guard, args=(part,), name=type(part).__name__, daemon=True) for part in parts]
    for thread in threads:
        thread.start()
    log.info("worker ready", parts=len(parts))
    over.wait()
    for part in parts:
        part.stop()
    for thread in threads:
        thread.join(10)
    log.info("worker stopped", failed=failed.is_set())
    return 1 if failed.is_set() else 0
