"""What a node is, and what may be done with it: statuses, enrolment tokens, deletion."""

from __future__ import annotations

import hashlib
import hmac
import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from kernel.errors import Conflict, Forbidden, Unauthenticated
from services.deployer.domain.states import NodeStatus

HEARTBEAT_SECONDS = 10
SILENT_AFTER_SECONDS = 30
ENROLLMENT_LIFE = timedelta(hours=1)
OLDEST_AGENT = (0, 1, 0)

_TOKEN = re.compile(r"fl_enr_([0-9a-f]{32})_([\w-]{43})\Z")
_VERSION = re.compile(r"(\d{1,6})\.(\d{1,6})\.(\d{1,6})")


@dataclass(frozen=True)
class Seen:
    """What tells a node's status; `silent_seconds` is by the database's clock, None when it was never seen."""

    is_enrolled: bool
    is_revoked: bool
    silent_seconds: float | None
    agent_version: str | None


def status_of(seen: Seen) -> NodeStatus:
    """The status that people see. A silent node's version says nothing, so `unreachable` comes before `outdated`."""
    if seen.is_revoked:
        return NodeStatus.REVOKED
    if not seen.is_enrolled or seen.silent_seconds is None:
        return NodeStatus.NEW
    if seen.silent_seconds > SILENT_AFTER_SECONDS:
        return NodeStatus.UNREACHABLE
    return NodeStatus.OUTDATED if is_outdated(seen.agent_version) else NodeStatus.CONNECTED


def tells_of_duplicate(*, told_at: datetime, greeted_at: datetime | None) -> bool:
    """Does a heartbeat of another process than the node's say that two are alive?

    A former process of the same machine said its last word before its successor's hello, by the same clock, however late that
    word comes here. A copy on another machine goes on speaking; should its clock be behind, it only counts a while later.
    """
    return greeted_at is not None and told_at > greeted_at


def is_duplicated(duplicate_seconds: float | None) -> bool:
    """Was a second process heard so lately that it is there still?"""
    return duplicate_seconds is not None and duplicate_seconds <= SILENT_AFTER_SECONDS


def is_outdated(version: str | None) -> bool:
    """Is an agent of this version too old for this deployer? An unreadable version is not known to be."""
    found = _VERSION.match(version or "")
    return found is not None and tuple(int(part) for part in found.groups()) < OLDEST_AGENT


def token_text(enrollment_id: UUID, secret: str) -> str:
    """The one-time token as people paste it."""
    return f"fl_enr_{enrollment_id.hex}_{secret}"


def token_hash(token: str) -> str:
    """What is kept of a token: it holds 256 random bits, so a plain digest is enough."""
    return hashlib.sha256(token.encode()).hexdigest()


def enrollment_of(token: str) -> UUID:
    """The enrolment that a token names. Raises Unauthenticated when it is no such token."""
    found = _TOKEN.match(token)
    if found is None:
        raise token_refused()
    return UUID(found[1])


def token_refused() -> Unauthenticated:
    """One answer for unknown, expired, voided and mistyped tokens."""
    detail = "The enrolment token is unknown, expired or replaced. Ask for a new install command on the node's page."
    return Unauthenticated(detail, code="enrollment-token-invalid")


@dataclass(frozen=True)
class Offer:
    """An enrolment as it was kept."""

    token_hash: str
    expires_at: datetime
    used_by_key: str | None


def is_repeated(offer: Offer | None, *, token: str, key: str, at: datetime) -> bool:
    """May the holder of `token` enrol with `key`, and did the same one do so before (its answer was lost)?

    Raises Unauthenticated when the token is not good, Conflict `enrollment-token-used` when another key has used it.
    """
    if offer is None or not hmac.compare_digest(offer.token_hash, token_hash(token)) or offer.expires_at <= at:
        raise token_refused()
    if offer.used_by_key is None:
        return False
    if offer.used_by_key != key:
        detail = "This enrolment token was used by an agent with other keys. If that was not you, revoke the node."
        raise Conflict("enrollment-token-used", detail)
    return True


def key_pair_mark(verify_key: str, seal_key: str) -> str:
    """Both public keys as one text: an agent is the same only with the same pair."""
    return f"{verify_key} {seal_key}"


def check_deletable(deployments: int) -> None:
    """Raises Conflict `node-in-use` while deployments stand on the node."""
    if deployments:
        detail = f"{deployments} deployments stand on this node. Delete them first, or revoke the node to cut it off."
        raise Conflict("node-in-use", detail, facts={"deployments": deployments})


def refuse_revoked(*, is_revoked: bool) -> None:
    """Raises Forbidden `node-revoked` for a node that may not speak any more."""
    if is_revoked:
        raise Forbidden("The node was revoked; what it says does not count.", code="node-revoked")
