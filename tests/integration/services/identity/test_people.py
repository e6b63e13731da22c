"""Registering, signing in, staying signed in."""

from __future__ import annotations

import pytest

from tests.integration.services.identity.conftest import PASSWORD, Identity, Make, body, problem


def test_a_person_registers_signs_in_and_sees_themselves(identity: Identity) -> None:
    made = identity.nobody.post("/api/v1/auth/register", {"email": " Ann@Example.org", "password": PASSWORD, "name": "Ann"})
    assert body(made, 201)["email"] == "ann@example.org"
    assert "password" not in made.get_data(as_text=True)
    me = identity.log_in("ANN@example.org").get("/api/v1/me")
    assert body(me)["name"] == "Ann"
    assert body(me)["teams"] == []
    assert "ETag" in me.headers


def test_the_grant_has_the_promised_fields(identity: Identity) -> None:
    identity.person()
    grant = body(identity.nobody.post("/api/v1/auth/login", {"email": "ann@example.org", "password": PASSWORD}))
    assert set(grant) == {"access_token", "token_type", "expires_in", "refresh_token"}
    assert (grant["token_type"], grant["expires_in"]) == ("Bearer", 600)


def test_an_address_registers_once(identity: Identity) -> None:
    identity.person()
    again = identity.nobody.post("/api/v1/auth/register", {"email": "Ann@example.org", "password": PASSWORD, "name": "B"})
    problem(again, 409, "email-taken")


def test_every_wrong_field_is_named_at_once(identity: Identity) -> None:
    answer = identity.nobody.post("/api/v1/auth/register", {"email": "nobody", "password": "short", "name": " ", "extra": 1})
    wrong = problem(answer, 422, "invalid")["errors"]
    assert {error["field"] for error in wrong} == {"email", "password", "name", "extra"}


def test_refresh_tokens_rotate_and_reuse_ends_the_session(identity: Identity) -> None:
    identity.person()
    first = body(identity.nobody.post("/api/v1/auth/login", {"email": "ann@example.org", "password": PASSWORD}))
    second = body(identity.nobody.post("/api/v1/auth/refresh", {"refresh_token": first["refresh_token"]}))
    assert body(identity.nobody.using(second["access_token"]).get("/api/v1/me"))
    problem(identity.nobody.post("/api/v1/auth/refresh", {"refresh_token": first["refresh_token"]}), 401, "refresh-token-wrong")
    problem(identity.nobody.post("/api/v1/auth/refresh", {"refresh_token": second["refresh_token"]}), 401, "refresh-token-wrong")
    problem(identity.nobody.using(second["access_token"]).get("/api/v1/me"), 401, "session-ended")
    assert len(identity.events("identity.session.reuse_detected")) == 1


def test_logging_out_ends_the_session_at_once(identity: Identity) -> None:
    ann, elsewhere = identity.person(), identity.log_in("ann@example.org")
    assert ann.post("/api/v1/auth/logout").status_code == 204
    problem(ann.get("/api/v1/me"), 401, "session-ended")
    assert body(elsewhere.get("/api/v1/me"))


def test_registration_may_be_closed_but_never_to_the_first_person(make_identity: Make) -> None:
    identity = make_identity(registration="closed")
    identity.person()
    more = {"email": "bob@example.org", "password": PASSWORD, "name": "Bob"}
    problem(identity.nobody.post("/api/v1/auth/register", more), 403, "registration-closed")


def test_by_invitation_only_takes_the_invitations_token(make_identity: Make) -> None:
    identity = make_identity(registration="invite")
    ann = identity.person()
    team = identity.team(ann)
    stranger = {"email": "bob@example.org", "password": PASSWORD, "name": "Bob"}
    problem(identity.nobody.post("/api/v1/auth/register", stranger), 403, "invitation-required")
    bob = identity.join(ann, team, "bob@example.org", "viewer")
    assert body(bob.get("/api/v1/me"))["teams"][0]["role"] == "viewer"


def test_the_first_person_needs_the_setup_token_where_one_is_set(make_identity: Make) -> None:
    identity = make_identity(setup_token="let me in first")
    mine = {"email": "ann@example.org", "password": PASSWORD, "name": "Ann"}
    problem(identity.nobody.post("/api/v1/auth/register", mine), 403, "setup-token-wrong")
    assert identity.nobody.post("/api/v1/auth/register", {**mine, "setup_token": "let me in first"}).status_code == 201
    assert identity.nobody.post("/api/v1/auth/register", {**mine, "email": "b@example.org"}).status_code == 201


def test_a_password_is_hashed_anew_when_the_settings_grow(make_identity: Make) -> None:
    identity = make_identity()
    identity.person()
    stronger = make_identity(argon2_passes=2)
    stronger.log_in("ann@example.org")
    assert "t=2" in identity.rows("SELECT password_hash FROM users")[0][0]
    identity.log_in("ann@example.org")


def test_changing_the_password_ends_the_other_sessions_only(identity: Identity) -> None:
    ann, elsewhere = identity.person(), identity.log_in("ann@example.org")
    wrong = {"current_password": "not the password", "new_password": "another good password"}
    problem(ann.put("/api/v1/me/password", wrong), 401, "password-wrong")
    assert ann.put("/api/v1/me/password", {**wrong, "current_password": PASSWORD}).status_code == 204
    assert body(ann.get("/api/v1/me"))
    problem(elsewhere.get("/api/v1/me"), 401, "session-ended")
    problem(identity.nobody.post("/api/v1/auth/login", {"email": "ann@example.org", "password": PASSWORD}), 401, "credentials-wrong")
    identity.log_in("ann@example.org", "another good password")


def test_sessions_are_listed_and_ended_one_by_one(identity: Identity) -> None:
    ann, elsewhere = identity.person(), identity.log_in("ann@example.org")
    listed = body(ann.get("/api/v1/me/sessions"))["items"]
    assert [one["is_current"] for one in listed] == [False, True]
    assert ann.delete(f"/api/v1/me/sessions/{listed[0]['id']}").status_code == 204
    problem(elsewhere.get("/api/v1/me"), 401, "session-ended")
    stranger = identity.person("bob@example.org")
    problem(stranger.delete(f"/api/v1/me/sessions/{listed[1]['id']}"), 404, "not-found")


def test_a_profile_is_changed_only_as_it_was_read(identity: Identity) -> None:
    ann = identity.person()
    tag = ann.get("/api/v1/me").headers["ETag"]
    assert body(ann.patch("/api/v1/me", {"name": "Anna"}, If_Match=tag))["name"] == "Anna"
    problem(ann.patch("/api/v1/me", {"name": "Other"}, If_Match=tag), 412, "precondition-failed")


@pytest.mark.parametrize(
    ("path", "wanted"),
    [
        ("/api/v1/me/password", {"current_password": PASSWORD, "new_password": "another good password"}),
        ("/api/v1/me/email", {"password": PASSWORD, "email": "new@example.org"}),
    ],
)
def test_ones_log_in_is_changed_only_if_nobody_was_quicker(identity: Identity, path: str, wanted: dict[str, str]) -> None:
    ann = identity.person()
    old = ann.get("/api/v1/me").headers["ETag"]
    assert ann.patch("/api/v1/me", {"name": "Anna"}).status_code == 200
    problem(ann.call("PUT", path, wanted, **{"If-Match": old}), 412, "precondition-failed")
    identity.log_in("ann@example.org")
    present = ann.get("/api/v1/me").headers["ETag"]
    assert ann.call("PUT", path, wanted, **{"If-Match": present}).status_code in (202, 204)
    assert ann.get("/api/v1/me").headers["ETag"] != present


def test_a_token_is_looked_at_by_itself_and_never_shows_its_text(identity: Identity) -> None:
    ann = identity.person()
    team = identity.team(ann)
    for path in ("/api/v1/me/tokens", f"/api/v1/teams/{team}/tokens"):
        made = ann.post(path, {"name": "ci", "scopes": ["read"]})
        assert made.status_code == 201
        shown = body(ann.get(made.headers["Location"]))
        assert (shown["id"], shown["name"], "token" in shown) == (made.get_json()["id"], "ci", False)
        assert ann.delete(made.headers["Location"]).status_code == 204
        problem(ann.get(made.headers["Location"]), 404, "not-found")
