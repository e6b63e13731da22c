"""What the deployer asks of the catalog, on behalf of whoever asked it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol
from uuid import UUID

from kernel.contracts.catalog import EnvironmentRule
from kernel.errors import FairleadError, Unavailable
from kernel.principal import Principal
from services.deployer.domain.resolve import Bundle, PinnedImage
from services.deployer.domain.states import VersionType
from services.deployer.store.deployments import VersionImage


class Caller(Protocol):
    """A client of the catalog service: the kernel's ServiceClient. Any: JSON comes back."""

    def call(
        self, method: str, path: str, *, token: str | None = None, json: object = None, timeout_seconds: float | None = None
    ) -> Any: ...


@dataclass(frozen=True, kw_only=True)
class Version:
    """A version as the catalog tells of it."""

    id: UUID
    project_id: UUID
    project_name: str
    name: str
    type: VersionType
    seq: int
    images: tuple[VersionImage, ...]


@dataclass(frozen=True, kw_only=True)
class Pin:
    """A version's images resolved for one node, with bundles and credentials sealed to the node."""

    version: Version
    images: tuple[PinnedImage, ...]
    bundles: tuple[Bundle, ...]
    credentials: dict[str, str]
    seal_key: str
    # Images of init containers as they were written, and by digest.
    digests: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class PinRequest:
    """What a pin is asked for, and the state of the deployment that it was asked in."""

    deployment_id: UUID
    version_id: UUID
    node_id: UUID
    seal_key: str
    bundle_ids: tuple[UUID, ...]
    revision: int
    resolve: bool
    # Registries of containers that are kept or brought back as they were: the version may not name them any more.
    hosts: tuple[str, ...] = ()
    # Whether the deployment's own configuration, or an instance's, has init containers.
    has_inits: bool = False


class Catalog:
    """The catalog's internal interface."""

    def __init__(self, client: Caller) -> None:
        self._client = client

    def version(self, who: Principal, version_id: UUID) -> Version:
        """Raises NotFound, Unavailable."""
        return _version(self._client.call("GET", self._path(who, version_id), token=who.token))

    def check_bundles(self, who: Principal, ids: Sequence[UUID]) -> None:
        """Are these config bundles of the team? Raises Invalid naming each `config_bundle_ids.<n>` that is not, Unavailable."""
        if ids:
            body = {"config_bundle_ids": [str(one) for one in ids]}
            self._client.call("POST", f"/internal/teams/{who.team}/config-bundles/check", token=who.token, json=body)

    def pin(self, who: Principal, wanted: PinRequest, *, hold: bool) -> Pin:
        """`hold` keeps the version from being changed while the deployment starts. Raises what the catalog raised."""
        body = {
            "deployment_id": str(wanted.deployment_id),
            "node_id": str(wanted.node_id),
            "node_seal_key": wanted.seal_key,
            "resolve": wanted.resolve,
            "hold": hold,
            "config_bundle_ids": [str(one) for one in wanted.bundle_ids],
            "hosts": list(wanted.hosts),
        }
        path = f"{self._path(who, wanted.version_id)}/pin"
        document = self._client.call("POST", path, token=who.token, json=body, timeout_seconds=45)
        return Pin(
            version=_version(document),
            images=tuple(_pinned(one) for one in document["images"]),
            bundles=tuple(Bundle(one["name"], one["config"]) for one in document.get("bundles") or ()),
            credentials=dict(document.get("credentials") or {}),
            seal_key=wanted.seal_key,
        )

    def with_digests(self, who: Principal, wanted: PinRequest, pin: Pin, names: Sequence[str], *, hold: bool) -> Pin:
        """The pin with images that no version lists, where a registry of the team has them. Raises what the catalog raised."""
        body = {"node_id": str(wanted.node_id), "node_seal_key": wanted.seal_key, "references": list(names), "hold": hold}
        path = f"{self._path(who, wanted.version_id)}/digests"
        document = self._client.call("POST", path, token=who.token, json=body, timeout_seconds=45)
        credentials = dict(document.get("credentials") or {}) | pin.credentials
        return replace(pin, digests=dict(document.get("references") or {}), credentials=credentials)

    def release(self, who: Principal, wanted: PinRequest) -> FairleadError | None:
        """Give a pin back; what went wrong is returned, as the pin lapses by itself."""
        try:
            path = f"{self._path(who, wanted.version_id)}/release"
            self._client.call("POST", path, token=who.token, json={"deployment_id": str(wanted.deployment_id)}, timeout_seconds=5)
        except FairleadError as error:
            return error
        return None

    @staticmethod
    def _path(who: Principal, version_id: UUID) -> str:
        return f"/internal/teams/{who.team}/versions/{version_id}"


def _version(document: Any) -> Version:
    """Any: the catalog's JSON. Raises Unavailable when it is not what was agreed."""
    try:
        return Version(
            id=UUID(document["version_id"]),
            project_id=UUID(document["project_id"]),
            project_name=str(document["project_name"]),
            name=str(document["name"]),
            type=VersionType(document["type"]),
            seq=int(document["seq"]),
            images=tuple(VersionImage(UUID(one["image_id"]), str(one["name"]), int(one["position"])) for one in document["images"]),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise Unavailable("The catalog service answered in an unknown form.", code="catalog-unavailable") from error


def _pinned(one: Any) -> PinnedImage:
    """Any: JSON of an image."""
    return PinnedImage(
        image_id=UUID(one["image_id"]),
        position=int(one["position"]),
        name=str(one["name"]),
        image=str(one["image"]),
        tag=one.get("tag"),
        digest=one.get("digest"),
        registry=one.get("registry"),
        config=one.get("config") or {},
        environment_rules=tuple(_rule(rule) for rule in one.get("environment_rules") or ()),
    )


def _rule(raw: Any) -> EnvironmentRule:
    """Any: JSON of a rule."""
    return EnvironmentRule(str(raw["name"]), str(raw["type"]), bool(raw["required"]), bool(raw["secret"]), raw.get("default"))
