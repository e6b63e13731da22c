"""People, where they have signed in, their recovery codes, and links that were mailed to them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import delete, exists, func, select, text, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from services.identity.models import EmailToken, ExternalIdentity, KnownPlace, Mail, OidcFlow, RecoveryCode, User

_REGISTERING = 0x0FA1_1D01
_PLACE_LIFE_DAYS = 60


def find(session: Session, user_id: UUID, *, lock: bool = False) -> User | None:
    return session.get(User, user_id, with_for_update=lock or None)


def find_by_email(session: Session, email: str) -> User | None:
    return session.execute(select(User).where(User.email == email)).scalar_one_or_none()


@dataclass(frozen=True)
class Candidate:
    """Whom a log-in may be, and whether they have signed in from there before."""

    user: User | None
    is_known_place: bool


def find_candidate(session: Session, email: str, place: str) -> Candidate:
    """One query, alike for people who exist and those who do not."""
    known = exists().where(
        KnownPlace.user_id == User.id,
        KnownPlace.place == place,
        KnownPlace.seen_at > func.now() - text(f"interval '{_PLACE_LIFE_DAYS} days'"),
    )
    row = session.execute(select(User, known).where(User.email == email)).one_or_none()
    return Candidate(row[0], bool(row[1])) if row else Candidate(None, False)


def remember_place(session: Session, user_id: UUID, place: str) -> None:
    values = insert(KnownPlace).values(user_id=user_id, place=place)
    session.execute(values.on_conflict_do_update(index_elements=["user_id", "place"], set_={"seen_at": func.now()}))


def forget_places(session: Session, user_id: UUID) -> None:
    session.execute(delete(KnownPlace).where(KnownPlace.user_id == user_id))


def wait_for_turn_to_register(session: Session) -> None:
    """One registration at a time while it matters who is first."""
    session.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _REGISTERING})


def is_empty(session: Session) -> bool:
    """Is there nobody yet?"""
    return not session.execute(select(exists(select(User.id)))).scalar_one()


def set_recovery_codes(session: Session, user_id: UUID, hashes: Iterable[bytes]) -> None:
    session.execute(delete(RecoveryCode).where(RecoveryCode.user_id == user_id))
    session.add_all(RecoveryCode(user_id=user_id, code_hash=one) for one in hashes)


def use_recovery_code(session: Session, user_id: UUID, code_hash: bytes) -> bool:
    """Strike the code out. False when there is none such."""
    found = session.execute(
        delete(RecoveryCode).where(RecoveryCode.user_id == user_id, RecoveryCode.code_hash == code_hash).returning(RecoveryCode.user_id)
    )
    return found.first() is not None


def count_recovery_codes(session: Session, user_id: UUID) -> int:
    return session.execute(select(func.count()).select_from(RecoveryCode).where(RecoveryCode.user_id == user_id)).scalar_one()


def add_mail(session: Session, mail: Mail) -> None:
    session.add(mail)


def due_mail(session: Session) -> Mail | None:
    """The next mail to send, locked; another worker takes another one."""
    query = select(Mail).where(Mail.not_before <= func.now()).order_by(Mail.not_before).limit(1)
    return session.execute(query.with_for_update(skip_locked=True)).scalar_one_or_none()


def put_email_token(session: Session, token: EmailToken) -> None:
    """Keep a mailed link; it voids earlier ones of the same purpose."""
    session.execute(delete(EmailToken).where(EmailToken.user_id == token.user_id, EmailToken.purpose == token.purpose))
    session.add(token)


def use_email_token(session: Session, token_hash: bytes, purposes: tuple[str, ...]) -> EmailToken | None:
    """Strike the link out and return it, if it is still good."""
    found = session.execute(
        select(EmailToken)
        .where(EmailToken.token_hash == token_hash, EmailToken.purpose.in_(purposes), EmailToken.expires_at > func.now())
        .with_for_update()
    ).scalar_one_or_none()
    if found is not None:
        session.delete(found)
    return found


def find_external(session: Session, issuer: str, subject: str) -> ExternalIdentity | None:
    return session.get(ExternalIdentity, (issuer, subject))


def externals_of(session: Session, user_id: UUID) -> list[ExternalIdentity]:
    return list(session.execute(select(ExternalIdentity).where(ExternalIdentity.user_id == user_id).limit(20)).scalars())


def use_flow(session: Session, state_hash: bytes, flow_hash: bytes) -> OidcFlow | None:
    """Strike out the log-in that `state` names, if it is still good and this is who began it."""
    return session.execute(
        delete(OidcFlow)
        .where(OidcFlow.state_hash == state_hash, OidcFlow.flow_hash == flow_hash, OidcFlow.expires_at > func.now())
        .returning(OidcFlow)
    ).scalar_one_or_none()


def touch(session: Session, user: User, now: datetime) -> None:
    """Somebody changed the person."""
    user.updated_at = now
    user.revision += 1


def forget_old(session: Session) -> None:
    """Links, flows and places that no longer count."""
    session.execute(delete(EmailToken).where(EmailToken.expires_at < func.now()))
    session.execute(delete(OidcFlow).where(OidcFlow.expires_at < func.now()))
    session.execute(delete(KnownPlace).where(KnownPlace.seen_at < func.now() - text(f"interval '{_PLACE_LIFE_DAYS} days'")))


def set_password(session: Session, user_id: UUID, password_hash: str) -> None:
    session.execute(update(User).where(User.id == user_id).values(password_hash=password_hash))


def sealed_with_other_keys(session: Session, key_id: str, limit: int) -> list[User]:
    """People whose second factor another key of the ring holds, locked."""
    query = select(User).where(User.totp_sealed.is_not(None), User.totp_sealed.not_like(f"v1.{key_id}.%"))
    return list(session.execute(query.order_by(User.id).limit(limit).with_for_update()).scalars())
