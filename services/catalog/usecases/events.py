"""What the catalog tells the others, and how its things look in the audit log."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from sqlalchemy.orm import Session

from kernel.contracts import catalog as contracts
from kernel.contracts.envelope import Envelope, Message, type_of
from kernel.contracts.recorded import Recorded
from kernel.outbox import put_event
from services.catalog.domain import ConfigBundle, Image, Project, Registry, Version

SENDER = "catalog"
Facts = Mapping[str, Any]  # the envelope's fields that say who did it
Json = dict[str, Any]  # a thing as the API shows it


def tell(session: Session, facts: Facts, name: str, data: Recorded) -> None:
    """Put the event `catalog.<name>` into the outbox, in the caller's transaction."""
    kind: type[Message] = type(data)
    full = f"{SENDER}.{name}"
    assert full in contracts.NAMES or kind is contracts.VersionIncreased
    put_event(session, SENDER, Envelope(type=type_of(kind, full), source=SENDER, subject=data.resource_id, data=data, **facts))


def tell_change(
    session: Session,
    facts: Facts,
    name: str,
    thing: Registry | Project | Version | Image | ConfigBundle,
    *,
    before: Json | None,
    after: Json | None,
) -> None:
    """Tell that `thing` was made, changed or deleted."""
    kind = name.partition(".")[0]
    title = thing.repository if isinstance(thing, Image) else thing.name
    tell(session, facts, name, Recorded(resource_type=kind, resource_id=str(thing.id), resource_name=title, before=before, after=after))


def registry_json(registry: Registry) -> Json:
    return {
        "name": registry.name,
        "type": registry.type.value,
        "description": registry.description,
        "url": registry.url,
        "api_url": registry.api_url,
        "token_host": registry.token_host,
        "namespace": registry.namespace,
        "username": registry.username,
        "has_password": registry.has_password,
        "verify_tls": registry.verify_tls,
        "has_ca_certificate": registry.ca_certificate is not None,
    }


def project_json(project: Project) -> Json:
    return {"name": project.name, "type": project.type.value, "description": project.description}


def version_json(version: Version) -> Json:
    return {
        "project_id": str(version.project_id),
        "name": version.name,
        "type": version.type.value,
        "changelog": version.changelog,
        "default": version.is_default,
        "auto_copy_deployments": version.auto_copy_deployments,
        "parent_id": _text(version.parent_id),
    }


def image_json(image: Image) -> Json:
    return {
        "version_id": str(image.version_id),
        "registry_id": str(image.registry_id),
        "repository": image.repository,
        "tag": image.tag,
        "digest": image.digest,
        "position": image.position,
        "config": image.config,
    }


def bundle_json(bundle: ConfigBundle) -> Json:
    return {"name": bundle.name, "description": bundle.description, "config": bundle.config}


def _text(identity: UUID | None) -> str | None:
    return None if identity is None else str(identity)
