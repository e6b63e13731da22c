"""Everything that the catalog asks of registries, in one place: bounded in time, and kept for at most a minute."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from kernel import clock
from services.catalog.domain.registries import RegistryType
from services.catalog.remote.access import Access
from services.catalog.remote.cache import Cache, Dated
from services.catalog.remote.distribution import MANIFEST_TYPES, Distribution, pull_scope
from services.catalog.remote.egress import Egress
from services.catalog.remote.faults import Fault, RemoteError
from services.catalog.remote.hubs import Repositories
from services.catalog.remote.limits import RateLimit, parse_rate_limit
from services.catalog.remote.manifests import Described, describe

KEPT_SECONDS = 60.0
_PATIENCE_SECONDS = 15.0
_WHO_MAY_LIST = {
    RegistryType.GITHUB: "GitHub lists packages for classic tokens that may read packages (read:packages).",
    RegistryType.GITLAB: "GitLab lists them for tokens that may read its API (read_api).",
}


@dataclass(frozen=True)
class Checked:
    """What is right and wrong with a registry's settings."""

    reachable: bool
    authenticated: bool
    detail: str
    problem: Fault | None = None
    rate_limit: RateLimit | None = None
    warnings: list[str] = field(default_factory=list)


class Browser:
    """Asks registries for lists, manifests and digests. Raises RemoteError."""

    def __init__(self, egress: Egress) -> None:
        self._distribution = Distribution(egress)
        self._repositories = Repositories(egress, self._distribution)
        self._names: Cache[list[str]] = Cache()
        self._manifests: Cache[Described] = Cache()

    def repositories(self, access: Access, *, refresh: bool = False) -> Dated[list[str]]:
        """Full names, sorted."""
        return self._names.get(
            (access.key, "repositories"), lambda: self._repositories.names(access, _deadline()), seconds=KEPT_SECONDS, refresh=refresh
        )

    def tags(self, access: Access, repository: str, *, refresh: bool = False) -> Dated[list[str]]:
        """Newest version first, as far as names tell."""

        def fetch() -> list[str]:
            return sorted(set(self._distribution.tags(access, repository, _deadline())), key=tag_order, reverse=True)

        return self._names.get((access.key, "tags", repository), fetch, seconds=KEPT_SECONDS, refresh=refresh)

    def manifest(
        self, access: Access, repository: str, reference: str, *, refresh: bool = False, deadline: float | None = None
    ) -> Dated[Described]:
        """What an image is."""
        deadline = _deadline() if deadline is None else deadline

        def fetch() -> Described:
            top = self._distribution.manifest(access, repository, reference, deadline)
            return describe(
                top,
                lambda digest: self._distribution.manifest(access, repository, digest, deadline),
                lambda digest: self._distribution.blob(access, repository, digest, deadline),
            )

        return self._manifests.get((access.key, repository, reference), fetch, seconds=KEPT_SECONDS, refresh=refresh)

    def digest(self, access: Access, repository: str, reference: str, *, deadline: float | None = None) -> str:
        """What a tag stands for at this moment; never from memory."""
        return self._distribution.digest(access, repository, reference, _deadline() if deadline is None else deadline)

    def check(self, access: Access) -> Checked:
        """Which of address, certificate, log-in and namespace is wrong, if any; never from memory."""
        deadline = _deadline()
        try:
            logged_in = self._distribution.ping(access, deadline)
        except RemoteError as error:
            return _failed(error)
        limit = self._rate_limit(access, deadline) if access.type is RegistryType.DOCKER_HUB else None
        try:
            names = self._repositories.names(access, deadline)
        except RemoteError as error:
            if error.fault is Fault.LOG_IN and access.credentials is None:
                # Many registries are open for pulling and keep their list to themselves.
                return Checked(True, False, "Reachable without a log-in; the registry does not list its repositories to strangers.")
            if error.fault is Fault.LOG_IN and logged_in:
                # Its password is right: whoever may pull may not everywhere list what there is.
                hint = _WHO_MAY_LIST.get(access.type, "Give the names of repositories yourself.")
                return Checked(True, True, f"Reachable, logged in, but this log-in may not list repositories. {hint}", None, limit)
            if error.fault is Fault.MISSING:
                return Checked(True, True, f"There is no namespace {access.namespace} that this log-in can see.", Fault.NAMESPACE)
            return _failed(error, reachable=True)
        if access.namespace and not names:
            return Checked(True, True, f"The namespace {access.namespace} holds nothing that this log-in can see.", Fault.NAMESPACE, limit)
        who = "logged in" if access.credentials else "open without a log-in"
        return Checked(True, access.credentials is not None, f"Reachable, {who}, {len(names)} repositories.", None, limit)

    def _rate_limit(self, access: Access, deadline: float) -> RateLimit | None:
        """Docker's own repository for asking; a HEAD counts for nothing."""
        repository = "ratelimitpreview/test"
        try:
            answer = self._distribution.ask(
                access, "HEAD", f"/v2/{repository}/manifests/latest", pull_scope(repository), deadline, accept=MANIFEST_TYPES
            )
        except RemoteError:
            return None
        return parse_rate_limit(answer.headers)


def tag_order(tag: str) -> tuple[bool, list[tuple[int, int, str]], str]:
    """Sorts tags as people do: 1.10 after 1.9, a release after its candidates, words before numbers."""
    parts = [
        (1, int(part), "") if part.isdigit() else (0, 0, part) for part in re.findall(r"\d{1,18}|[^\d.]+", tag.removeprefix("v"), re.ASCII)
    ]
    # An end sorts after a word (1.0-rc1 < 1.0) and before a number (1.0 < 1.0.1).
    return tag[:1].isdigit() or (tag[:1] == "v" and tag[1:2].isdigit()), [*parts, (0, 1, "")], tag


def _deadline() -> float:
    return clock.monotonic() + _PATIENCE_SECONDS


def _failed(error: RemoteError, *, reachable: bool = False) -> Checked:
    reached = reachable or error.fault in (Fault.LOG_IN, Fault.MISSING, Fault.RATE_LIMIT, Fault.ANSWER, Fault.NAMESPACE)
    problem = {Fault.UNREACHABLE: Fault.ADDRESS, Fault.ANSWER: Fault.ADDRESS, Fault.MISSING: Fault.ADDRESS}.get(error.fault, error.fault)
    return Checked(reached, False, error.detail, problem)
