"""Teams: slugs, who may give which role, and that an owner always stays."""

from __future__ import annotations

import re
import unicodedata
from datetime import datetime
from enum import StrEnum

from kernel.errors import Conflict, FieldError, Forbidden, Invalid
from kernel.permissions import Role
from services.identity.domain.tokens import is_at_most

SLUG = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\Z")
_NOT_IN_SLUG = re.compile(r"[^a-z0-9]+")


class InvitationState(StrEnum):
    """Where an invitation stands; `lapsed` is pending past its time, and never stored."""

    PENDING = "pending"
    ACCEPTED = "accepted"
    DECLINED = "declined"
    REVOKED = "revoked"
    LAPSED = "lapsed"


def slug_from(name: str) -> str:
    """A slug out of a team's name; `team` when nothing of it can stand in one."""
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode().lower()
    return _NOT_IN_SLUG.sub("-", plain).strip("-")[:48].strip("-") or "team"


def check_given_role(giver: Role | None, role: Role) -> None:
    """May somebody of role `giver` give `role` away? Raises Forbidden."""
    if not is_at_most(role, giver):
        raise Forbidden(f"Only somebody who is {role} or more may give that role.", code="role-too-high")


def check_member_change(giver: Role | None, present: Role, wanted: Role | None, *, owners: int) -> None:
    """May `giver` turn a member who is `present` into `wanted` (None: remove them)? Raises Forbidden or Conflict."""
    if not is_at_most(present, giver):
        raise Forbidden("Only an owner may change an owner.", code="role-too-high")
    if wanted is not None:
        check_given_role(giver, wanted)
    check_owner_stays(present, wanted, owners=owners)


def check_owner_stays(present: Role, wanted: Role | None, *, owners: int) -> None:
    """The last owner stays. Raises Conflict."""
    if present is Role.OWNER and wanted is not Role.OWNER and owners <= 1:
        raise Conflict("last-owner", "The last owner stays: make somebody else an owner first, or delete the team.")


def check_confirmation(typed: str | None, *, name: str, slug: str) -> None:
    """Deleting a team asks for its slug or name in full. Raises Invalid."""
    if typed not in (name, slug):
        raise Invalid(
            [FieldError("confirm", f"type the team's slug to delete it: {slug}")],
            code="confirmation-required",
            detail="Deleting a team revokes its nodes and tokens, and cannot be undone.",
        )


def invitation_state(stored: str, expires_at: datetime, now: datetime) -> InvitationState:
    """The state as people see it."""
    state = InvitationState(stored)
    return InvitationState.LAPSED if state is InvitationState.PENDING and expires_at <= now else state
