"""Logging in: limits before hashing, the same work and answer for people who do not exist, then the second factor."""

from __future__ import annotations

from dataclasses import dataclass, field

from sqlalchemy.orm import Session

from kernel.errors import RateLimited, Unauthenticated
from services.identity.domain import people as rules
from services.identity.domain import throttle
from services.identity.domain.throttle import Draw
from services.identity.models import User
from services.identity.store import people, throttles
from services.identity.store.people import Candidate
from services.identity.usecases import events, limits, second_factor, sessions
from services.identity.usecases.events import Thing
from services.identity.usecases.parts import Origin, Parts
from services.identity.usecases.sessions import Grant


@dataclass(frozen=True)
class Credentials:
    """What somebody says who wants to log in. `code`: of the second factor, or one of recovery."""

    email: str
    password: str = field(repr=False)
    code: str | None = field(default=None, repr=False)


def log_in(parts: Parts, credentials: Credentials, origin: Origin) -> Grant:
    """A session's tokens. Raises Unauthenticated (`credentials-wrong`, `second-factor-required`, `second-factor-wrong`) or RateLimited."""
    email = rules.normal_email(credentials.email)
    candidate, draws = _admit(parts, email, origin)
    user = candidate.user
    if not parts.hasher.verify(user.password_hash if user else None, credentials.password) or user is None:
        _record_refusal(parts, user, origin, "credentials-wrong")
        raise Unauthenticated("The e-mail address or the password is wrong.", code="credentials-wrong")
    renewed = _rehashed(parts, user, credentials.password)
    _check_second_factor(parts, user, credentials.code, candidate, origin, draws)
    with parts.db.system() as session:
        present = people.find(session, user.id, lock=True)
        if present is None or present.password_hash != user.password_hash:
            raise Unauthenticated("The password was changed this moment.", code="credentials-wrong")
        if renewed is not None:
            present.password_hash = renewed
        throttles.give_back(session, draws)
        grant = sessions.begin(session, parts, present, origin, "password")
    return sessions.signed(parts, grant)


def _admit(parts: Parts, email: str, origin: Origin) -> tuple[Candidate, tuple[Draw, ...]]:
    """Who it may be, and what was drawn. Raises RateLimited before anything costs time."""
    with parts.db.system() as session:
        candidate = people.find_candidate(session, email, throttle.place(origin.address))
        draws = throttle.draws_of_log_in(email, origin.address, is_known_place=candidate.is_known_place)
        wait = throttles.take(session, draws)
        if wait:
            raise RateLimited(wait, "Too many wrong log-ins. Wait, then try again; a reset password lets you in at once.")
    return candidate, draws


def _rehashed(parts: Parts, user: User, password: str) -> str | None:
    """A new hash where the settings have changed since the old one was made."""
    if user.password_hash is None or not parts.hasher.is_outdated(user.password_hash):
        return None
    return parts.hasher.hash(password)


def _check_second_factor(parts: Parts, user: User, code: str | None, candidate: Candidate, origin: Origin, draws: tuple[Draw, ...]) -> None:
    if user.totp_enabled_at is None:
        return
    if not code:
        limits.give_back(parts.db, draws)
        raise Unauthenticated("Send the code of your second factor too.", code="second-factor-required")
    more = throttle.draws_of_second_factor(user.email, origin.address, is_known_place=candidate.is_known_place)
    limits.draw(parts.db, more)
    if not second_factor.use_code(parts, user.id, code):
        _record_refusal(parts, user, origin, "second-factor-wrong")
        raise Unauthenticated("The code of the second factor is wrong or was used.", code="second-factor-wrong")
    limits.give_back(parts.db, more)


def _record_refusal(parts: Parts, user: User | None, origin: Origin, reason: str) -> None:
    """Record the try. What was typed instead of an address is never written down: it may be a password."""
    with parts.db.system() as session:
        record_refusal_in(session, user, origin, reason)


def record_refusal_in(session: Session, user: User | None, origin: Origin, reason: str) -> None:
    thing = Thing("user", user.id, user.email) if user else Thing("user", "unknown")
    facts = events.by_nobody(origin)
    events.tell_teams(session, "session.refused", thing, facts, user.id if user else None, refused=True, reason=reason)
