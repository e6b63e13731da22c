"""One's own account: profile, password, e-mail address."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from kernel import clock
from kernel.db import violated
from kernel.errors import Conflict, FieldError, Forbidden, Invalid, NotFound
from kernel.principal import Principal
from services.identity.domain import people as rules
from services.identity.domain import throttle, tokens
from services.identity.models import Mail, User
from services.identity.store import people, sessions, teams
from services.identity.store.teams import InvitationTo, TeamOf
from services.identity.usecases import events, invitations, limits
from services.identity.usecases.events import Thing
from services.identity.usecases.parts import CheckRevision, Origin, Parts
from services.identity.usecases.registration import shown
from services.identity.usecases.second_factor import confirm_password
from services.identity.usecases.teams import MOST_TEAMS, check_is_person


@dataclass(frozen=True)
class Me:
    """A person as they see themselves."""

    id: UUID
    email: str
    name: str
    email_verified: bool
    has_password: bool
    second_factor: bool
    recovery_codes_left: int
    providers: list[str]
    created_at: datetime
    updated_at: datetime
    last_login_at: datetime | None
    revision: int
    teams: list[TeamOf]
    invitations: list[InvitationTo]


def get_me(parts: Parts, who: Principal) -> Me:
    """The caller's profile, teams with roles, and open invitations. Raises Forbidden for a team's token."""
    check_is_person(who)
    open_invitations = invitations.my_invitations(parts, who, 50, None)
    with parts.db.system() as session:
        return _me(session, _found(people.find(session, who.id)), open_invitations)


def _me(session: Session, user: User, open_invitations: list[InvitationTo]) -> Me:
    return Me(
        id=user.id,
        email=user.email,
        name=user.name,
        email_verified=user.email_verified_at is not None,
        has_password=user.password_hash is not None,
        second_factor=user.totp_enabled_at is not None,
        recovery_codes_left=people.count_recovery_codes(session, user.id),
        providers=[one.issuer for one in people.externals_of(session, user.id)],
        created_at=user.created_at,
        updated_at=user.updated_at,
        last_login_at=user.last_login_at,
        revision=user.revision,
        teams=teams.of_person(session, user.id, MOST_TEAMS, None),
        invitations=open_invitations,
    )


def _found(user: User | None) -> User:
    if user is None:
        raise NotFound("person")
    return user


def change_me(parts: Parts, who: Principal, name: str | None, check: CheckRevision) -> Me:
    """Change one's name. Raises PreconditionFailed."""
    check_is_person(who)
    with parts.db.system() as session:
        user = _found(people.find(session, who.id, lock=True))
        check(user.revision)
        before = shown(user)
        user.name = (name if name is not None else user.name).strip()
        if shown(user) != before:
            people.touch(session, user, clock.now())
            thing = Thing("user", user.id, user.email)
            events.tell(session, "user.changed", thing, events.by_principal(who), before=before, after=shown(user))
    return get_me(parts, who)


def change_password(parts: Parts, who: Principal, present: str, wanted: str, session_id: UUID | None, check: CheckRevision) -> None:
    """Set another password; all other sessions end. Raises Unauthenticated `password-wrong`, Invalid, PreconditionFailed."""
    check_is_person(who)
    wrong = rules.password_errors(wanted, who.email or "", "new_password")
    if wrong:
        raise Invalid(wrong)
    confirmed = confirm_password(parts, who, present)
    password_hash = parts.hasher.hash(wanted)
    with parts.db.system() as session:
        user = _found(people.find(session, who.id, lock=True))
        check(user.revision)
        if user.password_hash != confirmed.password_hash:
            raise Conflict("password-changed", "The password was changed this moment.")
        _set_password(session, user, password_hash, events.by_principal(who), besides=session_id)


def _set_password(session: Session, user: User, password_hash: str, facts: events.Facts, *, besides: UUID | None) -> None:
    user.password_hash = password_hash
    people.touch(session, user, clock.now())
    ended = sessions.end_all(session, user.id, "password changed", clock.now(), besides=besides)
    thing = Thing("user", user.id, user.email)
    events.tell_teams(session, "password.changed", thing, facts, user.id, after={"sessions_ended": ended})


def change_email(parts: Parts, who: Principal, email: str, password: str, check: CheckRevision) -> None:
    """Use another address: at once without a mail server, else once the link mailed to it is used. Raises Conflict, PreconditionFailed."""
    check_is_person(who)
    wanted = rules.normal_email(email)
    confirmed = confirm_password(parts, who, password)
    if parts.settings.sends_mail:
        check(confirmed.revision)
        limits.draw(parts.db, throttle.draws_of_mail(wanted))
        with parts.db.system() as session:
            people.add_mail(session, Mail(id=clock.new_id(), kind="change", recipient=wanted, user_id=who.id))
        return
    try:
        with parts.db.system() as session:
            user = _found(people.find(session, who.id, lock=True))
            check(user.revision)
            _move(session, user, wanted, events.by_principal(who))
    except IntegrityError as error:
        raise _translated(error) from error


def _move(session: Session, user: User, email: str, facts: events.Facts) -> None:
    before = shown(user)
    user.email = email
    people.touch(session, user, clock.now())
    session.flush()
    if shown(user) != before:
        thing = Thing("user", user.id, user.email)
        events.tell_teams(session, "user.changed", thing, facts, user.id, before=before, after=shown(user))


def _translated(error: IntegrityError) -> Exception:
    if violated(error) == "uq_users_email":
        return Conflict("email-taken", "Another account has this e-mail address.")
    return error


def ask_for_verification(parts: Parts, who: Principal) -> None:
    """Mail the link again. Raises Conflict when it is not needed or cannot be done, RateLimited."""
    check_is_person(who)
    if not parts.settings.sends_mail:
        raise Conflict("no-mail-server", "This installation sends no mail, so addresses are not verified.")
    with parts.db.system() as session:
        user = _found(people.find(session, who.id))
        if user.email_verified_at is not None:
            raise Conflict("email-verified", "Your e-mail address is verified already.")
    limits.draw(parts.db, throttle.draws_of_mail(user.email))
    with parts.db.system() as session:
        people.add_mail(session, Mail(id=clock.new_id(), kind="verify", recipient=user.email, user_id=user.id))


def verify_email(parts: Parts, token: str, origin: Origin) -> None:
    """Take a mailed link: the address is the person's. Raises Invalid when it is used, lapsed or wrong."""
    try:
        with parts.db.system() as session:
            kept = people.use_email_token(session, tokens.digest(token), ("verify", "change"))
            user = people.find(session, kept.user_id, lock=True) if kept else None
            if kept is None or user is None or (kept.purpose == "verify" and kept.email != user.email):
                raise _wrong_link()
            facts = events.by(user, origin)
            user.email_verified_at = clock.now()
            _move(session, user, kept.email, facts)
            events.tell(session, "email.verified", Thing("user", user.id, user.email), facts, after=shown(user))
    except IntegrityError as error:
        raise _translated(error) from error


def _wrong_link() -> Invalid:
    detail = "This link was used, has lapsed, or a newer one was sent."
    return Invalid([FieldError("token", "is not a link that is still good")], code="link-wrong", detail=detail)


def forget_password(parts: Parts, email: str, origin: Origin) -> None:
    """Have a link mailed. The same answer and work for people who do not exist: the worker finds out. Raises RateLimited."""
    address = rules.normal_email(email)
    limits.draw(parts.db, throttle.draws_of_mail_request(origin.address))
    if not parts.settings.sends_mail:
        raise Forbidden("This installation sends no mail: ask whoever runs it.", code="no-mail-server")
    if limits.may_draw(parts.db, throttle.draws_of_mail(address)):
        with parts.db.system() as session:
            people.add_mail(session, Mail(id=clock.new_id(), kind="reset", recipient=address))


def reset_password(parts: Parts, token: str, password: str, origin: Origin) -> None:
    """Set a password by a mailed link; all sessions end, and this place is known from now on. Raises Invalid, RateLimited."""
    wrong = rules.password_errors(password)
    if wrong:
        raise Invalid(wrong)
    limits.draw(parts.db, throttle.draws_of_mail_request(origin.address))
    password_hash = parts.hasher.hash(password)
    with parts.db.system() as session:
        kept = people.use_email_token(session, tokens.digest(token), ("reset",))
        user = people.find(session, kept.user_id, lock=True) if kept else None
        if kept is None or user is None or kept.email != user.email:
            raise _wrong_link()
        user.email_verified_at = user.email_verified_at or clock.now()
        _set_password(session, user, password_hash, events.by(user, origin), besides=None)
        people.remember_place(session, user.id, throttle.place(origin.address))
