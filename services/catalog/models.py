"""The catalog's tables. Rules live in the domain; the constraints here keep them true whatever the code does."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any
from uuid import UUID

from sqlalchemy import BigInteger, Boolean, CheckConstraint, ForeignKeyConstraint, Index, Integer, Text, UniqueConstraint, Uuid, text
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlalchemy.orm import Mapped, mapped_column

from kernel.db import new_base

if TYPE_CHECKING:
    from sqlalchemy.orm import DeclarativeBase as Base
else:
    Base = new_base()
_NOW = text("now()")
_EMPTY = text("'{}'")


class RegistryRow(Base):
    __tablename__ = "registries"
    __table_args__ = (
        UniqueConstraint("team_id", "name", name="uq_registries_name"),
        UniqueConstraint("team_id", "id", name="uq_registries_team"),
        CheckConstraint("(username IS NULL) = (password_sealed IS NULL)", name="credentials"),
    )
    id: Mapped[UUID] = mapped_column(Uuid, primary_key=True)
    team_id: Mapped[UUID] = mapped_column(Uuid)
    name: Mapped[str] = mapped_column(Text)
    type: Mapped[str] = mapped_column(Text)
    description: Mapped[str] = mapped_column(Text, server_default=text("''"))
    url: Mapped[str | None] = mapped_column(Text)
    api_url: Mapped[str | None] = mapped_column(Text)
    token_host: Mapped[str | None] = mapped_column(Text)
    namespace: Mapped[str | None] = mapped_column(Text)
    username: Mapped[str | None] = mapped_column(Text)
    password_sealed: Mapped[str | None] = mapped_column(Text)
    verify_tls: Mapped[bool] = mapped_column(Boolean, server_default=text("true"))
    ca_certificate: Mapped[str | None] = mapped_column(Text)
    created_at: Mapped[datetime] = mapped_column(server_default=_NOW)
    updated_at: Mapped[datetime] = mapped_column(server_default=_NOW)
    revision: Mapped[int] = mapped_column(Integer, server_default=text("1"))


class ProjectRow(Base):
    __tablename__ = "projects"
    __table_args__ = (
        UniqueConstraint("team_id", "name", name="uq_projects_name"),
        UniqueConstraint("team_id", "id", name="uq_projects_team"),
        CheckConstraint("type IN ('versioned', 'versionless')", name="type"),
    )
    id: Mapped[UUID] = mapped_column(Uuid, primary_key=True)
    team_id: Mapped[UUID] = mapped_column(Uuid)
    name: Mapped[str] = mapped_column(Text)
    type: Mapped[str] = mapped_column(Text)
    description: Mapped[str] = mapped_column(Text, server_default=text("''"))
    last_seq: Mapped[int] = mapped_column(Integer, server_default=text("0"))
    created_at: Mapped[datetime] = mapped_column(server_default=_NOW)
    updated_at: Mapped[datetime] = mapped_column(server_default=_NOW)
    revision: Mapped[int] = mapped_column(Integer, server_default=text("1"))


class VersionRow(Base):
    __tablename__ = "versions"
    __table_args__ = (
        UniqueConstraint("project_id", "name", name="uq_versions_name"),
        UniqueConstraint("project_id", "seq", name="uq_versions_seq"),
        UniqueConstraint("team_id", "id", name="uq_versions_team"),
        # One child a version: chains never branch.
        UniqueConstraint("parent_id", name="uq_versions_parent"),
        ForeignKeyConstraint(
            ["team_id", "project_id"], ["projects.team_id", "projects.id"], name="fk_versions_project", ondelete="CASCADE"
        ),
        ForeignKeyConstraint(["team_id", "parent_id"], ["versions.team_id", "versions.id"], name="fk_versions_parent"),
        Index("uq_versions_default", "project_id", unique=True, postgresql_where=text("is_default")),
        CheckConstraint("type IN ('rolling', 'incremental')", name="type"),
    )
    id: Mapped[UUID] = mapped_column(Uuid, primary_key=True)
    team_id: Mapped[UUID] = mapped_column(Uuid)
    project_id: Mapped[UUID] = mapped_column(Uuid)
    name: Mapped[str] = mapped_column(Text)
    type: Mapped[str] = mapped_column(Text)
    seq: Mapped[int] = mapped_column(Integer)
    changelog: Mapped[str] = mapped_column(Text, server_default=text("''"))
    is_default: Mapped[bool] = mapped_column(Boolean, server_default=text("false"))
    auto_copy_deployments: Mapped[bool] = mapped_column(Boolean, server_default=text("false"))
    parent_id: Mapped[UUID | None] = mapped_column(Uuid)
    chain_id: Mapped[UUID | None] = mapped_column(Uuid)
    created_by: Mapped[str] = mapped_column(Text, server_default=text("''"))
    created_by_name: Mapped[str] = mapped_column(Text, server_default=text("''"))
    created_at: Mapped[datetime] = mapped_column(server_default=_NOW)
    updated_at: Mapped[datetime] = mapped_column(server_default=_NOW)
    revision: Mapped[int] = mapped_column(Integer, server_default=text("1"))


class ImageRow(Base):
    __tablename__ = "images"
    __table_args__ = (
        UniqueConstraint("version_id", "position", name="uq_images_position", deferrable=True, initially="DEFERRED"),
        ForeignKeyConstraint(["team_id", "version_id"], ["versions.team_id", "versions.id"], name="fk_images_version", ondelete="CASCADE"),
        ForeignKeyConstraint(["team_id", "registry_id"], ["registries.team_id", "registries.id"], name="fk_images_registry"),
        Index("ix_images_registry", "registry_id"),
    )
    id: Mapped[UUID] = mapped_column(Uuid, primary_key=True)
    team_id: Mapped[UUID] = mapped_column(Uuid)
    version_id: Mapped[UUID] = mapped_column(Uuid)
    registry_id: Mapped[UUID] = mapped_column(Uuid)
    repository: Mapped[str] = mapped_column(Text)
    tag: Mapped[str | None] = mapped_column(Text)
    digest: Mapped[str | None] = mapped_column(Text)
    position: Mapped[int] = mapped_column(Integer)
    config: Mapped[dict[str, Any]] = mapped_column(JSONB, server_default=_EMPTY)
    labels: Mapped[dict[str, str]] = mapped_column(JSONB, server_default=_EMPTY)
    created_at: Mapped[datetime] = mapped_column(server_default=_NOW)
    updated_at: Mapped[datetime] = mapped_column(server_default=_NOW)
    revision: Mapped[int] = mapped_column(Integer, server_default=text("1"))


class ConfigBundleRow(Base):
    __tablename__ = "config_bundles"
    __table_args__ = (UniqueConstraint("team_id", "name", name="uq_config_bundles_name"),)
    id: Mapped[UUID] = mapped_column(Uuid, primary_key=True)
    team_id: Mapped[UUID] = mapped_column(Uuid)
    name: Mapped[str] = mapped_column(Text)
    description: Mapped[str] = mapped_column(Text, server_default=text("''"))
    config: Mapped[dict[str, Any]] = mapped_column(JSONB, server_default=_EMPTY)
    created_at: Mapped[datetime] = mapped_column(server_default=_NOW)
    updated_at: Mapped[datetime] = mapped_column(server_default=_NOW)
    revision: Mapped[int] = mapped_column(Integer, server_default=text("1"))


class VersionPinRow(Base):
    """A start that is under way holds its version still until the deployer's event says so itself, or the lease ends."""

    __tablename__ = "version_pins"
    __table_args__ = (
        ForeignKeyConstraint(
            ["team_id", "version_id"], ["versions.team_id", "versions.id"], name="fk_version_pins_version", ondelete="CASCADE"
        ),
        Index("ix_version_pins_expires_at", "expires_at"),
    )
    version_id: Mapped[UUID] = mapped_column(Uuid, primary_key=True)
    deployment_id: Mapped[UUID] = mapped_column(Uuid, primary_key=True)
    team_id: Mapped[UUID] = mapped_column(Uuid)
    node_id: Mapped[UUID] = mapped_column(Uuid)
    taken_at: Mapped[datetime] = mapped_column()
    expires_at: Mapped[datetime] = mapped_column()


class VersionDeploymentRow(Base):
    """What the deployer's events have said of each deployment; a deleted one stays for a time, as a stone against old news."""

    __tablename__ = "version_deployments"
    __table_args__ = (
        Index("ix_version_deployments_version_id", "version_id"),
        Index("ix_version_deployments_deleted", "updated_at", postgresql_where=text("status = 'deleted'")),
    )
    deployment_id: Mapped[UUID] = mapped_column(Uuid, primary_key=True)
    team_id: Mapped[UUID] = mapped_column(Uuid)
    version_id: Mapped[UUID] = mapped_column(Uuid)
    project_id: Mapped[UUID] = mapped_column(Uuid)
    status: Mapped[str] = mapped_column(Text)
    revision: Mapped[int] = mapped_column(BigInteger)
    config_bundle_ids: Mapped[list[UUID]] = mapped_column(ARRAY(Uuid), server_default=_EMPTY)
    updated_at: Mapped[datetime] = mapped_column(server_default=_NOW)
