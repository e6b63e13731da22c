"""The images of a version."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from uuid import UUID

from sqlalchemy.orm import Session

from kernel import clock
from kernel.db import Database
from kernel.errors import Conflict, FieldError, Invalid
from kernel.principal import Principal
from services.catalog.domain import Image, Version
from services.catalog.domain import versions as rules
from services.catalog.domain.versions import MOST_IMAGES
from services.catalog.store import registries
from services.catalog.store import versions as store
from services.catalog.usecases.configs import patched
from services.catalog.usecases.events import image_json, tell_change
from services.catalog.usecases.labels import LabelReader, offered
from services.catalog.usecases.references import ImageView, NewImage, Resolver
from services.catalog.usecases.registries import Changes, CheckRevision
from services.catalog.usecases.versions import view


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
    db: Database,
    who: Principal,
    labels: LabelReader,
    version_id: UUID,
    wanted: Sequence[NewImage],
    check: CheckRevision,
    *,
    path: str = "",
) -> list[ImageView]:
    """All of them or none, behind those that are there. Raises Invalid naming each wrong one below `path`, Conflict."""
    with db.team(who.team) as session:
        version = changeable(session, who, version_id, check)
        views = resolve(session, version, wanted, path=path)
    # Registries are asked between two transactions: no lock waits for them.
    views = labels.read(views)
    with db.team(who.team) as session:
        version = changeable(session, who, version_id, check)
        return add_to(session, who, version, views)


def resolve(session: Session, version: Version, wanted: Sequence[NewImage], *, path: str = "") -> list[ImageView]:
    """The images as they would be added, their registries found. Raises Invalid naming each wrong one below `path`."""
    resolver = Resolver(registries.all_registries(session, version.team_id))
    views: list[ImageView] = []
    wrong: list[FieldError] = []
    for index, one in enumerate(wanted):
        try:
            views.append(resolver.image(version, one, position=0, path=f"{path}{index}." if path else ""))
        except Invalid as error:
            wrong += error.errors
    if wrong:
        raise Invalid(wrong)
    return views


def add_to(session: Session, who: Principal, version: Version, views: Sequence[ImageView]) -> list[ImageView]:
    """Add resolved images behind those that are there, to a version that the caller has locked and may change."""
    present = store.images_of(session, version)
    if len(present) + len(views) > MOST_IMAGES:
        raise Conflict("too-many-images", f"A version has at most {MOST_IMAGES} images.")
    first = max((image.position for image in present), default=0) + 1
    placed = [replace(one, image=replace(one.image, position=first + number)) for number, one in enumerate(views)]
    store.add_images(session, [one.image for one in placed])
    touch(session, version)
    for one in placed:
        tell_change(session, who.envelope_facts(), "image.added", one.image, before=None, after=image_json(one.image))
    return placed


def change(db: Database, who: Principal, labels: LabelReader, image_id: UUID, changes: Changes, check: CheckRevision) -> ImageView:
    """Raises Invalid, PreconditionFailed, Conflict `version-immutable`. Another tag brings its own labels."""
    moved = bool({"tag", "digest", "repository", "registry_id"} & set(changes))
    read: ImageView | None = None
    if moved:
        with db.team(who.team) as session:
            _, old = _image_to_change(session, who, image_id, check)
            draft = _changed(session, old, changes)
        read = labels.read([draft])[0]
    with db.team(who.team) as session:
        version, old = _image_to_change(session, who, image_id, check)
        found = _changed(session, old, changes)
        new = found.image
        if read is not None:
            new = replace(new, labels=read.image.labels, config=offered(new.config, read.image.labels))
        store.save_image(session, new)
        touch(session, version)
        tell_change(session, who.envelope_facts(), "image.changed", new, before=image_json(old), after=image_json(new))
        return ImageView(new, found.registry, read.warnings if read else ())


def _image_to_change(session: Session, who: Principal, image_id: UUID, check: CheckRevision) -> tuple[Version, Image]:
    version = changeable(session, who, store.get_image(session, who.team, image_id).version_id)
    # Read again: the version is locked now, and its images with it.
    image = store.get_image(session, who.team, image_id)
    check(image.revision)
    return version, image


def _changed(session: Session, old: Image, changes: Changes) -> ImageView:
    moved = {"tag", "repository", "registry_id"} & set(changes)
    wanted = NewImage(
        repository=changes.get("repository", old.repository),
        registry_id=changes.get("registry_id", old.registry_id),
        tag=changes.get("tag", old.tag),
        # A digest belongs to what it was taken from: it does not outlive another tag or repository.
        digest=changes.get("digest", None if moved else old.digest),
        config=patched(old.config, changes["config"]) if "config" in changes else old.config,
    )
    version = store.get_version(session, old.team_id, old.version_id)
    found = Resolver(registries.all_registries(session, old.team_id)).image(version, wanted, position=old.position, path="")
    kept = replace(found.image, id=old.id, created_at=old.created_at, labels=old.labels, revision=old.revision + 1)
    return ImageView(kept, found.registry)


def remove(db: Database, who: Principal, image_id: UUID, check: CheckRevision) -> None:
    """Raises Conflict `version-immutable`."""
    with db.team(who.team) as session:
        version, image = _image_to_change(session, who, image_id, check)
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
