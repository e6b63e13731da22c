"""Clearing a place ends true: it is remembered until the node has answered, and ordered again as long as it has not."""

from __future__ import annotations

from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from nacl.signing import SigningKey
from sqlalchemy.orm import Session

from kernel import clock
from kernel.contracts.agent import PlaceRemoved
from kernel.contracts.envelope import Envelope
from kernel.contracts.recorded import Recorded
from kernel.db import Database
from kernel.errors import NotFound
from kernel.outbox import put_event
from kernel.principal import Principal
from services.deployer.domain.removals import Refusal, pause_seconds, react_to_refusal
from services.deployer.domain.states import Outcome
from services.deployer.models import Attempt, Node, Place
from services.deployer.store import nodes as node_store
from services.deployer.store import removals as store
from services.deployer.store.attempts import has_newer
from services.deployer.store.places import raise_generation
from services.deployer.usecases.send import send_remove

Facts = dict[str, Any]  # JSON


def want_removal(session: Session, who: Principal, place: Place, node: Node, signing_key: SigningKey, *, volumes: bool) -> None:
    """Remember that the place is wanted empty, and order it. The caller has locked node and place."""
    # Who asked before and has no answer yet wanted no less.
    place.removal_volumes = volumes or place.removal_volumes
    place.removal_generation = place.taken_generation = raise_generation(session, place)
    place.removal_by, place.removal_by_name, place.removal_correlation = who.actor, who.name or None, who.correlation
    place.removal_asked_at = clock.now()
    session.flush()
    _order(session, place, node, signing_key, anew=True)


def is_wanted(session: Session, node_id: UUID, data: PlaceRemoved) -> bool:
    """Is this the answer to an order that still waits for one?"""
    return any(place.removal_generation == data.generation for place in store.lock_wanted(session, node_id, prefix=data.prefix))


def send_wanted(session: Session, node: Node, signing_key: SigningKey, *, cause: Envelope, prefix: str | None = None) -> None:
    """The node has come: order again whatever is still wanted there, counting from one. The caller has locked the node."""
    for place in store.lock_wanted(session, node.id, prefix=prefix, overtaken=True):
        if place.generation == place.removal_generation:
            _order(session, place, node, signing_key, anew=True)
        elif not has_newer(session, node.id, place.prefix, place.removal_generation or 0):
            detail = "The node has obeyed a newer command at this place than any that is known here."
            _fail(session, place, node, code="superseded", detail=detail, cause=cause, is_final=True)


def send_due(db: Database, signing_key: SigningKey) -> None:
    """Order again what was not answered in time. Any number of workers may do it at once. Raises Unavailable."""
    with db.system() as session:
        found = store.nodes_with_due(session)
    for node_id in found:
        # A node that has been deleted meanwhile took its places along.
        with suppress(NotFound), db.system() as session:
            node = node_store.lock(session, node_id)
            for place in store.lock_wanted(session, node_id, only_due=True) if node.revoked_at is None else ():
                _order(session, place, node, signing_key, anew=False)


def after_attempt(session: Session, place: Place, attempt: Attempt, outcome: str) -> None:
    """An attempt was started where a removal was wanted: having taken the place it ends the removal; otherwise what was to go is back.

    Of one that has timed out nothing is known before its node's word. The caller has locked the place.
    """
    if place.removal_generation is None or place.removal_generation > attempt.generation:
        return
    if outcome == Outcome.SUCCEEDED:
        store.forget(place)
    elif outcome != Outcome.TIMED_OUT and not has_newer(session, place.node_id, place.prefix, attempt.generation):
        place.removal_generation = place.taken_generation = raise_generation(session, place)
        place.removal_tries, place.removal_due_at = 0, clock.now()  # the timer orders it


def take_answer(session: Session, node: Node, data: PlaceRemoved, *, cause: Envelope) -> None:
    """The node says that the place is clear, or what is still there. An answer to an order that is not wanted any more changes nothing."""
    for place in store.lock_wanted(session, node.id, prefix=data.prefix, overtaken=True):
        if place.removal_generation != data.generation:
            continue
        if data.outcome != "succeeded":
            _fail(session, place, node, code=data.code or "failed", detail=data.detail or "", cause=cause)
            continue
        after = _facts(place) | {"containers": data.containers, "volumes": data.volumes}
        store.forget(place)
        _tell(session, "removed", place, node, after, cause=cause)


def take_refusal(session: Session, node: Node, prefix: str, code: str, detail: str, signing_key: SigningKey, *, cause: Envelope) -> bool:
    """The node did not obey. Returns whether it is to be asked where it stands."""
    reaction = react_to_refusal(code)
    for place in store.lock_wanted(session, node.id, prefix=prefix):
        if reaction is Refusal.SEND_AGAIN:
            _order(session, place, node, signing_key, anew=False)
        elif reaction is Refusal.ASK_WHERE_IT_STANDS:
            return True
        else:
            _fail(session, place, node, code=code, detail=detail, cause=cause, is_final=reaction is Refusal.GIVE_UP)
    return False


def _order(session: Session, place: Place, node: Node, signing_key: SigningKey, *, anew: bool) -> None:
    send_remove(session, place, node, signing_key)
    store.note_sent(session, place, anew=anew)


def _fail(session: Session, place: Place, node: Node, *, code: str, detail: str, cause: Envelope, is_final: bool = False) -> None:
    """Not cleared: people see why, and when it is tried again (never, if it is final)."""
    again_at: datetime | None = None
    if not is_final:
        again_at = place.removal_due_at = clock.now() + timedelta(seconds=pause_seconds(place.removal_tries))
    after = _facts(place) | {"code": code, "detail": detail[:2048], "again_at": clock.rfc3339(again_at) if again_at else None}
    if is_final:
        store.forget(place)
    _tell(session, "removal_failed", place, node, after, cause=cause, reason=f"{code}: {detail}"[:2048])


def _facts(place: Place) -> Facts:
    return {
        "prefix": place.prefix,
        "generation": place.removal_generation,
        "remove_volumes": place.removal_volumes,
        "asked_by": place.removal_by,
        "asked_at": clock.rfc3339(place.removal_asked_at) if place.removal_asked_at else None,
    }


def _tell(session: Session, verb: str, place: Place, node: Node, after: Facts, *, cause: Envelope, reason: str | None = None) -> None:
    """In the node's history, and as an event for the record. The event belongs to the request that asked for the removal."""
    node_store.append_event(session, node, f"place-{verb.replace('_', '-')}", clock.now(), after)
    data = Recorded(resource_type="place", resource_id=f"{node.id}/{place.prefix}", resource_name=place.prefix, after=after, reason=reason)
    told = Envelope(
        type=f"deployer.place.{verb}.v1",
        source="deployer",
        subject=f"{node.id}/{place.prefix}",
        data=data,
        team=node.team_id,
        actor=cause.actor,
        actorname=cause.actorname,
        node=node.id,
        correlation=cause.correlation,
        causation=str(cause.id),
    )
    put_event(session, "deployer", told)
    session.flush()
