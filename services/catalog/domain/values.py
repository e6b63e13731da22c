"""What the catalog keeps: registries, projects, versions, images, config bundles."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from services.catalog.domain.registries import RegistryType, full_repository, pull_host


class ProjectType(StrEnum):
    """A versionless project has exactly one hidden rolling version."""

    VERSIONED = "versioned"
    VERSIONLESS = "versionless"


class VersionType(StrEnum):
    """Rolling: one living stack that is deployed again and again. Incremental: a release that freezes once it ran."""

    ROLLING = "rolling"
    INCREMENTAL = "incremental"


@dataclass(frozen=True, kw_only=True)
class Registry:
    """Where images come from. `password_sealed` is encrypted with the key ring; the plain one is never kept."""

    id: UUID
    team_id: UUID
    name: str
    type: RegistryType
    created_at: datetime
    updated_at: datetime
    description: str = ""
    url: str | None = None
    api_url: str | None = None
    token_host: str | None = None
    namespace: str | None = None
    username: str | None = None
    password_sealed: str | None = None
    verify_tls: bool = True
    ca_certificate: str | None = None
    revision: int = 1

    @property
    def has_password(self) -> bool:
        return self.password_sealed is not None

    @property
    def host(self) -> str | None:
        """The first part of its images' names; None where only images already on the node are meant."""
        return pull_host(self.type, self.url)

    @property
    def warnings(self) -> list[str]:
        """What its owner should know about how safe it is."""
        found = []
        if self.type is RegistryType.UNCHECKED:
            found.append("Tags of an unchecked registry are neither looked up nor resolved to digests.")
        if not self.verify_tls:
            found.append("Certificates are not checked: whoever stands between can read the password and change images.")
        if self.url is not None and self.url.startswith("http://"):
            found.append("The registry is spoken to without encryption.")
        return found

    def full_repository(self, repository: str) -> str:
        """The repository as the registry knows it, below its namespace."""
        return full_repository(self.type, self.namespace, repository)


@dataclass(frozen=True, kw_only=True)
class Project:
    """What a team delivers; its versions are counted by `last_seq`."""

    id: UUID
    team_id: UUID
    name: str
    type: ProjectType
    created_at: datetime
    updated_at: datetime
    description: str = ""
    last_seq: int = 0
    revision: int = 1


@dataclass(frozen=True, kw_only=True)
class Version:
    """A stack of images. `seq` counts the versions of one project from 1; `parent_id` is the one it was increased from."""

    id: UUID
    team_id: UUID
    project_id: UUID
    name: str
    type: VersionType
    seq: int
    created_at: datetime
    updated_at: datetime
    changelog: str = ""
    is_default: bool = False
    auto_copy_deployments: bool = False
    parent_id: UUID | None = None
    chain_id: UUID | None = None
    created_by: str = ""
    created_by_name: str = ""
    revision: int = 1


@dataclass(frozen=True, kw_only=True)
class Image:
    """One image of a version with its configuration. Any: the configuration is a validated JSON object."""

    id: UUID
    team_id: UUID
    version_id: UUID
    registry_id: UUID
    repository: str
    position: int
    created_at: datetime
    updated_at: datetime
    tag: str | None = None
    digest: str | None = None
    config: dict[str, Any] = field(default_factory=dict)
    labels: dict[str, str] = field(default_factory=dict)
    revision: int = 1


@dataclass(frozen=True, kw_only=True)
class ConfigBundle:
    """Configuration to be shared by deployments. Any: a validated JSON object."""

    id: UUID
    team_id: UUID
    name: str
    created_at: datetime
    updated_at: datetime
    description: str = ""
    config: dict[str, Any] = field(default_factory=dict)
    revision: int = 1
