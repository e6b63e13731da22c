"""Images that no version lists, those of init containers: by digest where a registry of the team has them, and with its log-in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from uuid import UUID

from kernel import clock, signing
from kernel.db import Database
from kernel.errors import Unavailable
from kernel.principal import Principal
from services.catalog.domain import Registry, parse_reference
from services.catalog.remote.browser import Browser
from services.catalog.remote.faults import Fault, RemoteError
from services.catalog.store import registries
from services.catalog.store import versions as store
from services.catalog.usecases.pinning import ASKED_AT_ONCE, PATIENCE_SECONDS, login_keys, require_deploy, seal_logins
from services.catalog.usecases.references import best_registry
from services.catalog.usecases.registries import Vault, translated


@dataclass(frozen=True, kw_only=True)
class DigestOrder:
    """Names of images as somebody wrote them. With `hold`, which is a start, the log-ins come sealed to the node."""

    node_id: UUID
    node_seal_key: str
    references: Sequence[str]
    hold: bool = False


@dataclass(frozen=True)
class Digests:
    """What was found of each name, and the log-ins by `host` or `host/path`. A name that is left out stays as it was written."""

    references: Mapping[str, str]
    credentials: dict[str, str] = field(default_factory=dict)


def resolve(db: Database, who: Principal, vault: Vault, browser: Browser, version_id: UUID, order: DigestOrder) -> Digests:
    """Raises Invalid for what is no name of an image, Unavailable `registry-unavailable`, NotFound."""
    signing.seal_key(order.node_seal_key)
    if order.hold:
        require_deploy(who)
    with db.team(who.team) as session:
        store.get_version(session, who.team, version_id)
        known = registries.all_registries(session, who.team)
    named = {text: parse_reference(text, field=f"references.{index}") for index, text in enumerate(order.references)}
    held = {text: best_registry(known, one.host, one.repository) for text, one in named.items()}
    deadline = clock.monotonic() + PATIENCE_SECONDS

    def one(text: str) -> str | None:
        registry, reference = held[text], named[text]
        if registry is None or reference.digest is not None:
            return None
        return _exact(vault, browser, registry, reference.repository, reference.tag or "latest", deadline)

    with ThreadPoolExecutor(ASKED_AT_ONCE, thread_name_prefix="resolve") as pool:
        found = dict(zip(named, pool.map(one, named), strict=True))
    exact = {text: name for text, name in found.items() if name is not None}
    if not order.hold:
        return Digests(exact)
    used = {registry.id: registry for registry in held.values() if registry is not None}
    keys = login_keys(used.values(), ())
    return Digests(exact, seal_logins(vault, keys, who.team, node_id=order.node_id, node_seal_key=order.node_seal_key))


def _exact(vault: Vault, browser: Browser, registry: Registry, repository: str, tag: str, deadline: float) -> str | None:
    """None where the registry cannot be asked or does not know it: the image may be on the node, whose agent will say if it is not."""
    access = vault.access(registry)
    if access is None:
        return None
    repository = registry.full_repository(repository)
    try:
        return f"{registry.host}/{repository}@{browser.digest(access, repository, tag, deadline=deadline)}"
    except RemoteError as error:
        if error.fault not in (Fault.UNREACHABLE, Fault.RATE_LIMIT):
            return None
        away = translated(error)
        raise away if isinstance(away, Unavailable) else Unavailable(error.detail, code="registry-unavailable") from error
