"""What is needed to speak to one registry: where it is, who we are there, whom we trust."""

from __future__ import annotations

import base64
from dataclasses import dataclass, field
from urllib.parse import urlsplit
from uuid import UUID

from services.catalog.domain.registries import KINDS, RegistryType, base_url
from services.catalog.domain.values import Registry
from services.catalog.remote.egress import Trust


@dataclass(frozen=True)
class Credentials:
    """A registry's user and password; neither shows up when it is printed."""

    username: str
    password: str = field(repr=False)

    @property
    def basic(self) -> str:
        return "Basic " + base64.b64encode(f"{self.username}:{self.password}".encode()).decode()


@dataclass(frozen=True)
class Access:
    """A registry as the remote client needs it. `key` changes with every change of the registry, so nothing stale is used."""

    key: tuple[UUID, int]
    type: RegistryType
    url: str
    api_url: str | None
    namespace: str | None
    credentials: Credentials | None
    trust: Trust
    token_hosts: frozenset[str]

    @property
    def host(self) -> str:
        return urlsplit(self.url).hostname or ""


def access_of(registry: Registry, password: str | None) -> Access | None:
    """How to reach `registry`; None where there is nothing to ask (unchecked ones)."""
    url = base_url(registry.type, registry.url)
    if registry.type is RegistryType.UNCHECKED or url is None:
        return None
    kind = KINDS[registry.type]
    api_url = registry.api_url or kind.api_url
    hosts = {urlsplit(url).hostname or "", *kind.token_hosts}
    if registry.token_host:
        hosts.add(registry.token_host)
    if registry.type is RegistryType.GITLAB and api_url:
        # GitLab gives the registry's tokens itself.
        hosts.add(urlsplit(api_url).hostname or "")
    return Access(
        key=(registry.id, registry.revision),
        type=registry.type,
        url=url,
        api_url=api_url,
        namespace=registry.namespace,
        credentials=Credentials(registry.username, password) if registry.username and password is not None else None,
        trust=Trust(registry.verify_tls, registry.ca_certificate),
        token_hosts=frozenset(hosts),
    )
