"""Turns whatever token came into a short internal one, at identity; remembers the answer for a few seconds."""

from __future__ import annotations

import hashlib
import json
import threading
from collections import OrderedDict
from dataclasses import dataclass
from uuid import UUID

from gateway.upstream import Upstream
from kernel import clock, telemetry
from kernel.errors import FairleadError, Forbidden, NotFound, RateLimited, Unauthenticated, Unavailable

_KNOWN_SECONDS = 5.0
_REFUSED_SECONDS = 1.0
_LARGEST = 4096


@dataclass(frozen=True)
class _Answer:
    until: float
    token: str
    error: FairleadError | None


class Exchange:
    """Asks identity who a token is. An answer is kept for 5 s at most, a refusal for 1 s, both only in memory."""

    def __init__(self, identity: Upstream) -> None:
        self._identity = identity
        self._lock = threading.Lock()
        self._answers: OrderedDict[bytes, _Answer] = OrderedDict()
        self._forgotten = 0

    def internal_token(self, token: str, team_id: UUID | None, address: str) -> str:
        """The internal token. Raises Unauthenticated, NotFound (not in that team), Forbidden or Unavailable."""
        key = hashlib.sha256(f"{token}\0{team_id or ''}\0{address}".encode()).digest()
        answer = self._find(key)
        if answer is None:
            began = self._forgotten
            answer = self._ask(token, team_id, address)
            self._keep(key, answer, began)
        if answer.error is not None:
            raise answer.error
        return answer.token

    def forget(self) -> None:
        """Somebody's rights have changed: ask again for everybody."""
        with self._lock:
            self._answers.clear()
            self._forgotten += 1

    def _find(self, key: bytes) -> _Answer | None:
        with self._lock:
            answer = self._answers.get(key)
            if answer is not None and answer.until <= clock.monotonic():
                del self._answers[key]
                return None
            return answer

    def _keep(self, key: bytes, answer: _Answer, began: int) -> None:
        with self._lock:
            # Asked before somebody's rights changed: good for this request, not for the next.
            if began != self._forgotten:
                return
            self._answers[key] = answer
            self._answers.move_to_end(key)
            while len(self._answers) > _LARGEST:
                self._answers.popitem(last=False)

    def _ask(self, token: str, team_id: UUID | None, address: str) -> _Answer:
        question = {"token": token, "team_id": str(team_id) if team_id else None, "address": address}
        headers = {"Content-Type": "application/json", "X-Correlation-ID": telemetry.correlation.get() or ""}
        asked_at = clock.monotonic()
        status, body = self._identity.fetch("POST", "/internal/exchange", headers, json.dumps(question).encode(), timeout_seconds=10)
        document = _object(body)
        if status == 200 and isinstance(document.get("token"), str):
            life = document.get("expires_in")
            seconds = min(_KNOWN_SECONDS, float(life) / 2) if isinstance(life, int | float) else _KNOWN_SECONDS
            return _Answer(asked_at + seconds, str(document["token"]), None)
        return _Answer(clock.monotonic() + _REFUSED_SECONDS, "", _refusal(status, document))


def _object(body: bytes) -> dict[str, object]:
    try:
        document = json.loads(body)
    except ValueError:
        return {}
    return document if isinstance(document, dict) else {}


def _refusal(status: int, document: dict[str, object]) -> FairleadError:
    """What identity's refusal means here. Raises Unavailable when it is none: that is never remembered."""
    detail, code = str(document.get("detail") or ""), str(document.get("code") or "")
    if status in (401, 422):
        return Unauthenticated(detail, code=code) if status == 401 and detail and code else Unauthenticated()
    if status == 404:
        return NotFound("team")
    if status == 403:
        return Forbidden(detail or "This is not allowed.", code=code or "forbidden")
    if status == 429:
        raise RateLimited(5)
    raise Unavailable("Identity cannot say now who you are.", code="identity-unavailable", retry_after_seconds=2)
