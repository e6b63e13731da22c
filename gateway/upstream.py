"""Connections to the services: pooled, bounded in time, and never one that the other side is about to close."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Protocol
from urllib.parse import urlsplit

import structlog
import urllib3
from urllib3.connectionpool import HTTPConnectionPool
from urllib3.exceptions import HTTPError
from urllib3.response import BaseHTTPResponse

from kernel import clock
from kernel.errors import Unavailable

log = structlog.get_logger(__name__)

# gunicorn closes a connection that was idle for 15 s; a request that is on its way then would be lost.
_IDLE_SECONDS = 10.0
_SAFE = {"GET", "HEAD"}
_PIECE_BYTES = 64 * 1024


class Readable(Protocol):
    """A request body that is read piece by piece."""

    def read(self, size: int = -1, /) -> bytes: ...


class _FreshPool(HTTPConnectionPool):
    """A pool that forgets connections which were idle for long."""

    def _get_conn(self, timeout: float | None = None) -> Any:  # Any: urllib3's own connection type is not exported alike
        connection = super()._get_conn(timeout)
        if clock.monotonic() - getattr(connection, "idle_since", float("inf")) > _IDLE_SECONDS:
            connection.close()
        return connection

    def _put_conn(self, conn: Any) -> None:
        if conn is not None:
            conn.idle_since = clock.monotonic()
        super()._put_conn(conn)


class Upstream:
    """One service, by name and internal address."""

    def __init__(self, name: str, base_url: str, *, connections: int, timeout_seconds: float) -> None:
        parts = urlsplit(base_url)
        self.name = name
        self._prefix = parts.path.rstrip("/")
        self._timeout = urllib3.Timeout(connect=3.05, read=timeout_seconds)
        self._pool = _FreshPool(parts.hostname or "127.0.0.1", parts.port or 80, maxsize=connections, block=False)

    def request(
        self,
        method: str,
        target: str,
        headers: Mapping[str, str],
        body: Readable | bytes | None = None,
        *,
        timeout_seconds: float | None = None,
    ) -> BaseHTTPResponse:
        """The answer, its body not yet read: close it. A read is tried twice, a change once. Raises Unavailable."""
        tries = 2 if method in _SAFE and body is None else 1
        while True:
            tries -= 1
            try:
                return self._pool.urlopen(
                    method,
                    self._prefix + target,
                    body=body,  # type: ignore[arg-type]  # urllib3 asks for read() only
                    headers=headers,
                    retries=False,
                    redirect=False,
                    timeout=urllib3.Timeout(connect=3.05, read=timeout_seconds) if timeout_seconds else self._timeout,
                    preload_content=False,
                    decode_content=False,
                )
            except HTTPError as error:
                if tries == 0:
                    log.warning("service does not answer", service=self.name, error=repr(error))
                    raise Unavailable(
                        f"The {self.name} service does not answer.", code=f"{self.name}-unavailable", retry_after_seconds=2
                    ) from error

    def fetch(
        self, method: str, target: str, headers: Mapping[str, str], body: bytes | None = None, *, timeout_seconds: float | None = None
    ) -> tuple[int, bytes]:
        """Status and whole body, for the gateway's own questions. Raises Unavailable."""
        answer = self.request(method, target, headers, body, timeout_seconds=timeout_seconds)
        return answer.status, self.read(answer)

    def read(self, answer: BaseHTTPResponse) -> bytes:
        """The whole body; the connection goes back to the pool. Raises Unavailable."""
        try:
            return answer.read(decode_content=False)
        except HTTPError as error:
            raise Unavailable(f"The {self.name} service broke off.", code=f"{self.name}-unavailable", retry_after_seconds=2) from error
        finally:
            answer.release_conn()


def pieces(answer: BaseHTTPResponse) -> Iterator[bytes]:
    """The body as it comes. What breaks off breaks off for our client too: half an answer must not look whole."""
    try:
        yield from answer.stream(_PIECE_BYTES, decode_content=False)
        answer.release_conn()
    finally:
        answer.close()
