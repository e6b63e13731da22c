"""The OpenAPI document is true: whatever is sent, no 500, and answers are as described (schemathesis)."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from openapi_spec_validator import validate
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import content_type_conformance, response_schema_conformance

from kernel.http.auth import permissions_of
from services.identity.app import create_app
from tests.integration.services.identity.conftest import PASSWORD, Caller, Identity, Make, body

_EXAMPLES = 12
_CHECKS = [not_a_server_error, response_schema_conformance, content_type_conformance]


@pytest.fixture
def open_identity(make_identity: Make) -> Identity:
    return make_identity(registrations_per_minute=100_000)


def _document(identity: Identity) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(identity.app.test_client().get("/openapi.json").get_data())
    return found


def test_the_document_is_valid_and_names_every_route(identity: Identity) -> None:
    document = _document(identity)
    validate(document)
    described = {(method.upper(), path) for path, ways in document["paths"].items() for method in ways if method != "parameters"}
    served = {(method, rule) for method, rule in permissions_of(identity.app) if rule.startswith(("/api/", "/internal/"))}
    assert described == {(method, _as_described(rule)) for method, rule in served}


def _as_described(rule: str) -> str:
    return rule.replace("<uuid:", "{").replace(">", "}")


def test_every_route_names_its_permission(identity: Identity) -> None:
    assert all(permissions_of(identity.app).values())


def test_an_application_with_a_nameless_route_does_not_start(identity: Identity, monkeypatch: pytest.MonkeyPatch) -> None:
    from services.identity.routes import teams

    monkeypatch.delattr(teams.Leave.post, "permission")
    with pytest.raises(RuntimeError, match="members/leave"):
        create_app(identity.parts.settings, parts=identity.parts)


def _internal(identity: Identity, caller: Caller, team: str | None) -> str:
    sent = {"token": caller.token, "team_id": team, "address": "203.0.113.7"}
    return str(body(identity.nobody.post("/internal/exchange", sent))["token"])


def test_nothing_that_a_client_sends_is_a_500_and_answers_are_as_described(open_identity: Identity) -> None:
    identity = open_identity
    ann = identity.person()
    team = identity.team(ann)
    without_team, with_team = _internal(identity, ann, None), _internal(identity, ann, team)
    schema = schemathesis.openapi.from_wsgi("/openapi.json", identity.app)

    for found in schema.get_all_operations():
        operation = found.ok()  # type: ignore[union-attr]  # the document is valid, see above
        # Deleting the team has tests of its own; nothing would be left for the others.
        if (operation.method, operation.path) != ("delete", "/api/v1/teams/{team_id}"):
            _try(operation, _Tokens(without_team, with_team, team))


@dataclass(frozen=True)
class _Tokens:
    without_team: str
    with_team: str
    team: str


def _try(operation: Any, tokens: _Tokens) -> None:
    """Send what the document allows, in a way that is the same each time. Any: schemathesis' own types."""

    @given(case=operation.as_strategy(), real=st.booleans())
    @settings(
        max_examples=_EXAMPLES,
        deadline=None,
        derandomize=True,
        database=None,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    def check(case: Any, real: bool) -> None:
        token = tokens.without_team
        if "team_id" in (case.path_parameters or {}):
            token = tokens.with_team
            if real:
                case.path_parameters["team_id"] = tokens.team
        answer = case.call(headers={"Authorization": f"Bearer {token}"})
        assert answer.status_code < 500, (operation.label, answer.text)
        if answer.status_code < 300:
            case.validate_response(answer, checks=_CHECKS)
        elif answer.status_code >= 400:
            assert answer.headers["content-type"] == ["application/problem+json"], answer.headers

    check()


@pytest.mark.parametrize("path", ["/api/v1/auth/login", "/api/v1/auth/register", "/internal/exchange"])
@pytest.mark.parametrize(
    "sent",
    [b"", b"{", b"null", b"[]", b'"x"', b"{}", b'{"email":{}}', b"\xff\xfe", b"[" * 20000, b'{"email":"\\ud800","password":"\\u0000"}'],
)
def test_crooked_bodies_are_refused_in_good_order(identity: Identity, path: str, sent: bytes) -> None:
    answer = identity.app.test_client().post(path, data=sent, content_type="application/json")
    assert answer.status_code in (400, 401, 422), answer.get_data(as_text=True)
    assert answer.mimetype == "application/problem+json"


def test_a_body_that_is_too_large_is_refused(identity: Identity) -> None:
    sent = json.dumps({"email": "a@b.c", "password": "x" * 3_000_000})
    answer = identity.app.test_client().post("/api/v1/auth/login", data=sent, content_type="application/json")
    assert answer.status_code == 413


def test_what_is_not_json_is_refused(identity: Identity) -> None:
    assert identity.app.test_client().post("/api/v1/auth/login", data="a=b", content_type="text/plain").status_code == 415


def test_an_idempotency_key_registers_once(identity: Identity) -> None:
    made = {"email": "ann@example.org", "password": PASSWORD, "name": "Ann"}
    first, again = (identity.nobody.post("/api/v1/auth/register", made, Idempotency_Key="one") for _ in range(2))
    assert body(first, 201) == body(again, 201)
    other = identity.nobody.post("/api/v1/auth/register", {**made, "name": "Bob"}, Idempotency_Key="one")
    assert other.status_code == 409
