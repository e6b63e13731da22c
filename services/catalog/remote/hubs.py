"""How each kind of registry lists its repositories: the public ones do it by an API of their own."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import quote, urlsplit

from kernel import clock
from services.catalog.domain.registries import RegistryType
from services.catalog.remote.access import Access
from services.catalog.remote.distribution import MOST_NAMES, Distribution, next_page, raise_for_status
from services.catalog.remote.egress import Answer, Egress, Trust
from services.catalog.remote.faults import Fault, RemoteError

_MOST_PAGES = 20
_PER_PAGE = 100


class Repositories:
    """Lists a registry's repositories by their full names."""

    def __init__(self, egress: Egress, distribution: Distribution) -> None:
        self._egress = egress
        self._distribution = distribution
        self._by_type: Mapping[RegistryType, Callable[[Access, float], list[str]]] = {
            RegistryType.DOCKER_HUB: self._docker_hub,
            RegistryType.GITHUB: self._github,
            RegistryType.GITLAB: self._gitlab,
            RegistryType.GOOGLE: self._google,
        }

    def names(self, access: Access, deadline: float) -> list[str]:
        """Sorted, within the registry's namespace. Raises RemoteError."""
        lister = self._by_type.get(access.type)
        names = lister(access, deadline) if lister else self._distribution.repositories(access, deadline)
        inside = f"{access.namespace}/" if access.namespace else ""
        # A GitLab project's own image is called as the project; a namespace of one part is an owner and no repository.
        own = access.namespace if "/" in inside.removesuffix("/") else None
        return sorted({name for name in names if name.startswith(inside) or name == own})

    def _docker_hub(self, access: Access, deadline: float) -> list[str]:
        namespace = access.namespace or "library"
        headers = {"Accept": "application/json"}
        if access.credentials is not None:
            body = json.dumps({"identifier": access.credentials.username, "secret": access.credentials.password}).encode()
            answer = self._api(access, "/v2/auth/token", headers | {"Content-Type": "application/json"}, deadline, method="POST", body=body)
            headers["Authorization"] = f"Bearer {_object(access, answer).get('access_token', '')}"
        found: list[str] = []
        path = f"/v2/namespaces/{quote(namespace)}/repositories?page_size=100"
        for _ in range(_MOST_PAGES):
            document = _object(access, self._api(access, path, headers, deadline))
            found += [f"{namespace}/{entry['name']}" for entry in _entries(document.get("results")) if isinstance(entry.get("name"), str)]
            following = urlsplit(str(document.get("next") or ""))
            if not following.path or following.hostname not in (None, urlsplit(access.api_url or "").hostname):
                break
            path = f"{following.path}?{following.query}"
        return found

    def _github(self, access: Access, deadline: float) -> list[str]:
        if access.credentials is None:
            raise RemoteError(Fault.LOG_IN, "GitHub lists packages only with a token that may read packages; tags can be read without.")
        headers = {"Accept": "application/vnd.github+json", "Authorization": f"Bearer {access.credentials.password}"}
        owner = (access.namespace or "").partition("/")[0]
        found: list[str] = []
        try:
            documents = self._numbered(access, f"/orgs/{quote(owner)}/packages?package_type=container", headers, deadline)
        except RemoteError as error:
            if error.fault is not Fault.MISSING:
                raise
            documents = self._numbered(access, f"/users/{quote(owner)}/packages?package_type=container", headers, deadline)
        found += [f"{owner}/{entry['name']}" for entry in documents if isinstance(entry.get("name"), str)]
        return found

    def _gitlab(self, access: Access, deadline: float) -> list[str]:
        if not access.namespace:
            return self._distribution.repositories(access, deadline)
        headers = {"Accept": "application/json"}
        if access.credentials is not None:
            headers["PRIVATE-TOKEN"] = access.credentials.password
        name = quote(access.namespace, safe="")
        try:
            documents = self._paged(access, f"/api/v4/groups/{name}/registry/repositories?per_page=100", headers, deadline)
        except RemoteError as error:
            if error.fault is not Fault.MISSING:
                raise
            documents = self._paged(access, f"/api/v4/projects/{name}/registry/repositories?per_page=100", headers, deadline)
        return [str(entry["path"]) for entry in documents if isinstance(entry.get("path"), str)]

    def _google(self, access: Access, deadline: float) -> list[str]:
        """Google names the children of a repository beside its tags; a repository without children is a leaf."""
        found: list[str] = []
        waiting = [access.namespace or ""]
        while waiting and len(found) < MOST_NAMES:
            name = waiting.pop()
            answer = self._distribution.ask(
                access, "GET", f"/v2/{quote(name)}/tags/list", f"repository:{name}:pull", deadline, accept="application/json"
            )
            document = _object(access, answer)
            children = [child for child in document.get("child") or [] if isinstance(child, str)]
            waiting += [f"{name}/{child}" for child in children]
            if document.get("tags") or (not children and name != access.namespace):
                found.append(name)
        return found

    def _paged(self, access: Access, path: str, headers: Mapping[str, str], deadline: float) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        for _ in range(_MOST_PAGES):
            answer = self._api(access, path, headers, deadline)
            found += _entries(_json(access, answer))
            path = next_page(access, answer)
            if not path or len(found) >= MOST_NAMES:
                break
        return found

    def _numbered(self, access: Access, path: str, headers: Mapping[str, str], deadline: float) -> list[dict[str, Any]]:
        """Page by page until one is not full: GitHub's list of packages has no Link header that would name the next one."""
        found: list[dict[str, Any]] = []
        for page in range(1, _MOST_PAGES + 1):
            entries = _entries(_json(access, self._api(access, f"{path}&per_page={_PER_PAGE}&page={page}", headers, deadline)))
            found += entries
            if len(entries) < _PER_PAGE:
                break
        return found

    def _api(
        self, access: Access, path: str, headers: Mapping[str, str], deadline: float, *, method: str = "GET", body: bytes | None = None
    ) -> Answer:
        left = deadline - clock.monotonic()
        if left <= 0:
            raise RemoteError(Fault.UNREACHABLE, f"{access.host} did not answer in time.")
        # The registry's own authority signs a self-managed GitLab's API as well; public APIs have public certificates.
        trust = access.trust if access.type is RegistryType.GITLAB else Trust()
        address = f"{access.api_url}{path}"
        answer = self._egress.fetch(method, address, headers=headers, trust=trust, body=body, seconds=min(left, 10.0))
        host = urlsplit(address).hostname or ""
        if answer.status == 400 and access.type is RegistryType.GITHUB:
            # "Invalid argument." is what GitHub says to a token that is not of the kind that may read packages.
            raise RemoteError(Fault.LOG_IN, f"{host} lists packages only with a classic token that may read packages (read:packages).")
        raise_for_status(host, answer, logged_in=access.credentials is not None)
        return answer


def _json(access: Access, answer: Answer) -> object:
    try:
        return json.loads(answer.body)
    except (ValueError, RecursionError) as error:
        raise RemoteError(Fault.ANSWER, f"The API of {access.host} does not answer with JSON.") from error


def _object(access: Access, answer: Answer) -> dict[str, Any]:
    document = _json(access, answer)
    if not isinstance(document, dict):
        raise RemoteError(Fault.ANSWER, f"The API of {access.host} does not answer as it should.")
    return document


def _entries(value: object) -> list[dict[str, Any]]:
    return [entry for entry in value if isinstance(entry, dict)] if isinstance(value, list) else []
