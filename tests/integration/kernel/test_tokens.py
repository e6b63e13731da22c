"""Internal tokens: which are believed, and how keys are fetched from a real HTTP server."""

from __future__ import annotations

import base64
import hmac
import json
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from joserfc import jwt
from joserfc.jwk import OKPKey

from kernel import clock
from kernel.errors import Unauthenticated, Unavailable
from kernel.http.auth import ALGORITHM, TokenVerifier, principal_from_claims
from kernel.permissions import Role
from tests.fixtures.identity_keys import Keys, published

Claims = dict[str, Any]  # Any: JSON


@pytest.fixture
def keys() -> Iterator[Keys]:
    with published(Keys()) as made:
        yield made


@pytest.fixture
def verifier(keys: Keys) -> TokenVerifier:
    return TokenVerifier(keys.url)


def without(name: str) -> Callable[[Claims], Claims]:
    return lambda claims: {key: value for key, value in claims.items() if key != name}


def with_(**changes: Any) -> Callable[[Claims], Claims]:
    return lambda claims: claims | changes


def seconds_from_now(seconds: int) -> int:
    return int(clock.now().timestamp()) + seconds


def encoded(part: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=")


def test_a_good_token_is_believed_and_its_claims_name_the_caller(keys: Keys, verifier: TokenVerifier) -> None:
    team = clock.new_id()
    who = principal_from_claims(verifier.verify(keys.token(team, Role.MEMBER, ("deploy",))), "t")
    assert (who.team_id, who.role, who.scopes, who.kind, who.email) == (team, Role.MEMBER, ("deploy",), "user", "ada@example.com")


CHANGES: dict[str, Callable[[Claims], Claims]] = {
    "expired": with_(exp=seconds_from_now(-60)),
    "without an end": without("exp"),
    "with an end that is no time": with_(exp="tomorrow"),
    "not valid yet": with_(nbf=seconds_from_now(86_400)),
    "for people, not for services": with_(aud="fairlead"),
    "for nobody": without("aud"),
    "of another issuer": with_(iss="mallory"),
    "of nobody": without("iss"),
    "without a subject": without("sub"),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
def test_a_token_is_refused(keys: Keys, verifier: TokenVerifier, change: Callable[[Claims], Claims]) -> None:
    with pytest.raises(Unauthenticated):
        verifier.verify(keys.sign(change(keys.claims())))


def test_clocks_may_differ_by_a_little(keys: Keys, verifier: TokenVerifier) -> None:
    assert verifier.verify(keys.sign(keys.claims() | {"exp": seconds_from_now(-10)}))


def test_a_token_whose_head_is_nested_without_end_is_refused(verifier: TokenVerifier) -> None:
    with pytest.raises(Unauthenticated):
        verifier.verify(f"{base64.urlsafe_b64encode(b'[' * 2901).decode()}.e30.x")


def test_a_token_that_says_it_needs_no_signature_is_refused(keys: Keys, verifier: TokenVerifier) -> None:
    for algorithm in ("none", "None", "NONE"):
        token = f"{encoded({'alg': algorithm, 'kid': 'k1'})}.{encoded(keys.claims())}."
        with pytest.raises(Unauthenticated):
            verifier.verify(token)


def test_the_public_key_is_no_shared_secret(keys: Keys, verifier: TokenVerifier) -> None:
    key = keys.keys["k1"]
    for secret in (key.as_pem(private=False), base64.urlsafe_b64decode(str(key.as_dict()["x"]) + "=")):
        signed = f"{encoded({'alg': 'HS256', 'kid': 'k1'})}.{encoded(keys.claims())}"
        token = f"{signed}.{base64.urlsafe_b64encode(hmac.digest(secret, signed.encode(), 'sha256')).decode().rstrip('=')}"
        with pytest.raises(Unauthenticated):
            verifier.verify(token)


def test_a_key_that_the_token_itself_brings_counts_for_nothing(keys: Keys, verifier: TokenVerifier) -> None:
    own = OKPKey.generate_key("Ed25519")
    for header in ({"kid": "k1"}, {"jwk": own.as_dict(private=False)}, {"kid": "own", "jwk": own.as_dict(private=False)}):
        token = jwt.encode({"alg": ALGORITHM} | header, keys.claims(), own, algorithms=[ALGORITHM])
        with pytest.raises(Unauthenticated):
            verifier.verify(token)


@given(position=st.integers(0), letter=st.sampled_from("AbZ09-_.=+/ \n"))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_token_with_another_letter_is_refused_or_says_the_same(keys: Keys, verifier: TokenVerifier, position: int, letter: str) -> None:
    claims = keys.claims()
    token = keys.sign(claims)
    position %= len(token)
    try:
        assert verifier.verify(token[:position] + letter + token[position + 1 :]) == claims
    except Unauthenticated:
        return


@given(st.text(max_size=60) | st.lists(st.text("AaZz09-_e", max_size=12), min_size=3, max_size=3).map(".".join))
@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_rubbish_is_refused_and_never_breaks(verifier: TokenVerifier, token: str) -> None:
    with pytest.raises(Unauthenticated):
        verifier.verify(token)


@pytest.mark.parametrize(
    "change",
    [
        *(without("kind"), without("scopes"), with_(scopes=None), with_(scopes=7)),
        *(with_(role="king"), with_(team="ours"), with_(team=7), with_(sub="7")),
    ],
)
def test_a_token_whose_claims_are_incomplete_names_nobody(keys: Keys, change: Callable[[Claims], Claims]) -> None:
    with pytest.raises(Unauthenticated):
        principal_from_claims(change(keys.claims(clock.new_id())), "t")


# -- fetching keys --------------------------------------------------------------------------------------


def test_keys_are_fetched_once(keys: Keys, verifier: TokenVerifier) -> None:
    for _ in range(20):
        verifier.verify(keys.token())
    assert keys.fetched == 1


def test_a_new_key_is_fetched_at_once_and_old_tokens_go_on(keys: Keys) -> None:
    verifier = TokenVerifier(keys.url)
    old = keys.token()
    verifier.verify(old)
    verifier._fetched_at -= 2  # so long ago that a storm is not feared
    keys.rotate("k2")
    assert verifier.verify(keys.token())
    assert verifier.verify(old)
    assert keys.fetched == 2


def test_a_key_that_was_withdrawn_is_forgotten_with_the_next_fetch(keys: Keys) -> None:
    verifier = TokenVerifier(keys.url, life_seconds=0)
    old = keys.token()
    verifier.verify(old)
    keys.rotate("k2")
    del keys.keys["k1"]
    with pytest.raises(Unauthenticated):
        verifier.verify(old)


def test_a_storm_of_unknown_keys_does_not_reach_identity(keys: Keys, verifier: TokenVerifier) -> None:
    began = clock.monotonic()
    verifier.verify(keys.token())
    stranger = Keys()
    for number in range(30):
        stranger.rotate(f"x{number}")
        with pytest.raises(Unauthenticated):
            verifier.verify(stranger.token())
    assert keys.fetched <= 2 + (clock.monotonic() - began), "once a second at most"


def test_many_threads_fetch_the_keys_once(keys: Keys, verifier: TokenVerifier) -> None:
    token = keys.token()
    threads = [threading.Thread(target=verifier.verify, args=(token,)) for _ in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert keys.fetched == 1


def test_without_any_key_nobody_can_be_let_in_or_refused(keys: Keys) -> None:
    for verifier in (TokenVerifier("http://127.0.0.1:9/jwks.json"), TokenVerifier(keys.url)):
        keys.broken = True
        with pytest.raises(Unavailable) as caught:
            verifier.verify(keys.token())
        assert caught.value.code == "identity-unavailable"


def test_known_keys_go_on_while_identity_is_away(keys: Keys) -> None:
    verifier = TokenVerifier(keys.url, life_seconds=0)
    verifier.verify(keys.token())
    keys.broken = True
    assert verifier.verify(keys.token())
    fetched = keys.fetched
    for _ in range(5):
        verifier.verify(keys.token())
    assert keys.fetched >= fetched
