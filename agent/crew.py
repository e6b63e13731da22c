"""A few threads that do things to several containers at once."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")


class Crew:
    """Shared by all works. Its threads are made when they are needed."""

    def __init__(self, size: int = 8) -> None:
        self._pool = ThreadPoolExecutor(size, thread_name_prefix="crew")

    def each(self, action: Callable[[T], R], items: Iterable[T]) -> list[R]:
        """`action` for each, at once. Waits for all, then raises the first error: nothing goes on behind the caller's back."""
        everything = list(items)
        if len(everything) == 1:
            return [action(everything[0])]
        futures: list[Future[R]] = [self._pool.submit(action, item) for item in everything]
        wait(futures)
        return [future.result() for future in futures]

    def close(self) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)
