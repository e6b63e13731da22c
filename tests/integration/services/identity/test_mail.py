"""Verification, password reset and invitations by mail, through a real SMTP server."""

from __future__ import annotations

from tests.integration.services.identity.conftest import PASSWORD, Identity, body, problem
from tests.integration.services.identity.mailing import Mailing

NEW = "another good password"


def test_a_new_person_verifies_their_address_once(mailing: Mailing) -> None:
    ann = mailing.identity.person()
    assert mailing.deliver() == 1
    letter = mailing.office.letters[0]
    assert (letter["To"], letter["From"]) == ("ann@example.org", "F <f@fairlead.example>")
    verify = "/api/v1/auth/email/verify"
    assert ann.using(None).post(verify, {"token": mailing.office.token()}).status_code == 204
    assert body(ann.get("/api/v1/me"))["email_verified"] is True
    problem(ann.using(None).post(verify, {"token": mailing.office.token()}), 422, "link-wrong")


def test_links_are_built_from_our_own_address_whatever_the_request_says(mailing: Mailing) -> None:
    mailing.identity.person()
    mailing.deliver()
    mailing.identity.app.test_client().post(
        "/api/v1/auth/password/forgot",
        json={"email": "ann@example.org"},
        headers={"Host": "evil.example", "X-Forwarded-Host": "evil.example", "X-Forwarded-Proto": "http", "Origin": "https://evil.example"},
    )
    assert mailing.deliver() == 1
    assert "evil" not in mailing.office.letters[-1].as_string()
    assert mailing.office.token()


def test_a_forgotten_password_is_set_anew_and_ends_every_session(mailing: Mailing) -> None:
    ann = mailing.identity.person()
    mailing.deliver()
    assert ann.using(None).post("/api/v1/auth/password/forgot", {"email": "ann@example.org"}).status_code == 202
    mailing.deliver()
    token = mailing.office.token()
    reset = "/api/v1/auth/password/reset"
    problem(ann.using(None).post(reset, {"token": token, "password": "short"}), 422, "invalid")
    assert ann.using(None).post(reset, {"token": token, "password": NEW}).status_code == 204
    problem(ann.get("/api/v1/me"), 401, "session-ended")
    mailing.identity.log_in("ann@example.org", NEW)
    problem(ann.using(None).post(reset, {"token": token, "password": NEW}), 422, "link-wrong")


def test_a_reset_lets_a_person_in_whom_strangers_slow_down(mailing: Mailing) -> None:
    identity = mailing.identity
    identity.person()
    mailing.deliver()
    for number in range(1, 31):
        stranger = identity.nobody.at(f"198.51.100.{number}")
        stranger.post("/api/v1/auth/login", {"email": "ann@example.org", "password": "not the password"})
    away = identity.nobody.at("192.0.2.1")
    problem(away.post("/api/v1/auth/login", {"email": "ann@example.org", "password": PASSWORD}), 429, "rate-limited")
    away.post("/api/v1/auth/password/forgot", {"email": "ann@example.org"})
    mailing.deliver()
    assert away.post("/api/v1/auth/password/reset", {"token": mailing.office.token(), "password": NEW}).status_code == 204
    assert away.post("/api/v1/auth/login", {"email": "ann@example.org", "password": NEW}).status_code == 200


def test_forgetting_answers_alike_for_people_who_do_not_exist(mailing: Mailing) -> None:
    mailing.identity.person()
    mailing.deliver()
    nobody = mailing.identity.nobody
    answers = [nobody.post("/api/v1/auth/password/forgot", {"email": email}) for email in ("ann@example.org", "who@example.org")]
    assert [(one.status_code, one.get_data()) for one in answers] == [(202, answers[0].get_data())] * 2
    assert mailing.deliver() == 1


def test_a_newer_link_voids_the_older(mailing: Mailing) -> None:
    nobody = mailing.identity.person().using(None)
    mailing.deliver()
    tokens = []
    for _ in range(2):
        nobody.post("/api/v1/auth/password/forgot", {"email": "ann@example.org"})
        mailing.deliver()
        tokens.append(mailing.office.token())
    problem(nobody.post("/api/v1/auth/password/reset", {"token": tokens[0], "password": NEW}), 422, "link-wrong")


def test_a_link_lapses(mailing: Mailing) -> None:
    nobody = mailing.identity.person().using(None)
    mailing.deliver()
    mailing.identity.rows("UPDATE email_tokens SET expires_at = now() - interval '1 second'")
    problem(nobody.post("/api/v1/auth/email/verify", {"token": mailing.office.token()}), 422, "link-wrong")


def test_a_link_for_one_thing_is_no_good_for_another(mailing: Mailing) -> None:
    nobody = mailing.identity.person().using(None)
    mailing.deliver()
    problem(nobody.post("/api/v1/auth/password/reset", {"token": mailing.office.token(), "password": NEW}), 422, "link-wrong")


def test_mails_to_one_address_are_few(mailing: Mailing) -> None:
    mailing.identity.person()
    mailing.deliver()
    for _ in range(6):
        assert mailing.identity.nobody.post("/api/v1/auth/password/forgot", {"email": "ann@example.org"}).status_code == 202
    assert mailing.deliver() == 3


def test_an_invitation_goes_by_mail_and_its_token_is_not_shown(mailing: Mailing) -> None:
    ann = mailing.identity.person()
    mailing.deliver()
    team = mailing.identity.team(ann)
    made = body(ann.post(f"/api/v1/teams/{team}/invitations", {"email": "bob@example.org", "role": "member"}), 201)
    assert (made["token"], made["link"]) == (None, None)
    mailing.deliver()
    assert mailing.office.letters[-1]["To"] == "bob@example.org"
    bob = mailing.identity.person("bob@example.org", "Bob", invitation_token=mailing.office.token())
    me = body(bob.get("/api/v1/me"))
    assert (me["email_verified"], me["teams"][0]["role"]) == (True, "member")


def test_an_address_that_is_not_verified_takes_no_invitation_without_its_link(mailing: Mailing) -> None:
    ann = mailing.identity.person()
    team = mailing.identity.team(ann)
    eve = mailing.identity.person("bob@example.org", "Eve")
    mailing.deliver()
    one = body(ann.post(f"/api/v1/teams/{team}/invitations", {"email": "bob@example.org", "role": "admin"}), 201)
    assert body(eve.get("/api/v1/me/invitations"))["items"] == []
    problem(eve.post(f"/api/v1/invitations/{one['id']}/accept"), 403, "email-not-verified")
    problem(eve.post(f"/api/v1/invitations/{one['id']}/decline"), 403, "email-not-verified")
    mailing.deliver()
    assert body(eve.post(f"/api/v1/invitations/{one['id']}/accept", {"token": mailing.office.token()}))["role"] == "admin"


def test_another_address_counts_once_its_link_was_used(mailing: Mailing) -> None:
    ann = mailing.identity.person()
    mailing.deliver()
    assert ann.put("/api/v1/me/email", {"email": "anna@example.org", "password": PASSWORD}).status_code == 202
    mailing.deliver()
    assert mailing.office.letters[-1]["To"] == "anna@example.org"
    assert body(ann.get("/api/v1/me"))["email"] == "ann@example.org"
    assert ann.using(None).post("/api/v1/auth/email/verify", {"token": mailing.office.token()}).status_code == 204
    assert body(ann.get("/api/v1/me"))["email"] == "anna@example.org"


def test_a_mail_waits_while_the_server_is_away_and_holds_no_secret(mailing: Mailing) -> None:
    mailing.identity.person()
    mailing.office.answer = "451 later"
    assert mailing.deliver() == 0
    assert mailing.identity.rows("SELECT attempts FROM mails") == [(1,)]
    assert mailing.identity.rows("SELECT 1 FROM email_tokens") == []
    mailing.office.answer = "250 OK"
    mailing.identity.rows("UPDATE mails SET not_before = now()")
    assert mailing.deliver() == 1
    assert mailing.identity.rows("SELECT 1 FROM mails") == []


def test_a_recipient_that_never_will_be_is_dropped(mailing: Mailing) -> None:
    mailing.identity.person()
    mailing.office.answer = "550 no such person"
    assert mailing.deliver() == 0
    assert mailing.identity.rows("SELECT 1 FROM mails") == []


def test_a_name_with_line_breaks_or_headers_never_reaches_a_mail(mailing: Mailing) -> None:
    made = {"email": "eve@example.org", "password": PASSWORD, "name": "Eve\r\nBcc: all@example.org"}
    problem(mailing.identity.nobody.post("/api/v1/auth/register", made), 422, "invalid")
    problem(mailing.identity.nobody.post("/api/v1/auth/register", {**made, "name": "E", "email": "a@b.c\r\nBcc: d@e.f"}), 422, "invalid")


def test_without_a_mail_server_nothing_pretends_to_send(identity: Identity) -> None:
    ann = identity.person()
    problem(ann.using(None).post("/api/v1/auth/password/forgot", {"email": "ann@example.org"}), 403, "no-mail-server")
    problem(ann.post("/api/v1/me/email/verification"), 409, "no-mail-server")
    assert ann.put("/api/v1/me/email", {"email": "anna@example.org", "password": PASSWORD}).status_code == 202
    assert body(ann.get("/api/v1/me"))["email"] == "anna@example.org"
