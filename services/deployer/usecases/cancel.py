"""Cancelling the attempt that is being worked on: asked for now, answered by the node when it has undone its work."""

from __future__ import annotations

from uuid import UUID

from nacl.signing import SigningKey

from kernel import clock
from kernel.db import Database
from kernel.errors import Conflict, NotFound
from kernel.principal import Principal
from services.deployer.domain.states import EventKind, Outcome
from services.deployer.models import Attempt
from services.deployer.store.attempts import attempt_of, live_of
from services.deployer.store.deployments import find_deployment
from services.deployer.store.events import NewEvent, append_events
from services.deployer.store.places import lock_deployments_at, lock_place, node_of
from services.deployer.usecases.announce import announce, facts_of
from services.deployer.usecases.send import send_cancel
from services.deployer.usecases.settle import settle


def cancel(db: Database, signing_key: SigningKey, who: Principal, deployment_id: UUID) -> Attempt:
    """Ask for the end of the live attempt. Raises Conflict `no-live-attempt`. Asked twice, the node is told again."""
    with db.team(who.team) as session:
        find_deployment(session, deployment_id)
        live = live_of(session, deployment_id)
        if live is None:
            raise Conflict("no-live-attempt", "Nothing is being worked on: there is nothing to cancel.")
        node = node_of(session, live.node_id, share=True)
        place = lock_place(session, team_id=who.team, node_id=live.node_id, prefix=live.prefix)
        attempt = attempt_of(session, live.id, lock=True)
        if attempt is None:
            raise NotFound("attempt")
        if attempt.outcome is not None:
            raise Conflict("no-live-attempt", "The attempt has just ended.")
        at = clock.now()
        first = attempt.cancel_requested_at is None
        lock_deployments_at(session, place.node_id, place.prefix)
        deployment = find_deployment(session, deployment_id, lock=True)
        if first:
            attempt.cancel_requested_at = at
            deployment.revision += 1
            deployment.updated_at = at
            session.flush()
            text = f"{who.name or who.actor} asked to cancel"
            append_events(session, deployment.id, [NewEvent(kind=EventKind.STATUS, at=at, attempt=attempt.number, message=text)])
            announce(session, "cancel_requested", deployment, facts_of(who), attempt=attempt)
        if attempt.sent_at is None:
            settle(
                session,
                attempt.id,
                outcome=Outcome.CANCELLED.value,
                code="cancelled",
                detail="cancelled before the node was there",
                at=at,
                cause=None,
            )
        else:
            send_cancel(session, attempt, node, signing_key, generation=place.generation)
        return attempt
