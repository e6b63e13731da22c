"""The second factor: codes that work once, recovery codes, and no way around."""

from __future__ import annotations

import base64
import os
from pathlib import Path

import pyotp
import pytest
from werkzeug.test import TestResponse

from kernel import clock
from services.identity.usecases import upkeep
from tests.integration.services.identity.conftest import PASSWORD, Caller, Identity, Make, body, problem

LOGIN = "/api/v1/auth/login"


def _code(secret: str, steps: int = 0) -> str:
    """The code of so many steps from now. One of the past may be too old by the time that it arrives."""
    return pyotp.TOTP(secret).generate_otp(int(clock.now().timestamp()) // 30 + steps)


def _switched_on(ann: Caller) -> tuple[str, list[str]]:
    setup = body(ann.post("/api/v1/me/second-factor", {"password": PASSWORD}), 201)
    assert setup["uri"].startswith("otpauth://totp/")
    codes = body(ann.post("/api/v1/me/second-factor/confirm", {"code": _code(setup["secret"])}))["recovery_codes"]
    return setup["secret"], codes


def _log_in(identity: Identity, **more: str) -> TestResponse:
    return identity.nobody.post(LOGIN, {"email": "ann@example.org", "password": PASSWORD, **more})


def test_with_a_second_factor_the_password_alone_is_not_enough(identity: Identity) -> None:
    ann = identity.person()
    secret, _ = _switched_on(ann)
    assert body(ann.get("/api/v1/me"))["second_factor"] is True
    problem(_log_in(identity), 401, "second-factor-required")
    problem(_log_in(identity, code="000000"), 401, "second-factor-wrong")
    identity.log_in("ann@example.org", code=_code(secret, 1))


def test_the_wrong_password_never_tells_of_a_second_factor(identity: Identity) -> None:
    _switched_on(identity.person())
    answer = identity.nobody.post(LOGIN, {"email": "ann@example.org", "password": "not the password", "code": "000000"})
    problem(answer, 401, "credentials-wrong")


def test_a_code_works_once(identity: Identity) -> None:
    secret, _ = _switched_on(identity.person())
    code = _code(secret, 1)
    identity.log_in("ann@example.org", code=code)
    problem(_log_in(identity, code=code), 401, "second-factor-wrong")


def test_a_recovery_code_works_once_however_it_is_typed(identity: Identity) -> None:
    _, codes = _switched_on(identity.person())
    assert len(set(codes)) == 10
    me = identity.log_in("ann@example.org", code=codes[0].upper().replace("-", " "))
    assert body(me.get("/api/v1/me"))["recovery_codes_left"] == 9
    problem(_log_in(identity, code=codes[0]), 401, "second-factor-wrong")


def test_codes_are_guessed_five_times_and_then_slowly(identity: Identity) -> None:
    _switched_on(identity.person())
    answers = [_log_in(identity, code=f"{number:06}").status_code for number in range(7)]
    assert answers == [401] * 5 + [429] * 2


def test_the_secret_is_encrypted_and_recovery_codes_are_hashed(identity: Identity) -> None:
    secret, codes = _switched_on(identity.person())
    kept = str(identity.rows("SELECT u.*, r.* FROM users u JOIN recovery_codes r ON r.user_id = u.id"))
    assert secret not in kept
    assert not any(code in kept or code.replace("-", "") in kept for code in codes)


def test_an_unconfirmed_secret_changes_nothing(identity: Identity) -> None:
    ann = identity.person()
    body(ann.post("/api/v1/me/second-factor", {"password": PASSWORD}), 201)
    problem(ann.post("/api/v1/me/second-factor/confirm", {"code": "000000"}), 422, "second-factor-wrong")
    identity.log_in("ann@example.org")


def test_switching_it_off_takes_password_and_code(identity: Identity) -> None:
    ann = identity.person()
    secret, codes = _switched_on(ann)
    off = "/api/v1/me/second-factor/disable"
    problem(ann.post(off, {"password": "not the password", "code": _code(secret, 1)}), 401, "password-wrong")
    problem(ann.post(off, {"password": PASSWORD, "code": "000000"}), 422, "second-factor-wrong")
    assert ann.post(off, {"password": PASSWORD, "code": codes[0]}).status_code == 204
    identity.log_in("ann@example.org")
    assert len(identity.events("identity.second_factor.changed")) == 2


def test_new_recovery_codes_void_the_old(identity: Identity) -> None:
    ann = identity.person()
    _, old = _switched_on(ann)
    new = body(ann.post("/api/v1/me/second-factor/recovery-codes", {"password": PASSWORD}), 201)["recovery_codes"]
    problem(_log_in(identity, code=old[0]), 401, "second-factor-wrong")
    identity.log_in("ann@example.org", code=new[0])


@pytest.mark.parametrize("path", ["second-factor", "second-factor/recovery-codes"])
def test_setting_it_up_takes_the_password(identity: Identity, path: str) -> None:
    ann = identity.person()
    problem(ann.post(f"/api/v1/me/{path}", {"password": "not the password"}), 401, "password-wrong")


def test_it_is_not_set_up_over_one_that_is_set(identity: Identity) -> None:
    ann = identity.person()
    _switched_on(ann)
    problem(ann.post("/api/v1/me/second-factor", {"password": PASSWORD}), 409, "second-factor-set")


def test_a_change_of_the_key_ring_leaves_second_factors_working(make_identity: Make, key_ring: Path) -> None:
    secret, _ = _switched_on(make_identity().person())
    old = key_ring.read_text()
    key_ring.write_text(f"two:{base64.b64encode(os.urandom(32)).decode()}\n" + old)
    upkeep.rotate_keys_in_time(make_identity().parts)
    key_ring.write_text(key_ring.read_text().splitlines()[0] + "\n")
    make_identity().log_in("ann@example.org", code=_code(secret, 1))
