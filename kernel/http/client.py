"""Calls from one service to another on behalf of whoever asked."""

from __future__ import annotations

import threading
from typing import Any

import requests
from requests.adapters import HTTPAdapter

from kernel import errors, telemetry
from kernel.errors import FairleadError, FieldError, Unavailable
from kernel.http.problems import STATUSES


class ServiceClient:
    """One other service. Errors come back as they were raised there: the same family, code and detail."""

    def __init__(self, base_url: str, name: str, *, timeout_seconds: float = 20.0) -> None:
        self._base_url = base_url.rstrip("/")
        self._name = name
        self._timeout = timeout_seconds
        self._local = threading.local()

    def call(self, method: str, path: str, *, token: str | None = None, json: object = None, timeout_seconds: float | None = None) -> Any:
        """The JSON answer (None for 204). Raises what the other service raised, or Unavailable. Any: JSON."""
        headers = {"X-Correlation-ID": telemetry.correlation.get() or ""}
        if token:
            headers["Authorization"] = f"Bearer {token}"
        try:
            answer = self._session().request(
                method,
                self._base_url + path,
                headers=headers,
                json=json,
                timeout=(3.05, timeout_seconds or self._timeout),
                allow_redirects=False,
            )
        except requests.RequestException as error:
            raise Unavailable(f"The {self._name} service does not answer.", code=f"{self._name}-unavailable") from error
        if answer.status_code == 204:
            return None
        try:
            document = answer.json()
        except ValueError as error:
            raise Unavailable(f"The {self._name} service answered {answer.status_code}.", code=f"{self._name}-unavailable") from error
        if answer.status_code < 300:
            return document
        raise self._error(answer.status_code, document if isinstance(document, dict) else {})

    def _error(self, status: int, document: dict[str, Any]) -> FairleadError:
        code, detail = str(document.get("code", "unavailable")), str(document.get("detail", ""))
        if status == 422:
            wrong = [FieldError(str(e.get("field")), str(e.get("message"))) for e in document.get("errors", [])]
            return errors.Invalid(wrong, code=code, detail=detail)
        family = next((family for family, known in STATUSES if known == status), None)
        if family is errors.NotFound:
            error: FairleadError = errors.NotFound()
            error.detail = detail
            return error
        if family is errors.PreconditionFailed:
            return errors.PreconditionFailed(detail)
        if family is errors.Conflict:
            return errors.Conflict(code, detail)
        if family is errors.Unauthenticated:
            return errors.Unauthenticated(detail, code=code)
        if family is errors.Forbidden:
            return errors.Forbidden(detail, code=code)
        return Unavailable(f"The {self._name} service: {detail or status}", code=code if status == 503 else f"{self._name}-unavailable")

    def _session(self) -> requests.Session:
        session: requests.Session | None = getattr(self._local, "session", None)
        if session is None:
            session = requests.Session()
            session.trust_env = False
            session.mount("http://", HTTPAdapter(pool_connections=2, pool_maxsize=2))
            self._local.session = session
        return session
