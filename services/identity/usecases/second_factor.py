"""The second factor: time-based codes (RFC 6238), each good once, and recovery codes for a lost device."""

from __future__ import annotations

import base64
import hmac
import os
import re
from dataclasses import dataclass, field
from uuid import UUID

from sqlalchemy.orm import Session

from kernel import clock
from kernel.errors import Conflict, FieldError, Invalid, NotFound, Unauthenticated
from kernel.principal import Principal
from services.identity.domain import throttle, tokens
from services.identity.models import User
from services.identity.store import people, throttles
from services.identity.usecases import events, limits
from services.identity.usecases.events import Thing
from services.identity.usecases.parts import Parts

RECOVERY_CODES = 10
_STEP_SECONDS = 30
_CODE = re.compile(r"\d{6}\Z")
# Clocks of telephones are off by some seconds: the neighbours of the present step count too.
_NEIGHBOURS = (-1, 0, 1)


@dataclass(frozen=True)
class Setup:
    """What an authenticator app needs; shown once."""

    secret: str = field(repr=False)
    uri: str = field(repr=False)


def start(parts: Parts, who: Principal, password: str) -> Setup:
    """A new secret that waits for its first code. Raises Unauthenticated `password-wrong`, Conflict when one is set."""
    import pyotp

    confirm_password(parts, who, password)
    secret = base64.b32encode(os.urandom(20)).decode()
    with parts.db.system() as session:
        user = _locked(session, who.id)
        if user.totp_enabled_at is not None:
            raise Conflict("second-factor-set", "A second factor is set already. Switch it off first.")
        user.totp_sealed = parts.ring.encrypt(secret.encode(), _context(user.id))
        user.totp_step = None
        return Setup(secret, pyotp.TOTP(secret).provisioning_uri(name=user.email, issuer_name="Fairlead"))


def confirm(parts: Parts, who: Principal, code: str) -> list[str]:
    """Switch it on with a first code. Returns the recovery codes, shown once. Raises Invalid, Conflict."""
    draws = throttle.draws_of_second_factor(who.email or "", who.address, is_known_place=True)
    limits.draw(parts.db, draws)
    with parts.db.system() as session:
        user = _locked(session, who.id)
        if user.totp_sealed is None or user.totp_enabled_at is not None:
            raise Conflict("second-factor-not-started", "Start setting up the second factor first.")
        if not _use_totp(parts, user, code):
            raise Invalid([FieldError("code", "is not the code that the app shows now")], code="second-factor-wrong")
        user.totp_enabled_at = clock.now()
        throttles.give_back(session, draws)
        people.touch(session, user, clock.now())
        _tell(session, who, user, {"second_factor": True})
        return _new_recovery_codes(session, user.id)


def renew_recovery_codes(parts: Parts, who: Principal, password: str) -> list[str]:
    """New recovery codes; the old ones are void. Raises Unauthenticated `password-wrong`, Conflict."""
    confirm_password(parts, who, password)
    with parts.db.system() as session:
        user = _locked(session, who.id)
        if user.totp_enabled_at is None:
            raise Conflict("second-factor-not-set", "There is no second factor.")
        _tell(session, who, user, {"recovery_codes": "renewed"})
        return _new_recovery_codes(session, user.id)


def disable(parts: Parts, who: Principal, password: str, code: str) -> None:
    """Switch it off: takes the password and a code. Raises Unauthenticated, Invalid, Conflict."""
    confirm_password(parts, who, password)
    draws = throttle.draws_of_second_factor(who.email or "", who.address, is_known_place=True)
    limits.draw(parts.db, draws)
    with parts.db.system() as session:
        user = _locked(session, who.id)
        if user.totp_enabled_at is None:
            raise Conflict("second-factor-not-set", "There is no second factor.")
        if not _use(session, parts, user, code):
            raise Invalid([FieldError("code", "is wrong or was used")], code="second-factor-wrong")
        user.totp_sealed = user.totp_enabled_at = user.totp_step = None
        throttles.give_back(session, draws)
        people.set_recovery_codes(session, user.id, [])
        people.touch(session, user, clock.now())
        _tell(session, who, user, {"second_factor": False})


def use_code(parts: Parts, user_id: UUID, code: str) -> bool:
    """Use up a code, of the app or of recovery. False when it is wrong or was used."""
    with parts.db.system() as session:
        return _use(session, parts, _locked(session, user_id), code)


def _use(session: Session, parts: Parts, user: User, code: str) -> bool:
    plain = code.replace(" ", "").replace("-", "").lower()
    if _CODE.match(plain):
        return _use_totp(parts, user, plain)
    return people.use_recovery_code(session, user.id, tokens.digest(plain))


def _use_totp(parts: Parts, user: User, code: str) -> bool:
    import pyotp

    if user.totp_sealed is None:
        return False
    totp = pyotp.TOTP(parts.ring.decrypt(user.totp_sealed, _context(user.id)).decode())
    present = int(clock.now().timestamp()) // _STEP_SECONDS
    for step in (present + offset for offset in _NEIGHBOURS):
        is_new = user.totp_step is None or step > user.totp_step
        if hmac.compare_digest(totp.generate_otp(step).encode(), code.replace(" ", "").encode()) and is_new:
            user.totp_step = step
            return True
    return False


def _new_recovery_codes(session: Session, user_id: UUID) -> list[str]:
    plain = [base64.b32encode(os.urandom(10)).decode().lower() for _ in range(RECOVERY_CODES)]
    people.set_recovery_codes(session, user_id, [tokens.digest(one) for one in plain])
    return [f"{one[:4]}-{one[4:8]}-{one[8:12]}-{one[12:]}" for one in plain]


def confirm_password(parts: Parts, who: Principal, password: str) -> User:
    """Raises Unauthenticated `password-wrong`, slowly for those who guess, or Conflict for people without one."""
    draws = throttle.draws_of_log_in(who.email or "", who.address, is_known_place=True)
    limits.draw(parts.db, draws)
    with parts.db.system() as session:
        user = people.find(session, who.id)
    if user is None:
        raise NotFound("person")
    if user.password_hash is None:
        raise Conflict("password-not-set", "You have no password yet: set one by 'forgotten password' first.")
    if not parts.hasher.verify(user.password_hash, password):
        raise Unauthenticated("The password is wrong.", code="password-wrong")
    limits.give_back(parts.db, draws)
    return user


def _locked(session: Session, user_id: UUID) -> User:
    user = people.find(session, user_id, lock=True)
    if user is None:
        raise NotFound("person")
    return user


def _context(user_id: UUID) -> str:
    return f"users.totp:{user_id}"


def _tell(session: Session, who: Principal, user: User, after: dict[str, object]) -> None:
    thing = Thing("user", user.id, user.email)
    events.tell_teams(session, "second_factor.changed", thing, events.by_principal(who), user.id, after=after)


def reseal(session: Session, parts: Parts, *, limit: int = 500) -> int:
    """Encrypt secrets anew that an old key of the ring still holds, some at a time. Returns how many."""
    found = people.sealed_with_other_keys(session, parts.ring.current, limit)
    for user in found:
        if user.totp_sealed is not None:
            user.totp_sealed = parts.ring.encrypt(parts.ring.decrypt(user.totp_sealed, _context(user.id)), _context(user.id))
    return len(found)
