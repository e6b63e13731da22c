"""What people do with nodes: make, change, offer for enrolment, revoke, delete; and look at them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import structlog
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from kernel import clock
from kernel.contracts.envelope import Envelope
from kernel.contracts.recorded import Recorded
from kernel.db import Database, violated
from kernel.errors import Conflict, Unavailable
from kernel.outbox import put_event
from kernel.principal import Principal
from services.deployer.domain import nodes as rules
from services.deployer.models import Enrollment, Node, NodeEvent
from services.deployer.provisioning import Provisioner
from services.deployer.store import nodes as store
from services.deployer.store import removals
from services.deployer.store import reports as attempts
from services.deployer.store.nodes import NodeView
from services.deployer.usecases.settle import settle

log = structlog.get_logger(__name__)

Facts = Mapping[str, Any]  # the envelope's fields that say who did it
CheckRevision = Callable[[object], None]


def node_event(
    name: str, node: Node, facts: Facts, *, before: Facts | None = None, after: Facts | None = None, reason: str | None = None
) -> Envelope:
    """`deployer.node.<name>.v1`, for the outbox."""
    return Envelope(
        type=f"deployer.node.{name}.v1",
        source="deployer",
        subject=str(node.id),
        data=Recorded(
            resource_type="node",
            resource_id=str(node.id),
            resource_name=node.name,
            before=dict(before) if before is not None else None,
            after=dict(after) if after is not None else None,
            reason=reason,
        ),
        **facts,
    )


def _shown(node: Node) -> dict[str, Any]:
    return {"name": node.name, "description": node.description, "icon": node.icon}


def create_node(db: Database, who: Principal, *, name: str, description: str, icon: str | None) -> NodeView:
    """A new node; it becomes a machine by enrolment. Raises Conflict `name-taken`."""
    at = clock.now()
    node = Node(id=clock.new_id(), team_id=who.team, name=name, description=description, icon=icon, created_at=at, updated_at=at)
    node.revision, node.epoch, node.event_count = 1, 0, 0
    with _names_are_unique(db, who.team) as session:
        session.add(node)
        store.append_event(session, node, "created", at, {"by": who.actor})
        session.flush()
        put_event(session, "deployer", node_event("created", node, who.envelope_facts(), after=_shown(node)))
        return store.get_view(session, node.id)


def get_node(db: Database, who: Principal, node_id: UUID) -> NodeView:
    with db.team(who.team) as session:
        return store.get_view(session, node_id)


def list_nodes(db: Database, who: Principal, *, limit: int, after: tuple[str, UUID] | None) -> list[NodeView]:
    """Nodes by name, one more than `limit` if there are more."""
    with db.team(who.team) as session:
        return store.list_views(session, limit=limit + 1, after=after)


def change_node(db: Database, who: Principal, node_id: UUID, patch: Mapping[str, Any], check: CheckRevision) -> NodeView:
    """Change name, description or icon. Raises Conflict `name-taken`, PreconditionFailed. Any: checked fields."""
    with _names_are_unique(db, who.team) as session:
        node = store.lock(session, node_id)
        check(node.revision)
        before = _shown(node)
        for name, value in patch.items():
            setattr(node, name, "" if name == "description" and value is None else value)
        if _shown(node) != before:
            _touch(node)
            put_event(session, "deployer", node_event("changed", node, who.envelope_facts(), before=before, after=_shown(node)))
        session.flush()
        return store.get_view(session, node_id)


def _touch(node: Node) -> None:
    node.revision += 1
    node.updated_at = clock.now()


@contextmanager
def _names_are_unique(db: Database, team_id: UUID) -> Iterator[Session]:
    """A team's session in which a name that is taken is a Conflict."""
    try:
        with db.team(team_id) as session:
            yield session
    except IntegrityError as error:
        if violated(error) == "uq_nodes_team_id_name":
            raise Conflict("name-taken", "Another node of this team has this name.") from error
        raise


@dataclass(frozen=True)
class EnrollmentOffer:
    """What somebody needs to turn a machine into a node; the token is shown this once."""

    command: str
    script_url: str
    token: str
    expires_at: datetime


def offer_enrollment(db: Database, who: Principal, node_id: UUID, *, public_url: str) -> EnrollmentOffer:
    """A one-time token; a new one voids the old."""
    at = clock.now()
    enrollment_id = clock.new_id()
    token = rules.token_text(enrollment_id, clock.random_token())
    expires_at = at + rules.ENROLLMENT_LIFE
    with db.team(who.team) as session:
        node = store.lock(session, node_id)
        store.void_enrollments(session, node_id)
        session.add(
            Enrollment(
                id=enrollment_id,
                team_id=who.team,
                node_id=node_id,
                token_hash=rules.token_hash(token),
                expires_at=expires_at,
                created_at=at,
            )
        )
        store.append_event(session, node, "enrollment-requested", at, {"by": who.actor})
        after = {"expires_at": clock.rfc3339(expires_at)}
        put_event(session, "deployer", node_event("enrollment_requested", node, who.envelope_facts(), after=after))
    script_url = f"{public_url.rstrip('/')}/install/{token}"
    return EnrollmentOffer(f"curl -fsSL {script_url} | sh", script_url, token, expires_at)


def revoke_node(db: Database, provisioner: Provisioner, who: Principal, node_id: UUID) -> NodeView:
    """Cut a node off for good: its broker user goes, its attempts end, its reports count no more. Safe to repeat."""
    with db.team(who.team) as session:
        _revoke(session, provisioner, store.lock(session, node_id), who.envelope_facts())
        return store.get_view(session, node_id)


def revoke_nodes_of_team(session: Session, provisioner: Provisioner, team_id: UUID, facts: Facts) -> None:
    """The team is gone: so are its nodes' rights."""
    for node_id in store.list_ids_of_team(session, team_id):
        _revoke(session, provisioner, store.lock(session, node_id), facts)


def _revoke(session: Session, provisioner: Provisioner, node: Node, facts: Facts) -> None:
    if node.revoked_at is not None:
        return
    # The row is locked, so that no reconciliation can give back what is taken away here.
    _cut_off(provisioner, node)
    at = clock.now()
    node.revoked_at = at
    _touch(node)
    store.void_enrollments(session, node.id)
    store.append_event(session, node, "revoked", at, {"by": facts.get("actor")})
    revoked = node_event("revoked", node, facts)
    put_event(session, "deployer", revoked)
    session.flush()
    for attempt in attempts.live_attempts(session, node.id):
        attempts.fence(session, attempt)
        detail = "The node was revoked; what runs there is not known any more."
        settle(session, attempt.id, outcome="failed", code="node-revoked", detail=detail, restored=False, at=at, cause=revoked)
    removals.forget_all_of(session, node.id)


def _cut_off(provisioner: Provisioner, node: Node) -> None:
    try:
        provisioner.remove(node.id, node.credential_number)
    except Unavailable as error:
        # Its reports are refused from now on anyhow, and the next reconciliation removes the user.
        log.warning("the broker could not be told of a node that goes", node=str(node.id), error=str(error))


def delete_node(db: Database, provisioner: Provisioner, who: Principal, node_id: UUID, check: CheckRevision) -> None:
    """Forget a node. Raises Conflict `node-in-use` while deployments stand on it."""
    with db.team(who.team) as session:
        node = store.lock_to_delete(session, node_id)
        check(node.revision)
        rules.check_deletable(store.count_deployments(session, node_id))
        _cut_off(provisioner, node)
        put_event(session, "deployer", node_event("deleted", node, who.envelope_facts(), before=_shown(node)))
        session.delete(node)


def list_node_events(db: Database, who: Principal, node_id: UUID, *, limit: int, before: int | None) -> list[NodeEvent]:
    """What happened to a node, newest first, one more than `limit` if there are more."""
    with db.team(who.team) as session:
        store.get_view(session, node_id)
        return store.list_events(session, node_id, limit=limit + 1, before=before)


@dataclass(frozen=True)
class Containers:
    """A page of a node's containers as they were last seen, and when that was."""

    items: list[dict[str, Any]]  # as the agent reported them
    next_after: tuple[str, str] | None
    observed_at: datetime | None
    observed_seconds: float | None


def list_containers(
    db: Database, who: Principal, node_id: UUID, *, prefix: str | None, limit: int, after: tuple[str, str] | None
) -> Containers:
    """The node's containers by prefix and name, from what was last observed."""
    with db.team(who.team) as session:
        view = store.get_view(session, node_id)
        rows = sorted(view.row.containers or [], key=_place_and_name)
    chosen = [row for row in rows if prefix in (None, row["prefix"]) and (after is None or _place_and_name(row) > after)]
    page = chosen[:limit]
    following = _place_and_name(page[-1]) if len(chosen) > limit else None
    return Containers(page, following, view.row.observed_at, view.observed_seconds)


def _place_and_name(row: Mapping[str, Any]) -> tuple[str, str]:
    return row["prefix"], row["name"]
