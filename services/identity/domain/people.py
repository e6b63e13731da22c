"""People: e-mail addresses, names, passwords, and who may register."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass

from kernel.errors import FieldError, Forbidden

SHORTEST_PASSWORD = 12
LONGEST_PASSWORD = 256
LONGEST_NAME = 100
LONGEST_EMAIL = 254

# Only ASCII: addresses that look alike must not be two people.
_EMAIL = re.compile(
    r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+(?:\.[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+)*"
    r"@[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?(?:\.[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?)*\Z"
)


def is_email(text: str) -> bool:
    """Is `text` an address that we keep?"""
    return len(text) <= LONGEST_EMAIL and len(text.partition("@")[0]) <= 64 and bool(_EMAIL.match(text))


def normal_email(text: str) -> str:
    """One spelling for one address: without spaces around it, in small letters."""
    return text.strip().lower()


def is_name(text: str) -> bool:
    """Is `text` a name: something visible, one line, not too long?"""
    plain = text.strip()
    return 0 < len(plain) <= LONGEST_NAME and not any(unicodedata.category(letter) in ("Cc", "Cs", "Cn") for letter in plain)


def password_fault(password: str, email: str = "") -> str | None:
    """What is wrong with a new password, or None."""
    if len(password) < SHORTEST_PASSWORD:
        return f"must have {SHORTEST_PASSWORD} characters or more"
    if len(password) > LONGEST_PASSWORD:
        return f"must have at most {LONGEST_PASSWORD} characters"
    if any(unicodedata.category(letter) in ("Cs",) or letter == "\0" for letter in password):
        return "holds a character that cannot be typed"
    if email and password.lower() == email.lower():
        return "must not be your e-mail address"
    return None


def password_errors(password: str, email: str = "", field: str = "password") -> list[FieldError]:
    """As `password_fault`, as errors of a request."""
    fault = password_fault(password, email)
    return [FieldError(field, fault)] if fault else []


@dataclass(frozen=True)
class Newcomer:
    """What is known of somebody who wants to register."""

    is_first: bool
    has_invitation: bool
    setup_token_fits: bool


def check_registration(mode: str, newcomer: Newcomer) -> None:
    """May they register? The first person always may, with the setup token where one is set. Raises Forbidden."""
    if newcomer.is_first:
        if not newcomer.setup_token_fits:
            raise Forbidden("The first person registers with the setup token of this installation.", code="setup-token-wrong")
        return
    if mode == "closed":
        raise Forbidden("Registration is closed here.", code="registration-closed")
    if mode == "invite" and not newcomer.has_invitation:
        raise Forbidden("Registration is by invitation only: use the link in your invitation.", code="invitation-required")
