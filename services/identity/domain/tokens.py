"""Tokens: how API tokens are written, what a scope covers, and what a new token may be given."""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from uuid import UUID

from kernel.errors import FieldError
from kernel.permissions import RESOURCES, SCOPE_ALLOWS, Role, scope_covers

PERSONAL = "pat"
TEAM = "team"
REFRESH = "ref"
MOST_SCOPES = 30

_FORM = re.compile(r"fl_(pat|team|ref)_([0-9a-f]{32})_([A-Za-z0-9_-]{43})\Z")


@dataclass(frozen=True)
class Opaque:
    """A token that means something to us only: which row it belongs to, and the proof."""

    kind: str
    id: UUID
    secret: str

    def __str__(self) -> str:
        return f"fl_{self.kind}_{self.id.hex}_{self.secret}"

    def __repr__(self) -> str:
        return f"Opaque({self.kind}, {self.id})"


def parse(text: str) -> Opaque | None:
    """The token in `text`, or None when it is none of ours."""
    found = _FORM.match(text)
    return Opaque(found[1], UUID(found[2]), found[3]) if found else None


def digest(secret: str) -> bytes:
    """How secrets of 256 random bits are kept. No slow hash: there is nothing to guess."""
    return hashlib.sha256(secret.encode()).digest()


def fits(secret: str, kept: bytes) -> bool:
    """Is `kept` the digest of `secret`? In a time that tells nothing."""
    return hmac.compare_digest(digest(secret), kept)


def is_within(scopes: Iterable[str], outer: Sequence[str]) -> bool:
    """Does `outer` cover all that `scopes` would allow?"""
    return all(_is_covered(scope, outer) for scope in scopes)


def _is_covered(scope: str, outer: Sequence[str]) -> bool:
    limited_to, _, name = scope.rpartition(":")
    resources = (limited_to,) if limited_to else RESOURCES
    return all(scope_covers(outer, resource, action) for resource in resources for action in SCOPE_ALLOWS[name])


_RANK = {Role.VIEWER: 0, Role.MEMBER: 1, Role.ADMIN: 2, Role.OWNER: 3}


def is_at_most(role: Role, limit: Role | None) -> bool:
    """Is `role` no more than `limit`?"""
    return limit is not None and _RANK[role] <= _RANK[limit]


def scope_errors(scopes: Sequence[str], maker_scopes: Sequence[str]) -> list[FieldError]:
    """A token never makes one that may more than itself."""
    return [
        FieldError(f"scopes.{index}", "is more than your own token may")
        for index, scope in enumerate(scopes)
        if not is_within([scope], maker_scopes)
    ]


def role_errors(role: Role, maker_role: Role | None) -> list[FieldError]:
    """A team's token has a role of its own, not above its maker's, and is never an owner."""
    if role is Role.OWNER:
        return [FieldError("role", "must be viewer, member or admin: tokens own nothing")]
    if not is_at_most(role, maker_role):
        return [FieldError("role", "is more than your own role")]
    return []
