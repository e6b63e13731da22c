"""Promise 5: every route of every service, tried as nobody, as yesterday's caller, as another team, as a viewer, without the scope.

The routes come from the services' own URL maps, so a new one is tried without anybody remembering it. Tokens are those of the
real identity service, exchanged as the gateway exchanges them; databases are real.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from uuid import UUID

import pytest
from joserfc import jwt
from nacl.public import PrivateKey

from kernel import clock
from kernel.signing import to_text
from services.identity.signer import ALGORITHM
from tests.fixtures.all_services import Route, Team, World, furnished_team, running_services
from tests.fixtures.servers import Servers

_SELF = ("/healthz", "/readyz", "/metrics", "/openapi.json")

# Whoever makes another route public writes it down here too.
PUBLIC = {
    "GET /api/v1/.well-known/jwks.json", "GET /api/v1/auth/options", "POST /api/v1/auth/email/verify", "POST /api/v1/auth/login",
    "POST /api/v1/auth/logout", "POST /api/v1/auth/oidc/finish", "POST /api/v1/auth/oidc/start", "POST /api/v1/auth/password/forgot",
    "POST /api/v1/auth/password/reset", "POST /api/v1/auth/refresh", "POST /api/v1/auth/register", "POST /internal/exchange",
    "POST /api/v1/agent/enroll", "POST /api/v1/hooks/start",
}  # fmt: skip

_SEAL_KEY = to_text(PrivateKey.generate().public_key)
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
    "POST /pin": {"deployment_id": "$deployment_id", "node_id": "$node_id", "node_seal_key": _SEAL_KEY, "resolve": False, "hold": True},
    "POST /release": {"deployment_id": "$deployment_id"},
}


@pytest.fixture(scope="module")
def world(servers: Servers, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with running_services(servers, tmp_path_factory.mktemp("world")) as made:
        yield made


@pytest.fixture(scope="module")
def acme(world: World) -> Team:
    return furnished_team(world)


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


def _known_body(route: Route) -> str:
    """Which of _BODIES is for this route; empty when none is."""
    fitting = [key for key in _BODIES if key.split()[0] == route.method and route.rule.endswith(key.split()[1])]
    return max(fitting, key=len, default="")


def _body_for(route: Route, ids: Mapping[str, str]) -> object:
    def filled(value: object) -> object:
        if isinstance(value, dict):
            return {key: filled(one) for key, one in value.items()}
        if isinstance(value, list):
            return [filled(one) for one in value]
        return ids[value[1:]] if isinstance(value, str) and value.startswith("$") else value

    return filled(_BODIES.get(_known_body(route), {}))


def test_another_teams_ids_below_ones_own_path_are_not_there(world: World, acme: Team, other: Team) -> None:
    with_ids = [one for one in world.of_teams if one.ids()]
    answers = {one: world.as_gateway(one, other.owner, other.id, acme.ids, _body_for(one, acme.ids)) for one in with_ids}
    # Templates are everybody's. What wants a body that this test does not know says so before it looks at any id.
    wanted = {one: status for one, status in answers.items() if not (status == 422 and one.takes_body and not _known_body(one))}
    assert _failures({one: status for one, status in wanted.items() if "/templates/" not in one.rule}, 404) == []
    mine = [one for one in world.guarded if not one.is_of_team and one.ids()]
    answers = {one: world.as_gateway(one, other.owner, other.id, acme.ids) for one in mine}
    assert _failures(answers, 404) == []
    seen = [one for one in world.of_teams if one.method == "GET" and one.rule.endswith("_id>") and one.ids() <= acme.ids.keys()]
    untouched = {one: world.as_gateway(one, acme.owner, acme.id, acme.ids) for one in seen}
    assert _failures(untouched, 200) == []


def test_another_teams_ids_in_a_body_are_not_there_either(world: World, acme: Team, other: Team) -> None:
    path = f"/api/v1/teams/{other.id}"
    internal = world.exchange(other.owner, other.id).get_json()["token"]
    project = world.made("catalog", f"{path}/projects", other.owner, {"name": "p", "type": "versioned"}, other.id)["id"]
    version = world.made("catalog", f"{path}/projects/{project}/versions", other.owner, {"name": "1", "type": "rolling"}, other.id)["id"]
    node = world.made("deployer", f"{path}/nodes", other.owner, {"name": "n"}, other.id)["id"]
    foreign, mine = acme.ids, {"version_id": version, "node_id": node, "prefix": "a"}
    tried = [
        ("catalog", f"{path}/versions/{version}/images", {"registry_id": foreign["registry_id"], "repository": "a/b", "tag": "1"}),
        ("deployer", f"{path}/deployments", {"version_id": foreign["version_id"], "node_id": node, "prefix": "a"}),
        ("deployer", f"{path}/deployments", {"version_id": version, "node_id": foreign["node_id"], "prefix": "a"}),
        ("deployer", f"{path}/deployments", {**mine, "config_bundle_ids": [foreign["bundle_id"]]}),
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


def test_no_answer_holds_a_password_or_a_token(world: World, acme: Team) -> None:
    viewer = world.member(acme.owner, acme.id, "looks@example.org", "viewer")
    shown = {}
    for who in (acme.owner, viewer):
        for one in world.guarded:
            answer = world.ask_as_gateway(one, who, acme.id, acme.ids) if one.method == "GET" else None
            if answer is not None and answer.status_code == 200:
                shown[one] = answer.get_data(as_text=True)
    assert {one.service for one in shown} == set(world.apps)
    assert len(acme.secrets) >= 4
    found = [f"{one} shows {name}" for one, text in shown.items() for name, secret in acme.secrets.items() if secret in text]
    assert found == []
    assert not any(
        inside in text for text in shown.values() for inside in ("argon2", "password_hash", "secret_hash", "token_hash", "sealed")
    )
