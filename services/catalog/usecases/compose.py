"""Compose files into a version, and a version as a Compose file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID

from kernel.db import Database
from kernel.errors import Invalid
from kernel.principal import Principal
from services.catalog.compose import ExportedImage, Imported, ImportOptions, Note, Service, export_compose, import_compose
from services.catalog.domain import Image, Registry, Version, parse_reference
from services.catalog.domain.references import container_name
from services.catalog.store import registries
from services.catalog.store import versions as store
from services.catalog.usecases.images import add_to, changeable
from services.catalog.usecases.labels import LabelReader
from services.catalog.usecases.references import ImageView, NewImage, Resolver
from services.catalog.usecases.registries import CheckRevision
from services.catalog.usecases.versions import view


@dataclass(frozen=True)
class ImportedImages:
    """The images that were added, by service, and notes on what was changed or left out."""

    images: Sequence[tuple[str, ImageView]]
    changed: Sequence[Note]
    skipped: Sequence[Note]


def import_into(
    db: Database,
    who: Principal,
    labels: LabelReader,
    version_id: UUID,
    *,
    compose: str,
    options: ImportOptions,
    by_host: Mapping[str, UUID],
    check: CheckRevision,
) -> ImportedImages:
    """Services become images behind those that are there. Raises Invalid, Conflict `version-immutable`."""
    read = import_compose(compose, options)
    with db.team(who.team) as session:
        version = changeable(session, who, version_id, check)
        known = registries.all_registries(session, who.team)
    found, skipped = place(version, known, read, by_host)
    views = labels.read([image for _, image in found])
    with db.team(who.team) as session:
        version = changeable(session, who, version_id, check)
        added = add_to(session, who, version, views) if views else []
    names = [name for name, _ in found]
    return ImportedImages(list(zip(names, added, strict=True)), read.changed, [*read.skipped, *skipped])


def place(
    version: Version, known: Sequence[Registry], read: Imported, by_host: Mapping[str, UUID]
) -> tuple[list[tuple[str, ImageView]], list[Note]]:
    """Each service with its image in a registry of the team; one that has none is left out with the reason."""
    resolver = Resolver(known)
    found: list[tuple[str, ImageView]] = []
    skipped: list[Note] = []
    for service in read.services:
        try:
            found.append((service.name, resolver.image(version, _wanted(service, by_host), position=0, path="")))
        except Invalid as error:
            reason = "; ".join(f"{one.field} {one.message}" for one in error.errors)
            skipped.append(Note(f"services.{service.name}.image", reason))
    return found, skipped


def export(db: Database, who: Principal, version_id: UUID) -> str:
    """The version as YAML."""
    with db.team(who.team) as session:
        seen = view(session, store.get_version(session, who.team, version_id))
    images = [
        ExportedImage(_name(image), _reference(seen.registries[image.registry_id], image), image.config) for image in seen.images or ()
    ]
    return export_compose(images, title=f"{seen.project.name} {seen.version.name}")


def _wanted(service: Service, by_host: Mapping[str, UUID]) -> NewImage:
    host = parse_reference(service.image).host
    return NewImage(service.image, by_host.get(host or "docker.io"), config=service.config)


def _name(image: Image) -> str:
    return str(image.config.get("name") or container_name(image.repository))


def _reference(registry: Registry, image: Image) -> str:
    full = registry.full_repository(image.repository)
    name = f"{registry.host}/{full}" if registry.host else full
    return name + (f":{image.tag}" if image.tag else "") + (f"@{image.digest}" if image.digest else "")
