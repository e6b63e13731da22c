"""Registering: open, by invitation, or closed; the first person always may."""

from __future__ import annotations

import hmac
from dataclasses import dataclass, field

from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from kernel import clock
from kernel.db import violated
from kernel.errors import Conflict, Invalid
from services.identity.domain import people as rules
from services.identity.domain import throttle, tokens
from services.identity.domain.people import Newcomer
from services.identity.models import Invitation, Mail, User
from services.identity.store import people, teams
from services.identity.usecases import events, limits
from services.identity.usecases.events import Thing
from services.identity.usecases.invitations import accept_in, check_acceptable
from services.identity.usecases.parts import Origin, Parts


@dataclass(frozen=True)
class Application:
    """What somebody says who wants to register."""

    email: str
    name: str
    password: str = field(repr=False)
    invitation_token: str | None = field(default=None, repr=False)
    setup_token: str | None = field(default=None, repr=False)


def register(parts: Parts, application: Application, origin: Origin) -> User:
    """The new person. Raises Invalid, Forbidden (who may register), Conflict `email-taken` or RateLimited."""
    email = rules.normal_email(application.email)
    wrong = rules.password_errors(application.password, email)
    if wrong:
        raise Invalid(wrong)
    limits.draw(parts.db, throttle.draws_of_registration(origin.address, parts.settings.registrations_per_minute))
    with parts.db.system() as session:
        _check(session, parts, application, email)
    password_hash = parts.hasher.hash(application.password)
    try:
        with parts.db.system() as session:
            people.wait_for_turn_to_register(session)
            invitation = _check(session, parts, application, email)
            user = User(id=clock.new_id(), email=email, name=application.name.strip(), password_hash=password_hash)
            return add_person(session, parts, user, origin, invitation)
    except IntegrityError as error:
        if violated(error) == "uq_users_email":
            raise Conflict(
                "email-taken", "Somebody has registered with this e-mail address already. Sign in, or reset your password."
            ) from error
        raise


def add_person(session: Session, parts: Parts, user: User, origin: Origin, invitation: Invitation | None) -> User:
    """Save a new person, in the caller's transaction, and let them into the team that invited them."""
    user.created_at = user.updated_at = clock.now()
    user.revision = 1
    if invitation is not None and parts.settings.sends_mail:
        # The link came by mail to this very address.
        user.email_verified_at = clock.now()
    session.add(user)
    session.flush()
    facts = events.by(user, origin)
    thing = Thing("user", user.id, user.email)
    events.tell(session, "user.registered", thing, facts, team=invitation.team_id if invitation else None, after=shown(user))
    if invitation is not None:
        accept_in(session, invitation, user, facts)
    people.remember_place(session, user.id, throttle.place(origin.address))
    if parts.settings.sends_mail and user.email_verified_at is None:
        people.add_mail(session, Mail(id=clock.new_id(), kind="verify", recipient=user.email, user_id=user.id))
    return user


def _check(session: Session, parts: Parts, application: Application, email: str) -> Invitation | None:
    invitation = None
    if application.invitation_token:
        invitation = teams.invitation_by_token(session, tokens.digest(application.invitation_token))
        check_acceptable(invitation, email)
    expected = parts.settings.setup_token
    fits = not expected or hmac.compare_digest((application.setup_token or "").encode(), expected.encode())
    rules.check_registration(
        parts.settings.registration,
        Newcomer(is_first=people.is_empty(session), has_invitation=invitation is not None, setup_token_fits=fits),
    )
    return invitation


def shown(user: User) -> dict[str, object]:
    """A person in events."""
    return {"email": user.email, "name": user.name, "email_verified": user.email_verified_at is not None}
