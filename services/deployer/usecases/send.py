"""Signed commands to a node about one of its places."""

from __future__ import annotations

from datetime import datetime, timedelta
from uuid import UUID

from nacl.signing import SigningKey
from sqlalchemy.orm import Session

from kernel import clock
from kernel.contracts.deployer import ApplyDeployment, CancelDeployment, RemovePlace
from kernel.contracts.envelope import Envelope, Message
from kernel.messaging.topology import COMMAND_LIFE_SECONDS
from kernel.outbox import put_command
from services.deployer.domain.removals import REMOVE
from services.deployer.models import Attempt, Node, Place
from services.deployer.store.attempts import load_stack, unsent_of_node
from services.deployer.store.reports import lock_places_of


def send_apply(session: Session, attempt: Attempt, node: Node, signing_key: SigningKey, *, at: datetime | None = None) -> None:
    """Order the node to bring the attempt about. The first time, its deadline begins to count."""
    at = at or clock.now()
    timeout = int(attempt.options["timeout_seconds"])
    if attempt.sent_at is None:
        attempt.sent_at = at
        attempt.deadline_at = at + timedelta(seconds=timeout)
    data = ApplyDeployment(
        deployment_id=attempt.deployment_id,
        attempt_id=attempt.id,
        attempt=attempt.number,
        prefix=attempt.prefix,
        stack=load_stack(attempt.spec),
        timeout_seconds=timeout,
        force_recreate=bool(attempt.options.get("force_recreate")),
        credentials=attempt.credentials,
    )
    left = max(1, int((attempt.deadline_at - at).total_seconds()))
    _put(session, "apply", data, node, signing_key, attempt=attempt, generation=attempt.generation, life_seconds=left)


def send_waiting(session: Session, node: Node, signing_key: SigningKey, *, at: datetime | None = None) -> int:
    """Send what was started while the node was away; returns how many. The caller has locked the node."""
    # Under their places' locks and read again: the deadline of one may be ending it at this moment.
    lock_places_of(session, [attempt.id for attempt in unsent_of_node(session, node.id)])
    waiting = unsent_of_node(session, node.id)
    for attempt in waiting:
        send_apply(session, attempt, node, signing_key, at=at)
    return len(waiting)


def send_cancel(
    session: Session,
    attempt: Attempt,
    node: Node,
    signing_key: SigningKey,
    *,
    generation: int | None = None,
    reason: str = "cancelled",
) -> None:
    """Order the node to undo the attempt. `generation` is the fence; without one the attempt's own stands."""
    data = CancelDeployment(deployment_id=attempt.deployment_id, attempt_id=attempt.id, prefix=attempt.prefix, reason=reason)
    _put(session, "cancel", data, node, signing_key, attempt=attempt, generation=generation or attempt.generation)


def send_remove(session: Session, place: Place, node: Node, signing_key: SigningKey) -> None:
    """Order the node to clear a place, as the place's row remembers it."""
    envelope = Envelope(
        type=REMOVE,
        source="deployer",
        subject=f"{node.id}/{place.prefix}",
        data=RemovePlace(prefix=place.prefix, remove_volumes=place.removal_volumes),
        team=place.team_id,
        actor=place.removal_by or "system:deployer",
        actorname=place.removal_by_name,
        correlation=place.removal_correlation,
        node=node.id,
        epoch=node.epoch,
        generation=place.removal_generation,
        ttl_seconds=COMMAND_LIFE_SECONDS,
    )
    put_command(session, envelope, signing_key)


def _put(
    session: Session,
    verb: str,
    data: Message,
    node: Node,
    signing_key: SigningKey,
    *,
    attempt: Attempt,
    generation: int,
    life_seconds: int = COMMAND_LIFE_SECONDS,
) -> None:
    deployment_id: UUID = attempt.deployment_id
    envelope = Envelope(
        type=f"deployer.deployment.{verb}.v1",
        source="deployer",
        subject=str(deployment_id),
        data=data,
        team=attempt.team_id,
        actor=attempt.started_by,
        actorname=attempt.started_by_name or None,
        correlation=attempt.options.get("correlation"),
        node=node.id,
        epoch=node.epoch,
        generation=generation,
        ttl_seconds=min(life_seconds, COMMAND_LIFE_SECONDS),
    )
    put_command(session, envelope, signing_key)
