"""Which registry an image comes from, and the parts of its name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from uuid import UUID

from kernel import clock
from kernel.contracts.config import Config, parse_config
from kernel.errors import FieldError, Invalid
from services.catalog.domain import Image, Registry, RegistryType, Version, parse_reference


@dataclass(frozen=True)
class NewImage:
    """An image to be added: `repository` may be a whole reference; without a registry its host says which one is meant."""

    repository: str
    registry_id: UUID | None = None
    tag: str | None = None
    digest: str | None = None
    config: Config = field(default_factory=dict)


@dataclass(frozen=True)
class ImageView:
    """An image with its registry."""

    image: Image
    registry: Registry
    warnings: tuple[str, ...] = ()


class Resolver:
    """Finds an image's registry and parts."""

    def __init__(self, known: Sequence[Registry]) -> None:
        self._known = known
        self._by_id = {registry.id: registry for registry in known}

    def image(self, version: Version, wanted: NewImage, *, position: int, path: str) -> ImageView:
        """Raises Invalid naming fields below `path`."""
        reference = parse_reference(wanted.repository, field=f"{path}repository")
        registry = self._registry(wanted, reference.host, reference.repository, path)
        repository = reference.repository
        if registry.namespace and reference.host:
            if not _is_inside(registry, repository):
                raise Invalid([FieldError(f"{path}repository", f"lies outside of the registry's namespace {registry.namespace}")])
            repository = repository.removeprefix(f"{registry.namespace}/")
        tag = _agreed(wanted.tag, reference.tag, f"{path}tag")
        digest = _agreed(wanted.digest, reference.digest, f"{path}digest")
        # What is added here is checked whole once more: a tag of its own may be as wrong as one in a reference.
        parse_reference(f"{repository}{f':{tag}' if tag else ''}", field=f"{path}tag")
        parse_reference(f"{repository}{f'@{digest}' if digest else ''}", field=f"{path}digest")
        now = clock.now()
        image = Image(
            id=clock.new_id(),
            team_id=version.team_id,
            version_id=version.id,
            registry_id=registry.id,
            repository=repository,
            tag=tag or (None if digest else "latest"),
            digest=digest,
            position=position,
            config=parse_config(wanted.config, field=f"{path}config"),
            created_at=now,
            updated_at=now,
        )
        return ImageView(image, registry)

    def _registry(self, wanted: NewImage, host: str | None, repository: str, path: str) -> Registry:
        if wanted.registry_id is not None:
            registry = self._by_id.get(wanted.registry_id)
            if registry is None:
                raise Invalid([FieldError(f"{path}registry_id", "is not a registry of this team")])
            if host is not None and host != registry.host:
                raise Invalid(
                    [FieldError(f"{path}repository", f"names the host {host}, but the registry is {registry.host or 'the node itself'}")]
                )
            return registry
        registry = best_registry(self._known, host, repository)
        if registry is None:
            where = f"registry for {host or 'docker.io'}"
            raise Invalid([FieldError(f"{path}registry_id", f"is needed: the team has no {where} that holds {repository}")])
        return registry


def best_registry(known: Sequence[Registry], host: str | None, repository: str) -> Registry | None:
    """The registry of that host whose namespace fits the repository most closely; no host means Docker Hub."""
    wanted = "docker.io" if host in (None, "index.docker.io", "registry-1.docker.io") else host
    fitting = [registry for registry in known if registry.host == wanted and (not registry.namespace or _is_inside(registry, repository))]
    return max(fitting, key=lambda one: len(one.namespace or ""), default=None)


def _is_inside(registry: Registry, repository: str) -> bool:
    if registry.type is RegistryType.DOCKER_HUB and "/" not in repository:
        return registry.namespace == "library"
    return repository.startswith(f"{registry.namespace}/")


def _agreed(given: str | None, parsed: str | None, name: str) -> str | None:
    if given is not None and parsed is not None and given != parsed:
        raise Invalid([FieldError(name, "differs from the one that stands in repository")])
    return given if given is not None else parsed
