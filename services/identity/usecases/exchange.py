"""The exchange: whatever token came in, for a short internal one. The hot path: one query, nothing slow."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from sqlalchemy.orm import Session

from kernel.errors import NotFound, Unauthenticated
from services.identity.domain import throttle, tokens
from services.identity.domain.throttle import Draw
from services.identity.signer import INTERNAL_SECONDS, AccessClaims
from services.identity.store import sessions, teams, throttles
from services.identity.store.sessions import Bearer
from services.identity.usecases import events
from services.identity.usecases.events import Thing
from services.identity.usecases.parts import Origin, Parts

_LONGEST_TOKEN = 4096


def exchange(parts: Parts, token: str, team_id: UUID | None, origin: Origin) -> tuple[str, int]:
    """The internal token and its seconds. Raises Unauthenticated, or NotFound when the bearer is not in that team."""
    if len(token) > _LONGEST_TOKEN:
        raise Unauthenticated
    opaque = tokens.parse(token)
    claims = parts.signer.read_access_token(token) if opaque is None else None
    with parts.db.system() as session:
        if claims is not None:
            kind, bearer, more = _by_access_token(session, claims, team_id)
        else:
            kind, bearer, more = _by_opaque(session, opaque, team_id, origin)
        is_outside = team_id is not None and bearer.role is None
        if is_outside:
            _record_outsider(session, kind, bearer, team_id, origin)
    if is_outside:
        raise NotFound("team")
    return parts.signer.internal_token(_claims(kind, bearer, team_id, origin) | more), INTERNAL_SECONDS


def _claims(kind: str, bearer: Bearer, team_id: UUID | None, origin: Origin) -> dict[str, Any]:
    return {
        "sub": str(bearer.id),
        "kind": kind,
        "name": bearer.name,
        "email": bearer.email,
        "team": str(team_id) if team_id else None,
        "role": bearer.role if team_id else None,
        "scopes": list(bearer.scopes),
        "addr": origin.address,
    }


def _by_access_token(session: Session, claims: AccessClaims, team_id: UUID | None) -> tuple[str, Bearer, dict[str, Any]]:
    bearer = sessions.bearer_of_session(session, claims.session_id, claims.user_id, team_id)
    if bearer is None:
        raise Unauthenticated("The session has ended: sign in again.", code="session-ended")
    return "user", bearer, {"sid": str(claims.session_id)}


def _by_opaque(session: Session, opaque: tokens.Opaque | None, team_id: UUID | None, origin: Origin) -> tuple[str, Bearer, dict[str, Any]]:
    if opaque is None:
        raise Unauthenticated
    if opaque.kind == tokens.PERSONAL:
        bearer = sessions.bearer_of_personal_token(session, opaque.id, team_id)
    elif opaque.kind == tokens.TEAM:
        bearer = sessions.bearer_of_team_token(session, opaque.id, team_id)
    else:
        bearer = None
    if bearer is None or not tokens.fits(opaque.secret, bearer.secret_hash):
        raise Unauthenticated
    if not bearer.was_used_lately:
        sessions.note_use(session, opaque.kind, opaque.id, origin.address)
    return ("user" if opaque.kind == tokens.PERSONAL else "token"), bearer, {"tid": str(opaque.id)}


def _record_outsider(session: Session, kind: str, bearer: Bearer, team_id: UUID | None, origin: Origin) -> None:
    """The team learns that somebody knocked: at most once a minute for each."""
    team = teams.find(session, team_id) if team_id else None
    actor = f"{kind}:{bearer.id}"
    if team is None or throttles.take(session, [Draw(f"refused:{actor}:{team.id}", throttle.REFUSED_ACCESS)]):
        return
    facts = {"actor": actor, "actorname": bearer.name, "address": origin.address, "correlation": origin.correlation}
    thing = Thing("team", team.id, team.name)
    events.tell(session, "access.refused", thing, facts, team=team.id, refused=True, reason="not-a-member")
