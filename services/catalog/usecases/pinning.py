"""What the deployer asks: what is in a version, exactly which images, with which configuration and credentials."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import timedelta
from uuid import UUID

from sqlalchemy.orm import Session

from kernel import clock, signing
from kernel.contracts.recorded import Recorded
from kernel.contracts.spec import canonical
from kernel.db import Database
from kernel.errors import Conflict, FieldError, Forbidden, Invalid, Unavailable
from kernel.permissions import Action, may
from kernel.principal import Principal
from services.catalog.domain import ConfigBundle, Image, Registry, RegistryType, Version
from services.catalog.remote.access import Access
from services.catalog.remote.browser import Browser
from services.catalog.remote.faults import Fault, RemoteError
from services.catalog.store import deployments, registries
from services.catalog.store import versions as store
from services.catalog.usecases.events import tell
from services.catalog.usecases.registries import Vault, translated
from services.catalog.usecases.versions import VersionView, view

# As long as a broker may be away before the news of the start arrives: a version that is let go too early could be changed.
LEASE = timedelta(minutes=15)
ASKED_AT_ONCE = 4
# For all images of a version together: whoever waits for the pin gives up later than that.
PATIENCE_SECONDS = 20.0


@dataclass(frozen=True, kw_only=True)
class PinOrder:
    """What the deployer wants: digests (`resolve`), the version held still (`hold`), and with that the log-ins sealed to the node."""

    deployment_id: UUID
    node_id: UUID
    node_seal_key: str
    resolve: bool = True
    hold: bool = False
    config_bundle_ids: Sequence[UUID] = ()
    hosts: Sequence[str] = ()


@dataclass(frozen=True)
class PinnedImage:
    """One image, exactly: `reference` is what Docker pulls."""

    image: Image
    reference: str
    digest: str | None
    host: str | None


@dataclass(frozen=True)
class Pinned:
    """The answer to a PinOrder. `credentials`: `host` or `host/path` to a sealed box; the longest that fits an image counts."""

    view: VersionView
    images: Sequence[PinnedImage]
    bundles: Sequence[ConfigBundle]
    credentials: dict[str, str] = field(default_factory=dict)


def pin(db: Database, who: Principal, vault: Vault, browser: Browser, version_id: UUID, order: PinOrder) -> Pinned:
    """Raises Invalid naming every image that cannot be had, Unavailable `registry-unavailable`, Conflict, NotFound."""
    signing.seal_key(order.node_seal_key)
    if order.hold:
        require_deploy(who)
    with db.team(who.team) as session:
        seen = view(session, store.get_version(session, who.team, version_id))
        bundles = _bundles(session, who.team, order.config_bundle_ids)
        more = [one for one in registries.all_registries(session, who.team) if one.host in order.hosts] if order.hosts else []
    if not seen.images:
        raise Conflict("version-has-no-images", "The version has no images: there is nothing to deploy.")
    # The registries are asked between two transactions: no lock waits for the internet.
    images = _resolved(vault, browser, seen, resolve=order.resolve)
    if not order.hold:
        # Whoever only looks gets no log-ins, not even sealed: the key to seal to is the caller's word.
        return Pinned(seen, images, bundles)
    _hold(db, who, seen, order)
    used = [*seen.registries.values(), *more]
    boxes = seal_logins(vault, login_keys(used, images), who.team, node_id=order.node_id, node_seal_key=order.node_seal_key)
    return Pinned(seen, images, bundles, boxes)


def require_deploy(who: Principal) -> None:
    """The route lets readers in, because a plan is for them too; taking a version and its log-ins is not."""
    if not may(who.role, who.scopes, "deployments", Action.DEPLOY):
        raise Forbidden


def release(db: Database, who: Principal, version_id: UUID, deployment_id: UUID) -> None:
    """Give a pin back; nothing happens when there is none."""
    with db.team(who.team) as session:
        version = store.get_version(session, who.team, version_id)
        if deployments.release_pin(session, who.team, version_id=version_id, deployment_id=deployment_id):
            _tell(session, who, "version.released", version, deployment_id)


def _hold(db: Database, who: Principal, seen: VersionView, order: PinOrder) -> None:
    with db.team(who.team) as session:
        version = store.get_version(session, who.team, seen.version.id, lock=True)
        if version.revision != seen.version.revision:
            raise Conflict("version-changed", "The version was changed while its images were looked up. Start again.")
        now = clock.now()
        deployments.take_pin(
            session, version, deployment_id=order.deployment_id, node_id=order.node_id, taken_at=now, expires_at=now + LEASE
        )
        _tell(session, who, "version.pinned", version, order.deployment_id)


def _tell(session: Session, who: Principal, name: str, version: Version, deployment_id: UUID) -> None:
    after = {"deployment_id": str(deployment_id)}
    data = Recorded(resource_type="version", resource_id=str(version.id), resource_name=version.name, after=after)
    tell(session, who.envelope_facts(), name, data)


def check_bundles(db: Database, who: Principal, ids: Sequence[UUID]) -> None:
    """Are these config bundles of the team? Raises Invalid naming each that is not, as a pin would."""
    with db.team(who.team) as session:
        _bundles(session, who.team, ids)


def _bundles(session: Session, team_id: UUID, ids: Sequence[UUID]) -> list[ConfigBundle]:
    found = registries.bundles_by_id(session, team_id, ids) if ids else {}
    wrong = [
        FieldError(f"config_bundle_ids.{index}", "is not a config bundle of this team") for index, one in enumerate(ids) if one not in found
    ]
    if wrong:
        raise Invalid(wrong)
    return [found[one] for one in ids]


def _resolved(vault: Vault, browser: Browser, seen: VersionView, *, resolve: bool) -> list[PinnedImage]:
    accesses = {identity: vault.access(registry) for identity, registry in seen.registries.items()}
    images = list(seen.images or ())
    deadline = clock.monotonic() + PATIENCE_SECONDS

    def one(image: Image) -> PinnedImage | RemoteError:
        registry = seen.registries[image.registry_id]
        try:
            return _exact(browser, registry, accesses[registry.id] if resolve else None, image, deadline)
        except RemoteError as error:
            return error

    with ThreadPoolExecutor(ASKED_AT_ONCE, thread_name_prefix="resolve") as pool:
        found = list(pool.map(one, images))
    _raise_problems(images, found)
    return [result for result in found if isinstance(result, PinnedImage)]


def _exact(browser: Browser, registry: Registry, access: Access | None, image: Image, deadline: float) -> PinnedImage:
    repository = registry.full_repository(image.repository)
    name = f"{registry.host}/{repository}" if registry.host else repository
    digest = image.digest
    if digest is None and access is not None:
        digest = browser.digest(access, repository, image.tag or "latest", deadline=deadline)
    if digest is not None:
        return PinnedImage(image, f"{name}@{digest}", digest, registry.host)
    return PinnedImage(image, f"{name}:{image.tag or 'latest'}", None, registry.host)


def _raise_problems(images: Sequence[Image], found: Sequence[PinnedImage | RemoteError]) -> None:
    wrong: list[FieldError] = []
    away: RemoteError | None = None
    for index, (image, result) in enumerate(zip(images, found, strict=True)):
        if isinstance(result, PinnedImage):
            continue
        if result.fault in (Fault.UNREACHABLE, Fault.RATE_LIMIT):
            away = away or result
        elif result.fault is Fault.MISSING:
            wrong.append(FieldError(f"images.{index}.tag", f"{image.repository}:{image.tag} is not there: {result.detail}"))
        else:
            wrong.append(FieldError(f"images.{index}.registry", result.detail))
    if wrong:
        raise Invalid(wrong, code="images-unavailable", detail="Some images cannot be had from their registries.")
    if away is not None:
        error = translated(away)
        raise error if isinstance(error, Unavailable) else Unavailable(away.detail, code="registry-unavailable")


def login_keys(used: Iterable[Registry], images: Iterable[PinnedImage]) -> dict[str, Registry]:
    """Which registry's log-in counts below which name: `host/namespace`, and `host` for all else on it.

    Where two registries share a name the older one has it, and an image of the other gets an entry of its own.
    """
    known = sorted((one for one in used if one.host and one.password_sealed is not None), key=lambda one: (one.created_at, one.id))
    keys: dict[str, Registry] = {}
    for registry in known:
        keys.setdefault(f"{registry.host}/{registry.namespace}" if registry.namespace else f"{registry.host}", registry)
    for registry in known:
        keys.setdefault(f"{registry.host}", registry)
    own = {registry.id: registry for registry in known}
    for image in images:
        mine = own.get(image.image.registry_id)
        if mine is not None:
            name = f"{mine.host}/{mine.full_repository(image.image.repository)}"
            if _counting(keys, name).id != mine.id:
                keys.setdefault(name, mine)
    return keys


def _counting(keys: Mapping[str, Registry], name: str) -> Registry:
    return keys[max((key for key in keys if f"{name}/".startswith(f"{key}/")), key=len)]


def seal_logins(vault: Vault, keys: Mapping[str, Registry], team_id: UUID, *, node_id: UUID, node_seal_key: str) -> dict[str, str]:
    """A box for each key: its name stands in it, so that it opens nowhere else."""
    node_key = signing.seal_key(node_seal_key)
    boxes: dict[str, str] = {}
    for key, registry in keys.items():
        password = vault.open(registry)
        if password is not None:
            value = canonical({"username": _username(registry), "password": password}).decode()
            boxes[key] = signing.seal(node_key, team=str(team_id), node=str(node_id), name=f"registry:{key}", value=value)
    return boxes


def _username(registry: Registry) -> str:
    if registry.type is RegistryType.GOOGLE and not registry.username:
        return "_json_key"
    return registry.username or ""
