"""Two registries on one host: each image gets the log-in of its own."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from uuid import UUID

from agent.images import login_for
from kernel import clock
from services.catalog.domain import Image, Registry, RegistryType
from services.catalog.usecases.pinning import PinnedImage, login_keys

TEAM = UUID(int=1)
AT = clock.now()


def _registry(number: int, namespace: str | None = None, **more: Any) -> Registry:
    facts = {"type": RegistryType.V2, "url": "https://r.example", "username": str(number), "password_sealed": "sealed"} | more
    at = AT + timedelta(seconds=number)
    return Registry(id=UUID(int=number), team_id=TEAM, name=str(number), created_at=at, updated_at=at, namespace=namespace, **facts)


def _image(registry: Registry, repository: str) -> PinnedImage:
    image = Image(
        id=clock.new_id(), team_id=TEAM, version_id=TEAM, registry_id=registry.id, repository=repository, tag="1", digest=None, position=0,
        config={}, created_at=AT, updated_at=AT,
    )  # fmt: skip
    return PinnedImage(image, f"{registry.host}/{registry.full_repository(repository)}:1", None, registry.host)


def _numbers(used: list[Registry], images: list[PinnedImage]) -> dict[str, str]:
    return {key: registry.name for key, registry in login_keys(used, images).items()}


def _used(used: list[Registry], images: list[PinnedImage]) -> list[str]:
    """What the agent makes of it."""
    logins = {key: {"username": name} for key, name in _numbers(used, images).items()}
    return [(login_for(image.reference, logins) or {"username": "none"})["username"] for image in images]


def test_two_namespaces_of_one_host_have_each_their_log_in() -> None:
    used = [_registry(2, "beta"), _registry(1, "alpha")]
    images = [_image(used[0], "web"), _image(used[1], "web")]
    assert _numbers(used, images) == {"r.example/alpha": "1", "r.example/beta": "2", "r.example": "1"}
    assert _used(used, images) == ["2", "1"]


def test_a_registry_without_a_namespace_has_the_rest_of_the_host() -> None:
    used = [_registry(1, "alpha"), _registry(2)]
    images = [_image(used[0], "web"), _image(used[1], "gamma/web")]
    assert _numbers(used, images) == {"r.example/alpha": "1", "r.example": "2"}
    assert _used(used, images) == ["1", "2"]


def test_of_two_that_share_a_name_each_image_still_gets_its_own() -> None:
    used = [_registry(1), _registry(2), _registry(3, "alpha"), _registry(4, "alpha")]
    images = [_image(used[0], "a/b"), _image(used[1], "c/d"), _image(used[2], "x"), _image(used[3], "y"), _image(used[0], "alpha/z")]
    assert _used(used, images) == ["1", "2", "3", "4", "1"]


def test_one_registry_on_a_host_is_named_by_its_host_as_ever() -> None:
    used = [_registry(1)]
    assert _numbers(used, [_image(used[0], "a/b")]) == {"r.example": "1"}


def test_registries_without_a_log_in_or_a_host_have_no_key() -> None:
    bare = _registry(1, username=None, password_sealed=None)
    local = _registry(2, type=RegistryType.UNCHECKED, url=None)
    assert _numbers([bare, local], [_image(bare, "a")]) == {}
