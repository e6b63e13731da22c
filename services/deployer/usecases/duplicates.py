"""Two machines that carry one identity: both work as the same node, so people must hear of it."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy.orm import Session

from kernel import clock
from kernel.contracts.agent import Heartbeat
from kernel.contracts.envelope import Envelope
from kernel.outbox import put_event
from services.deployer.domain.nodes import tells_of_duplicate
from services.deployer.store import nodes as node_store
from services.deployer.store import places
from services.deployer.store import reports as store
from services.deployer.store.reports import NodeMark
from services.deployer.usecases.hello import facts_of_node
from services.deployer.usecases.nodes import node_event

# Told again when it was quiet for so long: the one may have been switched off, and another copy on.
_TOLD_AGAIN_SECONDS = 3600.0


def note_foreign_heartbeat(session: Session, mark: NodeMark, report: Envelope, data: Heartbeat, *, at: datetime) -> None:
    """A sign of life of another process than the one that is the node."""
    if not tells_of_duplicate(told_at=report.time, greeted_at=mark.greeted_at):
        return
    is_news = mark.duplicate_seconds is None or mark.duplicate_seconds > _TOLD_AGAIN_SECONDS
    mark.duplicate_seconds = 0.0
    store.save_duplicate_seen(session, mark.id)
    if not is_news:
        return
    node = places.node_of(session, mark.id)
    after = {"boot_id": str(mark.boot_id), "other_boot_id": str(data.boot_id), "other_told_at": clock.rfc3339(report.time)}
    node_store.append_event(session, node, "duplicated", at, after)
    reason = "Two agents carry this node's identity. Stop one of them, or revoke the node and enrol it anew."
    put_event(session, "deployer", node_event("duplicated", node, facts_of_node(mark), after=after, reason=reason))
    session.flush()
