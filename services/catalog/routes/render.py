"""From values to what the schemas send."""

from __future__ import annotations

from kernel.contracts.catalog import environment_rules
from services.catalog.domain import Image, Registry
from services.catalog.domain.references import container_name
from services.catalog.domain.versions import name_warnings
from services.catalog.routes.parts import Json
from services.catalog.usecases.pinning import Pinned
from services.catalog.usecases.projects import ProjectView
from services.catalog.usecases.references import ImageView
from services.catalog.usecases.versions import VersionView


def project(view: ProjectView) -> Json:
    return vars(view.project) | {"version_count": view.version_count, "default_version_id": view.default_version_id}


def image_name(image: Image) -> str:
    """What its container is called."""
    return str(image.config.get("name") or container_name(image.repository))


def image(view: ImageView) -> Json:
    rendered = _image(view.image, view.registry)
    return rendered | {"warnings": [*view.warnings, *rendered["warnings"]]}


def _image(one: Image, registry: Registry) -> Json:
    rules, warnings = environment_rules(one.labels)
    full = registry.full_repository(one.repository)
    name = f"{registry.host}/{full}" if registry.host else full
    return vars(one) | {
        "name": image_name(one),
        "registry": {"id": registry.id, "name": registry.name, "type": registry.type.value, "host": registry.host},
        "reference": name + (f":{one.tag}" if one.tag else "") + (f"@{one.digest}" if one.digest else ""),
        "environment_rules": [vars(rule) for rule in rules],
        "warnings": warnings,
    }


def version(view: VersionView) -> Json:
    one = view.version
    rendered = vars(one) | {
        "default": one.is_default,
        "child_id": view.child_id,
        "mutable": view.immutable_because is None,
        "increasable": view.not_increasable_because is None,
        "deletable": view.not_deletable_because is None,
        "image_count": view.image_count,
        "warnings": name_warnings(one.type, one.name),
    }
    if view.images is not None:
        rendered["images"] = [_image(one, view.registries[one.registry_id]) for one in view.images]
    return rendered


def content(view: VersionView) -> Json:
    """A version as the deployer sees it."""
    return {
        "version_id": view.version.id,
        "project_id": view.project.id,
        "project_name": view.project.name,
        "project_type": view.project.type.value,
        "name": view.version.name,
        "type": view.version.type.value,
        "seq": view.version.seq,
        "images": [_content_image(one) for one in view.images or ()],
    }


def _content_image(one: Image) -> Json:
    return {"image_id": one.id, "position": one.position, "name": image_name(one), "repository": one.repository, "tag": one.tag}


def pinned(found: Pinned) -> Json:
    images = [
        _content_image(one.image)
        | {"image": one.reference, "digest": one.digest, "registry": one.host, "config": one.image.config, "labels": one.image.labels}
        | {"environment_rules": [vars(rule) for rule in environment_rules(one.image.labels)[0]]}
        for one in found.images
    ]
    bundles = [{"id": bundle.id, "name": bundle.name, "config": bundle.config} for bundle in found.bundles]
    return content(found.view) | {"images": images, "bundles": bundles, "credentials": found.credentials}
