"""API tokens: scopes, roles, expiry, last use, revocation."""

from __future__ import annotations

from datetime import timedelta

import pytest

from kernel import clock
from tests.integration.services.identity.conftest import Caller, Identity, body, problem


def _token(who: Caller, path: str, **wanted: object) -> str:
    return str(body(who.post(path, {"name": "ci", "scopes": ["read"], **wanted}), 201)["token"])


def test_a_personal_token_is_shown_once_and_kept_as_a_hash(identity: Identity) -> None:
    ann = identity.person()
    made = body(ann.post("/api/v1/me/tokens", {"name": "laptop", "scopes": ["read", "read"]}), 201)
    assert made["token"].startswith("fl_pat_")
    assert made["scopes"] == ["read"]
    listed = ann.get("/api/v1/me/tokens")
    assert body(listed)["items"][0]["id"] == made["id"]
    secret = made["token"].split("_", 3)[3]
    assert secret not in listed.get_data(as_text=True)
    kept = identity.rows("SELECT secret_hash::text, name FROM personal_tokens")
    assert secret not in str(kept)
    assert all(secret not in str(event.data) for event in identity.events())


def test_a_read_token_reads_and_changes_nothing(identity: Identity) -> None:
    ann = identity.person()
    team = identity.team(ann)
    reader = ann.using(_token(ann, "/api/v1/me/tokens"))
    assert body(reader.get("/api/v1/me"))
    assert body(reader.get(f"/api/v1/teams/{team}/members"))
    for method, path, sent in [
        ("PATCH", "/api/v1/me", {"name": "X"}),
        ("PUT", "/api/v1/me/password", {"current_password": "x", "new_password": "another good password"}),
        ("POST", "/api/v1/me/tokens", {"name": "x", "scopes": ["read"]}),
        ("POST", "/api/v1/teams", {"name": "X"}),
        ("PATCH", f"/api/v1/teams/{team}", {"name": "X"}),
        ("DELETE", f"/api/v1/teams/{team}?confirm=acme", None),
        ("POST", f"/api/v1/teams/{team}/members/leave", {}),
        ("POST", f"/api/v1/teams/{team}/invitations", {"email": "e@example.org"}),
        ("POST", f"/api/v1/teams/{team}/tokens", {"name": "x", "scopes": ["read"]}),
    ]:
        problem(reader.call(method, path, sent), 403, "forbidden")


def test_a_scope_is_narrowed_to_a_resource_type(identity: Identity) -> None:
    ann = identity.person()
    team = identity.team(ann)
    one = ann.using(_token(ann, "/api/v1/me/tokens", scopes=["members:read"]))
    assert body(one.get(f"/api/v1/teams/{team}/members"))
    problem(one.get(f"/api/v1/teams/{team}"), 403, "forbidden")


def test_a_token_makes_no_token_that_may_more(identity: Identity) -> None:
    ann = identity.person()
    team = identity.team(ann)
    maker = ann.using(_token(ann, "/api/v1/me/tokens", scopes=["tokens:admin", "read"]))
    for path in ("/api/v1/me/tokens", f"/api/v1/teams/{team}/tokens"):
        refused = maker.post(path, {"name": "x", "scopes": ["read", "deploy"]})
        assert problem(refused, 422, "invalid")["errors"] == [{"field": "scopes.1", "message": "is more than your own token may"}]
        assert maker.post(path, {"name": "x", "scopes": ["projects:read"]}).status_code == 201


@pytest.mark.parametrize("scopes", [[], ["root"], ["read:deployments"], ["deployments:*"], ["deployments:"], [":read"], ["x" * 1000]])
def test_scopes_that_mean_nothing_are_refused(identity: Identity, scopes: list[str]) -> None:
    ann = identity.person()
    answer = ann.post("/api/v1/me/tokens", {"name": "x", "scopes": scopes})
    problem(answer, 422, "invalid")


def test_an_expired_token_is_worth_nothing(identity: Identity) -> None:
    ann = identity.person()
    past = clock.rfc3339(clock.now() - timedelta(seconds=1))
    problem(ann.post("/api/v1/me/tokens", {"name": "x", "scopes": ["read"], "expires_at": past}), 422, "invalid")
    soon = clock.rfc3339(clock.now() + timedelta(hours=1))
    token = _token(ann, "/api/v1/me/tokens", expires_at=soon)
    assert body(ann.using(token).get("/api/v1/me"))
    identity.rows("UPDATE personal_tokens SET expires_at = now() - interval '1 second'")
    problem(ann.using(token).get("/api/v1/me"), 401, "unauthenticated")


def test_a_revoked_token_is_worth_nothing_at_once(identity: Identity) -> None:
    ann = identity.person()
    team = identity.team(ann)
    for path in ("/api/v1/me/tokens", f"/api/v1/teams/{team}/tokens"):
        made = body(ann.post(path, {"name": "x", "scopes": ["read"]}), 201)
        assert body(ann.using(made["token"]).get("/api/v1/teams"))
        assert ann.delete(f"{path}/{made['id']}").status_code == 204
        problem(ann.using(made["token"]).get("/api/v1/teams"), 401, "unauthenticated")
        problem(ann.delete(f"{path}/{made['id']}"), 404, "not-found")


def test_last_use_is_written_once_a_minute(identity: Identity) -> None:
    ann = identity.person()
    token = _token(ann, "/api/v1/me/tokens")
    body(ann.using(token).at("198.51.100.9").get("/api/v1/me"))
    body(ann.using(token).at("198.51.100.10").get("/api/v1/me"))
    shown = body(ann.get("/api/v1/me/tokens"))["items"][0]
    assert shown["last_address"] == "198.51.100.9"
    assert shown["last_used_at"] is not None


def test_a_teams_token_belongs_to_nobody_and_to_its_team_only(identity: Identity) -> None:
    ann = identity.person()
    mine, other = identity.team(ann), identity.team(ann, "Other")
    ci = ann.using(_token(ann, f"/api/v1/teams/{mine}/tokens", scopes=["admin"], role="admin"))
    assert [one["id"] for one in body(ci.get("/api/v1/teams"))["items"]] == [mine]
    assert body(ci.get(f"/api/v1/teams/{mine}"))["role"] == "admin"
    problem(ci.get(f"/api/v1/teams/{other}"), 404, "not-found")
    problem(ci.get("/api/v1/me"), 403, "person-required")
    problem(ci.post("/api/v1/teams", {"name": "X"}), 403, "person-required")
    problem(ci.delete(f"/api/v1/teams/{mine}?confirm=acme"), 403, "forbidden")


def test_a_teams_token_is_never_owner_nor_above_its_maker(identity: Identity) -> None:
    ann = identity.person()
    team = identity.team(ann)
    problem(ann.post(f"/api/v1/teams/{team}/tokens", {"name": "x", "scopes": ["read"], "role": "owner"}), 422, "invalid")


def test_a_token_that_is_nearly_right_is_wrong(identity: Identity) -> None:
    ann = identity.person()
    token = _token(ann, "/api/v1/me/tokens")
    for wrong in (
        token[:-1] + ("A" if token[-1] != "A" else "B"),
        token.replace("pat", "team"),
        token.replace("pat", "ref"),
        token + "A",
        "",
        "x.y.z",
    ):
        assert ann.using(wrong).get("/api/v1/me").status_code == 401
