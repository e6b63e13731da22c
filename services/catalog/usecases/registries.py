"""Registries: keeping them, and looking into them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID

import structlog
from sqlalchemy.orm import Session

from kernel import clock
from kernel.db import Database
from kernel.errors import Conflict, FairleadError, FieldError, Invalid, NotFound, Unavailable
from kernel.keyring import KeyRing, Undecipherable
from kernel.principal import Principal
from services.catalog.domain import Registry, RegistryType
from services.catalog.domain.references import is_digest, is_repository, is_tag
from services.catalog.domain.registries import normalised_url, wrong_fields
from services.catalog.domain.versions import immutable_because
from services.catalog.remote.access import Access, access_of
from services.catalog.remote.browser import Browser, Checked
from services.catalog.remote.cache import Dated
from services.catalog.remote.egress import Trust, tls_context
from services.catalog.remote.faults import Fault, RemoteError
from services.catalog.remote.manifests import Described
from services.catalog.store import deployments, registries, versions
from services.catalog.usecases.events import registry_json, tell_change

log = structlog.get_logger(__name__)

CheckRevision = Callable[[object], None]
Changes = Mapping[str, Any]  # fields as the schema has checked them

# Whoever may write a registry must not learn its password by sending it elsewhere.
_WHERE_THE_PASSWORD_GOES = ("url", "api_url", "token_host", "verify_tls", "ca_certificate")
_CONFLICTS = {
    Fault.LOG_IN: "registry-login-refused",
    Fault.ADDRESS: "registry-address-wrong",
    Fault.CERTIFICATE: "registry-certificate-wrong",
    Fault.NAMESPACE: "registry-namespace-wrong",
    Fault.ANSWER: "registry-answer-wrong",
}


@dataclass(frozen=True)
class Vault:
    """Encrypts and opens the passwords of registries."""

    ring: KeyRing

    def seal(self, registry_id: UUID, password: str) -> str:
        return self.ring.encrypt(password.encode(), f"registry:{registry_id}")

    def open(self, registry: Registry) -> str | None:
        if registry.password_sealed is None:
            return None
        try:
            return self.ring.decrypt(registry.password_sealed, f"registry:{registry.id}").decode()
        except Undecipherable as error:
            detail = f"The password of {registry.name} can no longer be read: its key has left the ring. Give the password again."
            raise Conflict("registry-password-unreadable", detail) from error

    def access(self, registry: Registry) -> Access | None:
        return access_of(registry, self.open(registry))


def create(db: Database, who: Principal, vault: Vault, fields: Changes) -> Registry:
    """Raises Invalid, Conflict `name-taken`."""
    now = clock.now()
    identity = clock.new_id()
    values = dict(fields)
    password = values.pop("password", None)
    for name in ("url", "api_url"):
        values[name] = normalised_url(values.get(name))
    registry = Registry(id=identity, team_id=who.team, created_at=now, updated_at=now, **values)
    _check(registry, has_password=password is not None)
    if password is not None:
        registry = replace(registry, password_sealed=vault.seal(identity, password))
    with db.team(who.team) as session:
        registries.add_registry(session, registry)
        tell_change(session, who.envelope_facts(), "registry.created", registry, before=None, after=registry_json(registry))
    return registry


def find(db: Database, who: Principal, registry_id: UUID) -> Registry:
    with db.team(who.team) as session:
        return registries.get_registry(session, who.team, registry_id)


def listed(db: Database, who: Principal, *, limit: int, after: tuple[str, UUID] | None, kind: str | None) -> list[Registry]:
    """One more than `limit`, so that the caller knows whether there are more."""
    with db.team(who.team) as session:
        return registries.list_registries(session, who.team, limit=limit + 1, after=after, kind=kind)


def change(db: Database, who: Principal, vault: Vault, registry_id: UUID, changes: Changes, check: CheckRevision) -> Registry:
    """Raises Invalid, NotFound, PreconditionFailed, Conflict `name-taken` or `registry-in-use`."""
    with db.team(who.team) as session:
        old = registries.get_registry(session, who.team, registry_id, lock=True)
        check(old.revision)
        new = _changed(old, vault, changes)
        if (new.host, new.namespace) != (old.host, old.namespace) and _freezes_versions(session, old):
            raise Conflict("registry-in-use", "Versions that have been deployed come from here: make a new registry for the new place.")
        registries.save_registry(session, new)
        tell_change(session, who.envelope_facts(), "registry.changed", new, before=registry_json(old), after=registry_json(new))
    return new


def delete(db: Database, who: Principal, registry_id: UUID, check: CheckRevision) -> None:
    """Raises Conflict `registry-in-use` while any image comes from it."""
    with db.team(who.team) as session:
        registry = registries.get_registry(session, who.team, registry_id, lock=True)
        check(registry.revision)
        if registries.is_registry_used(session, registry):
            raise Conflict("registry-in-use", "Images come from this registry. Move or remove them first.")
        registries.remove_registry(session, registry)
        tell_change(session, who.envelope_facts(), "registry.deleted", registry, before=registry_json(registry), after=None)


def reseal(db: Database, vault: Vault) -> int:
    """Encrypt anew what was encrypted with an older key; returns how many passwords. One that cannot be read stays."""
    done = 0
    after: UUID | None = None
    while True:
        with db.system() as session:
            due = registries.registries_to_reseal(session, f"v1.{vault.ring.current}.", after=after)
            for registry in due:
                try:
                    password = vault.open(registry)
                except Conflict as error:
                    log.warning("registry password cannot be read", registry=str(registry.id), error=error.code)
                    continue
                if password is not None:
                    registries.save_registry(session, replace(registry, password_sealed=vault.seal(registry.id, password)))
                    done += 1
        if not due:
            return done
        after = due[-1].id


# -- looking into them ---------------------------------------------------------------


def check_remote(db: Database, who: Principal, vault: Vault, browser: Browser, registry_id: UUID) -> Checked:
    """Which of address, certificate, log-in and namespace is wrong."""
    registry = find(db, who, registry_id)
    access = vault.access(registry)
    if access is None:
        where = f"images of {registry.host} are" if registry.host else "images already on the node are"
        return Checked(True, False, f"Not checked: {where} taken as they are named.", warnings=registry.warnings)
    return replace(browser.check(access), warnings=registry.warnings)


def browse_repositories(
    db: Database, who: Principal, vault: Vault, browser: Browser, registry_id: UUID, *, query: str | None, refresh: bool
) -> Dated[list[str]]:
    """Names as images of this registry use them: below its namespace. Sorted."""
    registry, access = _reachable(db, who, vault, registry_id)
    found = _ask(lambda: browser.repositories(access, refresh=refresh))
    inside = f"{registry.namespace}/" if registry.namespace else ""
    names = [name.removeprefix(inside) for name in found.value]
    return Dated([name for name in names if not query or query.lower() in name.lower()], found.as_of)


def browse_tags(
    db: Database, who: Principal, vault: Vault, browser: Browser, registry_id: UUID, *, repository: str, query: str | None, refresh: bool
) -> Dated[list[str]]:
    """Newest version first."""
    registry, access = _reachable(db, who, vault, registry_id)
    full = _repository(registry, repository)
    found = _ask(lambda: browser.tags(access, full, refresh=refresh))
    return Dated([tag for tag in found.value if not query or query.lower() in tag.lower()], found.as_of)


def browse_manifest(
    db: Database, who: Principal, vault: Vault, browser: Browser, registry_id: UUID, *, repository: str, reference: str, refresh: bool
) -> Dated[Described]:
    registry, access = _reachable(db, who, vault, registry_id)
    if not is_tag(reference) and not is_digest(reference):
        raise Invalid([FieldError("reference", "is neither a tag nor a digest")])
    full = _repository(registry, repository)
    return _ask(lambda: browser.manifest(access, full, reference, refresh=refresh))


def translated(error: RemoteError) -> FairleadError:
    """A registry's fault as one of our own errors."""
    if error.fault is Fault.MISSING:
        missing = NotFound("repository or tag")
        missing.detail = error.detail
        return missing
    if error.fault is Fault.RATE_LIMIT:
        return Unavailable(error.detail, code="registry-rate-limited", retry_after_seconds=error.retry_after_seconds)
    if error.fault is Fault.UNREACHABLE:
        return Unavailable(error.detail, code="registry-unavailable", retry_after_seconds=10)
    return Conflict(_CONFLICTS[error.fault], error.detail)


def _ask(question: Callable[[], Dated[Any]]) -> Dated[Any]:
    """Any: whatever the question's answer is."""
    try:
        return question()
    except RemoteError as error:
        raise translated(error) from error


def _reachable(db: Database, who: Principal, vault: Vault, registry_id: UUID) -> tuple[Registry, Access]:
    registry = find(db, who, registry_id)
    access = vault.access(registry)
    if access is None:
        raise Conflict("registry-unchecked", "An unchecked registry is not asked for what it holds: type the image's name.")
    return registry, access


def _repository(registry: Registry, repository: str) -> str:
    if not is_repository(repository):
        raise Invalid(
            [FieldError("repository", "is not a repository: lower-case letters, digits and . _ - between them, parts divided by /")]
        )
    return registry.full_repository(repository)


# -- changing them -------------------------------------------------------------------


def _changed(old: Registry, vault: Vault, changes: Changes) -> Registry:
    values = dict(changes)
    given = "password" in values
    password = values.pop("password", None)
    for name in ("url", "api_url"):
        if name in values:
            values[name] = normalised_url(values[name])
    new = replace(old, **values, updated_at=clock.now(), revision=old.revision + 1)
    if given:
        new = replace(new, password_sealed=vault.seal(old.id, password) if password is not None else None)
    elif values.get("username", old.username) is None:
        new = replace(new, password_sealed=None)
    moved = [name for name in _WHERE_THE_PASSWORD_GOES if getattr(new, name) != getattr(old, name)]
    if moved and new.has_password and not given:
        raise Invalid([FieldError("password", f"must be given again when {' or '.join(moved)} changes: it would go elsewhere")])
    _check(new, has_password=new.has_password)
    return new


def _check(registry: Registry, *, has_password: bool) -> None:
    wrong = wrong_fields(
        registry.type,
        url=registry.url,
        api_url=registry.api_url,
        namespace=registry.namespace,
        username=registry.username,
        has_password=has_password,
    )
    if registry.type is RegistryType.UNCHECKED and registry.namespace and not registry.url:
        wrong.append(FieldError("namespace", "means nothing for images already on the node"))
    if registry.ca_certificate:
        try:
            tls_context(Trust(ca_certificate=registry.ca_certificate))
        except RemoteError:
            wrong.append(FieldError("ca_certificate", "is not a certificate in PEM form"))
    if wrong:
        raise Invalid(wrong)


def _freezes_versions(session: Session, registry: Registry) -> bool:
    using = versions.versions_using(session, registry.team_id, registry.id)
    ids = [version.id for version in using]
    statuses = deployments.statuses_of(session, registry.team_id, ids, clock.now())
    children = versions.children_of(session, registry.team_id, ids)
    return any(immutable_because(one.type, statuses.get(one.id, []), children=int(one.id in children)) for one in using)
