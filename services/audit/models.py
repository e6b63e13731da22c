"""The audit service's tables. Entries and checkpoints are append-only by permission and by trigger."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any
from uuid import UUID

from sqlalchemy import JSON, BigInteger, CheckConstraint, Index, Text, UniqueConstraint, Uuid, text
from sqlalchemy.orm import Mapped, mapped_column

from kernel.db import new_base

if TYPE_CHECKING:
    # A class made by a function is no base class to mypy.
    from sqlalchemy.orm import DeclarativeBase as Base
else:
    Base = new_base()


class EntryRow(Base):
    """One entry of a team's chain; the team itself may be long gone. JSON, not JSONB: the hash covers numbers as they were written."""

    __tablename__ = "entries"
    __table_args__ = (
        UniqueConstraint("team_id", "id", name="uq_entries_id"),
        CheckConstraint("number > 0", name="number"),
        CheckConstraint("outcome IN ('allowed', 'refused')", name="outcome"),
        Index("ix_entries_at", "team_id", "at"),
        Index("ix_entries_actor", "team_id", "actor_id", "number"),
        Index("ix_entries_action", "team_id", "action", "number", postgresql_ops={"action": "text_pattern_ops"}),
        Index("ix_entries_resource", "team_id", "resource_type", "resource_id", "number"),
        Index("ix_entries_refused", "team_id", "number", postgresql_where=text("outcome = 'refused'")),
    )
    team_id: Mapped[UUID] = mapped_column(Uuid, primary_key=True)
    number: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    id: Mapped[UUID] = mapped_column(Uuid)
    at: Mapped[datetime]
    recorded_at: Mapped[datetime]
    action: Mapped[str] = mapped_column(Text)
    actor_kind: Mapped[str] = mapped_column(Text)
    actor_id: Mapped[str] = mapped_column(Text)
    actor_name: Mapped[str | None] = mapped_column(Text)
    address: Mapped[str | None] = mapped_column(Text)
    resource_type: Mapped[str] = mapped_column(Text)
    resource_id: Mapped[str] = mapped_column(Text)
    resource_name: Mapped[str] = mapped_column(Text)
    outcome: Mapped[str] = mapped_column(Text)
    before: Mapped[Any] = mapped_column(JSON(none_as_null=True), nullable=True)  # Any: JSON
    after: Mapped[Any] = mapped_column(JSON(none_as_null=True), nullable=True)
    reason: Mapped[str | None] = mapped_column(Text)
    correlation: Mapped[str | None] = mapped_column(Text)
    source: Mapped[str] = mapped_column(Text)
    data: Mapped[Any] = mapped_column(JSON(none_as_null=True))
    prev_hash: Mapped[str] = mapped_column(Text)
    hash: Mapped[str] = mapped_column(Text)


class CheckpointRow(Base):
    __tablename__ = "checkpoints"
    team_id: Mapped[UUID] = mapped_column(Uuid, primary_key=True)
    sequence: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    number: Mapped[int] = mapped_column(BigInteger)
    hash: Mapped[str] = mapped_column(Text)
    at: Mapped[datetime]
    previous: Mapped[str] = mapped_column(Text)
    key: Mapped[str] = mapped_column(Text)
    signature: Mapped[str] = mapped_column(Text)


class NodeKeyRow(Base):
    """A key that a node enrolled with. Older ones stay: a report that waited was signed with its own time's key."""

    __tablename__ = "node_keys"
    node_id: Mapped[UUID] = mapped_column(Uuid, primary_key=True)
    verify_key: Mapped[str] = mapped_column(Text, primary_key=True)
    team_id: Mapped[UUID] = mapped_column(Uuid)
