"""What every answer promises by its headers: a Location is there, and a wrong If-Match changes nothing. Routes come from the URL maps."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
from flask import Response, request
from werkzeug.test import TestResponse

from tests.fixtures.all_services import PASSWORD, Route, Team, World, furnished_team, running_services
from tests.fixtures.servers import Servers

# (service, path as OpenAPI writes it) of whatever answers 201 without being a thing with an address of its own.
NOWHERE = {
    ("identity", "/api/v1/me/second-factor"),
    ("identity", "/api/v1/me/second-factor/recovery-codes"),
    ("audit", "/api/v1/teams/{team_id}/audit/checkpoints"),
    ("deployer", "/api/v1/teams/{team_id}/nodes/{node_id}/enrollment"),
}
# Made and ended, never changed: they have no revision, and no ETag says that they had.
UNREVISED = {
    "DELETE /api/v1/me/tokens/<uuid:token_id>",
    "DELETE /api/v1/me/sessions/<uuid:session_id>",
    "DELETE /api/v1/teams/<uuid:team_id>/invitations/<uuid:invitation_id>",
    "DELETE /api/v1/teams/<uuid:team_id>/tokens/<uuid:token_id>",
}
# What a route needs before it looks at the revision.
BODIES: dict[str, object] = {
    "PUT /me/password": {"current_password": PASSWORD, "new_password": "another good password"},
    "PUT /me/email": {"password": PASSWORD, "email": "else@example.org"},
    "PATCH /members/<uuid:user_id>": {"role": "viewer"},
    "PUT /images/order": {"image_ids": ["$image_id"]},
    "PUT /instances/<uuid:instance_id>": {"config": {}},
    "PATCH /instances/<uuid:instance_id>": {"config": {}},
    "PUT /secrets": {"A": {"value": "b"}},
}
NODE = "the second node"
_QUERIES = {"DELETE /api/v1/teams/<uuid:team_id>": "?confirm=Acme"}


class Made:
    """Notes every 201: which route of which service, and its Location."""

    def __init__(self, world: World) -> None:
        self.seen: dict[tuple[str, str], str | None] = {}
        for name, app in world.apps.items():
            app.after_request(self._noting(name))

    def _noting(self, service: str) -> Any:  # Flask's own type of a function
        def note(response: Response) -> Response:
            if response.status_code == 201 and request.url_rule is not None:
                path = re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", request.url_rule.rule)
                self.seen[service, path] = response.headers.get("Location")
            return response

        return note


@pytest.fixture(scope="module")
def running(servers: Servers, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[World, Made]]:
    with running_services(servers, tmp_path_factory.mktemp("world")) as world:
        yield world, Made(world)


@pytest.fixture(scope="module")
def world(running: tuple[World, Made]) -> World:
    return running[0]


@pytest.fixture(scope="module")
def made(running: tuple[World, Made]) -> Made:
    return running[1]


@pytest.fixture(scope="module")
def acme(world: World, made: Made) -> Team:
    return furnished_team(world)


def ask(world: World, acme: Team, service: str, method: str, path: str, body: object = None, **headers: str) -> TestResponse:
    """As the gateway asks for the team's owner."""
    exchanged = world.exchange(acme.owner, acme.id if f"/teams/{acme.id}" in path else None).get_json()["token"]
    sent = {"Authorization": f"Bearer {exchanged}"} | {name.replace("_", "-"): value for name, value in headers.items()}
    return world.apps[service].test_client().open(path, method=method, json=body, headers=sent)


def make_the_rest(world: World, acme: Team) -> None:
    """Whatever else answers 201."""
    path, ids = f"/api/v1/teams/{acme.id}", acme.ids
    image = {"registry_id": ids["registry_id"], "repository": "a/c", "tag": "1", "config": {"name": "more"}}
    project = f"{path}/projects/{ids['project_id']}"
    version = ask(world, acme, "catalog", "POST", f"{project}/versions", {"name": "2.0.0", "type": "incremental"}).get_json()["id"]
    compose = {"compose": "services: {web: {image: 'registry.example/a/b:1'}}", "registries": {"registry.example": ids["registry_id"]}}
    template = ask(world, acme, "catalog", "GET", f"{path}/templates").get_json()["items"][0]["id"]
    others: list[tuple[str, str, dict[str, Any]]] = [
        ("identity", "/api/v1/me/tokens", {"name": "mine", "scopes": ["read"]}),
        ("catalog", f"{path}/versions/{version}/images", image),
        ("catalog", f"{path}/versions/{version}/images/batch", {"images": [image | {"config": {"name": "batch"}}]}),
        ("catalog", f"{path}/versions/{version}/import-compose", compose),
        ("catalog", f"{path}/versions/{version}/increase", {"name": "2.1.0"}),
        ("catalog", f"{path}/templates/{template}/projects", {"name": "from a template"}),
        ("deployer", f"{path}/deployments/{ids['deployment_id']}/copy", {"node_id": NODE, "prefix": "copied"}),
        ("deployer", f"{path}/nodes/{ids['node_id']}/enrollment", {}),
        ("audit", f"{path}/audit/checkpoints", {}),
        ("identity", "/api/v1/me/second-factor", {"password": PASSWORD}),
    ]
    node = ask(world, acme, "deployer", "POST", f"{path}/nodes", {"name": "second"}).get_json()["id"]
    for service, where, body in others:
        filled = {name: node if value is NODE else value for name, value in body.items()}
        answer = ask(world, acme, service, "POST", where, filled)
        assert answer.status_code in (200, 201, 204), (where, answer.text)


def promised(world: World) -> set[tuple[str, str]]:
    """Everything that may answer 201, by the services' own descriptions."""
    found = set()
    for service, app in world.apps.items():
        document = app.test_client().get("/openapi.json").get_json()
        found |= {(service, path) for path, methods in document["paths"].items() if "201" in methods.get("post", {}).get("responses", {})}
    return found


def test_every_location_leads_to_what_was_made(world: World, made: Made, acme: Team) -> None:
    make_the_rest(world, acme)
    # An empty log has no checkpoint, and recovery codes belong to a second factor that a telephone has confirmed.
    untried = promised(world) - made.seen.keys() - NOWHERE
    assert untried == set()
    assert {key for key, where in made.seen.items() if where is None} <= NOWHERE
    answers = {}
    for (service, path), where in made.seen.items():
        if where is not None:
            answers[path] = (where, ask(world, acme, service, "GET", where).status_code)
    assert len(answers) > 12
    assert {path: found for path, found in answers.items() if found[1] != 200} == {}


def body_of(route: Route, ids: dict[str, str]) -> object:
    fitting = [key for key in BODIES if key.split()[0] == route.method and route.rule.endswith(key.split()[1])]
    body = BODIES[max(fitting, key=len)] if fitting else {}
    if body == {"image_ids": ["$image_id"]}:
        return {"image_ids": [ids["image_id"]]}
    return body


def test_a_wrong_if_match_changes_nothing(world: World, acme: Team) -> None:
    changing = [one for one in world.guarded if one.method in ("PUT", "PATCH", "DELETE") and not one.rule.startswith("/internal")]
    assert {f"{one.method} {one.rule}" for one in changing} >= UNREVISED
    answers = {}
    for one in changing:
        name = f"{one.method} {one.rule}"
        if name in UNREVISED:
            continue
        path = one.path(acme.id, acme.ids) + _QUERIES.get(name, "")
        body = None if one.method == "DELETE" else body_of(one, acme.ids)
        answers[name] = ask(world, acme, one.service, one.method, path, body, If_Match='"no such revision"').status_code
    assert len(answers) > 20
    assert {name: status for name, status in answers.items() if status != 412} == {}


def test_what_has_no_revision_shows_no_etag(world: World, acme: Team) -> None:
    """And whatever has one can be compared with: its GET carries the ETag that its PATCH, PUT and DELETE take."""
    rules = {(one.service, one.rule) for one in world.guarded if one.method in ("PUT", "PATCH", "DELETE")}
    shown = [one for one in world.guarded if one.method == "GET" and (one.service, one.rule) in rules]
    assert len(shown) > 8
    for one in shown:
        answer = ask(world, acme, one.service, "GET", one.path(acme.id, acme.ids))
        if answer.status_code == 200:
            assert ("ETag" in answer.headers) == (f"DELETE {one.rule}" not in UNREVISED), str(one)
