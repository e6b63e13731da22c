"""Teams, members, invitations."""

from __future__ import annotations

import threading

import pytest

from tests.integration.services.identity.conftest import PASSWORD, Caller, Identity, body, problem


def _user_id(caller: Caller) -> str:
    return str(body(caller.get("/api/v1/me"))["id"])


def test_the_maker_of_a_team_is_its_owner_and_others_hear_of_it(identity: Identity) -> None:
    ann = identity.person()
    made = body(ann.post("/api/v1/teams", {"name": "Acme GmbH"}), 201)
    assert (made["slug"], made["role"]) == ("acme-gmbh", "owner")
    assert body(ann.get("/api/v1/teams"))["items"][0]["id"] == made["id"]
    event = identity.events("identity.team.created")[0]
    assert event.type == "identity.team.created.v1"
    assert (str(event.team), event.data.resource_id) == (made["id"], made["id"])  # type: ignore[attr-defined]  # Recorded


def test_a_slug_belongs_to_one_team(identity: Identity) -> None:
    ann = identity.person()
    body(ann.post("/api/v1/teams", {"name": "One", "slug": "acme"}), 201)
    problem(ann.post("/api/v1/teams", {"name": "Two", "slug": "acme"}), 409, "slug-taken")
    assert body(ann.post("/api/v1/teams", {"name": "Acme"}), 201)["slug"].startswith("acme-")


def test_a_team_is_changed_by_admins_only(identity: Identity) -> None:
    ann = identity.person()
    team = identity.team(ann)
    bob = identity.join(ann, team, "bob@example.org", "member")
    problem(bob.patch(f"/api/v1/teams/{team}", {"name": "Bobs"}), 403, "forbidden")
    tag = ann.get(f"/api/v1/teams/{team}").headers["ETag"]
    assert body(ann.patch(f"/api/v1/teams/{team}", {"name": "New"}, If_Match=tag))["name"] == "New"
    problem(ann.patch(f"/api/v1/teams/{team}", {"name": "Newer"}, If_Match=tag), 412, "precondition-failed")


def test_another_teams_path_is_not_there_and_that_team_learns_of_the_try(identity: Identity) -> None:
    ann, eve = identity.person(), identity.person("eve@example.org", "Eve")
    team = identity.team(ann)
    for _ in range(3):
        problem(eve.get(f"/api/v1/teams/{team}"), 404, "not-found")
    refused = identity.events("identity.access.refused")
    assert [(str(one.team), one.actorname) for one in refused] == [(team, "Eve")]
    problem(eve.get("/api/v1/teams/00000000-0000-7000-8000-000000000000"), 404, "not-found")
    assert len(identity.events("identity.access.refused")) == 1


def test_the_last_owner_stays(identity: Identity) -> None:
    ann = identity.person()
    team = identity.team(ann)
    me = _user_id(ann)
    problem(ann.patch(f"/api/v1/teams/{team}/members/{me}", {"role": "admin"}), 409, "last-owner")
    problem(ann.delete(f"/api/v1/teams/{team}/members/{me}"), 409, "last-owner")
    problem(ann.post(f"/api/v1/teams/{team}/members/leave"), 409, "last-owner")


def test_two_owners_who_leave_at_once_are_not_both_gone(identity: Identity) -> None:
    ann = identity.person()
    team = identity.team(ann)
    bob = identity.join(ann, team, "bob@example.org", "owner")
    together = threading.Barrier(2)
    answers: list[int] = []

    def leave(who: Caller) -> None:
        together.wait(60)
        answers.append(who.post(f"/api/v1/teams/{team}/members/leave").status_code)

    threads = [threading.Thread(target=leave, args=(who,)) for who in (ann, bob)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sorted(answers) == [204, 409]
    assert identity.rows("SELECT count(*) FROM memberships WHERE role = 'owner'") == [(1,)]


def test_ownership_is_handed_over(identity: Identity) -> None:
    ann = identity.person()
    team = identity.team(ann)
    bob = identity.join(ann, team, "bob@example.org", "viewer")
    handed = ann.post(f"/api/v1/teams/{team}/members/{_user_id(bob)}/transfer-ownership")
    assert body(handed)["role"] == "owner"
    assert body(ann.get(f"/api/v1/teams/{team}"))["role"] == "admin"
    assert ann.post(f"/api/v1/teams/{team}/members/leave").status_code == 204
    problem(ann.get(f"/api/v1/teams/{team}"), 404, "not-found")


def test_an_admin_neither_makes_nor_unmakes_owners(identity: Identity) -> None:
    ann = identity.person()
    team = identity.team(ann)
    bob = identity.join(ann, team, "bob@example.org", "admin")
    owner, admin = _user_id(ann), _user_id(bob)
    problem(bob.patch(f"/api/v1/teams/{team}/members/{admin}", {"role": "owner"}), 403, "role-too-high")
    problem(bob.patch(f"/api/v1/teams/{team}/members/{owner}", {"role": "viewer"}), 403, "role-too-high")
    problem(bob.delete(f"/api/v1/teams/{team}/members/{owner}"), 403, "role-too-high")
    problem(bob.post(f"/api/v1/teams/{team}/members/{admin}/transfer-ownership"), 403, "forbidden")


def test_a_removed_member_is_out_at_once(identity: Identity) -> None:
    ann = identity.person()
    team = identity.team(ann)
    bob = identity.join(ann, team, "bob@example.org", "member")
    token = body(bob.post("/api/v1/me/tokens", {"name": "ci", "scopes": ["admin"]}), 201)["token"]
    assert body(bob.using(token).get(f"/api/v1/teams/{team}"))
    assert ann.delete(f"/api/v1/teams/{team}/members/{_user_id(bob)}").status_code == 204
    problem(bob.get(f"/api/v1/teams/{team}"), 404, "not-found")
    problem(bob.using(token).get(f"/api/v1/teams/{team}"), 404, "not-found")


def test_deleting_a_team_takes_its_name_typed_and_ends_its_tokens(identity: Identity) -> None:
    ann = identity.person()
    team = identity.team(ann)
    token = body(ann.post(f"/api/v1/teams/{team}/tokens", {"name": "ci", "scopes": ["read"]}), 201)["token"]
    problem(ann.delete(f"/api/v1/teams/{team}"), 422, "confirmation-required")
    problem(ann.delete(f"/api/v1/teams/{team}?confirm=other"), 422, "confirmation-required")
    assert ann.delete(f"/api/v1/teams/{team}?confirm=acme").status_code == 204
    problem(ann.get(f"/api/v1/teams/{team}"), 404, "not-found")
    problem(ann.using(token).get(f"/api/v1/teams/{team}"), 401, "unauthenticated")
    assert identity.events("identity.team.deleted")[0].data.resource_id == team  # type: ignore[attr-defined]  # Recorded
    assert identity.rows("SELECT count(*) FROM memberships") == [(0,)]


def test_a_deletion_may_be_confirmed_in_the_body(identity: Identity) -> None:
    ann = identity.person()
    team = identity.team(ann)
    assert ann.delete(f"/api/v1/teams/{team}", {"confirm": "acme"}).status_code == 204


def test_an_invited_person_accepts_and_may_do_so_twice(identity: Identity) -> None:
    ann, bob = identity.person(), identity.person("bob@example.org")
    team = identity.team(ann)
    body(ann.post(f"/api/v1/teams/{team}/invitations", {"email": "Bob@Example.org", "role": "member"}), 201)
    mine = body(bob.get("/api/v1/me/invitations"))["items"]
    assert [(one["team_name"], one["role"]) for one in mine] == [("Acme", "member")]
    for _ in range(2):
        assert body(bob.post(f"/api/v1/invitations/{mine[0]['id']}/accept"))["role"] == "member"
    assert body(bob.get("/api/v1/me/invitations"))["items"] == []
    assert [one["email"] for one in body(ann.get(f"/api/v1/teams/{team}/members"))["items"]] == ["ann@example.org", "bob@example.org"]


def test_an_invitation_is_declined_revoked_and_sent_again(identity: Identity) -> None:
    ann, bob = identity.person(), identity.person("bob@example.org")
    team = identity.team(ann)
    where = f"/api/v1/teams/{team}/invitations"
    first = body(ann.post(where, {"email": "bob@example.org", "role": "member"}), 201)
    assert bob.post(f"/api/v1/invitations/{first['id']}/decline").status_code == 204
    problem(bob.post(f"/api/v1/invitations/{first['id']}/accept"), 409, "invitation-closed")
    second = body(ann.post(where, {"email": "bob@example.org", "role": "member"}), 201)
    again = body(ann.post(f"{where}/{second['id']}/resend"))
    assert again["token"] != second["token"]
    assert ann.delete(f"{where}/{second['id']}").status_code == 204
    problem(bob.post(f"/api/v1/invitations/{second['id']}/accept"), 409, "invitation-closed")
    states = [one["state"] for one in body(ann.get(where))["items"]]
    assert states == ["revoked", "declined"]


def test_an_invitation_lapses_and_can_be_made_anew(identity: Identity) -> None:
    ann, bob = identity.person(), identity.person("bob@example.org")
    team = identity.team(ann)
    where = f"/api/v1/teams/{team}/invitations"
    one = body(ann.post(where, {"email": "bob@example.org", "role": "member"}), 201)
    problem(ann.post(where, {"email": "bob@example.org", "role": "member"}), 409, "already-invited")
    identity.rows("UPDATE invitations SET expires_at = now() - interval '1 second'")
    problem(bob.post(f"/api/v1/invitations/{one['id']}/accept"), 409, "invitation-lapsed")
    assert body(bob.get("/api/v1/me/invitations"))["items"] == []
    assert body(ann.get(f"{where}/{one['id']}"))["state"] == "lapsed"
    assert body(ann.post(where, {"email": "bob@example.org", "role": "member"}), 201)["state"] == "pending"


# -- the class of advisories in which people rise by invitations ------------------------------------


def test_nobody_invites_above_their_own_role(identity: Identity) -> None:
    ann = identity.person()
    team = identity.team(ann)
    bob = identity.join(ann, team, "bob@example.org", "admin")
    refused = bob.post(f"/api/v1/teams/{team}/invitations", {"email": "eve@example.org", "role": "owner"})
    problem(refused, 403, "role-too-high")


@pytest.mark.parametrize("role", ["member", "viewer"])
def test_members_and_viewers_neither_invite_nor_see_invitations(identity: Identity, role: str) -> None:
    ann = identity.person()
    team = identity.team(ann)
    bob = identity.join(ann, team, "bob@example.org", role)
    problem(bob.post(f"/api/v1/teams/{team}/invitations", {"email": "eve@example.org", "role": "viewer"}), 403, "forbidden")
    problem(bob.get(f"/api/v1/teams/{team}/invitations"), 403, "forbidden")


def test_anothers_invitation_is_not_there(identity: Identity) -> None:
    ann, eve = identity.person(), identity.person("eve@example.org")
    team = identity.team(ann)
    one = body(ann.post(f"/api/v1/teams/{team}/invitations", {"email": "bob@example.org", "role": "member"}), 201)
    problem(eve.post(f"/api/v1/invitations/{one['id']}/accept", {"token": one["token"]}), 404, "not-found")
    problem(eve.post(f"/api/v1/invitations/{one['id']}/decline"), 404, "not-found")
    stolen = {"email": "eve2@example.org", "password": PASSWORD, "name": "Eve", "invitation_token": one["token"]}
    problem(identity.nobody.post("/api/v1/auth/register", stolen), 422, "invitation-wrong")


def test_an_invitations_link_works_once(identity: Identity) -> None:
    ann = identity.person()
    team = identity.team(ann)
    one = body(ann.post(f"/api/v1/teams/{team}/invitations", {"email": "bob@example.org", "role": "member"}), 201)
    identity.person("bob@example.org", invitation_token=one["token"])
    again = {"email": "bob@example.org", "password": PASSWORD, "name": "Bob", "invitation_token": one["token"]}
    problem(identity.nobody.post("/api/v1/auth/register", again), 422, "invitation-wrong")


def test_an_invitation_accepted_at_once_from_many_places_makes_one_member(identity: Identity) -> None:
    ann, bob = identity.person(), identity.person("bob@example.org")
    team = identity.team(ann)
    one = body(ann.post(f"/api/v1/teams/{team}/invitations", {"email": "bob@example.org", "role": "member"}), 201)
    together = threading.Barrier(4)
    answers: list[int] = []

    def accept() -> None:
        together.wait(60)
        answers.append(bob.post(f"/api/v1/invitations/{one['id']}/accept").status_code)

    threads = [threading.Thread(target=accept) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert answers == [200] * 4
    assert len(identity.events("identity.member.added")) == 1


def test_row_level_security_hides_other_teams_even_from_a_query_that_forgets(identity: Identity) -> None:
    from sqlalchemy import text

    ann = identity.person()
    mine, other = identity.team(ann), identity.team(ann, "Other")
    from uuid import UUID

    with identity.parts.db.team(UUID(mine)) as session:
        assert [str(row[0]) for row in session.execute(text("SELECT id FROM teams"))] == [mine]
        assert [str(row[0]) for row in session.execute(text("SELECT team_id FROM memberships"))] == [mine]
        assert session.execute(text("UPDATE teams SET name = 'x' WHERE id = :id"), {"id": other}).rowcount == 0  # type: ignore[attr-defined]  # CursorResult
