"""Sessions: begin, refresh, end, list."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from uuid import UUID

from sqlalchemy.orm import Session

from kernel import clock
from kernel.errors import NotFound, Unauthenticated
from kernel.principal import Principal
from services.identity.domain import throttle, tokens
from services.identity.models import RefreshToken, User, UserSession
from services.identity.store import people
from services.identity.store import sessions as store
from services.identity.usecases import events
from services.identity.usecases.events import Thing
from services.identity.usecases.parts import Origin, Parts

_LONGEST_USER_AGENT = 256


@dataclass(frozen=True)
class Grant:
    """What a log-in gives."""

    user_id: UUID
    session_id: UUID
    refresh_token: str = field(repr=False)
    access_token: str = field(default="", repr=False)
    expires_in: int = 0
    token_type: str = "Bearer"  # noqa: S105 - the word of RFC 6750


def begin(session: Session, parts: Parts, user: User, origin: Origin, method: str) -> Grant:
    """Begin a session in the caller's transaction; `signed` adds the access token after it."""
    now = clock.now()
    begun = UserSession(
        id=clock.new_id(),
        user_id=user.id,
        method=method,
        address=origin.address,
        user_agent=(origin.user_agent or "")[:_LONGEST_USER_AGENT] or None,
        expires_at=now + timedelta(days=parts.settings.session_days),
    )
    session.add(begun)
    session.flush()
    user.last_login_at = now
    people.remember_place(session, user.id, throttle.place(origin.address))
    events.tell_teams(
        session, "session.started", Thing("session", begun.id, user.email), events.by(user, origin), user.id,
        after={"method": method, "address": origin.address, "user_agent": begun.user_agent},
    )  # fmt: skip
    return Grant(user.id, begun.id, _new_refresh_token(session, parts, begun.id))


def _new_refresh_token(session: Session, parts: Parts, session_id: UUID) -> str:
    token = tokens.Opaque(tokens.REFRESH, session_id, clock.random_token())
    life = timedelta(days=parts.settings.refresh_token_days)
    session.add(RefreshToken(token_hash=tokens.digest(str(token)), session_id=session_id, expires_at=clock.now() + life))
    return str(token)


def signed(parts: Parts, grant: Grant) -> Grant:
    """The grant with its access token."""
    seconds = parts.settings.access_token_seconds
    access = parts.signer.access_token(grant.user_id, grant.session_id, seconds)
    return Grant(grant.user_id, grant.session_id, grant.refresh_token, access, seconds)


def refresh(parts: Parts, text: str, origin: Origin) -> Grant:
    """A new pair of tokens; the old refresh token is used up. Using it again ends the session. Raises Unauthenticated."""
    wrong = Unauthenticated("The refresh token is wrong, used or expired: sign in again.", code="refresh-token-wrong")
    given = tokens.parse(text)
    if given is None or given.kind != tokens.REFRESH:
        raise wrong
    with parts.db.system() as session:
        grant = _rotate(session, parts, given, origin)
    if grant is None:
        raise wrong
    return signed(parts, grant)


def _rotate(session: Session, parts: Parts, given: tokens.Opaque, origin: Origin) -> Grant | None:
    now = clock.now()
    kept = store.find_refresh(session, tokens.digest(str(given)))
    if kept is None:
        return None
    begun = store.find(session, kept.session_id, lock=True)
    user = people.find(session, begun.user_id) if begun else None
    if begun is None or user is None or begun.ended_at is not None or begun.expires_at <= now:
        return None
    if kept.used_at is not None:
        _on_reuse(session, user, begun, origin)
        return None
    if kept.expires_at <= now:
        return None
    kept.used_at = now
    begun.last_used_at = now
    begun.address = origin.address or begun.address
    people.remember_place(session, user.id, throttle.place(origin.address))
    return Grant(user.id, begun.id, _new_refresh_token(session, parts, begun.id))


def _on_reuse(session: Session, user: User, begun: UserSession, origin: Origin) -> None:
    """Two hold the same token, and one of them is a thief: neither keeps the session."""
    store.end(session, begun.id, "refresh token used twice", clock.now())
    events.tell_teams(
        session, "session.reuse_detected", Thing("session", begun.id, user.email), events.by(user, origin), user.id,
        refused=True, reason="refresh-token-reused",
    )  # fmt: skip


def log_out(parts: Parts, session_id: UUID, origin: Origin) -> None:
    """End the session that a valid token named. Twice is as good as once."""
    with parts.db.system() as session:
        begun = store.find(session, session_id)
        user = people.find(session, begun.user_id) if begun else None
        if begun is not None and user is not None and store.end(session, session_id, "logged out", clock.now()):
            events.tell_teams(
                session, "session.ended", Thing("session", session_id, user.email), events.by(user, origin), user.id, reason="logged out"
            )


def session_of_refresh_token(parts: Parts, text: str) -> UUID:
    """The session that a refresh token belongs to, used up or not. Raises Unauthenticated."""
    with parts.db.system() as session:
        kept = store.find_refresh(session, tokens.digest(text))
        if kept is None:
            raise Unauthenticated
        return kept.session_id


def list_sessions(parts: Parts, who: Principal, limit: int, after: UUID | None) -> list[UserSession]:
    """One's own live sessions, newest first."""
    with parts.db.system() as session:
        return store.live_of(session, who.id, limit, after)


def end_session(parts: Parts, who: Principal, session_id: UUID) -> None:
    """End one of one's own sessions. Raises NotFound."""
    with parts.db.system() as session:
        begun = store.find(session, session_id, lock=True)
        why = "ended by its person"
        if begun is None or begun.user_id != who.id or not store.end(session, session_id, why, clock.now()):
            raise NotFound("session")
        thing = Thing("session", session_id, who.email or "")
        events.tell_teams(session, "session.ended", thing, events.by_principal(who), who.id, reason=why)
