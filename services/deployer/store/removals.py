"""Places that are wanted empty: kept on their rows until the node has answered, or something newer has taken the place."""

from __future__ import annotations

from collections.abc import Collection
from uuid import UUID

from sqlalchemy import func, select, text, update
from sqlalchemy.orm import Session

from services.deployer.domain.removals import pause_seconds
from services.deployer.models import Place

_NOTHING = {
    "removal_generation": None, "removal_volumes": False, "removal_by": None, "removal_by_name": None, "removal_correlation": None,
    "removal_asked_at": None, "removal_due_at": None, "removal_tries": 0,
}  # fmt: skip


def forget(place: Place) -> None:
    """It is clear, or something newer has taken it. The caller has locked the place."""
    if place.removal_generation is not None:
        for name, value in _NOTHING.items():
            setattr(place, name, value)


def forget_all_of(session: Session, node_id: UUID) -> None:
    """The node is cut off: nobody is left to clear anything."""
    gone = update(Place).where(Place.node_id == node_id, Place.removal_generation.is_not(None)).values(_NOTHING)
    session.execute(gone.execution_options(synchronize_session="fetch"))


def lock_wanted(
    session: Session, node_id: UUID, *, prefix: str | None = None, only_due: bool = False, overtaken: bool = False
) -> list[Place]:
    """The places of a node that are wanted empty, locked in one order. The caller has locked the node.

    `overtaken`: those as well where something newer was ordered since.
    """
    query = select(Place).where(Place.node_id == node_id, Place.removal_generation.is_not(None))
    if prefix is not None:
        query = query.where(Place.prefix == prefix)
    if not overtaken:
        query = query.where(Place.removal_generation == Place.generation)
    if only_due:
        query = query.where(Place.removal_due_at <= func.now())
    return list(session.scalars(query.order_by(Place.prefix).with_for_update().execution_options(populate_existing=True)))


_SENT = text("""
UPDATE places SET removal_tries = :tries, removal_due_at = now() + make_interval(secs => :pause) WHERE node_id = :node AND prefix = :prefix
""")


def note_sent(session: Session, place: Place, *, anew: bool) -> None:
    """Ordered once more; `anew` begins to count again. The moment of the next order is by the database's clock."""
    tries = 1 if anew else place.removal_tries + 1
    session.execute(_SENT, {"tries": tries, "pause": pause_seconds(tries), "node": place.node_id, "prefix": place.prefix})
    session.refresh(place)


_DUE = text("""
SELECT DISTINCT n.id FROM places p JOIN nodes n ON n.id = p.node_id
WHERE p.removal_generation = p.generation AND p.removal_due_at <= now() AND n.revoked_at IS NULL
  AND n.last_seen_at > now() - interval '20 seconds'
LIMIT 100
""")


def nodes_with_due(session: Session) -> Collection[UUID]:
    """Nodes that are there and have not answered in time, or have failed and are to try again."""
    return list(session.execute(_DUE).scalars())
