"""Promise 5: every route of every service, tried as nobody, as yesterday's caller, as another team, as a viewer, without the scope.

The routes come from the services' own URL maps, so a new one is tried without anybody remembering it. Tokens are those of the
real identity service, exchanged as the gateway exchanges them; databases are real.
"""

from __future__ import annotations

import base64
import os
import re
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from flask import Flask
from joserfc import jwt
from werkzeug.serving import make_server
from werkzeug.test import TestResponse

from kernel import clock
from kernel.http.auth import permissions_of
from services.audit.app import create_app as audit_app
from services.audit.settings import Settings as AuditSettings
from services.catalog.app import create_app as catalog_app
from services.catalog.settings import Settings as CatalogSettings
from services.deployer.app import create_app as deployer_app
from services.deployer.settings import Settings as DeployerSettings
from services.identity.app import create_app as identity_app
from services.identity.settings import Settings as IdentitySettings
from services.identity.signer import ALGORITHM, Signer
from services.identity.usecases.parts import make_parts
from tests.fixtures import servers as fixture
from tests.fixtures.servers import Servers

PASSWORD = "correct horse battery"  # of throw-away people
_PARAMETER = re.compile(r"<(?:\w+:)?(\w+)>")
_SELF = ("/healthz", "/readyz", "/metrics", "/openapi.json")

# Whoever makes another route public writes it down here too.
PUBLIC = {
    "GET /api/v1/.well-known/jwks.json", "GET /api/v1/auth/options", "POST /api/v1/auth/email/verify", "POST /api/v1/auth/login",
    "POST /api/v1/auth/logout", "POST /api/v1/auth/oidc/finish", "POST /api/v1/auth/oidc/start", "POST /api/v1/auth/password/forgot",
    "POST /api/v1/auth/password/reset", "POST /api/v1/auth/refresh", "POST /api/v1/auth/register", "POST /internal/exchange",
    "POST /api/v1/agent/enroll", "POST /api/v1/hooks/start",
}  # fmt: skip

# What a route needs beside ids before it looks at them.
_BODIES: Mapping[str, object] = {
    "PATCH /members/<uuid:user_id>": {"role": "viewer"},
    "POST /versions": {"name": "9.9.9", "type": "rolling"},
    "POST /versions/<uuid:version_id>/increase": {"name": "9.9.10"},
    "POST /versions/<uuid:version_id>/images": {"registry_id": "$registry_id", "repository": "a/b", "tag": "1"},
    "POST /versions/<uuid:version_id>/images/batch": {"images": [{"registry_id": "$registry_id", "repository": "a/b", "tag": "1"}]},
    "PUT /versions/<uuid:version_id>/images/order": {"image_ids": ["$image_id"]},
    "PUT /instances/<uuid:instance_id>": {"config": {}},
    "PATCH /instances/<uuid:instance_id>": {"config": {}},
    "POST /copy": {"node_id": "$node_id", "prefix": "copied"},
    "PUT /secrets": {"A": {"value": "b"}},
    "POST /pin": {
        "deployment_id": "$deployment_id",
        "node_id": "$node_id",
        "node_seal_key": "A" * 43 + "=",
        "resolve": False,
        "hold": True,
    },
    "POST /release": {"deployment_id": "$deployment_id"},
}
_QUERIES = {"/repositories": "?query=a", "/tags": "?repository=a/b", "/manifest": "?repository=a/b&reference=1"}


@dataclass(frozen=True)
class Route:
    """One method of one rule of one service."""

    service: str
    method: str
    rule: str
    permission: str

    def __str__(self) -> str:
        return f"{self.service} {self.method} {self.rule}"

    @property
    def is_public(self) -> bool:
        return self.permission.startswith("public")

    @property
    def is_of_team(self) -> bool:
        return "<uuid:team_id>" in self.rule

    @property
    def resource(self) -> str:
        return self.permission.removeprefix("signed-in ").partition(":")[0]

    @property
    def action(self) -> str:
        return self.permission.rpartition(":")[2]

    def path(self, team: str, ids: Mapping[str, str]) -> str:
        return _PARAMETER.sub(lambda found: team if found[1] == "team_id" else ids.get(found[1], "1"), self.rule)

    def ids(self) -> set[str]:
        return set(_PARAMETER.findall(self.rule)) - {"team_id"}


@dataclass
class World:
    """All four services, and two teams that must not meet. Any: JSON."""

    apps: dict[str, Flask]
    signer: Signer
    routes: list[Route] = field(default_factory=list)

    def call(self, service: str, method: str, path: str, token: str | None = None, body: object = None) -> TestResponse:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        sent = None if method in ("GET", "DELETE") else ({} if body is None else body)
        return self.apps[service].test_client().open(path, method=method, json=sent, headers=headers)

    def exchange(self, token: str, team: str | None) -> TestResponse:
        return self.call("identity", "POST", "/internal/exchange", body={"token": token, "team_id": team})

    def as_gateway(self, route: Route, token: str, team: str, ids: Mapping[str, str], body: object = None) -> int:
        """The status that whoever holds `token` sees."""
        exchanged = self.exchange(token, team if route.is_of_team else None)
        if exchanged.status_code != 200:
            return exchanged.status_code
        path = route.path(team, ids) + next((query for end, query in _QUERIES.items() if route.rule.endswith(end)), "")
        return self.call(route.service, route.method, path, exchanged.get_json()["token"], body).status_code

    def made(self, service: str, path: str, token: str, body: object, team: str | None = None) -> dict[str, Any]:
        internal = self.exchange(token, team).get_json()["token"]
        answer = self.call(service, "POST", path, internal, body)
        assert answer.status_code in (200, 201), (path, answer.get_data(as_text=True))
        made: dict[str, Any] = answer.get_json()
        return made

    def person(self, email: str, **more: str) -> str:
        """An access token of somebody new."""
        sent = {"email": email, "password": PASSWORD}
        assert self.call("identity", "POST", "/api/v1/auth/register", body={**sent, "name": "P", **more}).status_code == 201
        grant = self.call("identity", "POST", "/api/v1/auth/login", body=sent).get_json()
        return str(grant["access_token"])

    def member(self, owner: str, team: str, email: str, role: str) -> str:
        path = f"/api/v1/teams/{team}/invitations"
        invitation = self.made("identity", path, owner, {"email": email, "role": role}, team)
        return self.person(email, invitation_token=invitation["token"])

    def token(self, owner: str, *scopes: str) -> str:
        return str(self.made("identity", "/api/v1/me/tokens", owner, {"name": "t", "scopes": list(scopes)})["token"])

    @property
    def guarded(self) -> list[Route]:
        return [route for route in self.routes if not route.is_public]

    @property
    def of_teams(self) -> list[Route]:
        return [route for route in self.routes if route.is_of_team]


@dataclass(frozen=True)
class Team:
    """A team, its owner, and one of everything."""

    id: str
    owner: str
    ids: dict[str, str]


def _secret(directory: Path, name: str, text: str) -> Path:
    path = directory / name
    path.write_text(text + base64.b64encode(os.urandom(32)).decode() + "\n")
    return path


def _build(servers: Servers, urls: Mapping[str, str], directory: Path, catalog_port: int) -> World:
    ring, seed = _secret(directory, "ring", "one:"), _secret(directory, "seed", "")
    settings = IdentitySettings(
        database_url=urls["identity"], encryption_keys_file=ring, environment="development", argon2_memory_kib=1024, argon2_passes=1
    )
    parts = make_parts(settings, "test")
    apps = {"identity": identity_app(settings, parts=parts)}
    nowhere = "http://127.0.0.1:9"
    apps["catalog"] = catalog_app(
        CatalogSettings(database_url=urls["catalog"], identity_url=nowhere, encryption_keys_file=ring), verifier=parts.signer
    )
    deployer = DeployerSettings(
        database_url=urls["deployer"], identity_url=nowhere, catalog_url=f"http://127.0.0.1:{catalog_port}", public_url=nowhere,
        signing_key_file=seed, broker_management_url=servers.management_url, agent_broker_url="amqp://127.0.0.1:9/agents",
    )  # fmt: skip
    apps["deployer"] = deployer_app(deployer, verifier=parts.signer)
    audit = AuditSettings(database_url=urls["audit"], identity_url=nowhere, signing_key_file=seed)
    apps["audit"] = audit_app(audit, verifier=parts.signer)
    routes = [
        Route(service, method, rule, permission or "")
        for service, app in apps.items()
        for (method, rule), permission in sorted(permissions_of(app).items())
    ]
    return World(apps, parts.signer, routes)


@pytest.fixture(scope="module")
def world(servers: Servers, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    databases = [fixture.make_database(servers, service) for service in fixture.SERVICES]
    urls = {database.service: database.url for database in databases}
    served: dict[str, Any] = {}
    server = make_server("127.0.0.1", 0, lambda environ, start: served["catalog"](environ, start), threaded=True)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    built = _build(servers, urls, tmp_path_factory.mktemp("world"), server.server_port)
    served["catalog"] = built.apps["catalog"]
    yield built
    server.shutdown()
    thread.join(10)
    server.server_close()
    for app in built.apps.values():
        app.extensions["fairlead"]["db"].close()
    for database in databases:
        fixture.drop_database(servers, database)


@pytest.fixture(scope="module")
def acme(world: World) -> Team:
    """A team with one of everything."""
    owner = world.person("ann@example.org")
    team = str(world.made("identity", "/api/v1/teams", owner, {"name": "Acme"})["id"])
    path = f"/api/v1/teams/{team}"

    def made(service: str, below: str, body: object) -> dict[str, Any]:
        return world.made(service, path + below, owner, body, team)

    ids = {"user_id": str(world.exchange(owner, None).get_json()["token"]), "number": "1"}
    me = world.call("identity", "GET", "/api/v1/me", ids["user_id"]).get_json()
    ids["user_id"] = me["id"]
    ids["session_id"] = world.call("identity", "GET", "/api/v1/me/sessions", world.exchange(owner, None).get_json()["token"]).get_json()[
        "items"
    ][0]["id"]
    ids["token_id"] = made("identity", "/tokens", {"name": "ci", "scopes": ["read"]})["id"]
    ids["invitation_id"] = made("identity", "/invitations", {"email": "later@example.org", "role": "viewer"})["id"]
    ids["registry_id"] = made("catalog", "/registries", {"name": "r", "type": "unchecked", "url": "https://registry.example"})["id"]
    ids["bundle_id"] = made("catalog", "/config-bundles", {"name": "b", "config": {"environment": {"A": "b"}}})["id"]
    ids["project_id"] = made("catalog", "/projects", {"name": "p", "type": "versioned"})["id"]
    version = made("catalog", f"/projects/{ids['project_id']}/versions", {"name": "1.0.0", "type": "rolling"})
    ids["version_id"] = version["id"]
    image = {"registry_id": ids["registry_id"], "repository": "a/b", "tag": "1", "config": {"name": "web"}}
    ids["image_id"] = made("catalog", f"/versions/{version['id']}/images", image)["id"]
    ids["node_id"] = made("deployer", "/nodes", {"name": "n"})["id"]
    deployment = {"version_id": version["id"], "node_id": ids["node_id"], "prefix": "shop"}
    ids["deployment_id"] = made("deployer", "/deployments", deployment)["id"]
    internal = world.exchange(owner, team).get_json()["token"]
    shown = world.call("deployer", "GET", f"{path}/deployments/{ids['deployment_id']}", internal).get_json()
    ids["instance_id"] = shown["instances"][0]["id"] if shown["instances"] else str(clock.new_id())
    return Team(team, owner, ids)


@pytest.fixture(scope="module")
def other(world: World) -> Team:
    """Another team's owner, who should see nothing of Acme."""
    owner = world.person("eve@example.org")
    return Team(str(world.made("identity", "/api/v1/teams", owner, {"name": "Other"})["id"]), owner, {})


def _failures(answers: Mapping[Route, int], expected: int) -> list[str]:
    return [f"{route}: {status}" for route, status in answers.items() if status != expected]


def test_public_routes_are_those_that_were_meant(world: World) -> None:
    found = {f"{route.method} {route.rule}" for route in world.routes if route.is_public and route.rule not in _SELF}
    assert found <= PUBLIC
    assert len(world.guarded) > 90
    assert {route.service for route in world.guarded} == set(world.apps)


def test_without_a_token_nothing_is_answered(world: World, acme: Team) -> None:
    answers = {one: world.call(one.service, one.method, one.path(acme.id, acme.ids)).status_code for one in world.guarded}
    assert _failures(answers, 401) == []


def test_a_token_that_expired_was_forged_or_is_for_something_else_is_worth_nothing(world: World, acme: Team) -> None:
    good = world.exchange(acme.owner, acme.id).get_json()["token"]
    claims = world.signer.verify(good)
    key = world.signer._present()

    def signed(**changes: object) -> str:
        return jwt.encode({"alg": ALGORITHM, "kid": key.id}, claims | changes, key.private, algorithms=[ALGORITHM])

    past = int(clock.now().timestamp()) - 60
    head, body, _ = good.split(".")
    wrong = [signed(exp=past, iat=past - 60), signed(aud="fairlead"), signed(iss="somebody"), acme.owner, f"{head}.{body}.{'A' * 86}", "x"]
    for token in wrong:
        answers = {one: world.call(one.service, one.method, one.path(acme.id, acme.ids), token).status_code for one in world.guarded}
        assert _failures(answers, 401) == []


def test_another_teams_path_is_not_there(world: World, acme: Team, other: Team) -> None:
    answers = {one: world.as_gateway(one, other.owner, acme.id, acme.ids) for one in world.of_teams}
    assert _failures(answers, 404) == []
    # Even with a token that was made for the other team, as if the gateway had mixed them up.
    internal = world.exchange(other.owner, other.id).get_json()["token"]
    answers = {one: world.call(one.service, one.method, one.path(acme.id, acme.ids), internal).status_code for one in world.of_teams}
    assert _failures(answers, 404) == []


def _body_for(route: Route, ids: Mapping[str, str]) -> object:
    name = max(
        (key for key in _BODIES if f"{route.method} {route.rule}".startswith(key.split()[0]) and route.rule.endswith(key.split()[1])),
        key=len,
        default="",
    )

    def filled(value: object) -> object:
        if isinstance(value, dict):
            return {key: filled(one) for key, one in value.items()}
        if isinstance(value, list):
            return [filled(one) for one in value]
        return ids[value[1:]] if isinstance(value, str) and value.startswith("$") else value

    return filled(_BODIES.get(name, {}))


def test_another_teams_ids_below_ones_own_path_are_not_there(world: World, acme: Team, other: Team) -> None:
    with_ids = [one for one in world.of_teams if one.ids()]
    answers = {one: world.as_gateway(one, other.owner, other.id, acme.ids, _body_for(one, acme.ids)) for one in with_ids}
    assert _failures(answers, 404) == []
    mine = [one for one in world.guarded if not one.is_of_team and one.ids()]
    answers = {one: world.as_gateway(one, other.owner, other.id, acme.ids) for one in mine}
    assert _failures(answers, 404) == []
    seen = [one for one in world.of_teams if one.method == "GET" and one.rule.endswith("_id>") and one.service != "audit"]
    untouched = {one: world.as_gateway(one, acme.owner, acme.id, acme.ids) for one in seen}
    assert _failures(untouched, 200) == []


def test_another_teams_ids_in_a_body_are_not_there_either(world: World, acme: Team, other: Team) -> None:
    path = f"/api/v1/teams/{other.id}"
    internal = world.exchange(other.owner, other.id).get_json()["token"]
    project = world.made("catalog", f"{path}/projects", other.owner, {"name": "p", "type": "versioned"}, other.id)["id"]
    version = world.made("catalog", f"{path}/projects/{project}/versions", other.owner, {"name": "1", "type": "rolling"}, other.id)["id"]
    node = world.made("deployer", f"{path}/nodes", other.owner, {"name": "n"}, other.id)["id"]
    foreign = acme.ids
    tried = [
        ("catalog", f"{path}/versions/{version}/images", {"registry_id": foreign["registry_id"], "repository": "a/b", "tag": "1"}),
        ("deployer", f"{path}/deployments", {"version_id": foreign["version_id"], "node_id": node, "prefix": "a"}),
        ("deployer", f"{path}/deployments", {"version_id": version, "node_id": foreign["node_id"], "prefix": "a"}),
    ]
    for service, where, body in tried:
        assert world.call(service, "POST", where, internal, body).status_code in (404, 422), (where, body)


def test_a_viewer_changes_nothing_and_reads_what_viewers_read(world: World, acme: Team) -> None:
    viewer = world.member(acme.owner, acme.id, "viewer@example.org", "viewer")
    stronger = [one for one in world.of_teams if one.action != "read"]
    answers = {one: world.as_gateway(one, viewer, acme.id, acme.ids) for one in stronger}
    assert _failures(answers, 403) == []
    readable = [one for one in world.of_teams if one.action == "read" and one.method == "GET"]
    refused = {one: status for one in readable if (status := world.as_gateway(one, viewer, acme.id, acme.ids)) in (401, 403)}
    assert refused == {}


def test_a_member_is_no_admin_and_an_admin_no_owner(world: World, acme: Team) -> None:
    for role, beyond in (("member", {"admin", "owner"}), ("admin", {"owner"})):
        who = world.member(acme.owner, acme.id, f"{role}@example.org", role)
        answers = {one: world.as_gateway(one, who, acme.id, acme.ids) for one in world.of_teams if one.action in beyond}
        assert answers
        assert _failures(answers, 403) == []


def test_a_token_without_the_scope_does_nothing(world: World, acme: Team) -> None:
    token = world.token(acme.owner, "events:read")
    answers = {one: world.as_gateway(one, token, acme.id, acme.ids) for one in world.guarded if one.resource != "events"}
    assert _failures(answers, 403) == []


def test_a_token_that_may_read_changes_nothing(world: World, acme: Team) -> None:
    token = world.token(acme.owner, "read")
    changing = [one for one in world.guarded if one.action != "read" or one.rule.endswith("/leave")]
    answers = {one: world.as_gateway(one, token, acme.id, acme.ids) for one in changing}
    assert _failures(answers, 403) == []


def test_a_deleted_members_old_tokens_are_worth_nothing_in_the_team(world: World, acme: Team) -> None:
    gone = world.member(acme.owner, acme.id, "gone@example.org", "admin")
    personal = world.token(gone, "admin")
    me = world.call("identity", "GET", "/api/v1/me", world.exchange(gone, None).get_json()["token"]).get_json()["id"]
    internal = world.exchange(acme.owner, acme.id).get_json()["token"]
    removed = world.call("identity", "DELETE", f"/api/v1/teams/{acme.id}/members/{UUID(me)}", internal)
    assert removed.status_code == 204
    for token in (gone, personal):
        answers = {one: world.as_gateway(one, token, acme.id, acme.ids) for one in world.of_teams}
        assert _failures(answers, 404) == []


def test_an_ended_sessions_token_is_worth_nothing_anywhere(world: World, acme: Team) -> None:
    ended = world.member(acme.owner, acme.id, "ended@example.org", "admin")
    logged_out = world.call("identity", "POST", "/api/v1/auth/logout", ended)
    assert logged_out.status_code == 204
    answers = {one: world.as_gateway(one, ended, acme.id, acme.ids) for one in world.guarded}
    assert _failures(answers, 401) == []
