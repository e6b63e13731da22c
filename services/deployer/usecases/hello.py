"""An agent says that it is there and where it stands: it is welcomed, and told what is still wanted of it."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import Any
from uuid import UUID

from nacl.signing import SigningKey
from sqlalchemy.orm import Session

from kernel.contracts.agent import Hello, PlaceState
from kernel.contracts.deployer import WelcomeNode
from kernel.contracts.envelope import Envelope
from kernel.messaging.topology import COMMAND_LIFE_SECONDS
from kernel.outbox import put_command, put_event
from services.deployer.domain import reports as rules
from services.deployer.domain.reports import HelloAnswer, KnownPlace, LiveAttempt
from services.deployer.models import Attempt, Node
from services.deployer.store import nodes as node_store
from services.deployer.store import places
from services.deployer.store import reports as store
from services.deployer.store.reports import NodeMark
from services.deployer.usecases.nodes import node_event
from services.deployer.usecases.removals import send_wanted
from services.deployer.usecases.send import send_apply, send_cancel
from services.deployer.usecases.settle import settle


def facts_of_node(mark: NodeMark) -> dict[str, Any]:
    """The envelope's fields for what a node itself brought about. Any: they are spread into Envelope(**…)."""
    return {"team": mark.team_id, "actor": f"node:{mark.id}", "actorname": mark.name, "node": mark.id}


def cause_of(mark: NodeMark, report: Envelope) -> Envelope:
    """The report as the cause of what follows: who a node is, the broker and the signature have said, not the body."""
    return replace(report, actor=f"node:{mark.id}", actorname=mark.name, team=mark.team_id)


def send_welcome(session: Session, mark: NodeMark, report: Envelope, signing_key: SigningKey) -> None:
    """Tell the process that is the node now which epoch is its own."""
    assert mark.boot_id is not None
    _welcome(session, mark, mark.boot_id, report, signing_key)


def ask_for_hello(session: Session, mark: NodeMark, report: Envelope, signing_key: SigningKey) -> None:
    """The node knows more than we do (our database is an older copy): a welcome that is nobody's makes it say where it stands."""
    _welcome(session, mark, UUID(int=0), report, signing_key)


def _welcome(session: Session, mark: NodeMark, boot_id: UUID, report: Envelope, signing_key: SigningKey) -> None:
    welcome = Envelope(
        type="deployer.node.welcome.v1",
        source="deployer",
        subject=str(mark.id),
        data=WelcomeNode(boot_id=boot_id),
        team=mark.team_id,
        node=mark.id,
        epoch=mark.epoch,
        ttl_seconds=COMMAND_LIFE_SECONDS,
        causation=str(report.id),
    )
    put_command(session, welcome, signing_key)


def answer_hello(session: Session, mark: NodeMark, report: Envelope, signing_key: SigningKey, *, at: datetime) -> None:
    """Take note of the process, welcome it, and bring places and attempts to one view."""
    hello = report.data
    assert isinstance(hello, Hello)
    greeting = rules.greet(epoch=mark.epoch, boot_id=mark.boot_id, hello_epoch=report.epoch, hello_boot_id=hello.boot_id)
    mark.epoch = greeting.epoch
    mark.boot_id = hello.boot_id
    mark.greeted_at = report.time
    if greeting.is_new_process:
        mark.last_sequence = report.sequence or 0
        mark.observed_sequence = 0
    store.save_greeting(session, mark, version=hello.version, facts=hello.facts)
    send_welcome(session, mark, report, signing_key)
    node = places.node_of(session, mark.id)
    if greeting.is_new_process:
        _announce(session, mark, node, hello, at)
    live = store.live_attempts(session, mark.id)
    known = [_known(place) for place in hello.places]
    answer = rules.answer_hello([_live(attempt) for attempt in live], known, store.generations(session, mark.id))
    _follow(session, answer, mark, node, report, signing_key, live={attempt.id: attempt for attempt in live}, at=at)


def _announce(session: Session, mark: NodeMark, node: Node, hello: Hello, at: datetime) -> None:
    after = {"epoch": mark.epoch, "agent_version": hello.version, "boot_id": str(hello.boot_id)}
    node_store.append_event(session, node, "connected", at, after)
    put_event(session, "deployer", node_event("connected", node, facts_of_node(mark), after=after))
    session.flush()
    mark.silent_seconds = 0.0  # told already


def _live(attempt: Attempt) -> LiveAttempt:
    return LiveAttempt(attempt.id, attempt.prefix, attempt.generation, attempt.cancel_requested_at is not None)


def _known(place: PlaceState) -> KnownPlace:
    return KnownPlace(place.prefix, place.generation, place.attempt_id, place.outcome, place.code, place.detail, place.restored)


def _follow(
    session: Session,
    answer: HelloAnswer,
    mark: NodeMark,
    node: Node,
    report: Envelope,
    signing_key: SigningKey,
    *,
    live: dict[UUID, Attempt],
    at: datetime,
) -> None:
    for prefix, generation in answer.generations.items():
        store.raise_generation_to(session, mark, prefix, generation)
    cause = cause_of(mark, report)
    mine = store.attempt_marks(session, {place.attempt_id for place in answer.settle if place.attempt_id is not None})
    for place in answer.settle:
        attempt = mine.get(place.attempt_id) if place.attempt_id is not None else None
        if attempt is not None and attempt.node_id == mark.id and attempt.outcome != place.outcome:
            settle(
                session,
                attempt.id,
                outcome=str(place.outcome),
                code=place.code,
                detail=place.detail,
                restored=place.restored,
                at=at,
                cause=cause,
            )
    for attempt_id in answer.superseded:
        detail = "The node has obeyed a newer command at this place than any that is known here."
        settle(session, attempt_id, outcome="refused", code="superseded", detail=detail, at=at, cause=cause)
    for attempt_id in answer.send:
        send_apply(session, live[attempt_id], node, signing_key, at=at)
    for attempt_id in answer.cancel:
        send_cancel(session, live[attempt_id], node, signing_key)
    send_wanted(session, node, signing_key, cause=cause)
