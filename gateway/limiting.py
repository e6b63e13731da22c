"""Rate limits by address for what needs no token; identity has limits by account, across processes."""

from __future__ import annotations

import math
import threading
from collections.abc import Mapping

from limits import RateLimitItem, parse
from limits.storage import MemoryStorage
from limits.strategies import MovingWindowRateLimiter

from gateway.addresses import limit_key
from kernel import clock
from kernel.errors import RateLimited


class AddressLimits:
    """Moving windows in this process's memory. `limits` maps a name to text such as `30/minute`. Raises ValueError."""

    def __init__(self, limits: Mapping[str, str]) -> None:
        self._limits: dict[str, RateLimitItem] = {name: parse(text) for name, text in limits.items()}
        self._lock = threading.Lock()
        self._limiter: MovingWindowRateLimiter | None = None

    def check(self, name: str, address: str) -> None:
        """Count one try. Raises RateLimited with the seconds to wait."""
        limit, limiter, key = self._limits[name], self._made(), limit_key(address)
        if limiter.hit(limit, name, key):
            return
        reset_at = limiter.get_window_stats(limit, name, key).reset_time
        raise RateLimited(max(1, math.ceil(reset_at - clock.now().timestamp())))

    def _made(self) -> MovingWindowRateLimiter:
        # Its storage starts a thread, which must not happen before gunicorn forks.
        with self._lock:
            if self._limiter is None:
                self._limiter = MovingWindowRateLimiter(MemoryStorage())
            return self._limiter
