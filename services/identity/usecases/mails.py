"""Sends mails that wait: each link's token is made with its mail, so nothing that waits holds a secret."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

import structlog
from sqlalchemy.orm import Session

from kernel import clock
from kernel.errors import Unavailable
from services.identity.domain import tokens
from services.identity.models import EmailToken, Mail, User
from services.identity.store import people, teams
from services.identity.usecases import events
from services.identity.usecases.events import Thing
from services.identity.usecases.parts import Parts

log = structlog.get_logger(__name__)

LONGEST_RETRIES = 8
_VERIFY_HOURS, _RESET_HOURS = 48, 1


@dataclass(frozen=True)
class Letter:
    """A mail as it is sent."""

    recipient: str
    subject: str
    text: str


# Raises Unavailable when the server cannot take it now; returns False when it never will.
Send = Callable[[Letter], bool]


def send_due(parts: Parts, send: Send) -> int:
    """Send what is due. Returns how many were sent."""
    sent = 0
    while True:
        outcome = _send_one(parts, send)
        if outcome is None:
            return sent
        sent += outcome


def _send_one(parts: Parts, send: Send) -> int | None:
    """1 when one was sent, 0 when one was dropped or put off, None when nothing is due."""
    mail_id: UUID | None = None
    try:
        with parts.db.system() as session:
            mail = people.due_mail(session)
            if mail is None:
                return None
            mail_id = mail.id
            letter = _written(session, parts, mail)
            taken = send(letter) if letter is not None else False
            session.delete(mail)
            log.info("mail sent" if taken else "mail dropped", kind=mail.kind, mail=str(mail.id))
            return int(taken)
    except Unavailable as error:
        if mail_id is None or error.code == "database-unavailable":
            raise
        _put_off(parts, mail_id, error)
        return 0


def _put_off(parts: Parts, mail_id: UUID, error: Unavailable) -> None:
    with parts.db.system() as session:
        again = session.get(Mail, mail_id, with_for_update=True)
        if again is None:
            return
        again.attempts += 1
        again.not_before = clock.now() + timedelta(seconds=min(3600, 5 * 4**again.attempts))
        if again.attempts >= LONGEST_RETRIES:
            session.delete(again)
        log.warning("mail put off", kind=again.kind, mail=str(mail_id), attempts=again.attempts, error=str(error))


def _written(session: Session, parts: Parts, mail: Mail) -> Letter | None:
    """The letter, its link made this moment, or None when there is nobody or nothing to write to any more."""
    if mail.kind == "invitation":
        return _invitation(session, parts, mail)
    user = people.find_by_email(session, mail.recipient) if mail.kind == "reset" else _person(session, mail)
    if user is None:
        return None
    if mail.kind == "reset":
        thing = Thing("user", user.id, user.email)
        events.tell_teams(session, "password.reset_requested", thing, {"actor": "system:anonymous"}, user.id)
        link = _link(session, parts, user, mail, "reset", _RESET_HOURS, "/reset-password")
        return Letter(mail.recipient, "Set a new password for Fairlead", _RESET.format(name=user.name, link=link, hours=_RESET_HOURS))
    if mail.kind == "verify" and (user.email_verified_at is not None or user.email != mail.recipient):
        return None
    link = _link(session, parts, user, mail, mail.kind, _VERIFY_HOURS, "/verify-email")
    return Letter(mail.recipient, "Verify your e-mail address for Fairlead", _VERIFY.format(name=user.name, link=link, hours=_VERIFY_HOURS))


def _person(session: Session, mail: Mail) -> User | None:
    return people.find(session, mail.user_id) if mail.user_id else None


def _link(session: Session, parts: Parts, user: User, mail: Mail, purpose: str, hours: int, path: str) -> str:
    token = clock.random_token()
    expires_at = clock.now() + timedelta(hours=hours)
    kept = EmailToken(token_hash=tokens.digest(token), user_id=user.id, purpose=purpose, email=mail.recipient, expires_at=expires_at)
    people.put_email_token(session, kept)
    # Behind a hash sign, so that it reaches no server's log.
    return parts.settings.link(f"{path}#token={token}")


def _invitation(session: Session, parts: Parts, mail: Mail) -> Letter | None:
    one = teams.invitation(session, mail.invitation_id) if mail.invitation_id else None
    team = teams.find(session, one.team_id) if one else None
    if one is None or team is None or one.state != "pending":
        return None
    token = clock.random_token()
    one.token_hash, one.sent_at = tokens.digest(token), clock.now()
    link = parts.settings.link(f"/invitation#token={token}")
    text = _INVITATION.format(inviter=one.invited_by_name, team=team.name, role=one.role, link=link, until=f"{one.expires_at:%Y-%m-%d}")
    return Letter(mail.recipient, f"You are invited to the team {team.name} on Fairlead", text)


_VERIFY = """Hello {name},

this link shows Fairlead that the address is yours. It is good for {hours} hours, once:

{link}

If you did not ask for it, do nothing.
"""

_RESET = """Hello {name},

with this link you set a new password. It is good for {hours} hour, once, and ends all your sessions:

{link}

If you did not ask for it, do nothing: your password stays as it is.
"""

_INVITATION = """Hello,

{inviter} invites you to the team "{team}" as {role}. The link is good until {until}, once, for this address only:

{link}

If you do not know them, do nothing.
"""
