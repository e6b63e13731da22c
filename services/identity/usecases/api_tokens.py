"""API tokens of people and of teams: shown once, scoped, never above their maker."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import TypeVar
from uuid import UUID

from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from kernel import clock
from kernel.db import violated
from kernel.errors import Conflict, FieldError, Invalid, NotFound
from kernel.permissions import Role
from kernel.principal import Principal
from services.identity.domain import tokens as rules
from services.identity.models import PersonalToken, TeamToken
from services.identity.store import sessions as store
from services.identity.store import teams
from services.identity.usecases import events
from services.identity.usecases.events import Thing
from services.identity.usecases.parts import Parts
from services.identity.usecases.teams import check_is_person

Row = TypeVar("Row", PersonalToken, TeamToken)

MOST_TOKENS = 100
_LONGEST_LIFE_YEARS = 10


@dataclass(frozen=True)
class Wanted:
    """What a new token shall be; `role` for a team's only."""

    name: str
    scopes: list[str]
    expires_at: datetime | None = None
    role: Role | None = None


@dataclass(frozen=True)
class Made:
    """A new token; its text is never shown again."""

    id: UUID
    name: str
    scopes: list[str]
    role: Role | None
    created_at: datetime
    expires_at: datetime | None
    last_used_at: datetime | None
    last_address: str | None
    token: str = field(repr=False)


def _check(who: Principal, wanted: Wanted) -> None:
    wrong = rules.scope_errors(wanted.scopes, who.scopes)
    now = clock.now()
    if wanted.expires_at is not None and wanted.expires_at <= now:
        wrong.append(FieldError("expires_at", "must be in the future"))
    if wanted.expires_at is not None and wanted.expires_at.year > now.year + _LONGEST_LIFE_YEARS:
        wrong.append(FieldError("expires_at", f"must be within {_LONGEST_LIFE_YEARS} years"))
    if wanted.role is not None:
        wrong += rules.role_errors(wanted.role, who.role)
    if wrong:
        raise Invalid(wrong)


def _made(row: PersonalToken | TeamToken, opaque: rules.Opaque) -> Made:
    role = Role(row.role) if isinstance(row, TeamToken) else None
    return Made(row.id, row.name, row.scopes, role, row.created_at, row.expires_at, None, None, str(opaque))


def create_personal(parts: Parts, who: Principal, wanted: Wanted) -> Made:
    """A token that acts for its person. Raises Invalid (scopes above the caller's), Conflict."""
    check_is_person(who)
    _check(who, wanted)
    opaque = rules.Opaque(rules.PERSONAL, clock.new_id(), clock.random_token())
    with parts.db.system() as session:
        if store.count_personal_tokens(session, who.id) >= MOST_TOKENS:
            raise Conflict("too-many-tokens", f"A person may have {MOST_TOKENS} tokens.")
        row = PersonalToken(
            id=opaque.id, user_id=who.id, name=wanted.name.strip(), secret_hash=rules.digest(opaque.secret),
            scopes=wanted.scopes, expires_at=wanted.expires_at, created_at=clock.now(),
        )  # fmt: skip
        session.add(row)
        session.flush()
        _tell_of_personal(session, "token.created", who, row)
    return _made(row, opaque)


def _tell_of_personal(session: Session, name: str, who: Principal, row: PersonalToken) -> None:
    after = {"kind": "personal", "name": row.name, "scopes": list(row.scopes), "expires_at": _when(row.expires_at)}
    events.tell_teams(session, name, Thing("token", row.id, row.name), events.by_principal(who), who.id, after=after)


def _when(moment: datetime | None) -> str | None:
    return clock.rfc3339(moment) if moment else None


def list_personal(parts: Parts, who: Principal, limit: int, after: UUID | None) -> list[PersonalToken]:
    check_is_person(who)
    with parts.db.system() as session:
        return store.personal_tokens(session, who.id, limit, after)


def get_personal(parts: Parts, who: Principal, token_id: UUID) -> PersonalToken:
    """Raises NotFound."""
    check_is_person(who)
    with parts.db.system() as session:
        return _found(store.personal_token(session, who.id, token_id))


def _found(row: Row | None) -> Row:
    if row is None:
        raise NotFound("token")
    return row


def revoke_personal(parts: Parts, who: Principal, token_id: UUID) -> None:
    """The token is worth nothing from now on. Raises NotFound."""
    check_is_person(who)
    with parts.db.system() as session:
        row = _found(store.personal_token(session, who.id, token_id, lock=True))
        session.delete(row)
        _tell_of_personal(session, "token.revoked", who, row)


def create_of_team(parts: Parts, who: Principal, wanted: Wanted) -> Made:
    """A token that belongs to the team and to no person. Raises Invalid (role or scopes above the caller's), Conflict."""
    _check(who, wanted)
    opaque = rules.Opaque(rules.TEAM, clock.new_id(), clock.random_token())
    try:
        with parts.db.team(who.team) as session:
            if teams.count_tokens(session, who.team) >= MOST_TOKENS:
                raise Conflict("too-many-tokens", f"A team may have {MOST_TOKENS} tokens.")
            row = TeamToken(
                id=opaque.id, team_id=who.team, name=wanted.name.strip(), role=wanted.role, secret_hash=rules.digest(opaque.secret),
                scopes=wanted.scopes, created_by=who.actor, expires_at=wanted.expires_at, created_at=clock.now(),
            )  # fmt: skip
            session.add(row)
            session.flush()
            _tell_of_team(session, "token.created", who, row)
    except IntegrityError as error:
        if violated(error) == "fk_team_tokens_team_id":
            raise NotFound("team") from error
        raise
    return _made(row, opaque)


def _tell_of_team(session: Session, name: str, who: Principal, row: TeamToken) -> None:
    after = {"kind": "team", "name": row.name, "role": str(row.role), "scopes": list(row.scopes), "expires_at": _when(row.expires_at)}
    events.tell(session, name, Thing("token", row.id, row.name), events.by_principal(who), team=who.team, after=after)


def list_of_team(parts: Parts, who: Principal, limit: int, after: UUID | None) -> list[TeamToken]:
    with parts.db.team(who.team) as session:
        return teams.tokens(session, who.team, limit, after)


def get_of_team(parts: Parts, who: Principal, token_id: UUID) -> TeamToken:
    """Raises NotFound."""
    with parts.db.team(who.team) as session:
        return _found(teams.token(session, who.team, token_id))


def revoke_of_team(parts: Parts, who: Principal, token_id: UUID) -> None:
    """The token is worth nothing from now on. Raises NotFound."""
    with parts.db.team(who.team) as session:
        row = _found(teams.token(session, who.team, token_id, lock=True))
        session.delete(row)
        _tell_of_team(session, "token.revoked", who, row)
