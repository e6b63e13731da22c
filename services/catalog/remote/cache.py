"""What registries have answered, for a short while and with the time of asking; bounded, so that it cannot fill the memory."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from datetime import datetime
from typing import Generic, TypeVar

from kernel import clock

T = TypeVar("T")


@dataclass(frozen=True)
class Dated(Generic[T]):
    """A value and the moment when the registry was asked for it."""

    value: T
    as_of: datetime


class Cache(Generic[T]):
    """Keeps the newest `most` values for a time of their own. Any number of threads may use it."""

    def __init__(self, *, most: int = 512) -> None:
        self._most = most
        self._lock = threading.Lock()
        self._kept: OrderedDict[Hashable, tuple[float, Dated[T]]] = OrderedDict()

    def find(self, key: Hashable) -> Dated[T] | None:
        with self._lock:
            entry = self._kept.get(key)
            if entry is None or entry[0] <= clock.monotonic():
                self._kept.pop(key, None)
                return None
            self._kept.move_to_end(key)
            return entry[1]

    def keep(self, key: Hashable, value: T, seconds: float, as_of: datetime | None = None) -> Dated[T]:
        dated = Dated(value, as_of or clock.now())
        with self._lock:
            self._kept[key] = (clock.monotonic() + seconds, dated)
            self._kept.move_to_end(key)
            while len(self._kept) > self._most:
                self._kept.popitem(last=False)
        return dated

    def get(self, key: Hashable, fetch: Callable[[], T], *, seconds: float, refresh: bool = False) -> Dated[T]:
        """The kept value, or what `fetch` gives, kept for `seconds`. Two threads may fetch the same at once."""
        found = None if refresh else self.find(key)
        if found is not None:
            return found
        asked_at = clock.now()
        return self.keep(key, fetch(), seconds, asked_at)
