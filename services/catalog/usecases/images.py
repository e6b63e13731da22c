"""The images of a version."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from uuid import UUID

from sqlalchemy.orm import Session

from kernel import clock
from kernel.contracts.config import Config, parse_config
from kernel.db import Database
from kernel.errors import Conflict, FieldError, Invalid
from kernel.principal import Principal
from services.catalog.domain import Image, Registry, RegistryType, Version, parse_reference
from services.catalog.domain import versions as rules
from services.catalog.domain.versions import MOST_IMAGES
from services.catalog.store import registries
from services.catalog.store import versions as store
from services.catalog.usecases.configs import patched
from services.catalog.usecases.events import image_json, tell_change
from services.catalog.usecases.registries import Changes, CheckRevision
from services.catalog.usecases.versions import view


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


# Looks an image's labels up; given none, images are added as they are.
ReadLabels = Callable[[Registry, Image], dict[str, str]]


def find(db: Database, who: Principal, image_id: UUID) -> ImageView:
    with db.team(who.team) as session:
        image = store.get_image(session, who.team, image_id)
        return ImageView(image, registries.get_registry(session, who.team, image.registry_id))


def listed(db: Database, who: Principal, version_id: UUID) -> list[ImageView]:
    """In order."""
    with db.team(who.team) as session:
        images = store.images_of(session, store.get_version(session, who.team, version_id))
        known = registries.registries_by_id(session, who.team, [image.registry_id for image in images])
        return [ImageView(image, known[image.registry_id]) for image in images]


def add(
    db: Database, who: Principal, version_id: UUID, wanted: Sequence[NewImage], check: CheckRevision, *, path: str = ""
) -> list[ImageView]:
    """All of them or none, behind those that are there. Raises Invalid naming each wrong one below `path`, Conflict."""
    with db.team(who.team) as session:
        version = changeable(session, who, version_id, check)
        return add_to(session, who, version, wanted, path=path)


def add_to(session: Session, who: Principal, version: Version, wanted: Sequence[NewImage], *, path: str = "") -> list[ImageView]:
    """As `add`, to a version that the caller has locked and may change."""
    present = store.images_of(session, version)
    if len(present) + len(wanted) > MOST_IMAGES:
        raise Conflict("too-many-images", f"A version has at most {MOST_IMAGES} images.")
    resolver = _Resolver(registries.all_registries(session, who.team))
    first = max((image.position for image in present), default=0) + 1
    views: list[ImageView] = []
    wrong: list[FieldError] = []
    for index, one in enumerate(wanted):
        try:
            views.append(resolver.image(version, one, position=first + index, path=f"{path}{index}." if path else ""))
        except Invalid as error:
            wrong += error.errors
    if wrong:
        raise Invalid(wrong)
    store.add_images(session, [added.image for added in views])
    touch(session, version)
    for added in views:
        tell_change(session, who.envelope_facts(), "image.added", added.image, before=None, after=image_json(added.image))
    return views


def change(db: Database, who: Principal, image_id: UUID, changes: Changes, check: CheckRevision) -> ImageView:
    """Raises Invalid, PreconditionFailed, Conflict `version-immutable`."""
    with db.team(who.team) as session:
        version_id = store.get_image(session, who.team, image_id).version_id
        version = changeable(session, who, version_id)
        old = store.get_image(session, who.team, image_id)
        check(old.revision)
        config = patched(old.config, changes["config"]) if "config" in changes else old.config
        wanted = NewImage(
            repository=changes.get("repository", old.repository),
            registry_id=changes.get("registry_id", old.registry_id),
            tag=changes.get("tag", old.tag),
            # A digest belongs to what it was taken from: it does not outlive another tag or repository.
            digest=changes.get("digest", None if {"tag", "repository", "registry_id"} & set(changes) else old.digest),
            config=config,
        )
        found = _Resolver(registries.all_registries(session, who.team)).image(version, wanted, position=old.position, path="")
        new = replace(found.image, id=old.id, created_at=old.created_at, labels=old.labels, revision=old.revision + 1)
        store.save_image(session, new)
        touch(session, version)
        tell_change(session, who.envelope_facts(), "image.changed", new, before=image_json(old), after=image_json(new))
        return ImageView(new, found.registry)


def remove(db: Database, who: Principal, image_id: UUID, check: CheckRevision) -> None:
    """Raises Conflict `version-immutable`."""
    with db.team(who.team) as session:
        version_id = store.get_image(session, who.team, image_id).version_id
        version = changeable(session, who, version_id)
        image = store.get_image(session, who.team, image_id)
        check(image.revision)
        store.remove_image(session, image)
        touch(session, version)
        tell_change(session, who.envelope_facts(), "image.removed", image, before=image_json(image), after=None)


def put_in_order(db: Database, who: Principal, version_id: UUID, image_ids: Sequence[UUID], check: CheckRevision) -> list[ImageView]:
    """`image_ids` must be exactly the version's images. Raises Invalid, Conflict `version-immutable`."""
    with db.team(who.team) as session:
        version = changeable(session, who, version_id, check)
        by_id = {image.id: image for image in store.images_of(session, version)}
        if len(image_ids) != len(by_id) or set(image_ids) != set(by_id):
            raise Invalid([FieldError("image_ids", "must name each image of the version exactly once")])
        ordered = [replace(by_id[identity], position=number) for number, identity in enumerate(image_ids, 1)]
        store.place_images(session, ordered)
        new = touch(session, version)
        before = {"image_ids": [str(identity) for identity in by_id]}
        after = {"image_ids": [str(identity) for identity in image_ids]}
        tell_change(session, who.envelope_facts(), "image.reordered", new, before=before, after=after)
        known = registries.registries_by_id(session, who.team, [image.registry_id for image in ordered])
        return [ImageView(image, known[image.registry_id]) for image in ordered]


def changeable(session: Session, who: Principal, version_id: UUID, check: CheckRevision | None = None) -> Version:
    """The version, locked, if its images may be changed. Raises Conflict `version-immutable`."""
    version = store.get_version(session, who.team, version_id, lock=True)
    if check is not None:
        check(version.revision)
    rules.refuse(view(session, version).immutable_because)
    return version


def touch(session: Session, version: Version) -> Version:
    """A version whose images change is another one to whoever has read it: its revision grows."""
    new = replace(version, updated_at=clock.now(), revision=version.revision + 1)
    store.save_version(session, new)
    return new


class _Resolver:
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
