"""Argon2id: hashes and checks passwords, a few at once, and as long for nobody as for somebody."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from kernel import clock
from kernel.errors import Unavailable

_LONGEST_WAIT_SECONDS = 5.0


class Hasher:
    """`concurrent` hashes at once; who waits longer than 5 s is told to come back."""

    def __init__(self, *, memory_kib: int, passes: int, lanes: int, concurrent: int) -> None:
        self._argon2 = PasswordHasher(time_cost=passes, memory_cost=memory_kib, parallelism=lanes)
        self._turns = threading.BoundedSemaphore(concurrent)
        self._nobody: str | None = None
        self._nobody_lock = threading.Lock()

    def hash(self, password: str) -> str:
        """The password's hash with its parameters. Raises Unavailable when too many wait."""
        with self._turn():
            return self._argon2.hash(password)

    def verify(self, kept: str | None, password: str) -> bool:
        """Is it the password of `kept`? Without one, the same work is done for nothing. Raises Unavailable."""
        against = kept or self._nobodys_hash()
        with self._turn():
            try:
                self._argon2.verify(against, password)
            except (VerificationError, InvalidHashError):
                return False
        return kept is not None

    def is_outdated(self, kept: str) -> bool:
        """Was `kept` made with other parameters than today's?"""
        return self._argon2.check_needs_rehash(kept)

    def _nobodys_hash(self) -> str:
        with self._nobody_lock:
            if self._nobody is None:
                self._nobody = self.hash(clock.random_token())
            return self._nobody

    @contextmanager
    def _turn(self) -> Iterator[None]:
        if not self._turns.acquire(timeout=_LONGEST_WAIT_SECONDS):
            raise Unavailable("Too many people sign in at this moment.", code="busy", retry_after_seconds=2)
        try:
            yield
        finally:
            self._turns.release()
