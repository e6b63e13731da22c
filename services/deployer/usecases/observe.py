"""What an agent saw on its node is kept, and a deployment that drifted since the last look is told of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any

from sqlalchemy.orm import Session

from kernel.contracts.agent import ContainersObserved, ContainersObservedSchema
from kernel.contracts.envelope import Envelope
from services.deployer.domain.observed import observed_of
from services.deployer.domain.plan import Difference, sync_of
from services.deployer.domain.states import EventKind, Status, Sync
from services.deployer.models import Deployment
from services.deployer.store import places
from services.deployer.store import reports as store
from services.deployer.store.attempts import standing_stack
from services.deployer.store.events import NewEvent, append_events
from services.deployer.store.reports import NodeMark
from services.deployer.usecases.announce import announce
from services.deployer.usecases.hello import facts_of_node

_SCHEMA = ContainersObservedSchema()

Rows = Sequence[dict[str, Any]]  # containers as the agent reports them and as the row keeps them


def observe(session: Session, seen: Sequence[tuple[NodeMark, Envelope]], *, at: datetime) -> None:
    """Keep the newest view of each of some locked nodes."""
    if not seen:
        return
    before = store.read_containers(session, [mark.id for mark, _ in seen])
    now = {mark.id: _rows(report) for mark, report in seen}
    changed = {node_id: rows for node_id, rows in now.items() if rows != before.get(node_id)}
    store.save_containers(session, [mark for mark, _ in seen], changed)
    for mark, _ in seen:
        former = before.get(mark.id)
        if former is not None and mark.id in changed:
            for prefix in sorted(_changed_prefixes(former, changed[mark.id])):
                _tell_drift(session, mark, prefix, _at(former, prefix), _at(changed[mark.id], prefix), at=at)


def _rows(report: Envelope) -> list[dict[str, Any]]:
    assert isinstance(report.data, ContainersObserved)
    dumped: dict[str, Any] = _SCHEMA.dump(report.data)  # JSON
    rows: list[dict[str, Any]] = dumped["containers"]
    return rows


def _at(rows: Rows, prefix: str) -> list[dict[str, Any]]:
    return [row for row in rows if row["prefix"] == prefix]


def _changed_prefixes(before: Rows, now: Rows) -> set[str]:
    return {prefix for prefix in {row["prefix"] for row in (*before, *now)} if _at(before, prefix) != _at(now, prefix)}


def _tell_drift(session: Session, mark: NodeMark, prefix: str, before: Rows, now: Rows, *, at: datetime) -> None:
    """An event when what was as it should be is so no longer, and a line in the history when it is again."""
    if store.is_place_busy(session, mark.id, prefix):
        return
    stack = standing_stack(session, mark.id, prefix)
    was, _ = sync_of(stack, observed_of(before))
    is_, found = sync_of(stack, observed_of(now))
    if stack is None or was == is_:
        return
    places.lock_place(session, team_id=mark.team_id, node_id=mark.id, prefix=prefix)
    deployments = places.lock_deployments_at(session, mark.id, prefix)
    standing = next((one for one in deployments if one.status == Status.SUCCESSFUL), None)
    if standing is None:
        return
    text = "drifted: " + ", ".join(f"{one.container} {one.field}" for one in found) if found else "in sync again"
    data: dict[str, Any] = {"sync": is_.value, "differences": [asdict(one) for one in found]}
    append_events(session, standing.id, [NewEvent(kind=EventKind.STATUS, at=at, message=text[:2048], data=data)])
    if is_ is Sync.DRIFTED:
        _announce_drift(session, mark, standing, found, data)


def _announce_drift(session: Session, mark: NodeMark, deployment: Deployment, found: Sequence[Difference], data: dict[str, Any]) -> None:
    deployment.revision += 1
    session.flush()
    reason = ", ".join(f"{one.container}: {one.field}" for one in found)[:2048]
    announce(session, "drifted", deployment, facts_of_node(mark), before={"sync": "in-sync"}, after=data, reason=reason)
