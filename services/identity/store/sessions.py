"""Log-in sessions, their refresh tokens, and who a token belongs to: the hot path of the whole system."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Row, delete, func, select, text, update
from sqlalchemy.orm import Session

from services.identity.models import PersonalToken, RefreshToken, TeamToken, UserSession


@dataclass(frozen=True)
class Bearer:
    """Whom a token belongs to, and what they are in the team that was asked for."""

    id: UUID
    name: str
    email: str | None
    role: str | None
    scopes: tuple[str, ...]
    secret_hash: bytes
    team_id: UUID | None = None
    was_used_lately: bool = True


_OF_SESSION = text("""
SELECT u.id, u.name, u.email, m.role FROM sessions s JOIN users u ON u.id = s.user_id
LEFT JOIN memberships m ON m.user_id = u.id AND m.team_id = :team
WHERE s.id = :id AND u.id = :user AND s.ended_at IS NULL AND s.expires_at > now()""")
_OF_PERSONAL_TOKEN = text("""
SELECT u.id, u.name, u.email, m.role, t.scopes, t.secret_hash, t.name AS token_name,
  coalesce(t.last_used_at > now() - interval '60 seconds', false) AS lately
FROM personal_tokens t JOIN users u ON u.id = t.user_id
LEFT JOIN memberships m ON m.user_id = u.id AND m.team_id = :team
WHERE t.id = :id AND (t.expires_at IS NULL OR t.expires_at > now())""")
_OF_TEAM_TOKEN = text("""
SELECT t.id, t.name, t.role, t.scopes, t.secret_hash, t.team_id,
  coalesce(t.last_used_at > now() - interval '60 seconds', false) AS lately
FROM team_tokens t WHERE t.id = :id AND (t.expires_at IS NULL OR t.expires_at > now())""")


def bearer_of_session(session: Session, session_id: UUID, user_id: UUID, team_id: UUID | None) -> Bearer | None:
    row = session.execute(_OF_SESSION, {"id": session_id, "user": user_id, "team": team_id}).one_or_none()
    return Bearer(row.id, row.name, row.email, row.role, ("admin",), b"") if row else None


def bearer_of_personal_token(session: Session, token_id: UUID, team_id: UUID | None) -> Bearer | None:
    row = session.execute(_OF_PERSONAL_TOKEN, {"id": token_id, "team": team_id}).one_or_none()
    if row is None:
        return None
    name = f"{row.name} (token {row.token_name})"
    return Bearer(row.id, name, row.email, row.role, tuple(row.scopes), row.secret_hash, None, row.lately)


def bearer_of_team_token(session: Session, token_id: UUID, team_id: UUID | None) -> Bearer | None:
    row: Row[Any] | None = session.execute(_OF_TEAM_TOKEN, {"id": token_id}).one_or_none()
    if row is None:
        return None
    role = row.role if row.team_id == team_id else None
    return Bearer(row.id, row.name, None, role, tuple(row.scopes), row.secret_hash, row.team_id, row.lately)


def note_use(session: Session, kind: str, token_id: UUID, address: str | None) -> None:
    """Write down when a token was used last: at most once a minute each, whoever asks meanwhile."""
    table = PersonalToken if kind == "pat" else TeamToken
    long_ago = (table.last_used_at.is_(None)) | (table.last_used_at < func.now() - text("interval '60 seconds'"))
    session.execute(update(table).where(table.id == token_id, long_ago).values(last_used_at=func.now(), last_address=address))


def find(session: Session, session_id: UUID, *, lock: bool = False) -> UserSession | None:
    return session.get(UserSession, session_id, with_for_update=lock or None)


def live_of(session: Session, user_id: UUID, limit: int, after: UUID | None) -> list[UserSession]:
    """Newest first."""
    query = select(UserSession).where(UserSession.user_id == user_id, UserSession.ended_at.is_(None), UserSession.expires_at > func.now())
    if after is not None:
        query = query.where(UserSession.id < after)
    return list(session.execute(query.order_by(UserSession.id.desc()).limit(limit)).scalars())


def end(session: Session, session_id: UUID, why: str, now: datetime) -> bool:
    """End it. False when it had ended already."""
    ended = session.execute(
        update(UserSession)
        .where(UserSession.id == session_id, UserSession.ended_at.is_(None))
        .values(ended_at=now, ended_why=why)
        .returning(UserSession.id)
    )
    return ended.first() is not None


def end_all(session: Session, user_id: UUID, why: str, now: datetime, *, besides: UUID | None = None) -> int:
    """End all sessions of a person, except one. Returns how many."""
    query = update(UserSession).where(UserSession.user_id == user_id, UserSession.ended_at.is_(None))
    if besides is not None:
        query = query.where(UserSession.id != besides)
    return len(session.execute(query.values(ended_at=now, ended_why=why).returning(UserSession.id)).all())


def find_refresh(session: Session, token_hash: bytes) -> RefreshToken | None:
    """The token, locked, so that of two users of it one is second."""
    query = select(RefreshToken).where(RefreshToken.token_hash == token_hash)
    return session.execute(query.with_for_update()).scalar_one_or_none()


def forget_old(session: Session) -> None:
    """Sessions that ended or lapsed 30 days ago."""
    gone = text("interval '30 days'")
    session.execute(delete(UserSession).where((UserSession.ended_at < func.now() - gone) | (UserSession.expires_at < func.now() - gone)))


def personal_tokens(session: Session, user_id: UUID, limit: int, after: UUID | None) -> list[PersonalToken]:
    query = select(PersonalToken).where(PersonalToken.user_id == user_id)
    if after is not None:
        query = query.where(PersonalToken.id < after)
    return list(session.execute(query.order_by(PersonalToken.id.desc()).limit(limit)).scalars())


def personal_token(session: Session, user_id: UUID, token_id: UUID, *, lock: bool = False) -> PersonalToken | None:
    query = select(PersonalToken).where(PersonalToken.user_id == user_id, PersonalToken.id == token_id)
    return session.execute(query.with_for_update() if lock else query).scalar_one_or_none()


def count_personal_tokens(session: Session, user_id: UUID) -> int:
    return session.execute(select(func.count()).select_from(PersonalToken).where(PersonalToken.user_id == user_id)).scalar_one()
