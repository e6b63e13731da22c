"""Identity on a real database, reached as the gateway reaches it."""

from __future__ import annotations

import base64
import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import psycopg
import pytest
from flask import Flask
from werkzeug.test import TestResponse

from kernel.contracts import envelope
from kernel.contracts.envelope import Envelope
from kernel.db import plain_dsn
from services.identity.app import create_app
from services.identity.settings import Settings
from services.identity.usecases.parts import Parts, make_parts
from tests.integration.services.identity.mailing import Mailing, open_post_office

_TEAM = re.compile(r"/api/v1/teams/([0-9a-f-]{36})")
PASSWORD = "correct horse battery"  # of throw-away people
_UNTOUCHED = ("/api/v1/auth/", "/api/v1/.well-known/", "/internal/")


@dataclass(frozen=True)
class Caller:
    """A client as the gateway serves it: its token is exchanged, its address handed on."""

    app: Flask
    token: str | None = None
    address: str = "203.0.113.7"

    def call(self, method: str, path: str, body: object = None, **headers: str) -> TestResponse:
        sent = {"X-Forwarded-For": self.address, "User-Agent": "test", **{k.replace("_", "-"): v for k, v in headers.items()}}
        if self.token is not None:
            given: str | None = self.token
            if not path.startswith(_UNTOUCHED):
                refused, given = self._exchange(path)
                if refused is not None:
                    return refused
            sent["Authorization"] = f"Bearer {given}"
        return self.app.test_client().open(path, method=method, json=body, headers=sent)

    def _exchange(self, path: str) -> tuple[TestResponse | None, str]:
        found = _TEAM.match(path)
        question = {"token": self.token, "team_id": found[1] if found else None, "address": self.address}
        answer = self.app.test_client().post("/internal/exchange", json=question)
        return (None, answer.json["token"]) if answer.status_code == 200 and answer.json else (answer, "")

    def get(self, path: str, **headers: str) -> TestResponse:
        return self.call("GET", path, **headers)

    def post(self, path: str, body: object = None, **headers: str) -> TestResponse:
        return self.call("POST", path, {} if body is None else body, **headers)

    def put(self, path: str, body: object) -> TestResponse:
        return self.call("PUT", path, body)

    def patch(self, path: str, body: object, **headers: str) -> TestResponse:
        return self.call("PATCH", path, body, **headers)

    def delete(self, path: str, body: object = None, **headers: str) -> TestResponse:
        return self.call("DELETE", path, body, **headers)

    def using(self, token: str | None) -> Caller:
        return replace(self, token=token)

    def at(self, address: str) -> Caller:
        return replace(self, address=address)


@dataclass(frozen=True)
class Identity:
    """The service under test and its database."""

    app: Flask
    parts: Parts
    dsn: str

    @property
    def nobody(self) -> Caller:
        return Caller(self.app)

    def person(self, email: str = "ann@example.org", name: str = "Ann", **more: object) -> Caller:
        """Somebody who has just registered and signed in."""
        made = self.nobody.post("/api/v1/auth/register", {"email": email, "password": PASSWORD, "name": name, **more})
        assert made.status_code == 201, made.json
        return self.log_in(email)

    def log_in(self, email: str, password: str = PASSWORD, **more: object) -> Caller:
        answer = self.nobody.post("/api/v1/auth/login", {"email": email, "password": password, **more})
        assert answer.status_code == 200, answer.json
        assert answer.json is not None
        return self.nobody.using(answer.json["access_token"])

    def team(self, owner: Caller, name: str = "Acme") -> str:
        answer = owner.post("/api/v1/teams", {"name": name})
        assert answer.status_code == 201, answer.json
        assert answer.json is not None
        return str(answer.json["id"])

    def join(self, owner: Caller, team: str, email: str, role: str) -> Caller:
        """Somebody new who is in the team by invitation."""
        made = body(owner.post(f"/api/v1/teams/{team}/invitations", {"email": email, "role": role}), 201)
        return self.person(email, email.partition("@")[0], invitation_token=made["token"])

    def rows(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        """Rows as the system sees them. Any: whatever was asked."""
        with psycopg.connect(self.dsn, autocommit=True) as connection:
            connection.execute("SELECT set_config('app.scope', 'system', false)")
            cursor = connection.execute(query, values)
            return cursor.fetchall() if cursor.description else []

    def events(self, name: str = "") -> list[Envelope]:
        """What stands in the outbox, in order."""
        found = [envelope.decode(bytes(row[0])) for row in self.rows("SELECT body FROM outbox ORDER BY id")]
        return [one for one in found if one.name.startswith(name)]


def body(answer: TestResponse, status: int = 200) -> Any:
    """The JSON of an answer that is as expected."""
    assert answer.status_code == status, (answer.status_code, answer.get_data(as_text=True))
    return answer.json


def problem(answer: TestResponse, status: int, code: str) -> Any:
    """The problem document of an answer that refuses as expected."""
    document = body(answer, status)
    assert answer.mimetype == "application/problem+json"
    assert document["code"] == code, document
    return document


@pytest.fixture
def key_ring(tmp_path: Path) -> Path:
    file = tmp_path / "ring"
    file.write_text(f"one:{base64.b64encode(os.urandom(32)).decode()}\n")
    return file


Make = Callable[..., Identity]


@pytest.fixture
def make_identity(database: Callable[[str], Any], key_ring: Path) -> Make:
    """An identity service with settings of its own: `make_identity(registration="closed")`."""
    made = database("identity")

    def make(**settings: Any) -> Identity:
        base = Settings(
            database_url=made.url,
            encryption_keys_file=key_ring,
            public_url="https://fairlead.example",
            environment="development",
            argon2_memory_kib=1024,
            argon2_passes=1,
            registrations_per_minute=1000,
        )
        chosen = replace(base, **settings)
        parts = make_parts(chosen, "test")
        return Identity(create_app(chosen, parts=parts), parts, plain_dsn(made.url))

    return make


@pytest.fixture
def identity(make_identity: Make) -> Identity:
    return make_identity()


@pytest.fixture
def mailing(make_identity: Make) -> Iterator[Mailing]:
    """Identity with a real mail server."""
    with open_post_office() as office:
        made = make_identity(smtp_host="127.0.0.1", smtp_port=office.port, smtp_security="none", smtp_from="F <f@fairlead.example>")
        yield Mailing(made, office)
