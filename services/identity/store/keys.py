"""Signing keys as they are kept."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import delete, func, select, text
from sqlalchemy.orm import Session

from services.identity.models import SigningKey

_MAKING = 0x0FA1_1D02


def all_valid(session: Session) -> list[SigningKey]:
    """Keys whose signatures still count, oldest first."""
    query = select(SigningKey).where((SigningKey.ends_at.is_(None)) | (SigningKey.ends_at > func.now()))
    return list(session.execute(query.order_by(SigningKey.signs_from, SigningKey.id)).scalars())


def wait_for_turn(session: Session) -> None:
    """One maker of keys at a time."""
    session.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _MAKING})


def add(session: Session, key: SigningKey) -> None:
    session.add(key)
    session.flush()


def end_others(session: Session, key_id: str, ends_at: datetime) -> None:
    """Let every other key end then, or earlier where it ends already."""
    for other in all_valid(session):
        if other.id != key_id:
            other.ends_at = min(ends_at, other.ends_at or ends_at)


def forget_ended(session: Session) -> None:
    session.execute(delete(SigningKey).where(SigningKey.ends_at < func.now()))
