"""Teams, members, invitations and the tokens of teams."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from kernel.permissions import Role
from services.identity.models import Invitation, Membership, Team, TeamToken, User


@dataclass(frozen=True)
class TeamOf:
    """A team as one of its members sees it."""

    id: UUID
    name: str
    slug: str
    role: Role | None
    created_at: datetime
    updated_at: datetime
    revision: int


@dataclass(frozen=True)
class Member:
    """A person in a team."""

    user_id: UUID
    name: str
    email: str
    role: Role
    has_second_factor: bool
    joined_at: datetime
    revision: int


def of_person(session: Session, user_id: UUID, limit: int, after: UUID | None) -> list[TeamOf]:
    query = select(Team, Membership.role).join(Membership, Membership.team_id == Team.id).where(Membership.user_id == user_id)
    if after is not None:
        query = query.where(Team.id > after)
    return [seen_by(team, Role(role)) for team, role in session.execute(query.order_by(Team.id).limit(limit))]


def ids_of_person(session: Session, user_id: UUID, limit: int = 50) -> list[UUID]:
    query = select(Membership.team_id).where(Membership.user_id == user_id).order_by(Membership.team_id).limit(limit)
    return list(session.execute(query).scalars())


def seen_by(team: Team, role: Role | None) -> TeamOf:
    return TeamOf(team.id, team.name, team.slug, role, team.created_at, team.updated_at, team.revision)


def find(session: Session, team_id: UUID, *, lock: bool = False) -> Team | None:
    return session.get(Team, team_id, with_for_update=lock or None)


def is_slug_taken(session: Session, slug: str) -> bool:
    return session.execute(select(Team.id).where(Team.slug == slug)).first() is not None


def count_of_person(session: Session, user_id: UUID) -> int:
    return session.execute(select(func.count()).select_from(Membership).where(Membership.user_id == user_id)).scalar_one()


def members(session: Session, team_id: UUID, limit: int, after: UUID | None) -> list[Member]:
    query = select(Membership, User).join(User, User.id == Membership.user_id).where(Membership.team_id == team_id)
    if after is not None:
        query = query.where(Membership.user_id > after)
    return [_member(*row) for row in session.execute(query.order_by(Membership.user_id).limit(limit))]


def member(session: Session, team_id: UUID, user_id: UUID) -> Member | None:
    query = select(Membership, User).join(User, User.id == Membership.user_id)
    row = session.execute(query.where(Membership.team_id == team_id, Membership.user_id == user_id)).one_or_none()
    return _member(*row) if row else None


def _member(membership: Membership, user: User) -> Member:
    return Member(
        user_id=user.id,
        name=user.name,
        email=user.email,
        role=Role(membership.role),
        has_second_factor=user.totp_enabled_at is not None,
        joined_at=membership.created_at,
        revision=membership.revision,
    )


def membership(session: Session, team_id: UUID, user_id: UUID) -> Membership | None:
    """The membership, locked."""
    return session.get(Membership, (team_id, user_id), with_for_update=True)


def count_owners(session: Session, team_id: UUID) -> int:
    """To be called with the team's row locked, so that two owners do not leave at once."""
    query = select(func.count()).select_from(Membership).where(Membership.team_id == team_id, Membership.role == Role.OWNER)
    return session.execute(query).scalar_one()


def invitations(session: Session, team_id: UUID, limit: int, after: UUID | None) -> list[Invitation]:
    """Newest first."""
    query = select(Invitation).where(Invitation.team_id == team_id)
    if after is not None:
        query = query.where(Invitation.id < after)
    return list(session.execute(query.order_by(Invitation.id.desc()).limit(limit)).scalars())


def invitation(session: Session, invitation_id: UUID, *, team_id: UUID | None = None) -> Invitation | None:
    """The invitation, locked: of two who accept at once, one is second."""
    query = select(Invitation).where(Invitation.id == invitation_id)
    if team_id is not None:
        query = query.where(Invitation.team_id == team_id)
    return session.execute(query.with_for_update()).scalar_one_or_none()


def pending_invitation(session: Session, team_id: UUID, email: str) -> Invitation | None:
    query = select(Invitation).where(Invitation.team_id == team_id, Invitation.email == email, Invitation.state == "pending")
    return session.execute(query.with_for_update()).scalar_one_or_none()


def invitation_by_token(session: Session, token_hash: bytes) -> Invitation | None:
    return session.execute(select(Invitation).where(Invitation.token_hash == token_hash).with_for_update()).scalar_one_or_none()


@dataclass(frozen=True)
class InvitationTo:
    """An invitation as the invited person sees it."""

    id: UUID
    team_id: UUID
    team_name: str
    role: Role
    invited_by: str
    created_at: datetime
    expires_at: datetime


def invitations_to(session: Session, email: str, limit: int, after: UUID | None) -> list[InvitationTo]:
    """What a person may still accept, newest first."""
    query = (
        select(Invitation, Team.name)
        .join(Team, Team.id == Invitation.team_id)
        .where(Invitation.email == email, Invitation.state == "pending", Invitation.expires_at > func.now())
    )
    if after is not None:
        query = query.where(Invitation.id < after)
    return [
        InvitationTo(one.id, one.team_id, name, Role(one.role), one.invited_by_name, one.created_at, one.expires_at)
        for one, name in session.execute(query.order_by(Invitation.id.desc()).limit(limit))
    ]


def count_pending(session: Session, team_id: UUID) -> int:
    query = select(func.count()).select_from(Invitation).where(Invitation.team_id == team_id, Invitation.state == "pending")
    return session.execute(query).scalar_one()


def tokens(session: Session, team_id: UUID, limit: int, after: UUID | None) -> list[TeamToken]:
    query = select(TeamToken).where(TeamToken.team_id == team_id)
    if after is not None:
        query = query.where(TeamToken.id < after)
    return list(session.execute(query.order_by(TeamToken.id.desc()).limit(limit)).scalars())


def token(session: Session, team_id: UUID, token_id: UUID, *, lock: bool = False) -> TeamToken | None:
    query = select(TeamToken).where(TeamToken.team_id == team_id, TeamToken.id == token_id)
    return session.execute(query.with_for_update() if lock else query).scalar_one_or_none()


def count_tokens(session: Session, team_id: UUID) -> int:
    return session.execute(select(func.count()).select_from(TeamToken).where(TeamToken.team_id == team_id)).scalar_one()


def team_of_token(session: Session, token_id: UUID) -> UUID | None:
    return session.execute(select(TeamToken.team_id).where(TeamToken.id == token_id)).scalar_one_or_none()
