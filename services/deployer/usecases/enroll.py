"""An agent becomes its node: the one-time token is consumed, keys are kept, the broker gets a user."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from nacl.signing import SigningKey
from sqlalchemy.orm import Session

from kernel import clock, signing
from kernel.contracts.deployer import NodeEnrolled
from kernel.contracts.envelope import Envelope
from kernel.contracts.recorded import Recorded
from kernel.db import Database
from kernel.errors import Conflict
from kernel.messaging import topology
from kernel.outbox import put_event
from services.deployer.domain import nodes as rules
from services.deployer.models import Enrollment, Node
from services.deployer.provisioning import NodeAccess, Provisioner, password_hash
from services.deployer.store import nodes as store


@dataclass(frozen=True)
class Candidate:
    """What an agent says of itself; both keys are base64."""

    verify_key: str
    seal_key: str
    agent_version: str
    facts: Mapping[str, Any]  # host name, os, cpus, memory_bytes, engine


@dataclass(frozen=True)
class Enrolled:
    """What an agent needs from now on. The password is kept nowhere but with the agent."""

    node_id: UUID
    team_id: UUID
    epoch: int
    username: str
    password: str
    verify_key: str


@dataclass(frozen=True)
class _Accepted:
    answer: Enrolled
    access: NodeAccess
    former_user_number: int


def enroll(db: Database, provisioner: Provisioner, signing_key: SigningKey, *, token: str, candidate: Candidate) -> Enrolled:
    """Consume the token. The same agent may ask again while the token lives, if the answer was lost.

    Raises Unauthenticated for a token that is not good, Conflict `enrollment-token-used` (and tells the audit log) for
    another agent's, Unavailable when the broker cannot be prepared: asking again is then right.
    """
    enrollment_id = rules.enrollment_of(token)
    _check_keys(candidate)
    with db.system() as session:
        offer = store.lock_enrollment(session, enrollment_id)
        try:
            repeated = rules.is_repeated(
                store.offer_of(offer), token=token, key=rules.key_pair_mark(candidate.verify_key, candidate.seal_key), at=clock.now()
            )
        except Conflict as conflict:
            refused: Conflict | None = conflict
            assert offer is not None
            _record_second_use(session, offer, conflict)
        else:
            refused = None
            assert offer is not None
            accepted = _accept(session, offer, candidate, signing_key, repeated=repeated)
    if refused is not None:
        raise refused
    # What the database says is made true on the broker; were this cut short, a reconciliation would do it.
    provisioner.ensure([accepted.access])
    if accepted.former_user_number:
        provisioner.cut(accepted.answer.node_id, accepted.former_user_number)
    return accepted.answer


def _check_keys(candidate: Candidate) -> None:
    signing.verify_key(candidate.verify_key)
    signing.seal_key(candidate.seal_key)


def _accept(session: Session, offer: Enrollment, candidate: Candidate, signing_key: SigningKey, *, repeated: bool) -> _Accepted:
    at = clock.now()
    node = store.lock(session, offer.node_id)
    former = 0
    if not repeated:
        former = node.credential_number
        offer.used_at = at
        offer.used_by_key = rules.key_pair_mark(candidate.verify_key, candidate.seal_key)
        _take_identity(node, candidate)
        store.append_event(session, node, "enrolled", at, {"agent_version": candidate.agent_version})
        put_event(session, "deployer", _enrolled_event(node, candidate))
    password = clock.random_token()
    node.credential_hash = password_hash(password, clock.new_id().bytes[-4:])
    answer = Enrolled(
        node_id=node.id,
        team_id=node.team_id,
        epoch=node.epoch,
        username=topology.agent_user(node.id, node.credential_number),
        password=password,
        verify_key=signing.to_text(signing_key.verify_key),
    )
    return _Accepted(answer, NodeAccess(node.id, node.credential_number, node.credential_hash), former)


def _take_identity(node: Node, candidate: Candidate) -> None:
    at = clock.now()
    node.verify_key = candidate.verify_key
    node.seal_key = candidate.seal_key
    node.agent_version = candidate.agent_version
    node.facts = dict(candidate.facts)
    node.enrolled_at = at
    node.revoked_at = None
    node.updated_at = at
    node.revision += 1
    node.credential_number += 1
    # A new agent has a new journal: its reports count from the beginning, and its first hello raises the epoch.
    node.boot_id = None
    node.last_seen_at = None
    node.last_sequence = 0
    node.observed_sequence = 0
    node.observed_at = None
    node.containers = None


def _enrolled_event(node: Node, candidate: Candidate) -> Envelope:
    return Envelope(
        type="deployer.node.enrolled.v1",
        source="deployer",
        subject=str(node.id),
        team=node.team_id,
        actor=f"node:{node.id}",
        actorname=node.name,
        data=NodeEnrolled(
            resource_type="node",
            resource_id=str(node.id),
            resource_name=node.name,
            after={"agent_version": candidate.agent_version, "epoch": node.epoch},
            node_id=node.id,
            verify_key=candidate.verify_key,
            seal_key=candidate.seal_key,
        ),
    )


def _record_second_use(session: Session, offer: Enrollment, conflict: Conflict) -> None:
    node = store.lock(session, offer.node_id)
    store.append_event(session, node, "enrollment-refused", clock.now(), {"code": conflict.code})
    refused = Recorded(resource_type="node", resource_id=str(node.id), resource_name=node.name, outcome="refused", reason=conflict.code)
    put_event(
        session,
        "deployer",
        Envelope(type="deployer.request.refused.v1", source="deployer", subject=str(node.id), team=node.team_id, data=refused),
    )
