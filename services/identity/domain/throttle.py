"""How guessing is slowed: limits as values, and which of them a log-in draws on.

A stranger must not be able to lock a person out, so nothing here ever locks an account: an address at which the
person has signed in before draws only on a limit of its own, which strangers elsewhere cannot use up.
"""

from __future__ import annotations

import hashlib
import ipaddress
from dataclasses import dataclass


@dataclass(frozen=True)
class Limit:
    """`burst` tries at once, then one in `every_seconds`; what was used comes back at that pace."""

    burst: int
    every_seconds: float

    @property
    def span_seconds(self) -> float:
        return self.burst * self.every_seconds


@dataclass(frozen=True)
class Draw:
    """One try drawn on the limit of `key`."""

    key: str
    limit: Limit


# One account from one address: 5 at once, then 2 a minute.
PAIR = Limit(5, 30)
# One address, whatever the accounts: 20 at once, then 10 a minute. Successes give theirs back, so offices do not suffer.
ADDRESS = Limit(20, 6)
# One account from all addresses where it was never used: 20 at once, then 2 a minute.
STRANGERS = Limit(20, 30)
# Second factors of one account from one place, by whoever knows the password already.
SECOND_FACTOR = Limit(5, 60)
# Mails to one address: 3 at once, then 3 an hour.
MAILS = Limit(3, 1200)
MAILS_FROM_ADDRESS = Limit(10, 30)
# A refused try is recorded at most once a minute for each person and team; other refused requests somewhat more often.
REFUSED_ACCESS = Limit(1, 60)
REFUSED_REQUESTS = Limit(60, 1)


def place(address: str | None) -> str:
    """Where a request came from, for counting: an IPv4 address, or the /64 that one customer has in IPv6."""
    try:
        parsed = ipaddress.ip_address(address or "")
    except ValueError:
        return "unknown"
    if isinstance(parsed, ipaddress.IPv6Address):
        if parsed.ipv4_mapped is not None:
            return str(parsed.ipv4_mapped)
        return str(ipaddress.ip_network((parsed, 64), strict=False))
    return str(parsed)


def draws_of_log_in(email: str, address: str | None, *, is_known_place: bool) -> tuple[Draw, ...]:
    """What a log-in draws on before its password is hashed. The same for people that do not exist."""
    account, where = _short(email), place(address)
    pair = Draw(f"login:{account}@{where}", PAIR)
    if is_known_place:
        return (pair,)
    return (pair, Draw(f"login-from:{where}", ADDRESS), Draw(f"login-to:{account}", STRANGERS))


def draws_of_second_factor(email: str, address: str | None, *, is_known_place: bool) -> tuple[Draw, ...]:
    where = place(address) if is_known_place else "strangers"
    return (Draw(f"code:{_short(email)}@{where}", SECOND_FACTOR),)


def draws_of_registration(address: str | None, per_minute: int) -> tuple[Draw, ...]:
    return (Draw(f"register:{place(address)}", Limit(max(1, per_minute), 60 / max(1, per_minute))),)


def draws_of_mail(email: str) -> tuple[Draw, ...]:
    return (Draw(f"mail-to:{_short(email)}", MAILS),)


def draws_of_mail_request(address: str | None) -> tuple[Draw, ...]:
    return (Draw(f"mail-from:{place(address)}", MAILS_FROM_ADDRESS),)


def _short(text: str) -> str:
    """Addresses are counted, not kept: people also type passwords into that field."""
    return hashlib.sha256(text.encode()).hexdigest()[:32]
