"""Guessing is slowed, before anything is hashed and across processes; nobody can lock anybody else out."""

from __future__ import annotations

from kernel import clock
from services.identity.domain import throttle
from tests.integration.services.identity.conftest import PASSWORD, Caller, Identity, Make, body, problem

LOGIN = "/api/v1/auth/login"
STRANGER = "198.51.100.66"


def _guess(caller: Caller, email: str = "ann@example.org") -> int:
    return caller.post(LOGIN, {"email": email, "password": "not the password"}).status_code


def _guesses_until_slowed(identity: Identity, callers: list[Caller]) -> int:
    return sum(_guess(one) == 401 for one in callers)


def test_one_address_guesses_five_times_at_one_account_then_twice_a_minute(identity: Identity) -> None:
    identity.person()
    stranger, began = identity.nobody.at(STRANGER), clock.monotonic()
    assert _guesses_until_slowed(identity, [stranger] * 10) == throttle.PAIR.burst == 5
    refused = stranger.post(LOGIN, {"email": "ann@example.org", "password": PASSWORD})
    problem(refused, 429, "rate-limited")
    assert 29 - (clock.monotonic() - began) <= int(refused.headers["Retry-After"]) <= 30


def test_what_was_used_comes_back_with_time(identity: Identity) -> None:
    identity.person()
    stranger = identity.nobody.at(STRANGER)
    _guesses_until_slowed(identity, [stranger] * 6)
    identity.rows("UPDATE throttles SET full_at = full_at - interval '31 seconds'")
    assert [_guess(stranger), _guess(stranger)] == [401, 429]


def test_the_limit_holds_across_processes(make_identity: Make) -> None:
    one, two = make_identity(), make_identity()
    one.person()
    callers = [identity.nobody.at(STRANGER) for identity in (one, two)] * 5
    assert _guesses_until_slowed(one, callers) == 5


def test_many_addresses_together_guess_twenty_times_at_one_account(identity: Identity) -> None:
    identity.person()
    crowd = [identity.nobody.at(f"198.51.100.{number}") for number in range(1, 31)]
    assert _guesses_until_slowed(identity, crowd) == throttle.STRANGERS.burst == 20


def test_a_crowd_of_strangers_does_not_lock_a_person_out(identity: Identity) -> None:
    identity.person()
    for number in range(1, 31):
        _guess(identity.nobody.at(f"198.51.100.{number}"))
    identity.log_in("ann@example.org")
    problem(identity.nobody.at("192.0.2.1").post(LOGIN, {"email": "ann@example.org", "password": PASSWORD}), 429, "rate-limited")


def test_one_address_that_tries_many_accounts_is_slowed(identity: Identity) -> None:
    stranger, began = identity.nobody.at(STRANGER), clock.monotonic()
    answers = [_guess(stranger, f"person{number}@example.org") for number in range(25)]
    came_back = int((clock.monotonic() - began) / throttle.ADDRESS.every_seconds)  # none, unless the machine stood still
    assert answers[:20] == [401] * throttle.ADDRESS.burst
    assert answers[20:].count(429) >= 5 - came_back


def test_addresses_of_one_ipv6_customer_count_as_one(identity: Identity) -> None:
    identity.person()
    crowd = [identity.nobody.at(f"2001:db8:1:2::{number}") for number in range(1, 9)]
    assert _guesses_until_slowed(identity, crowd) == throttle.PAIR.burst


def test_right_log_ins_do_not_count(identity: Identity) -> None:
    identity.person()
    for _ in range(25):
        identity.log_in("ann@example.org")


def test_people_who_do_not_exist_are_slowed_and_answered_alike(identity: Identity) -> None:
    identity.person()
    answers = []
    for email in ("ann@example.org", "nobody@example.org"):
        stranger = identity.nobody.at(STRANGER if email[0] == "a" else "198.51.100.67")
        seen = [stranger.post(LOGIN, {"email": email, "password": "not the password"}) for _ in range(7)]
        answers.append([(one.status_code, one.json["code"], one.json["detail"]) for one in seen if one.json])
    assert answers[0] == answers[1]


def test_people_who_do_not_exist_take_as_long(make_identity: Make) -> None:
    identity = make_identity(argon2_memory_kib=19_456, argon2_passes=2)
    identity.person()
    identity.nobody.post(LOGIN, {"email": "warm@example.org", "password": "x"})
    seconds: dict[str, list[float]] = {"ann@example.org": [], "nobody@example.org": []}
    for number in range(8):
        for email, taken in seconds.items():
            caller, began = identity.nobody.at(f"198.51.100.{number + 1}"), clock.monotonic()
            assert _guess(caller, email) == 401
            taken.append(clock.monotonic() - began)
    # The quickest of eight: what else the machine does only adds to it.
    known, unknown = (min(taken) for taken in seconds.values())
    # Without a hash for people who do not exist it would be ten times as quick.
    assert 0.4 < known / unknown < 2.5


def test_a_refused_log_in_is_recorded_without_what_was_typed(identity: Identity) -> None:
    ann = identity.person()
    team = identity.team(ann)
    _guess(identity.nobody.at(STRANGER))
    _guess(identity.nobody.at(STRANGER), "my-password-by-mistake")
    known, unknown = identity.events("identity.session.refused")
    assert (str(known.team), known.address, known.data.reason) == (team, STRANGER, "credentials-wrong")  # type: ignore[attr-defined]  # Recorded
    assert "mistake" not in str(unknown)
    assert "mistake" not in str(identity.rows("SELECT key FROM throttles"))


def test_limits_are_checked_before_anything_is_hashed(identity: Identity) -> None:
    identity.person()
    stranger = identity.nobody.at(STRANGER)
    _guesses_until_slowed(identity, [stranger] * 5)
    # With every turn of the hasher taken, a request that would hash waits for seconds and is told so.
    turns = identity.parts.hasher._turns
    taken = [turns.acquire(timeout=1) for _ in range(identity.parts.settings.concurrent_hashes)]
    try:
        assert _guess(stranger) == 429
        problem(identity.nobody.at("192.0.2.9").post(LOGIN, {"email": "ann@example.org", "password": PASSWORD}), 503, "busy")
    finally:
        for _ in taken:
            turns.release()


def test_a_strangers_headers_do_not_make_them_somebody_else(identity: Identity) -> None:
    identity.person()
    for number in range(6):
        answer = identity.app.test_client().post(
            LOGIN,
            json={"email": "ann@example.org", "password": "not the password"},
            headers={"X-Forwarded-For": f"10.9.8.{number}, {STRANGER}", "X-Real-IP": "1.2.3.4", "Forwarded": "for=1.2.3.4"},
        )
    assert answer.status_code == 429
    outside = identity.app.test_client().post(
        LOGIN,
        json={"email": "ann@example.org", "password": "not the password"},
        headers={"X-Forwarded-For": "203.0.113.7"},
        environ_overrides={"REMOTE_ADDR": STRANGER},
    )
    assert outside.status_code == 429


def test_registration_is_limited_by_address(make_identity: Make) -> None:
    identity = make_identity(registrations_per_minute=3)
    answers = [
        identity.nobody.post("/api/v1/auth/register", {"email": f"p{n}@example.org", "password": PASSWORD, "name": "P"}) for n in range(4)
    ]
    assert [one.status_code for one in answers] == [201, 201, 201, 429]


def test_guessing_ones_own_password_with_a_stolen_session_is_slowed(identity: Identity) -> None:
    ann = identity.person()
    wrong = {"current_password": "not the password", "new_password": "another good password"}
    answers = [ann.put("/api/v1/me/password", wrong).status_code for _ in range(7)]
    assert answers == [401] * 5 + [429] * 2
    assert body(ann.get("/api/v1/me"))
