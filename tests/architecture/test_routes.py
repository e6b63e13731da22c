"""Every route names its permission and keeps it: walked as nobody, as another team, and with too small a role."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from flask import Flask
from flask_smorest import Blueprint

from kernel import clock
from kernel.db import Database
from kernel.errors import Unauthenticated
from kernel.http import HttpService, create_http_app
from kernel.http.auth import permissions_of
from kernel.permissions import RESOURCES, Action
from tests.architecture import applications
from tests.architecture.applications import SERVICES

PROMISED = Path(__file__).with_name("public_api.txt")
PARTS = (*SERVICES, "gateway")
OURS, THEIRS, SOMEBODY = clock.new_id(), clock.new_id(), clock.new_id()

# Questions that are put by POST, because they carry a body or have to be made anew each time: they change nothing of the team's.
ASKED_BY_POST = {
    ("POST", "/api/v1/teams/{}/registries/{}/check"),
    ("POST", "/api/v1/teams/{}/deployments/{}/plan"),
    ("POST", "/internal/teams/{}/versions/{}/pin"),
    ("POST", "/internal/teams/{}/versions/{}/digests"),
    ("POST", "/internal/teams/{}/config-bundles/check"),
    ("POST", "/internal/teams/{}/versions/{}/release"),
    # Whoever is a member may go.
    ("POST", "/api/v1/teams/{}/members/leave"),
}


class Claims:
    """A verifier that believes `<role> <team>`, so that each role of each team can be tried without a key."""

    def verify(self, token: str) -> dict[str, Any]:
        role, _, team = token.partition("/")
        if not team:
            raise Unauthenticated
        return {"sub": str(SOMEBODY), "kind": "user", "name": "x", "team": team, "role": role, "scopes": ["admin"]}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Flask]:
    folder = tmp_path_factory.mktemp("keys")
    apps = {part: applications.make(part, folder) for part in PARTS}
    for part in SERVICES:
        apps[part].extensions["fairlead"]["verifier"] = Claims()
    return apps


def team_routes(app: Flask) -> list[tuple[str, str, str]]:
    """(method, path with ids filled in for our team, permission) of every route below a team."""
    return [
        (method, re.sub(r"<(?:(\w+):)?(\w+)>", _filled, rule), permission or "")
        for (method, rule), permission in permissions_of(app).items()
        if "<uuid:team_id>" in rule
    ]


def _filled(found: re.Match[str]) -> str:
    if found[2] == "team_id":
        return str(OURS)
    return "1" if found[1] == "int" else str(clock.new_id())


def call(app: Flask, method: str, path: str, who: str | None) -> Any:
    headers = {} if who is None else {"Authorization": f"Bearer {who}"}
    return app.test_client().open(path, method=method, headers=headers, json=None if method in ("GET", "DELETE") else {})


@pytest.mark.parametrize("part", PARTS)
def test_every_route_names_its_permission(made: dict[str, Flask], part: str) -> None:
    assert [route for route, permission in permissions_of(made[part]).items() if not permission] == []


@pytest.mark.parametrize("part", SERVICES)
def test_a_route_below_a_team_needs_a_known_right_and_takes_no_team_but_a_uuid(made: dict[str, Flask], part: str) -> None:
    wrong = []
    for (method, rule), permission in permissions_of(made[part]).items():
        resource, _, action = str(permission).partition(":")
        below_a_team = "/teams/<" in rule
        if below_a_team and ("/teams/<uuid:team_id>" not in rule or resource not in RESOURCES or action not in list(Action)):
            wrong.append((method, rule, permission))
    assert wrong == []


@pytest.mark.parametrize("part", SERVICES)
def test_who_only_reads_changes_nothing(made: dict[str, Flask], part: str) -> None:
    changing = [
        (method, applications.bare(rule))
        for (method, rule), permission in permissions_of(made[part]).items()
        if method != "GET" and "<uuid:team_id>" in rule and str(permission).endswith(":read")
    ]
    assert set(changing) - ASKED_BY_POST == set()


@pytest.mark.parametrize("part", SERVICES)
def test_nobody_passes_a_teams_route_unsigned(made: dict[str, Flask], part: str) -> None:
    answers = {(method, path): call(made[part], method, path, None).status_code for method, path, _ in team_routes(made[part])}
    assert set(answers.values()) <= {401}, answers


@pytest.mark.parametrize("part", SERVICES)
def test_another_teams_route_is_a_404_for_its_owner(made: dict[str, Flask], part: str) -> None:
    for method, path, _permission in team_routes(made[part]):
        answer = call(made[part], method, path, f"owner/{THEIRS}")
        assert (answer.status_code, answer.get_json()["code"]) == (404, "not-found"), (method, path)


@pytest.mark.parametrize("part", SERVICES)
def test_a_viewer_is_refused_whatever_needs_more_than_reading(made: dict[str, Flask], part: str) -> None:
    for method, path, permission in team_routes(made[part]):
        if not permission.endswith(":read"):
            answer = call(made[part], method, path, f"viewer/{OURS}")
            assert (answer.status_code, answer.get_json()["code"]) == (403, "forbidden"), (method, path)


def test_an_application_whose_route_names_no_permission_does_not_start() -> None:
    careless = Blueprint("careless", __name__, url_prefix="/api/v1/teams/<uuid:team_id>/careless")

    @careless.route("")  # type: ignore[untyped-decorator]  # flask-smorest has no types
    def show(team_id: UUID) -> dict[str, str]:
        return {"team": str(team_id)}

    nowhere = Database("postgresql+psycopg://nobody:none@127.0.0.1:9/none")
    with pytest.raises(RuntimeError, match="careless"):
        create_http_app(HttpService(name="x", title="X", blueprints=[careless], db=nowhere, verifier=Claims()))


def test_the_walk_notices_a_route_that_is_open(made: dict[str, Flask]) -> None:
    app = Flask("open")

    def leak(team_id: UUID) -> dict[str, str]:
        return {"team": str(team_id)}

    leak.permission = "nodes:read"  # type: ignore[attr-defined]  # named, and not kept
    app.add_url_rule("/api/v1/teams/<uuid:team_id>/leak", view_func=leak)
    ((method, path, _permission),) = team_routes(app)
    assert call(app, method, path, None).status_code == 200


# -- what was promised ----------------------------------------------------------------------------------


def promised() -> list[tuple[str, str, str]]:
    lines = [line for line in PROMISED.read_text(encoding="utf-8").splitlines() if line and not line.startswith("#")]
    return [(part, method, path) for part, method, path in (line.split(" ") for line in lines)]


@pytest.mark.parametrize("part", PARTS)
def test_every_promised_path_is_there(made: dict[str, Flask], part: str) -> None:
    there = applications.routes(made[part])
    assert [f"{method} {path}" for owner, method, path in promised() if owner == part and (method, path) not in there] == []


def test_a_promise_that_is_not_kept_is_noticed(made: dict[str, Flask]) -> None:
    assert ("GET", "/api/v1/teams/{}/boats") not in applications.routes(made["catalog"])
    assert len(promised()) == len(set(promised())) > 80
    assert {part for part, _method, _path in promised()} == set(PARTS)


@pytest.mark.parametrize("part", SERVICES)
def test_the_gateway_hands_every_public_path_to_its_service(made: dict[str, Flask], part: str) -> None:
    gateway = made["gateway"]
    own = {(method, path) for owner, method, path in promised() if owner == "gateway"}
    for (method, rule), _permission in permissions_of(made[part]).items():
        if not rule.startswith("/api/v1/") or (method, applications.bare(rule)) in own:
            continue
        path = re.sub(r"<(?:(\w+):)?(\w+)>", _filled, rule)
        endpoint, _arguments = gateway.url_map.bind("localhost").match(path, method)
        permission = str(getattr(gateway.view_functions[endpoint], "permission", None))
        assert f"proxied to {part}" in permission, (method, rule)


def test_the_gateway_hands_on_nothing_internal(made: dict[str, Flask]) -> None:
    for part in SERVICES:
        for _method, rule in permissions_of(made[part]):
            path = re.sub(r"<(?:(\w+):)?(\w+)>", _filled, rule)
            if not path.startswith("/api/v1/") and path not in ("/healthz", "/readyz", "/metrics"):
                assert made["gateway"].test_client().get(path).status_code == 404, path
