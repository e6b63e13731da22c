"""What the worker does now and then: forget what no longer counts, replace signing keys in time."""

from __future__ import annotations

from datetime import timedelta

import structlog

from kernel import clock, housekeeping
from kernel.contracts.envelope import Envelope, type_of
from kernel.contracts.recorded import Recorded
from kernel.outbox import put_event
from services.identity import signer
from services.identity.store import keys, people, sessions, throttles
from services.identity.usecases import events, second_factor
from services.identity.usecases.parts import Parts

log = structlog.get_logger(__name__)


def forget_old(parts: Parts) -> None:
    """Delete what has lapsed."""
    with parts.db.system() as session:
        throttles.forget_full(session)
        people.forget_old(session)
        sessions.forget_old(session)
        keys.forget_ended(session)
    housekeeping.forget_old(parts.db)


def rotate_keys(parts: Parts, *, end_old_now: bool = False, actor: str = "system:identity") -> str:
    """Publish a new signing key; nobody is signed out. Returns its id."""
    with parts.db.system() as session:
        made = signer.rotate(session, parts.ring, lead_seconds=parts.settings.signing_key_lead_seconds, end_old_now=end_old_now)
        signer.reseal(session, parts.ring)
        data = Recorded(
            resource_type="signing-key", resource_id=made.id, after={"signs_from": clock.rfc3339(made.signs_from), "old_ended": end_old_now}
        )
        type_ = type_of(Recorded, "identity.signing_key.rotated")
        put_event(session, events.SENDER, Envelope(type=type_, source=events.SENDER, subject=made.id, data=data, actor=actor))
        return made.id


def rotate_keys_in_time(parts: Parts) -> None:
    """Replace the key when it has signed for long enough; encrypt keys anew after a change of the key ring."""
    days = parts.settings.signing_key_days
    with parts.db.system() as session:
        newest = max((key.created_at for key in keys.all_valid(session)), default=None)
        signer.reseal(session, parts.ring)
    resealed = 1
    while resealed:
        with parts.db.system() as session:
            resealed = second_factor.reseal(session, parts)
    if days > 0 and newest is not None and newest < clock.now() - timedelta(days=days):
        log.info("signing key replaced", key=rotate_keys(parts))
