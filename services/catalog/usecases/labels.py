"""What an image itself wants, by its labels: read when it is added, and offered in its configuration."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

from kernel import clock
from kernel.contracts.catalog import environment_rules
from kernel.contracts.config import Config
from services.catalog.remote.browser import Browser
from services.catalog.remote.faults import RemoteError
from services.catalog.usecases.references import ImageView
from services.catalog.usecases.registries import Vault

_PATIENCE_SECONDS = 6.0
_ASKED_AT_ONCE = 4


@dataclass(frozen=True)
class LabelReader:
    """Asks registries for the labels of images, for a few seconds; what does not answer by then is added without them."""

    vault: Vault
    browser: Browser

    def read(self, views: Sequence[ImageView]) -> list[ImageView]:
        """The images with their labels, and with what those ask for in their configuration."""
        deadline = clock.monotonic() + _PATIENCE_SECONDS
        with ThreadPoolExecutor(_ASKED_AT_ONCE, thread_name_prefix="labels") as pool:
            return list(pool.map(lambda view: self._one(view, deadline), views))

    def _one(self, view: ImageView, deadline: float) -> ImageView:
        access = self.vault.access(view.registry)
        if access is None:
            return view
        image = view.image
        try:
            reference = image.digest or image.tag or "latest"
            repository = view.registry.full_repository(image.repository)
            found = self.browser.manifest(access, repository, reference, deadline=deadline).value
        except RemoteError as error:
            return replace(view, warnings=(f"The image's labels could not be read: {error.detail}",))
        labels = {name: value for name, value in found.labels.items() if name.startswith("dev.fairlead.") and "\0" not in value}
        return replace(view, image=replace(image, labels=labels, config=offered(image.config, labels)))


def offered(config: Config, labels: dict[str, str]) -> Config:
    """`config` with the defaults and secrets that the image's labels ask for, where it does not say anything itself."""
    rules, _ = environment_rules(labels)
    environment: dict[str, Any] = dict(config.get("environment") or {})
    secrets: dict[str, Any] = dict(config.get("secrets") or {})
    for rule in rules:
        if rule.name in environment or rule.name in secrets:
            continue
        if rule.secret:
            secrets[rule.name] = {"required": rule.required, "as": "env"}
        elif rule.default is not None:
            environment[rule.name] = rule.default
    more: Config = {name: value for name, value in (("environment", environment), ("secrets", secrets)) if value}
    return {**config, **more}
