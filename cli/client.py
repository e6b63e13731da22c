"""A small client of the public API: what the command, the demo and the end-to-end tests speak through."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import requests

from kernel import clock

API = "/api/v1"
_AGAIN = (429, 502, 503)
_RECONNECT_SECONDS = 0.5

_NO_JSON: Any = object()  # stands for whatever a document could be


class ApiError(Exception):
    """The server refused: its status, its stable code, and each wrong field."""

    def __init__(self, status: int, problem: Mapping[str, Any]) -> None:
        self.status = status
        self.code = str(problem.get("code", "unknown"))
        self.detail = str(problem.get("detail", ""))
        self.problem = dict(problem)
        wrong = [f"{error.get('field')}: {error.get('message')}" for error in problem.get("errors", [])]
        super().__init__(f"{status} {self.code}: {self.detail}" + "".join(f"\n  {line}" for line in wrong))


@dataclass(frozen=True)
class StreamEvent:
    """One server-sent event: `id` is what a reconnecting client names as Last-Event-ID."""

    id: str | None
    event: str
    data: dict[str, Any] = field(default_factory=dict)  # any JSON object


class Client:
    """Requests as one person or token. Raises ApiError for refusals, requests.RequestException when nothing answers."""

    def __init__(self, base_url: str, token: str | None = None, *, timeout_seconds: float = 30.0, ca_file: Path | None = None) -> None:
        self.base_url = base_url.rstrip("/")
        self.token = token
        self.refresh_token: str | None = None
        self._timeout = timeout_seconds
        self._session = requests.Session()
        # Neither .netrc nor a proxy's variables: the token goes to the control plane and nowhere else.
        self._session.trust_env = False
        if ca_file is not None:
            self._session.verify = str(ca_file)

    def close(self) -> None:
        self._session.close()

    def log_in(self, email: str, password: str) -> None:
        """Sign in; later requests carry the access token, and it is renewed when it has run out."""
        answer = self.post("/auth/login", {"email": email, "password": password})
        self.token, self.refresh_token = answer["access_token"], answer["refresh_token"]

    def get(self, path: str, **query: object) -> Any:
        """The JSON answer. Any: JSON."""
        return self.request("GET", path, query=query)

    def post(self, path: str, body: object = None, **headers: str) -> Any:
        """As `get`; an Idempotency-Key makes it safe to send again."""
        return self.request("POST", path, body=body if body is not None else {}, headers=headers)

    def put(self, path: str, body: object) -> Any:
        return self.request("PUT", path, body=body)

    def patch(self, path: str, body: object, **headers: str) -> Any:
        return self.request("PATCH", path, body=body, headers=headers)

    def delete(self, path: str, **query: object) -> Any:
        return self.request("DELETE", path, query=query)

    def all(self, path: str, **query: object) -> Iterator[Any]:
        """Every item of a list, page by page."""
        cursor: str | None = None
        while True:
            page = self.get(path, **query, **({"cursor": cursor} if cursor else {}))
            yield from page["items"]
            cursor = page["next_cursor"]
            if cursor is None:
                return

    def request(
        self,
        method: str,
        path: str,
        *,
        body: object = None,
        query: Mapping[str, object] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Any:
        """One request below /api/v1. Any: JSON."""
        answer = self._send(method, path, body, query, headers)
        if answer.status_code == 401 and self.refresh_token and not path.startswith("/auth/"):
            self._renew()
            answer = self._send(method, path, body, query, headers)
        if answer.status_code == 204:
            return None
        document = self._document(answer)
        if not answer.ok or document is _NO_JSON:
            raise ApiError(answer.status_code, self._problem(answer, document))
        return document

    def _send(
        self, method: str, path: str, body: object, query: Mapping[str, object] | None, headers: Mapping[str, str] | None
    ) -> requests.Response:
        return self._session.request(
            method,
            f"{self.base_url}{API}{path}",
            json=body,
            params={key: str(value) for key, value in (query or {}).items() if value is not None},
            headers={**self._authorization(), **(headers or {})},
            timeout=self._timeout,
        )

    def _authorization(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token}"} if self.token else {}

    def _renew(self) -> None:
        refresh, self.refresh_token = self.refresh_token, None
        answer = self._send("POST", "/auth/refresh", {"refresh_token": refresh}, None, None)
        if answer.ok:
            document = answer.json()
            self.token, self.refresh_token = document["access_token"], document["refresh_token"]

    def renew(self) -> bool:
        """A new access token by the refresh token; False if there is none, or it is refused."""
        if not self.refresh_token:
            return False
        self._renew()
        return self.refresh_token is not None

    @staticmethod
    def _document(answer: requests.Response) -> Any:
        try:
            return answer.json()
        except ValueError:
            return _NO_JSON

    def _problem(self, answer: requests.Response, document: Any) -> Mapping[str, Any]:
        if isinstance(document, dict) and "code" in document:
            return document
        return {
            "code": "no-json",
            "detail": f"{self.base_url} answered {answer.status_code}, but not as Fairlead does: {answer.text[:100]!r}",
        }

    def stream(self, path: str, *, after: str | None = None, seconds: float = 900.0) -> Iterator[StreamEvent]:
        """Server-sent events until the server says `end`. A broken stream is taken up where it broke, for up to `seconds`."""
        deadline = clock.monotonic() + seconds
        last = after
        while clock.monotonic() < deadline:
            headers = {"Accept": "text/event-stream", **self._authorization()} | ({"Last-Event-ID": last} if last else {})
            try:
                with self._session.get(f"{self.base_url}{API}{path}", headers=headers, stream=True, timeout=(5, 45)) as answer:
                    if not answer.ok and answer.status_code not in _AGAIN:
                        raise ApiError(answer.status_code, self._problem(answer, self._document(answer)))
                    for event in _events(answer if answer.ok else None):
                        last = event.id or last
                        yield event
                        if event.event == "end":
                            return
            except requests.RequestException:
                pass  # It is asked again.
            threading.Event().wait(_RECONNECT_SECONDS)


def _events(answer: requests.Response | None) -> Iterator[StreamEvent]:
    if answer is None:
        return
    fields: dict[str, str] = {}
    for raw in answer.iter_lines(chunk_size=1):
        line = raw.decode()
        if line:
            name, _, value = line.partition(":")
            if name:
                fields[name] = value.removeprefix(" ")
        elif fields:
            yield StreamEvent(fields.get("id"), fields.get("event", "message"), json.loads(fields.get("data") or "{}"))
            fields = {}
