"""Signing in through an OpenID Connect provider; accounts are linked by verified e-mail only, on both sides."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from datetime import timedelta

from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from kernel import clock
from kernel.db import violated
from kernel.errors import Conflict, Forbidden, NotFound, Unauthenticated
from kernel.principal import Principal
from services.identity.domain import people as rules
from services.identity.domain import throttle, tokens
from services.identity.domain.people import Newcomer
from services.identity.models import ExternalIdentity, Invitation, OidcFlow, User
from services.identity.oidc import Claims, Secrets
from services.identity.store import people, teams
from services.identity.usecases import events, limits, sessions
from services.identity.usecases.events import Thing
from services.identity.usecases.parts import Origin, Parts
from services.identity.usecases.registration import add_person
from services.identity.usecases.sessions import Grant

_FLOW_SECONDS = 600
_CONTEXT = "oidc_flows"


@dataclass(frozen=True)
class Started:
    """Where to send the browser, and what it must keep to itself: without `flow` nobody can end this log-in."""

    authorization_url: str
    flow: str = field(repr=False)


@dataclass(frozen=True)
class Returned:
    """What the provider's redirect brought, and the flow that the browser kept."""

    state: str
    code: str = field(repr=False)
    flow: str = field(repr=False)


def _check_is_on(parts: Parts) -> None:
    if not parts.settings.has_oidc:
        raise NotFound("log-in provider")


def start(parts: Parts, origin: Origin) -> Started:
    """Begin a log-in. Raises NotFound without a provider, Unavailable, RateLimited."""
    _check_is_on(parts)
    limits.draw(parts.db, throttle.draws_of_registration(origin.address, parts.settings.registrations_per_minute))
    state, flow = clock.random_token(), clock.random_token()
    secrets = Secrets(clock.random_token(), clock.random_token(48))
    url = parts.provider.authorization_url(state, secrets)
    with parts.db.system() as session:
        session.add(
            OidcFlow(
                state_hash=tokens.digest(state),
                flow_hash=tokens.digest(flow),
                sealed=parts.ring.encrypt(json.dumps(asdict(secrets)).encode(), _CONTEXT),
                expires_at=clock.now() + timedelta(seconds=_FLOW_SECONDS),
            )
        )
    return Started(url, flow)


def _claims(parts: Parts, returned: Returned) -> Claims:
    """What the provider says of whoever comes back. Each log-in ends once, and only where it began."""
    _check_is_on(parts)
    with parts.db.system() as session:
        kept = people.use_flow(session, tokens.digest(returned.state), tokens.digest(returned.flow))
        sealed = kept.sealed if kept else None
    if sealed is None:
        raise Unauthenticated("This log-in has lapsed or was begun elsewhere: begin anew.", code="oidc-flow-wrong")
    secrets = Secrets(**json.loads(parts.ring.decrypt(sealed, _CONTEXT)))
    return parts.provider.claims(returned.code, secrets)


def finish(parts: Parts, returned: Returned, origin: Origin) -> Grant:
    """A session for whom the provider names. Raises Unauthenticated, Forbidden, Conflict `account-not-linked`."""
    claims = _claims(parts, returned)
    with parts.db.system() as session:
        people.wait_for_turn_to_register(session)
        known = people.find_external(session, claims.issuer, claims.subject)
        user = people.find(session, known.user_id, lock=True) if known else _first_time(session, parts, claims, origin)
        if user is None:
            raise NotFound("person")
        grant = sessions.begin(session, parts, user, origin, "oidc")
    return sessions.signed(parts, grant)


def _first_time(session: Session, parts: Parts, claims: Claims, origin: Origin) -> User:
    """Link them to the account of their address, or make one."""
    email = rules.normal_email(claims.email or "")
    if not claims.email_verified or not rules.is_email(email):
        raise Forbidden("The provider has not verified your e-mail address.", code="email-not-verified")
    user = people.find_by_email(session, email)
    if user is None:
        user = _newcomer(session, parts, claims, email, origin)
    elif user.email_verified_at is None:
        # Whoever made that account may not own the address: linking would hand them the other's log-in.
        detail = "An account has this address but never verified it. Sign in with its password and link it there."
        raise Conflict("account-not-linked", detail)
    _bind(session, claims, user, events.by(user, origin))
    return user


def _newcomer(session: Session, parts: Parts, claims: Claims, email: str, origin: Origin) -> User:
    invitation = _invitation(session, email)
    newcomer = Newcomer(
        is_first=people.is_empty(session), has_invitation=invitation is not None, setup_token_fits=not parts.settings.setup_token
    )
    rules.check_registration(parts.settings.registration, newcomer)
    name = (claims.name or "").strip()
    user = User(id=clock.new_id(), email=email, name=name if rules.is_name(name) else email, email_verified_at=clock.now())
    # Their invitation waits in their profile: joining a team is a choice of theirs.
    return add_person(session, parts, user, origin, None)


def _invitation(session: Session, email: str) -> Invitation | None:
    found = teams.invitations_to(session, email, 1, None)
    return teams.invitation(session, found[0].id) if found else None


def _bind(session: Session, claims: Claims, user: User, facts: events.Facts) -> None:
    session.add(ExternalIdentity(issuer=claims.issuer, subject=claims.subject, user_id=user.id))
    session.flush()
    after = {"provider": claims.issuer, "linked": True}
    events.tell_teams(session, "user.changed", Thing("user", user.id, user.email), facts, user.id, after=after)


def link(parts: Parts, who: Principal, returned: Returned) -> None:
    """Bind whom the provider names to the caller's account. Raises Conflict when they are bound already."""
    claims = _claims(parts, returned)
    try:
        with parts.db.system() as session:
            user = people.find(session, who.id, lock=True)
            if user is None:
                raise NotFound("person")
            _bind(session, claims, user, events.by_principal(who))
    except IntegrityError as error:
        if violated(error) == "pk_external_identities":
            raise Conflict("account-linked", "The provider's account is linked already.") from error
        raise
