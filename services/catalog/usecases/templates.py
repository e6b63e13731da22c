"""Ready-made projects: YAML files beside the code that become a project in one call."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from typing import Any
from uuid import UUID

from sqlalchemy.orm import Session

from kernel import clock
from kernel.db import Database
from kernel.errors import NotFound
from kernel.principal import Principal
from services.catalog.compose import Imported, ImportOptions, Note, import_compose
from services.catalog.compose.document import load
from services.catalog.domain import ProjectType, Registry, RegistryType, VersionType, parse_reference
from services.catalog.store import registries
from services.catalog.store import versions as store
from services.catalog.usecases import projects
from services.catalog.usecases.compose import place
from services.catalog.usecases.events import registry_json, tell_change
from services.catalog.usecases.images import add_to
from services.catalog.usecases.projects import ProjectView
from services.catalog.usecases.references import best_registry

_FIRST_VERSION = "1.0.0"
_PUBLIC = {"docker.io": ("Docker Hub", RegistryType.DOCKER_HUB, None), "ghcr.io": ("GitHub packages", RegistryType.V2, "https://ghcr.io")}


@dataclass(frozen=True)
class Template:
    """A ready-made project. Its services are a Compose file's."""

    id: str
    name: str
    description: str
    website: str
    services: Imported


@dataclass(frozen=True)
class Made:
    """The project that came of a template, its version, and what there is to know before it is deployed."""

    project: ProjectView
    version_id: UUID
    notes: Sequence[Note]


@functools.cache
def all_templates() -> tuple[Template, ...]:
    """Every template, by name."""
    files = [file for file in resources.files("services.catalog.templates").iterdir() if file.name.endswith(".yaml")]
    return tuple(sorted((_read(file.name.removesuffix(".yaml"), file.read_text()) for file in files), key=lambda one: one.name.lower()))


def find(template_id: str) -> Template:
    """Raises NotFound."""
    for template in all_templates():
        if template.id == template_id:
            return template
    raise NotFound("template")


def make_project(db: Database, who: Principal, template_id: str, *, name: str, description: str | None, kind: ProjectType) -> Made:
    """A project with one version and the template's images; public registries that the team lacks are added.

    Raises NotFound, Conflict `name-taken`.
    """
    template = find(template_id)
    with db.team(who.team) as session:
        about = template.description if description is None else description
        project = projects.add(session, who, name=name, description=about, kind=kind)
        if kind is ProjectType.VERSIONED:
            project, version = projects.add_version(session, who, project, name=_FIRST_VERSION, kind=VersionType.INCREMENTAL)
        else:
            version = store.list_versions(session, project, limit=1, before_seq=None)[0]
        known = _with_public(session, who, template)
        found, skipped = place(version, known, template.services, {})
        add_to(session, who, version, [image for _, image in found])
        shown = ProjectView(project, 1, version.id)
    return Made(shown, version.id, [*template.services.changed, *skipped])


def _with_public(session: Session, who: Principal, template: Template) -> list[Registry]:
    """The team's registries, and those that the template needs besides."""
    known = registries.all_registries(session, who.team)
    for service in template.services.services:
        reference = parse_reference(service.image)
        host = reference.host or "docker.io"
        if best_registry(known, host, reference.repository) is None and host in _PUBLIC:
            known.append(_add_public(session, who, host, {registry.name for registry in known}))
    return known


def _add_public(session: Session, who: Principal, host: str, taken: set[str]) -> Registry:
    name, kind, url = _PUBLIC[host]
    now = clock.now()
    free = name if name not in taken else f"{name} (public)"
    registry = Registry(id=clock.new_id(), team_id=who.team, name=free, type=kind, url=url, created_at=now, updated_at=now)
    registries.add_registry(session, registry)
    tell_change(session, who.envelope_facts(), "registry.created", registry, before=None, after=registry_json(registry))
    return registry


def _read(identity: str, text: str) -> Template:
    document: dict[str, Any] = load(text, field=identity)  # Any: YAML
    # The head of the file is ours, the rest is a Compose file.
    head = document["x-template"]
    return Template(identity, head["name"], head["description"], head["website"], import_compose(text, ImportOptions(), field=identity))
