"""The HTTP side on a real database: problems, permissions, paging, ETags, idempotency keys."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator
from typing import Any
from uuid import UUID

import pytest
from flask import Flask
from flask.testing import FlaskClient
from flask_smorest import Blueprint
from sqlalchemy import text
from werkzeug.test import TestResponse

from kernel import clock
from kernel.db import Database
from kernel.http import HttpService, TokenVerifier, create_http_app, public
from kernel.http.auth import permissions_of
from kernel.permissions import Role
from kernel.principal import Principal
from tests.fixtures.identity_keys import Keys, published
from tests.integration.kernel import sample_service
from tests.integration.kernel.sample_service import EFFECTS, make_app

TEAM = clock.new_id()
THINGS = f"/api/v1/teams/{TEAM}/things"


@pytest.fixture(scope="module")
def keys() -> Iterator[Keys]:
    with published(Keys()) as made:
        yield made


@pytest.fixture
def refusals() -> list[tuple[Principal, str, str]]:
    return []


@pytest.fixture
def app(db: Database, keys: Keys, refusals: list[tuple[Principal, str, str]]) -> Flask:
    EFFECTS.clear()
    return make_app(db, TokenVerifier(keys.url), record_refusal=lambda *told: refusals.append(told))


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    return app.test_client()


@pytest.fixture
def owner(keys: Keys) -> dict[str, str]:
    return bearer(keys.token(TEAM))


def bearer(token: str, **more: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"} | {name.replace("_", "-"): value for name, value in more.items()}


def assert_problem(response: TestResponse, status: int, code: str) -> dict[str, Any]:
    assert response.status_code == status, response.get_data(as_text=True)
    assert response.mimetype == "application/problem+json"
    document: dict[str, Any] = json.loads(response.get_data())
    assert document["status"] == status
    assert document["code"] == code
    assert {"type", "title", "detail", "correlation_id"} <= document.keys()
    assert document["correlation_id"] == response.headers["X-Correlation-ID"]
    return document


def create(client: FlaskClient, headers: dict[str, str], name: str = "one") -> dict[str, Any]:
    response = client.post(THINGS, json={"name": name}, headers=headers)
    assert response.status_code == 201
    made: dict[str, Any] = response.get_json()
    return made


def count(db: Database) -> int:
    with db.system() as session:
        return int(session.execute(text("SELECT count(*) FROM things")).scalar_one())


# -- problems -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("body", [b"{", b"", b"\xff", b"[" * 100_000, b'{"name":', b'{"size":' + b"9" * 5000 + b"}"])
def test_what_is_not_json_is_a_400(client: FlaskClient, owner: dict[str, str], body: bytes) -> None:
    response = client.post(THINGS, data=body or b" ", content_type="application/json", headers=owner)
    assert_problem(response, 400, "not-json")


@pytest.mark.parametrize("body", [b"[" * 100_000, b'{"size":' + b"9" * 5000 + b"}"])
def test_a_body_of_unknown_length_that_cannot_be_read_is_a_400(client: FlaskClient, owner: dict[str, str], body: bytes) -> None:
    stream = {"wsgi.input": io.BytesIO(body), "wsgi.input_terminated": True}
    chunked = owner | {"Transfer-Encoding": "chunked"}
    response = client.post(THINGS, content_type="application/json", headers=chunked, environ_overrides=stream)
    assert_problem(response, 400, "not-json")


def test_a_field_that_is_wrong_is_a_422_and_all_are_named(client: FlaskClient, owner: dict[str, str]) -> None:
    document = assert_problem(client.post(THINGS, json={"name": "", "size": "x", "colour": 1}, headers=owner), 422, "invalid")
    assert sorted(error["field"] for error in document["errors"]) == ["colour", "name", "size"]


@pytest.mark.parametrize("body", [[], "x", 1, None, {"name": {"a": 1}}, {"name": ["x"]}])
def test_json_of_another_form_is_a_422(client: FlaskClient, owner: dict[str, str], body: object) -> None:
    assert_problem(client.post(THINGS, data=json.dumps(body), content_type="application/json", headers=owner), 422, "invalid")


@pytest.mark.parametrize("name", ["\0", "\ud800"])
def test_text_that_no_database_holds_is_a_422(client: FlaskClient, owner: dict[str, str], name: str) -> None:
    assert_problem(client.post(THINGS, json={"name": name}, headers=owner), 422, "invalid")


@pytest.mark.parametrize("query", ["limit=0", "limit=201", "limit=x", "cursor=x", "colour=red", "cursor=%00"])
def test_a_wrong_query_is_a_422(client: FlaskClient, owner: dict[str, str], query: str) -> None:
    document = assert_problem(client.get(f"{THINGS}?{query}", headers=owner), 422, "invalid")
    assert [error["field"] for error in document["errors"]] == [query.split("=")[0]]


@pytest.mark.parametrize(
    "path", ["/nowhere", f"{THINGS}/7", f"{THINGS}/{clock.new_id()}", "/api/v1/teams/ours/things", f"{THINGS}/%00", "/api/v1/teams//things"]
)
def test_what_is_not_there_is_a_404(client: FlaskClient, owner: dict[str, str], path: str) -> None:
    assert_problem(client.get(path, headers=owner), 404, "not-found")


def test_a_method_that_is_not_there_is_a_405_which_names_those_that_are(client: FlaskClient, owner: dict[str, str]) -> None:
    response = client.put(THINGS, json={}, headers=owner)
    assert_problem(response, 405, "method-not-allowed")
    assert {"GET", "POST"} <= set(response.headers["Allow"].split(", "))


def test_a_state_that_forbids_it_is_a_409_with_its_facts(client: FlaskClient) -> None:
    assert assert_problem(client.get("/api/v1/fail/conflict"), 409, "place-busy")["attempt"] == 3


@pytest.mark.parametrize("sent", [{}, {"Idempotency-Key": "k"}])
def test_a_body_that_is_too_large_is_a_413(client: FlaskClient, owner: dict[str, str], sent: dict[str, str]) -> None:
    body = b'{"name": "' + b"x" * (2 * 1024 * 1024) + b'"}'
    response = client.post(THINGS, data=body, content_type="application/json", headers=owner | sent)
    assert_problem(response, 413, "too-large")


def test_a_body_of_very_many_values_is_a_413(client: FlaskClient, owner: dict[str, str]) -> None:
    for body in ({"name": ["x"] * 20_001}, {f"a{number}": 1 for number in range(20_001)}, {"name": [{"a": 1}] * 10_001}):
        assert_problem(client.post(THINGS, json=body, headers=owner), 413, "too-large")
    assert_problem(client.post(THINGS, json={"name": ["x"] * 19_000}, headers=owner), 422, "invalid")


@pytest.mark.parametrize("content_type", ["text/plain", "application/x-www-form-urlencoded", "", "application/xml", "text/json"])
def test_a_body_that_is_not_called_json_is_a_415(client: FlaskClient, owner: dict[str, str], content_type: str) -> None:
    response = client.post(THINGS, data=b'{"name": "x"}', content_type=content_type, headers=owner)
    assert_problem(response, 415, "unsupported-media-type")


def test_a_part_that_is_away_is_a_503_that_says_when_to_come_back(client: FlaskClient) -> None:
    response = client.get("/api/v1/fail/away")
    assert_problem(response, 503, "unavailable")
    assert response.headers["Retry-After"] == "7"


def test_too_many_tries_are_a_429(client: FlaskClient) -> None:
    response = client.get("/api/v1/fail/fast")
    assert_problem(response, 429, "rate-limited")
    assert response.headers["Retry-After"] == "42"


def test_a_defect_is_a_500_that_tells_nothing(client: FlaskClient) -> None:
    response = client.get("/api/v1/fail/defect")
    assert_problem(response, 500, "internal-error")
    told = response.get_data(as_text=True)
    assert "secret inside" not in told
    assert "Traceback" not in told
    assert "ZeroDivision" not in told


def test_a_database_that_is_away_is_a_503(keys: Keys) -> None:
    away = make_app(Database("postgresql+psycopg://nobody:none@127.0.0.1:9/none"), TokenVerifier(keys.url)).test_client()
    assert away.get("/healthz").status_code == 200
    assert_problem(away.get("/readyz"), 503, "database-unavailable")
    assert_problem(away.get(THINGS, headers=bearer(keys.token(TEAM))), 503, "database-unavailable")
    assert_problem(away.post("/api/v1/open", headers={"Idempotency-Key": "k"}), 503, "database-unavailable")


@pytest.mark.parametrize(
    ("given", "kept"), [("abc-1:2.3", True), ("a" * 128, True), ("", False), ("a b", False), ("a" * 129, False), ("ä", False)]
)
def test_a_correlation_id_is_taken_over_or_made(client: FlaskClient, given: str, kept: bool) -> None:
    answered = client.get("/healthz", headers={"X-Correlation-ID": given}).headers["X-Correlation-ID"]
    assert (answered == given) is kept
    assert answered


def test_every_answer_may_not_be_stored_or_sniffed(client: FlaskClient) -> None:
    headers = client.get("/healthz").headers
    assert headers["Cache-Control"] == "no-store"
    assert headers["X-Content-Type-Options"] == "nosniff"


# -- who may ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("header", [None, "", "Bearer", "Bearer ", "Bearer x", "Basic YTpi", "Bearer a.b.c", "bearer  ", "Bearer ä"])
def test_who_is_not_signed_in_gets_a_401(client: FlaskClient, header: str | None) -> None:
    response = client.get(THINGS, headers={} if header is None else {"Authorization": header.encode().decode("latin-1")})
    assert_problem(response, 401, "unauthenticated")
    assert response.headers["WWW-Authenticate"] == "Bearer"


def test_another_teams_path_is_a_404_whatever_the_method(client: FlaskClient, owner: dict[str, str], keys: Keys) -> None:
    thing = create(client, owner)
    stranger = bearer(keys.token(clock.new_id()))
    single = f"{THINGS}/{thing['id']}"
    for method, path in (("GET", THINGS), ("POST", THINGS), ("GET", single), ("PATCH", single), ("DELETE", single)):
        body = {"name": "x"} if method in ("POST", "PATCH") else None
        assert_problem(client.open(path, method=method, headers=stranger, json=body), 404, "not-found")


def test_another_teams_thing_below_the_own_path_is_a_404(client: FlaskClient, owner: dict[str, str], keys: Keys) -> None:
    thing = create(client, owner)
    theirs = clock.new_id()
    path = f"/api/v1/teams/{theirs}/things/{thing['id']}"
    assert_problem(client.get(path, headers=bearer(keys.token(theirs))), 404, "not-found")
    assert_problem(client.delete(path, headers=bearer(keys.token(theirs))), 404, "not-found")


def test_who_has_no_team_reaches_no_teams_path(client: FlaskClient, keys: Keys) -> None:
    assert_problem(client.get(THINGS, headers=bearer(keys.token(None, None))), 404, "not-found")


@pytest.mark.parametrize(
    ("role", "method", "status"),
    [
        (Role.VIEWER, "GET", 200), (Role.VIEWER, "POST", 403), (Role.MEMBER, "POST", 201), (Role.MEMBER, "DELETE", 403),
        (Role.ADMIN, "DELETE", 204), (Role.OWNER, "DELETE", 204),
    ],
)  # fmt: skip
def test_a_role_may_what_the_table_says(
    client: FlaskClient, owner: dict[str, str], keys: Keys, role: Role, method: str, status: int
) -> None:
    path = THINGS if method == "POST" else f"{THINGS}/{create(client, owner)['id']}"
    body = {"name": "x"} if method == "POST" else None
    response = client.open(path, method=method, headers=bearer(keys.token(TEAM, role)), json=body)
    assert response.status_code == status
    if status == 403:
        assert_problem(response, 403, "forbidden")


@pytest.mark.parametrize(
    ("scopes", "reads", "writes"),
    [
        (("read",), True, False), (("write",), True, True), (("projects:write",), True, True), (("projects:read",), True, False),
        (("deployments:write",), False, False), ((), False, False), (("deploy",), True, False), (("admin",), True, True),
    ],
)  # fmt: skip
def test_a_scope_narrows_what_a_token_may(client: FlaskClient, keys: Keys, scopes: tuple[str, ...], reads: bool, writes: bool) -> None:
    token = bearer(keys.token(TEAM, Role.OWNER, scopes))
    assert client.get(THINGS, headers=token).status_code == (200 if reads else 403)
    assert client.post(THINGS, json={"name": "x"}, headers=token).status_code == (201 if writes else 403)


def test_a_route_without_a_team_needs_a_scope_too(client: FlaskClient, keys: Keys) -> None:
    told = client.get("/api/v1/me", headers=bearer(keys.token(None, None), X_Correlation_ID="corr")).get_json()
    assert told["actor"].startswith("user:")
    assert (told["name"], told["correlation"], told["address"]) == ("Ada", "corr", "203.0.113.7")
    assert_problem(client.get("/api/v1/me", headers=bearer(keys.token(None, None, ("nodes:read",)))), 403, "forbidden")


def test_who_is_refused_is_told_to_the_record(
    client: FlaskClient, keys: Keys, owner: dict[str, str], refusals: list[tuple[Principal, str, str]]
) -> None:
    client.delete(f"{THINGS}/{clock.new_id()}", headers=owner)
    client.get(f"{THINGS}/{clock.new_id()}", headers=owner)
    client.post(THINGS, json={"name": "x"}, headers=bearer(keys.token(TEAM, Role.VIEWER)))
    assert [(tried.split(" ")[0], code) for _who, tried, code in refusals] == [("DELETE", "not-found"), ("POST", "forbidden")]
    assert all(who.team_id == TEAM for who, _tried, _code in refusals)


def test_an_application_with_a_route_that_names_no_permission_does_not_start(db: Database, keys: Keys) -> None:
    blp = Blueprint("careless", __name__)

    @blp.route("/careless", methods=["GET", "DELETE"])
    def careless() -> dict[str, bool]:
        return {}

    with pytest.raises(RuntimeError, match=r"DELETE /careless, GET /careless"):
        create_http_app(HttpService(name="x", title="X", blueprints=[blp], db=db, verifier=TokenVerifier(keys.url)))


def test_each_route_tells_what_it_needs(app: Flask) -> None:
    named = permissions_of(app)
    assert named["POST", "/api/v1/teams/<uuid:team_id>/things"] == "projects:write"
    assert named["GET", "/api/v1/me"] == "signed-in account:read"
    assert str(named["GET", "/healthz"]).startswith("public: ")
    assert public("x")(lambda: None).permission == "public: x"  # type: ignore[attr-defined]  # set by the decorator


def test_the_description_names_every_route_of_the_blueprints(client: FlaskClient) -> None:
    document = client.get("/openapi.json").get_json()
    assert document["openapi"].startswith("3.1")
    assert {"get", "post"} <= document["paths"]["/api/v1/teams/{team_id}/things"].keys()
    assert client.get("/metrics").status_code == 200


# -- lists and single things ----------------------------------------------------------------------------


def test_pages_follow_each_other_to_the_end(client: FlaskClient, owner: dict[str, str]) -> None:
    made = [create(client, owner, f"n{number}")["id"] for number in range(7)]
    seen: list[str] = []
    cursor = ""
    while True:
        page = client.get(f"{THINGS}?limit=3{cursor}", headers=owner).get_json()
        seen += [item["id"] for item in page["items"]]
        if page["next_cursor"] is None:
            break
        cursor = f"&cursor={page['next_cursor']}"
    assert seen == sorted(made)
    assert [UUID(one).version for one in seen] == [7] * 7


def test_a_thing_that_was_made_is_where_location_says(client: FlaskClient, owner: dict[str, str]) -> None:
    response = client.post(THINGS, json={"name": "x"}, headers=owner)
    assert client.get(response.headers["Location"], headers=owner).get_json() == response.get_json()


@pytest.mark.parametrize(
    ("if_match", "status"),
    [(None, 200), ("*", 200), ("now", 200), ('"old", now', 200), ('"old"', 412), ("W/now", 412), ("x", 412), ("", 412)],
)
def test_a_change_is_refused_when_somebody_else_was_quicker(
    client: FlaskClient, owner: dict[str, str], if_match: str | None, status: int
) -> None:
    path = f"{THINGS}/{create(client, owner)['id']}"
    tag = client.get(path, headers=owner).headers["ETag"]
    sent = {} if if_match is None else {"If-Match": if_match.replace("now", tag)}
    response = client.patch(path, json={"name": "changed"}, headers=owner | sent)
    if status == 412:
        assert_problem(response, 412, "precondition-failed")
    assert response.status_code == status
    assert client.get(path, headers=owner).get_json()["name"] == ("changed" if status == 200 else "one")


def test_a_merge_patch_may_be_called_so(client: FlaskClient, owner: dict[str, str]) -> None:
    path = f"{THINGS}/{create(client, owner)['id']}"
    response = client.patch(path, data=b'{"name": "new"}', content_type="application/merge-patch+json", headers=owner)
    assert response.get_json()["name"] == "new"
    assert response.headers["ETag"] == client.get(path, headers=owner).headers["ETag"]
    assert sample_service.revision("new") in response.headers["ETag"]


# -- logs -----------------------------------------------------------------------------------------------


def test_a_failing_record_of_refusals_leaves_the_answer(db: Database, keys: Keys, caplog: pytest.LogCaptureFixture) -> None:
    def away(_who: Principal, _tried: str, _code: str) -> None:
        with Database("postgresql+psycopg://nobody:none@127.0.0.1:9/none").system():
            raise AssertionError

    with caplog.at_level(logging.CRITICAL):
        client = make_app(db, TokenVerifier(keys.url), record_refusal=away).test_client()
        response = client.delete(f"{THINGS}/{clock.new_id()}", headers=bearer(keys.token(TEAM)))
    assert_problem(response, 404, "not-found")
