"""Refused requests are recorded too, so many a minute for each who tries."""

from __future__ import annotations

from kernel.principal import Principal
from services.identity.domain import throttle
from services.identity.domain.throttle import Draw
from services.identity.store import throttles
from services.identity.usecases import events
from services.identity.usecases.events import Thing
from services.identity.usecases.parts import Parts


def record_refusal(parts: Parts, who: Principal, tried: str, code: str) -> None:
    """Put what was refused into the outbox, for the audit log of its team."""
    with parts.db.system() as session:
        if throttles.take(session, [Draw(f"refused-request:{who.actor}", throttle.REFUSED_REQUESTS)]):
            return
        thing = Thing("request", tried[:256], tried[:512])
        events.tell(session, "request.refused", thing, events.by_principal(who), team=who.team_id, refused=True, reason=code)
