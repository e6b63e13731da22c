"""Kinds of registries: what each needs, where it listens, how its images are called."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from urllib.parse import urlsplit

from kernel.errors import FieldError


class RegistryType(StrEnum):
    """What speaks at the other end."""

    DOCKER_HUB = "docker-hub"
    GITHUB = "github"
    GITLAB = "gitlab"
    GOOGLE = "google"
    AZURE = "azure"
    V2 = "v2"
    UNCHECKED = "unchecked"


@dataclass(frozen=True)
class Kind:
    """What is fixed by a registry's type: the pull host, the address of the Distribution API and of the vendor's own API."""

    pull_host: str | None = None
    url: str | None = None
    api_url: str | None = None
    token_hosts: tuple[str, ...] = ()
    needs: tuple[str, ...] = ()
    url_suffixes: tuple[str, ...] = ()


KINDS: dict[RegistryType, Kind] = {
    RegistryType.DOCKER_HUB: Kind("docker.io", "https://registry-1.docker.io", "https://hub.docker.com", ("auth.docker.io",)),
    RegistryType.GITHUB: Kind("ghcr.io", "https://ghcr.io", "https://api.github.com", needs=("namespace",)),
    RegistryType.GITLAB: Kind(None, "https://registry.gitlab.com", "https://gitlab.com"),
    RegistryType.GOOGLE: Kind(needs=("url", "namespace"), url_suffixes=("gcr.io", "pkg.dev")),
    RegistryType.AZURE: Kind(needs=("url",), url_suffixes=("azurecr.io", "azurecr.cn", "azurecr.us")),
    RegistryType.V2: Kind(needs=("url",)),
    RegistryType.UNCHECKED: Kind(),
}

_NAMESPACE = re.compile(r"[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*)*\Z")


def base_url(kind: RegistryType, url: str | None) -> str | None:
    """The address of the Distribution API; None for images already on the node."""
    return url or KINDS[kind].url


def pull_host(kind: RegistryType, url: str | None) -> str | None:
    """How Docker names the registry: `docker.io`, `ghcr.io`, `registry.example:5000`."""
    fixed = KINDS[kind].pull_host
    if fixed is not None:
        return fixed
    address = base_url(kind, url)
    if not address:
        return None
    parts = urlsplit(address)
    standard = {"https": 443, "http": 80}.get(parts.scheme)
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
    return f"{host}" if parts.port in (None, standard) else f"{host}:{parts.port}"


def full_repository(kind: RegistryType, namespace: str | None, repository: str) -> str:
    """`repository` below the registry's namespace; a lone name on Docker Hub is one of `library`.

    A namespace of several parts may be a repository itself (a GitLab project), one part is not: `grafana` of it is `grafana/grafana`.
    """
    if namespace and not repository.startswith(f"{namespace}/") and (repository != namespace or "/" not in namespace):
        return f"{namespace}/{repository}"
    if kind is RegistryType.DOCKER_HUB and "/" not in repository:
        return f"library/{repository}"
    return repository


def normalised_url(url: str | None) -> str | None:
    """Without a trailing slash and in lower case where case means nothing."""
    if not url:
        return None
    text = url.strip()
    try:
        parts = urlsplit(text if "://" in text else f"https://{text}")
    except ValueError:
        return text  # to be named with all other wrong fields
    return f"{parts.scheme.lower()}://{parts.netloc.lower()}{parts.path.rstrip('/')}"


def wrong_fields(
    kind: RegistryType, *, url: str | None, api_url: str | None, namespace: str | None, username: str | None, has_password: bool
) -> list[FieldError]:
    """Everything that a registry of `kind` cannot be like."""
    wrong = [
        FieldError(name, f"is needed for a {kind} registry") for name in KINDS[kind].needs if not {"url": url, "namespace": namespace}[name]
    ]
    if kind in (RegistryType.DOCKER_HUB, RegistryType.GITHUB) and url:
        wrong.append(FieldError("url", f"is fixed for a {kind} registry"))
    if api_url and kind is not RegistryType.GITLAB:
        wrong.append(FieldError("api_url", "is for self-managed GitLab only"))
    for name, address in (("url", url), ("api_url", api_url)):
        wrong += _wrong_url(name, address, KINDS[kind].url_suffixes if name == "url" else ())
    if namespace and not _NAMESPACE.match(namespace):
        wrong.append(FieldError("namespace", "must be path components of lower-case letters, digits and . _ - between them"))
    if bool(username) != has_password:
        wrong.append(FieldError("password" if username else "username", "user name and password belong together"))
    return wrong


def _wrong_url(name: str, url: str | None, suffixes: tuple[str, ...]) -> list[FieldError]:
    if not url:
        return []
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return [FieldError(name, "is not an address")]
    if parts.scheme not in ("https", "http") or not parts.hostname or port == 0:
        return [FieldError(name, "must be an http or https address")]
    if parts.username or parts.password:
        return [FieldError(name, "must not hold a user or a password: they have fields of their own")]
    if parts.query or parts.fragment or (parts.path.strip("/") and name == "url"):
        return [FieldError(name, "must be scheme, host and port only; a path goes into namespace")]
    if not re.fullmatch(r"[a-z0-9.\-:]+", parts.hostname):
        return [FieldError(name, "holds a host name with characters that do not belong there")]
    if suffixes and not any(
        parts.hostname == suffix or parts.hostname.endswith(f".{suffix}") or parts.hostname.endswith(f"-{suffix}") for suffix in suffixes
    ):
        return [FieldError(name, f"must be below {' or '.join(suffixes)}")]
    return []
