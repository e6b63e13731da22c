"""What an image asks for by its labels is offered when it is added, and told to the deployer."""

from __future__ import annotations

from tests.fixtures.catalog import TestCatalog
from tests.fixtures.registry_images import Pusher

_LABELS = {
    "dev.fairlead.env.LEVEL": "string,default=info,warn",
    "dev.fairlead.env.WORKERS": "int,required",
    "dev.fairlead.env.KEY": "string,required,secret",
    "dev.fairlead.env.BROKEN": "colour",
    "maintainer": "someone",
}


def test_labels_fill_in_what_the_configuration_leaves_open(catalog: TestCatalog, password_registry: Pusher) -> None:
    password_registry.image("labels/app", "1", labels=_LABELS)
    password_registry.image("labels/app", "2", labels={"dev.fairlead.env.NEW": "boolean,default=yes"})
    user, password = password_registry.auth or ("", "")
    registry = catalog.new_registry(password_registry.url, username=user, password=password)
    version = catalog.new_version()
    image = catalog.add_image(version, registry, "labels/app", tag="1", config={"environment": {"MINE": "1"}})
    assert image["config"] == {"environment": {"MINE": "1", "LEVEL": "info,warn"}, "secrets": {"KEY": {"required": True, "as": "env"}}}
    assert [rule["name"] for rule in image["environment_rules"]] == ["KEY", "LEVEL", "WORKERS"]
    assert len(image["warnings"]) == 1
    assert "BROKEN" in image["warnings"][0]
    assert "maintainer" not in image["labels"]
    pinned = catalog.pin(version)["images"][0]
    assert {rule["name"]: rule["required"] for rule in pinned["environment_rules"]} == {"KEY": True, "LEVEL": False, "WORKERS": True}
    moved = catalog.ask("PATCH", f"/images/{image['id']}", {"tag": "2"})
    assert moved["config"]["environment"] == {"MINE": "1", "LEVEL": "info,warn", "NEW": "yes"}


def test_an_image_is_added_without_labels_when_its_registry_is_away(catalog: TestCatalog) -> None:
    image = catalog.add_image(catalog.new_version(), catalog.new_registry("http://127.0.0.1:1"))
    assert image["labels"] == {}
    assert "could not be read" in image["warnings"][0]
