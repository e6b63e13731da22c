"""Invitations: they lapse, are sent again, revoked, accepted or declined; and nobody takes another's."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from kernel import clock
from kernel.db import violated
from kernel.errors import Conflict, FieldError, Forbidden, Invalid, NotFound
from kernel.permissions import Role
from kernel.principal import Principal
from services.identity.domain import people as people_rules
from services.identity.domain import teams as rules
from services.identity.domain import tokens
from services.identity.domain.teams import InvitationState
from services.identity.models import Invitation, Mail, Membership, User
from services.identity.store import people
from services.identity.store import teams as store
from services.identity.store.teams import InvitationTo, TeamOf
from services.identity.usecases import events
from services.identity.usecases.events import Facts, Thing
from services.identity.usecases.parts import Parts
from services.identity.usecases.teams import check_is_person

MOST_PENDING = 500


@dataclass(frozen=True)
class InvitationView:
    """An invitation as the team sees it. The token is there only when it was just made and cannot be mailed."""

    id: UUID
    email: str
    role: Role
    state: InvitationState
    invited_by: str
    created_at: datetime
    sent_at: datetime | None
    expires_at: datetime
    token: str | None = field(default=None, repr=False)
    link: str | None = field(default=None, repr=False)


def _view(one: Invitation, parts: Parts, token: str | None = None) -> InvitationView:
    return InvitationView(
        id=one.id,
        email=one.email,
        role=Role(one.role),
        state=rules.invitation_state(one.state, one.expires_at, clock.now()),
        invited_by=one.invited_by_name,
        created_at=one.created_at,
        sent_at=one.sent_at,
        expires_at=one.expires_at,
        token=token,
        link=parts.settings.link(f"/invitation#token={token}") if token else None,
    )


def invite(parts: Parts, who: Principal, email: str, role: Role) -> InvitationView:
    """Invite somebody, with or without an account. Raises Forbidden (a role above one's own), Conflict."""
    rules.check_given_role(who.role, role)
    address = people_rules.normal_email(email)
    try:
        with parts.db.team(who.team) as session:
            _check_not_there_yet(session, who.team, address)
            now = clock.now()
            made = Invitation(
                id=clock.new_id(), team_id=who.team, email=address, role=role, state=InvitationState.PENDING, invited_by=who.actor,
                invited_by_name=who.name, created_at=now, expires_at=now + timedelta(days=parts.settings.invitation_days),
            )  # fmt: skip
            session.add(made)
            token = _send(session, parts, made)
            session.flush()
            events.tell(session, "invitation.created", _thing(made), events.by_principal(who), team=who.team, after=shown(made))
    except IntegrityError as error:
        if violated(error) == "uq_invitations_pending":
            raise Conflict("already-invited", "This person has an open invitation already. Send it again instead.") from error
        if violated(error) == "fk_invitations_team_id":
            raise NotFound("team") from error
        raise
    return _view(made, parts, token)


def _check_not_there_yet(session: Session, team_id: UUID, email: str) -> None:
    user = people.find_by_email(session, email)
    if user is not None and store.member(session, team_id, user.id) is not None:
        raise Conflict("already-member", "This person is in the team already.")
    if store.count_pending(session, team_id) >= MOST_PENDING:
        raise Conflict("too-many-invitations", f"A team may have {MOST_PENDING} open invitations.")
    present = store.pending_invitation(session, team_id, email)
    if present is not None and rules.invitation_state(present.state, present.expires_at, clock.now()) is InvitationState.LAPSED:
        present.state, present.closed_at = InvitationState.REVOKED, clock.now()
        session.flush()


def _send(session: Session, parts: Parts, one: Invitation) -> str | None:
    """Have it mailed, or return the token for the inviter to hand over when there is no mail server."""
    if parts.settings.sends_mail:
        people.add_mail(session, Mail(id=clock.new_id(), kind="invitation", recipient=one.email, invitation_id=one.id))
        return None
    token = clock.random_token()
    one.token_hash, one.sent_at = tokens.digest(token), clock.now()
    return token


def _thing(one: Invitation) -> Thing:
    return Thing("invitation", one.id, one.email)


def shown(one: Invitation) -> dict[str, object]:
    """An invitation in events."""
    return {"email": one.email, "role": str(one.role), "state": str(one.state)}


def list_invitations(parts: Parts, who: Principal, limit: int, after: UUID | None) -> list[InvitationView]:
    with parts.db.team(who.team) as session:
        return [_view(one, parts) for one in store.invitations(session, who.team, limit, after)]


def get_invitation(parts: Parts, who: Principal, invitation_id: UUID) -> InvitationView:
    with parts.db.team(who.team) as session:
        return _view(_of_team(session, who, invitation_id), parts)


def _of_team(session: Session, who: Principal, invitation_id: UUID) -> Invitation:
    one = store.invitation(session, invitation_id, team_id=who.team)
    if one is None:
        raise NotFound("invitation")
    return one


def resend_invitation(parts: Parts, who: Principal, invitation_id: UUID) -> InvitationView:
    """Send it again with a new link and a new term; the old link is void. Raises Conflict when it was answered."""
    with parts.db.team(who.team) as session:
        one = _of_team(session, who, invitation_id)
        _check_open(one)
        rules.check_given_role(who.role, Role(one.role))
        one.expires_at = clock.now() + timedelta(days=parts.settings.invitation_days)
        token = _send(session, parts, one)
        events.tell(session, "invitation.resent", _thing(one), events.by_principal(who), team=who.team, after=shown(one))
        return _view(one, parts, token)


def revoke_invitation(parts: Parts, who: Principal, invitation_id: UUID) -> None:
    """Take it back. Raises Conflict when it was answered."""
    with parts.db.team(who.team) as session:
        one = _of_team(session, who, invitation_id)
        _check_open(one)
        _close(one, InvitationState.REVOKED)
        events.tell(session, "invitation.revoked", _thing(one), events.by_principal(who), team=who.team, after=shown(one))


def _check_open(one: Invitation) -> None:
    if one.state != InvitationState.PENDING:
        raise Conflict("invitation-closed", f"This invitation was {one.state} already.")


def _close(one: Invitation, state: InvitationState, user_id: UUID | None = None) -> None:
    one.state, one.closed_at, one.accepted_by = state, clock.now(), user_id
    one.token_hash = None


def my_invitations(parts: Parts, who: Principal, limit: int, after: UUID | None) -> list[InvitationTo]:
    """What the caller may accept. An address that is not verified yet shows nothing: it may be another's."""
    check_is_person(who)
    with parts.db.system() as session:
        user = people.find(session, who.id)
        if user is None or not _owns_address(parts, user):
            return []
        return store.invitations_to(session, user.email, limit, after)


def _owns_address(parts: Parts, user: User) -> bool:
    """Without a mail server nobody can prove an address, so it is taken as given."""
    return user.email_verified_at is not None or not parts.settings.sends_mail


def check_acceptable(one: Invitation | None, email: str) -> None:
    """May whoever has this address and this link's token take the invitation? Raises Invalid, alike for every reason."""
    fits = (
        one is not None and one.email == email and rules.invitation_state(one.state, one.expires_at, clock.now()) is InvitationState.PENDING
    )
    if not fits:
        raise Invalid(
            [FieldError("invitation_token", "is not an open invitation to this e-mail address")],
            code="invitation-wrong",
            detail="This invitation has lapsed, was answered or revoked, or is for another address. Ask for a new one.",
        )


def accept_in(session: Session, one: Invitation, user: User, facts: Facts) -> None:
    """Let `user` into the team, in the caller's transaction with the invitation locked."""
    _close(one, InvitationState.ACCEPTED, user.id)
    if store.membership(session, one.team_id, user.id) is None:
        session.add(Membership(team_id=one.team_id, user_id=user.id, role=one.role))
        session.flush()
        events.tell(session, "member.added", Thing("member", user.id, user.email), facts, team=one.team_id, after={"role": str(one.role)})
    events.tell(session, "invitation.accepted", _thing(one), facts, team=one.team_id, after=shown(one))


def accept(parts: Parts, who: Principal, invitation_id: UUID, token: str | None) -> TeamOf:
    """Join the team. Raises NotFound for another's invitation, Conflict when it is closed, Forbidden `email-not-verified`."""
    check_is_person(who)
    with parts.db.system() as session:
        one, user = _addressed_to(session, who, invitation_id)
        team = store.find(session, one.team_id)
        if team is None:
            raise NotFound("invitation")
        present = store.member(session, one.team_id, who.id)
        if one.state == InvitationState.ACCEPTED and one.accepted_by == who.id and present is not None:
            return store.seen_by(team, present.role)
        _check_open(one)
        if one.expires_at <= clock.now():
            raise Conflict("invitation-lapsed", "This invitation has lapsed. Ask for a new one.")
        has_link = token is not None and one.token_hash is not None and tokens.fits(token, one.token_hash)
        if not _owns_address(parts, user) and not has_link:
            raise Forbidden("Verify your e-mail address first, or use the link in the invitation.", code="email-not-verified")
        accept_in(session, one, user, events.by_principal(who))
        member = store.member(session, one.team_id, who.id)
        return store.seen_by(team, member.role if member else Role(one.role))


def decline(parts: Parts, who: Principal, invitation_id: UUID) -> None:
    """Say no. Raises NotFound for another's invitation, Conflict when it is closed."""
    check_is_person(who)
    with parts.db.system() as session:
        one, user = _addressed_to(session, who, invitation_id)
        _check_open(one)
        if not _owns_address(parts, user):
            raise Forbidden("Verify your e-mail address first.", code="email-not-verified")
        _close(one, InvitationState.DECLINED)
        events.tell(session, "invitation.declined", _thing(one), events.by_principal(who), team=one.team_id, after=shown(one))


def _addressed_to(session: Session, who: Principal, invitation_id: UUID) -> tuple[Invitation, User]:
    user = people.find(session, who.id)
    one = store.invitation(session, invitation_id)
    if user is None or one is None or one.email != user.email:
        raise NotFound("invitation")
    return one, user
