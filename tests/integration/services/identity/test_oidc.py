"""Signing in through an OpenID Connect provider: PKCE, bound to the browser, linked by verified e-mail only."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from joserfc.jwk import RSAKey
from werkzeug.test import TestResponse

from tests.fixtures.oidc_provider import CLIENT_ID, CLIENT_SECRET, KEY_ID, Person, Provider, running_provider
from tests.integration.services.identity.conftest import PASSWORD, Caller, Identity, Make, body, problem

START, FINISH = "/api/v1/auth/oidc/start", "/api/v1/auth/oidc/finish"


@pytest.fixture
def provider(monkeypatch: pytest.MonkeyPatch) -> Iterator[Provider]:
    # authlib's server asks for https; this one speaks http on loopback.
    monkeypatch.setenv("AUTHLIB_INSECURE_TRANSPORT", "1")
    with running_provider() as made:
        yield made


@dataclass(frozen=True)
class SingleSignOn:
    identity: Identity
    provider: Provider

    def returned(self) -> dict[str, str]:
        """Begin, sign in at the provider, and come back with what finishes the log-in."""
        started = body(self.identity.nobody.post(START))
        back = self.provider.sign_in(started["authorization_url"])
        return {"state": back["state"], "code": back["code"], "flow": started["flow"]}

    def finish(self) -> TestResponse:
        return self.identity.nobody.post(FINISH, self.returned())

    def sign_in(self) -> Caller:
        return self.identity.nobody.using(body(self.finish())["access_token"])


@pytest.fixture
def make_sso(make_identity: Make, provider: Provider) -> Any:
    def make(**settings: Any) -> SingleSignOn:
        more = {"oidc_issuer": provider.issuer, "oidc_client_id": CLIENT_ID, "oidc_client_secret": CLIENT_SECRET, **settings}
        return SingleSignOn(make_identity(**more), provider)

    return make


@pytest.fixture
def sso(make_sso: Any) -> SingleSignOn:
    made: SingleSignOn = make_sso()
    return made


def _verify(identity: Identity) -> None:
    identity.rows("UPDATE users SET email_verified_at = now()")


def test_somebody_new_signs_in_and_comes_back_as_the_same_person(sso: SingleSignOn) -> None:
    first, second = body(sso.sign_in().get("/api/v1/me")), body(sso.sign_in().get("/api/v1/me"))
    assert (first["email"], first["name"], first["email_verified"]) == ("ann@example.org", "Ann of the provider", True)
    assert first["has_password"] is False
    assert first["id"] == second["id"]


def test_the_log_in_page_is_told_of_the_provider(sso: SingleSignOn) -> None:
    assert body(sso.identity.nobody.get("/api/v1/auth/options"))["oidc"] == "Single sign-on"


def test_the_request_carries_pkce_state_and_nonce(sso: SingleSignOn) -> None:
    query = parse_qs(urlsplit(body(sso.identity.nobody.post(START))["authorization_url"]).query)
    assert query["code_challenge_method"] == ["S256"]
    assert query["response_type"] == ["code"]
    assert query["redirect_uri"] == ["https://fairlead.example/login/oidc"]
    assert all(len(query[name][0]) >= 32 for name in ("state", "nonce", "code_challenge"))


def test_the_email_may_come_from_userinfo(sso: SingleSignOn) -> None:
    sso.provider.id_token_holds_email = False
    assert body(sso.sign_in().get("/api/v1/me"))["email"] == "ann@example.org"


def test_the_person_stays_the_same_when_their_address_changes_at_the_provider(sso: SingleSignOn) -> None:
    first = body(sso.sign_in().get("/api/v1/me"))
    sso.provider.person = Person(email="anna@example.org")
    assert body(sso.sign_in().get("/api/v1/me"))["id"] == first["id"]


def test_an_account_is_linked_when_both_sides_have_verified_the_address(sso: SingleSignOn) -> None:
    ann = body(sso.identity.person().get("/api/v1/me"))
    _verify(sso.identity)
    assert body(sso.sign_in().get("/api/v1/me"))["id"] == ann["id"]


# -- the class of advisories in which accounts are taken over by linking -----------------------------


@pytest.mark.parametrize("verified", [False, None, "true", 1])
def test_an_address_that_the_provider_has_not_verified_links_nothing(sso: SingleSignOn, verified: object) -> None:
    sso.identity.person()
    _verify(sso.identity)
    sso.provider.person = Person(subject="attacker", email_verified=verified)
    problem(sso.finish(), 403, "email-not-verified")


def test_an_account_whose_address_was_never_verified_is_not_linked(sso: SingleSignOn) -> None:
    sso.identity.person()
    problem(sso.finish(), 409, "account-not-linked")


def test_such_an_account_is_linked_from_inside(sso: SingleSignOn) -> None:
    ann = sso.identity.person()
    assert ann.post("/api/v1/me/oidc", sso.returned()).status_code == 204
    assert body(sso.sign_in().get("/api/v1/me"))["id"] == body(ann.get("/api/v1/me"))["id"]
    bob = sso.identity.person("bob@example.org")
    problem(bob.post("/api/v1/me/oidc", sso.returned()), 409, "account-linked")


def test_another_subject_with_the_same_address_is_the_same_only_by_that_address(sso: SingleSignOn) -> None:
    first = body(sso.sign_in().get("/api/v1/me"))
    sso.provider.person = Person(subject="p-2", email="other@example.org")
    assert body(sso.sign_in().get("/api/v1/me"))["id"] != first["id"]


def test_a_log_in_ends_once_and_only_where_it_began(sso: SingleSignOn) -> None:
    returned = sso.returned()
    problem(sso.identity.nobody.post(FINISH, {**returned, "flow": "somebody else's"}), 401, "oidc-flow-wrong")
    problem(sso.identity.nobody.post(FINISH, {**returned, "state": "forged"}), 401, "oidc-flow-wrong")
    assert body(sso.identity.nobody.post(FINISH, returned))
    problem(sso.identity.nobody.post(FINISH, returned), 401, "oidc-flow-wrong")


def test_a_log_in_lapses(sso: SingleSignOn) -> None:
    returned = sso.returned()
    sso.identity.rows("UPDATE oidc_flows SET expires_at = now() - interval '1 second'")
    problem(sso.identity.nobody.post(FINISH, returned), 401, "oidc-flow-wrong")


def test_a_code_of_another_log_in_is_refused(sso: SingleSignOn) -> None:
    mine, others = sso.returned(), sso.returned()
    problem(sso.identity.nobody.post(FINISH, {**mine, "code": others["code"]}), 403, "oidc-refused")


@pytest.mark.parametrize("forged", [{"iss": "https://evil.example"}, {"aud": "somebody-else"}, {"nonce": "x" * 40}, {"exp": 1_000_000_000}])
def test_an_id_token_that_is_not_for_us_is_refused(sso: SingleSignOn, forged: dict[str, object]) -> None:
    sso.provider.forged = forged
    problem(sso.finish(), 403, "oidc-refused")


def test_an_id_token_that_another_key_signed_is_refused(sso: SingleSignOn) -> None:
    sso.provider.signing_key = RSAKey.generate_key(2048, {"kid": KEY_ID, "alg": "RS256"})
    problem(sso.finish(), 403, "oidc-refused")


def test_an_issuer_that_describes_itself_as_another_is_not_believed(sso: SingleSignOn) -> None:
    sso.provider.discovery = {"issuer": "https://evil.example"}
    problem(sso.identity.nobody.post(START), 503, "oidc-unavailable")


def test_a_provider_that_is_away_is_told_as_such(make_sso: Any) -> None:
    away = make_sso(oidc_issuer="http://127.0.0.1:9")
    problem(away.identity.nobody.post(START), 503, "oidc-unavailable")


def test_registration_rules_hold_here_too(make_sso: Any) -> None:
    closed: SingleSignOn = make_sso(registration="closed")
    closed.identity.person("first@example.org")
    problem(closed.finish(), 403, "registration-closed")


def test_an_invited_person_may_come_through_the_provider(make_sso: Any) -> None:
    sso: SingleSignOn = make_sso(registration="invite")
    owner = sso.identity.person("first@example.org")
    team = sso.identity.team(owner)
    body(owner.post(f"/api/v1/teams/{team}/invitations", {"email": "ann@example.org", "role": "member"}), 201)
    ann = sso.sign_in()
    mine = body(ann.get("/api/v1/me/invitations"))["items"]
    assert body(ann.post(f"/api/v1/invitations/{mine[0]['id']}/accept"))["role"] == "member"


def test_without_a_provider_there_is_nothing(identity: Identity) -> None:
    problem(identity.nobody.post(START), 404, "not-found")
    problem(identity.nobody.post(FINISH, {"state": "a", "code": "b", "flow": "c"}), 404, "not-found")


def test_a_person_without_a_password_cannot_log_in_by_one(sso: SingleSignOn) -> None:
    sso.sign_in()
    refused = sso.identity.nobody.post("/api/v1/auth/login", {"email": "ann@example.org", "password": PASSWORD})
    problem(refused, 401, "credentials-wrong")


def test_what_is_kept_between_beginning_and_end_is_encrypted(sso: SingleSignOn) -> None:
    started = body(sso.identity.nobody.post(START))
    kept = str(sso.identity.rows("SELECT sealed, state_hash::text, flow_hash::text FROM oidc_flows"))
    state = parse_qs(urlsplit(started["authorization_url"]).query)["state"][0]
    assert started["flow"] not in kept
    assert state not in kept
    assert "verifier" not in kept
