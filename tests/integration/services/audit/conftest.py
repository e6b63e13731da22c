"""The audit service on a real database, with callers whose tokens are plain JSON."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from flask.testing import FlaskClient
from nacl.signing import SigningKey
from werkzeug.test import TestResponse

from kernel import clock
from kernel.db import Database
from kernel.errors import Unauthenticated
from services.audit.app import create_app
from services.audit.settings import Settings
from tests.fixtures.servers import TestDatabase


class PlainTokens:
    """A verifier for tests: the token is its own claims."""

    def verify(self, token: str) -> dict[str, Any]:
        """The claims. Any: JSON."""
        try:
            claims: dict[str, Any] = json.loads(token)
        except ValueError as error:
            raise Unauthenticated from error
        return claims


@dataclass(frozen=True)
class Caller:
    """A client that is somebody in a team."""

    client: FlaskClient
    team: UUID
    role: str = "member"
    scopes: tuple[str, ...] = ("admin",)

    def call(self, path: str, method: str = "GET", *, team: UUID | None = None, **query: Any) -> TestResponse:
        """The answer to a request below the team's audit log. Any: values of the query."""
        claims = {
            "sub": str(clock.new_id()), "kind": "user", "name": "Ada", "team": str(self.team), "role": self.role,
            "scopes": list(self.scopes), "addr": "192.0.2.7",
        }  # fmt: skip
        headers = {"Authorization": f"Bearer {json.dumps(claims)}"}
        return self.client.open(f"/api/v1/teams/{team or self.team}/audit{path}", method=method, headers=headers, query_string=query)

    def read(self, path: str, method: str = "GET", **query: Any) -> Any:
        """The JSON that a request is answered with. Any: JSON."""
        answer = self.call(path, method, **query)
        assert answer.status_code in (200, 201), answer.text
        return answer.get_json()


@pytest.fixture
def audit_database(database: Callable[[str], TestDatabase]) -> TestDatabase:
    return database("audit")


@pytest.fixture
def db(audit_database: TestDatabase) -> Iterator[Database]:
    made = Database(audit_database.url)
    yield made
    made.close()


@pytest.fixture
def key() -> SigningKey:
    return SigningKey.generate()


@pytest.fixture
def client(db: Database, key: SigningKey) -> FlaskClient:
    settings = Settings(database_url=db.url, signing_key_file=Path("unused"), identity_url="http://127.0.0.1:1", log_level="error")
    return create_app(settings, db=db, verifier=PlainTokens(), signing_key=key).test_client()
