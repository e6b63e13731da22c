"""Events that the identity service sends."""

from __future__ import annotations

from kernel.contracts.envelope import register
from kernel.contracts.recorded import RecordedSchema

NAMES = (
    "identity.user.registered",
    "identity.user.changed",
    "identity.password.changed",
    "identity.password.reset_requested",
    "identity.email.verified",
    "identity.second_factor.changed",
    "identity.session.started",
    "identity.session.refused",
    "identity.session.ended",
    "identity.session.reuse_detected",
    "identity.access.refused",
    "identity.request.refused",
    "identity.token.created",
    "identity.token.revoked",
    "identity.team.created",
    "identity.team.changed",
    "identity.team.deleted",
    "identity.member.added",
    "identity.member.changed",
    "identity.member.removed",
    "identity.invitation.created",
    "identity.invitation.resent",
    "identity.invitation.accepted",
    "identity.invitation.declined",
    "identity.invitation.revoked",
    "identity.signing_key.rotated",
)

for _name in NAMES:
    register(_name, 1, RecordedSchema)
