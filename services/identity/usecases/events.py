"""Events of identity: what is recorded of each change, by whom, in which team's log."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy.orm import Session

import kernel.contracts.identity  # noqa: F401 - registers the events that are sent here
from kernel.contracts.envelope import Envelope, type_of
from kernel.contracts.recorded import Recorded
from kernel.outbox import put_event
from kernel.principal import Principal
from services.identity.models import User
from services.identity.store import teams
from services.identity.usecases.parts import Origin

SENDER = "identity"
Facts = Mapping[str, Any]  # fields of an Envelope
Shown = Mapping[str, Any] | None  # a resource as the API shows it, without secrets


@dataclass(frozen=True)
class Thing:
    """What an event is about."""

    type: str
    id: object
    name: str = ""


def by(user: User, origin: Origin) -> Facts:
    """The facts of something that a person does who is just signing in."""
    return {"actor": f"user:{user.id}", "actorname": user.name, "address": origin.address, "correlation": origin.correlation}


def by_nobody(origin: Origin) -> Facts:
    """The facts of something that somebody unknown tries."""
    return {"actor": "system:anonymous", "address": origin.address, "correlation": origin.correlation}


def by_principal(who: Principal) -> Facts:
    return who.envelope_facts()


def tell(
    session: Session,
    name: str,
    thing: Thing,
    facts: Facts,
    *,
    team: UUID | None = None,
    before: Shown = None,
    after: Shown = None,
    reason: str | None = None,
    refused: bool = False,
) -> None:
    """Put one event into the outbox. `team` says whose log it belongs to."""
    data = Recorded(
        resource_type=thing.type,
        resource_id=str(thing.id),
        resource_name=thing.name,
        outcome="refused" if refused else "allowed",
        before=dict(before) if before is not None else None,
        after=dict(after) if after is not None else None,
        reason=reason,
    )
    type_ = type_of(Recorded, f"identity.{name}")
    put_event(session, SENDER, Envelope(type=type_, source=SENDER, subject=str(thing.id), data=data, **(dict(facts) | {"team": team})))


def tell_teams(session: Session, name: str, thing: Thing, facts: Facts, user_id: UUID | None, **more: Any) -> None:
    """Put an event about a person into the log of each of their teams, or into nobody's. Any: what `tell` takes.

    People who do not exist cost the same query as those who do.
    """
    mine: list[UUID | None] = [*teams.ids_of_person(session, user_id or UUID(int=0))]
    for team in mine or [None]:
        tell(session, name, thing, facts, team=team, **more)
