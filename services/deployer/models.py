"""The deployer's tables and constraints."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any
from uuid import UUID

from sqlalchemy import BigInteger, CheckConstraint, ForeignKeyConstraint, Index, Text, UniqueConstraint, Uuid, text
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from kernel.db import new_base

if TYPE_CHECKING:
    # A class made by a function is no base class to mypy.
    class Base(DeclarativeBase): ...

else:
    Base = new_base()

Json = dict[str, Any]  # whatever a JSON column holds; schemas check it where it enters

_ZERO = text("0")
_ONE = text("1")
_EMPTY = text("'{}'::jsonb")
_LIST = text("'[]'::jsonb")


def _of_node(*columns: str, on_delete: str = "CASCADE") -> ForeignKeyConstraint:
    return ForeignKeyConstraint(["team_id", *columns], ["nodes.team_id", "nodes.id"], ondelete=on_delete)


def _of_deployment() -> ForeignKeyConstraint:
    return ForeignKeyConstraint(["team_id", "deployment_id"], ["deployments.team_id", "deployments.id"], ondelete="CASCADE")


class Node(Base):
    """A machine that runs an agent; new until its agent has enrolled."""

    __tablename__ = "nodes"
    __table_args__ = (UniqueConstraint("team_id", "id"), UniqueConstraint("team_id", "name"))

    id: Mapped[UUID] = mapped_column(primary_key=True)
    team_id: Mapped[UUID]
    name: Mapped[str] = mapped_column(Text)
    description: Mapped[str] = mapped_column(Text, server_default="")
    icon: Mapped[str | None] = mapped_column(Text)
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]
    revision: Mapped[int] = mapped_column(server_default=_ONE)
    event_count: Mapped[int] = mapped_column(server_default=_ZERO)
    enrolled_at: Mapped[datetime | None]
    revoked_at: Mapped[datetime | None]
    verify_key: Mapped[str | None] = mapped_column(Text)
    seal_key: Mapped[str | None] = mapped_column(Text)
    epoch: Mapped[int] = mapped_column(server_default=_ZERO)
    boot_id: Mapped[UUID | None]
    agent_version: Mapped[str | None] = mapped_column(Text)
    facts: Mapped[Json] = mapped_column(JSONB, server_default=_EMPTY)
    credential_number: Mapped[int] = mapped_column(server_default=_ZERO)
    credential_hash: Mapped[str | None] = mapped_column(Text)
    last_seen_at: Mapped[datetime | None]
    last_sequence: Mapped[int] = mapped_column(BigInteger, server_default=_ZERO)
    observed_sequence: Mapped[int] = mapped_column(BigInteger, server_default=_ZERO)
    observed_at: Mapped[datetime | None]
    containers: Mapped[list[Json] | None] = mapped_column(JSONB(none_as_null=True))
    engine: Mapped[str | None] = mapped_column(Text)
    # When the node's present process said hello, by its own clock; and when another with the same identity was heard after that.
    greeted_at: Mapped[datetime | None]
    duplicate_seen_at: Mapped[datetime | None]


class Enrollment(Base):
    """A one-time token that lets an agent become its node; only its hash is kept."""

    __tablename__ = "enrollments"
    __table_args__ = (_of_node("node_id"), UniqueConstraint("token_hash"), Index(None, "team_id", "node_id"))

    id: Mapped[UUID] = mapped_column(primary_key=True)
    team_id: Mapped[UUID]
    node_id: Mapped[UUID]
    token_hash: Mapped[str] = mapped_column(Text)
    expires_at: Mapped[datetime]
    used_at: Mapped[datetime | None]
    used_by_key: Mapped[str | None] = mapped_column(Text)
    created_at: Mapped[datetime]


class NodeEvent(Base):
    """What happened to a node, numbered from nodes.event_count."""

    __tablename__ = "node_events"
    __table_args__ = (_of_node("node_id"),)

    node_id: Mapped[UUID] = mapped_column(primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    team_id: Mapped[UUID]
    at: Mapped[datetime]
    kind: Mapped[str] = mapped_column(Text)
    data: Mapped[Json] = mapped_column(JSONB, server_default=_EMPTY)


class Place(Base):
    """A prefix on a node, and its newest generation: agents obey nothing older. `removal_…`: it is wanted empty, until the node says so."""

    __tablename__ = "places"
    __table_args__ = (
        _of_node("node_id"),
        Index("ix_places_removal_due_at", "removal_due_at", postgresql_where=text("removal_generation IS NOT NULL")),
    )

    node_id: Mapped[UUID] = mapped_column(primary_key=True)
    prefix: Mapped[str] = mapped_column(Text, primary_key=True)
    team_id: Mapped[UUID]
    generation: Mapped[int] = mapped_column(BigInteger, server_default=_ZERO)
    # The newest generation that took the place: a success, or an order to clear it. What is older does not run here any more.
    taken_generation: Mapped[int] = mapped_column(BigInteger, server_default=_ZERO)
    removal_generation: Mapped[int | None] = mapped_column(BigInteger)
    removal_volumes: Mapped[bool] = mapped_column(server_default=text("false"))
    removal_by: Mapped[str | None] = mapped_column(Text)
    removal_by_name: Mapped[str | None] = mapped_column(Text)
    removal_correlation: Mapped[str | None] = mapped_column(Text)
    removal_asked_at: Mapped[datetime | None]
    # With a generation below the place's own something newer was started there, and its end decides what becomes of it.
    # When it is ordered again, if nothing else happens before; and how often it was ordered since the node last came.
    removal_due_at: Mapped[datetime | None]
    removal_tries: Mapped[int] = mapped_column(server_default=_ZERO)


class Deployment(Base):
    """This version, on this node, under this prefix, with this configuration."""

    __tablename__ = "deployments"
    __table_args__ = (
        _of_node("node_id", on_delete="RESTRICT"),
        UniqueConstraint("team_id", "id"),
        CheckConstraint("status IN ('preparing', 'in-progress', 'successful', 'failed', 'obsolete', 'downgraded')", name="status"),
        CheckConstraint("version_type IN ('rolling', 'incremental')", name="version_type"),
        CheckConstraint("prefix ~ '^[a-z0-9]{1,32}$'", name="prefix"),
        # The rules of making one, kept by the database as well: two requests at once cannot both pass.
        Index(
            "uq_deployments_rolling",
            "version_id",
            "node_id",
            unique=True,
            postgresql_where=text("version_type = 'rolling'"),
        ),
        Index(
            "uq_deployments_preparing",
            "version_id",
            "node_id",
            "prefix",
            unique=True,
            postgresql_where=text("version_type = 'incremental' AND status = 'preparing'"),
        ),
        Index("ix_deployments_node_id_prefix", "node_id", "prefix"),
        Index("ix_deployments_version_id", "version_id"),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)
    team_id: Mapped[UUID]
    node_id: Mapped[UUID]
    prefix: Mapped[str] = mapped_column(Text)
    version_id: Mapped[UUID]
    project_id: Mapped[UUID]
    project_name: Mapped[str] = mapped_column(Text)
    version_name: Mapped[str] = mapped_column(Text)
    version_type: Mapped[str] = mapped_column(Text)
    version_seq: Mapped[int]
    note: Mapped[str] = mapped_column(Text, server_default="")
    protected: Mapped[bool] = mapped_column(server_default=text("false"))
    status: Mapped[str] = mapped_column(Text)
    config: Mapped[Json] = mapped_column(JSONB, server_default=_EMPTY)
    config_bundle_ids: Mapped[list[UUID]] = mapped_column(ARRAY(Uuid), server_default=text("'{}'"))
    revision: Mapped[int] = mapped_column(server_default=_ONE)
    event_count: Mapped[int] = mapped_column(server_default=_ZERO)
    attempt_count: Mapped[int] = mapped_column(server_default=_ZERO)
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]
    created_by: Mapped[str] = mapped_column(Text)
    last_attempt_id: Mapped[UUID | None]
    # The attempt whose specification a rollback brings back, and which the node's containers are compared with.
    successful_attempt_id: Mapped[UUID | None]


class Instance(Base):
    """An image of the version as this deployment runs it, with its own configuration."""

    __tablename__ = "instances"
    __table_args__ = (_of_deployment(), UniqueConstraint("deployment_id", "image_id"))

    id: Mapped[UUID] = mapped_column(primary_key=True)
    team_id: Mapped[UUID]
    deployment_id: Mapped[UUID]
    image_id: Mapped[UUID]
    image_name: Mapped[str] = mapped_column(Text)
    position: Mapped[int]
    config: Mapped[Json] = mapped_column(JSONB, server_default=_EMPTY)
    revision: Mapped[int] = mapped_column(server_default=_ONE)


class Secret(Base):
    """A value sealed to the node: nobody here can read it. `seal_key` is the node's key that it was sealed to."""

    __tablename__ = "secrets"
    __table_args__ = (_of_deployment(),)

    deployment_id: Mapped[UUID] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(Text, primary_key=True)
    team_id: Mapped[UUID]
    sealed: Mapped[str] = mapped_column(Text)
    seal_key: Mapped[str] = mapped_column(Text)
    set_at: Mapped[datetime]
    set_by: Mapped[str] = mapped_column(Text)


class Attempt(Base):
    """One try to bring a deployment to its node: what was sent is frozen here, and how it ended."""

    __tablename__ = "attempts"
    __table_args__ = (
        _of_deployment(),
        UniqueConstraint("deployment_id", "number"),
        CheckConstraint("outcome IN ('succeeded', 'failed', 'cancelled', 'refused', 'timed-out')", name="outcome"),
        Index("ix_attempts_node_id_prefix", "node_id", "prefix", "generation"),
        Index("uq_attempts_live", "node_id", "prefix", unique=True, postgresql_where=text("outcome IS NULL")),
        Index("ix_attempts_deadline_at", "deadline_at", postgresql_where=text("outcome IS NULL")),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)
    team_id: Mapped[UUID]
    deployment_id: Mapped[UUID]
    number: Mapped[int]
    node_id: Mapped[UUID]
    prefix: Mapped[str] = mapped_column(Text)
    generation: Mapped[int] = mapped_column(BigInteger)
    outcome: Mapped[str | None] = mapped_column(Text)
    code: Mapped[str | None] = mapped_column(Text)
    detail: Mapped[str | None] = mapped_column(Text)
    restored: Mapped[bool | None]
    spec: Mapped[Json] = mapped_column(JSONB)
    credentials: Mapped[dict[str, str]] = mapped_column(JSONB, server_default=_EMPTY)
    # The node's key that secrets and credentials in it were sealed to.
    seal_key: Mapped[str | None] = mapped_column(Text)
    options: Mapped[Json] = mapped_column(JSONB, server_default=_EMPTY)
    started_by: Mapped[str] = mapped_column(Text)
    started_by_name: Mapped[str] = mapped_column(Text, server_default="")
    started_at: Mapped[datetime]
    # Until the command is sent (the node may be waited for), the end of the waiting; then the end of the attempt.
    deadline_at: Mapped[datetime]
    sent_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]
    cancel_requested_at: Mapped[datetime | None]
    containers: Mapped[list[Json]] = mapped_column(JSONB, server_default=_LIST)
    seconds: Mapped[dict[str, float]] = mapped_column(JSONB, server_default=_EMPTY)


class DeploymentEvent(Base):
    """What happened to a deployment, numbered without a gap from deployments.event_count, so that a cursor misses nothing."""

    __tablename__ = "deployment_events"
    __table_args__ = (
        _of_deployment(),
        CheckConstraint("kind IN ('status', 'step', 'log')", name="kind"),
    )

    deployment_id: Mapped[UUID] = mapped_column(primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    team_id: Mapped[UUID]
    attempt: Mapped[int | None]
    at: Mapped[datetime]
    kind: Mapped[str] = mapped_column(Text)
    container: Mapped[str | None] = mapped_column(Text)
    message: Mapped[str] = mapped_column(Text, server_default="")
    data: Mapped[Json] = mapped_column(JSONB, server_default=_EMPTY)
