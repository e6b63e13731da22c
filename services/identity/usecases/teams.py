"""Teams and their members."""

from __future__ import annotations

from dataclasses import replace
from uuid import UUID

from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from kernel import clock
from kernel.db import violated
from kernel.errors import Conflict, Forbidden, NotFound
from kernel.permissions import Role
from kernel.principal import Principal
from services.identity.domain import teams as rules
from services.identity.models import Membership, Team
from services.identity.store import teams as store
from services.identity.store.teams import Member, TeamOf
from services.identity.usecases import events
from services.identity.usecases.events import Thing
from services.identity.usecases.parts import CheckRevision, Parts

MOST_TEAMS = 100


def check_is_person(who: Principal) -> None:
    """Raises Forbidden for tokens of teams and triggers: they have no account."""
    if who.kind != "user":
        raise Forbidden("Only a person may do that, and this token belongs to nobody.", code="person-required")


def create_team(parts: Parts, who: Principal, name: str, slug: str | None) -> TeamOf:
    """A new team, whose maker is its owner. Raises Conflict `slug-taken`."""
    check_is_person(who)
    team_id = clock.new_id()
    with parts.db.system() as session:
        if store.count_of_person(session, who.id) >= MOST_TEAMS:
            raise Conflict("too-many-teams", f"A person may be in {MOST_TEAMS} teams.")
        chosen = slug or _free_slug(session, name)
    try:
        with parts.db.team(team_id) as session:
            now = clock.now()
            team = Team(id=team_id, name=name.strip(), slug=chosen, created_at=now, updated_at=now, revision=1)
            session.add(team)
            session.flush()
            session.add(Membership(team_id=team_id, user_id=who.id, role=Role.OWNER))
            events.tell(session, "team.created", _thing(team), events.by_principal(who), team=team_id, after=shown(team))
    except IntegrityError as error:
        raise _translated(error) from error
    return store.seen_by(team, Role.OWNER)


def _free_slug(session: Session, name: str) -> str:
    wanted = rules.slug_from(name)
    return f"{wanted}-{clock.new_id().hex[-8:]}" if store.is_slug_taken(session, wanted) else wanted


def _translated(error: IntegrityError) -> Exception:
    if violated(error) == "uq_teams_slug":
        return Conflict("slug-taken", "Another team has this slug: choose another one.")
    if violated(error) == "fk_memberships_user_id":
        return NotFound("person")
    return error


def _thing(team: Team | TeamOf) -> Thing:
    return Thing("team", team.id, team.name)


def shown(team: Team) -> dict[str, object]:
    """A team in events."""
    return {"name": team.name, "slug": team.slug}


def list_teams(parts: Parts, who: Principal, limit: int, after: UUID | None) -> list[TeamOf]:
    """The teams of whoever asks; of a team's token, its one team."""
    with parts.db.system() as session:
        if who.kind == "user":
            return store.of_person(session, who.id, limit, after)
        team_id = store.team_of_token(session, who.id)
        team = store.find(session, team_id) if team_id else None
        return [store.seen_by(team, who.role)] if team and (after is None or team.id > after) else []


def get_team(parts: Parts, who: Principal) -> TeamOf:
    with parts.db.team(who.team) as session:
        return store.seen_by(_found(store.find(session, who.team)), who.role)


def _found(team: Team | None) -> Team:
    if team is None:
        raise NotFound("team")
    return team


def change_team(parts: Parts, who: Principal, changes: dict[str, str], check: CheckRevision) -> TeamOf:
    """Change name or slug. Raises Conflict `slug-taken`, PreconditionFailed."""
    try:
        with parts.db.team(who.team) as session:
            team = _found(store.find(session, who.team, lock=True))
            check(team.revision)
            before = shown(team)
            team.name = changes.get("name", team.name).strip()
            team.slug = changes.get("slug", team.slug)
            if shown(team) != before:
                team.revision += 1
                team.updated_at = clock.now()
                session.flush()
                events.tell(session, "team.changed", _thing(team), events.by_principal(who), team=team.id, before=before, after=shown(team))
    except IntegrityError as error:
        raise _translated(error) from error
    return store.seen_by(team, who.role)


def delete_team(parts: Parts, who: Principal, typed: str | None, check: CheckRevision) -> None:
    """Delete the team with its members, invitations and tokens; the others hear of it and clear up. Its audit log stays."""
    with parts.db.team(who.team) as session:
        team = _found(store.find(session, who.team, lock=True))
        check(team.revision)
        rules.check_confirmation(typed, name=team.name, slug=team.slug)
        events.tell(session, "team.deleted", _thing(team), events.by_principal(who), team=team.id, before=shown(team))
        session.delete(team)


def list_members(parts: Parts, who: Principal, limit: int, after: UUID | None) -> list[Member]:
    with parts.db.team(who.team) as session:
        return store.members(session, who.team, limit, after)


def get_member(parts: Parts, who: Principal, user_id: UUID) -> Member:
    with parts.db.team(who.team) as session:
        member = store.member(session, who.team, user_id)
        if member is None:
            raise NotFound("member")
        return member


def change_member(parts: Parts, who: Principal, user_id: UUID, role: Role, check: CheckRevision) -> Member:
    """Give a member another role. Raises Forbidden, Conflict `last-owner`."""
    with parts.db.team(who.team) as session:
        member, membership = _locked_member(session, who.team, user_id)
        check(membership.revision)
        present = _present_role(session, who)
        rules.check_member_change(present, member.role, role, owners=store.count_owners(session, who.team))
        return _give_role(session, who, member, membership, role)


def _give_role(session: Session, who: Principal, member: Member, membership: Membership, role: Role) -> Member:
    if membership.role == role:
        return member
    membership.role = role
    membership.revision += 1
    thing = Thing("member", member.user_id, member.email)
    change = {"before": {"role": str(member.role)}, "after": {"role": str(role)}}
    events.tell(session, "member.changed", thing, events.by_principal(who), team=who.team, before=change["before"], after=change["after"])
    return replace(member, role=role, revision=membership.revision)


def _locked_member(session: Session, team_id: UUID, user_id: UUID) -> tuple[Member, Membership]:
    """The member, with the team locked: of two owners who go at once, one stays."""
    _found(store.find(session, team_id, lock=True))
    membership = store.membership(session, team_id, user_id)
    member = store.member(session, team_id, user_id)
    if membership is None or member is None:
        raise NotFound("member")
    return member, membership


def _present_role(session: Session, who: Principal) -> Role | None:
    """The caller's role as it is now: the token may be some seconds older."""
    if who.kind != "user":
        return who.role
    member = store.member(session, who.team, who.id)
    return member.role if member else None


def remove_member(parts: Parts, who: Principal, user_id: UUID, check: CheckRevision) -> None:
    """Take somebody out of the team. Raises Forbidden, Conflict `last-owner`."""
    with parts.db.team(who.team) as session:
        member, membership = _locked_member(session, who.team, user_id)
        check(membership.revision)
        giver = member.role if who.id == user_id else _present_role(session, who)
        rules.check_member_change(giver, member.role, None, owners=store.count_owners(session, who.team))
        session.delete(membership)
        thing = Thing("member", user_id, member.email)
        events.tell(session, "member.removed", thing, events.by_principal(who), team=who.team, before={"role": str(member.role)})


def leave_team(parts: Parts, who: Principal) -> None:
    """Leave the team; the last owner cannot."""
    check_is_person(who)
    remove_member(parts, who, who.id, lambda _revision: None)


def transfer_ownership(parts: Parts, who: Principal, user_id: UUID) -> Member:
    """Make a member owner, and oneself admin, at once."""
    check_is_person(who)
    with parts.db.team(who.team) as session:
        member, membership = _locked_member(session, who.team, user_id)
        mine, my_membership = _locked_member(session, who.team, who.id)
        if mine.role is not Role.OWNER:
            raise Forbidden("Only an owner may hand the team over.", code="role-too-high")
        given = _give_role(session, who, member, membership, Role.OWNER)
        if user_id != who.id:
            _give_role(session, who, mine, my_membership, Role.ADMIN)
        return given
