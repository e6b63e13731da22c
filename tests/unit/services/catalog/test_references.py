"""Names of images, read as Docker reads them."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernel.contracts.config import NAME_PATTERN
from kernel.errors import Invalid
from services.catalog.domain import ImageReference, RegistryType, parse_reference
from services.catalog.domain.references import container_name
from services.catalog.domain.registries import full_repository, pull_host

_DIGEST = "sha256:" + "0123456789abcdef" * 4


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("nginx", ImageReference("nginx")),
        ("nginx:1.27", ImageReference("nginx", tag="1.27")),
        ("library/nginx", ImageReference("library/nginx")),
        ("localhost/app", ImageReference("app", "localhost")),
        ("localhost:5000/app:1", ImageReference("app", "localhost:5000", "1")),
        ("registry.example:5000/a/b/c:v1.0-rc_2", ImageReference("a/b/c", "registry.example:5000", "v1.0-rc_2")),
        (f"ghcr.io/org/app@{_DIGEST}", ImageReference("org/app", "ghcr.io", None, _DIGEST)),
        (f"ghcr.io/org/app:1@{_DIGEST}", ImageReference("org/app", "ghcr.io", "1", _DIGEST)),
        ("[2001:db8::1]:5000/app", ImageReference("app", "[2001:db8::1]:5000")),
        ("a__b/c.d-e--f", ImageReference("a__b/c.d-e--f")),
    ],
)
def test_a_reference_is_read_in_its_parts_and_written_the_same(text: str, parts: ImageReference) -> None:
    assert parse_reference(text) == parts
    assert str(parts) == text


@pytest.mark.parametrize(
    "text",
    [
        "", ":", "@", "nginx:", "Nginx", "nginx:ta g", "nginx@sha256:1", f"nginx@{_DIGEST}x", "a//b", "/a", "a/", "a..b", "-a", "a-",
        "a:b:c", "ghcr.io/", "nginx:" + "x" * 129, "x" * 256, "nginx\n", "nginx:1\n", "http://x/y", "a___b", "../etc", "user@host/x",
    ],
)  # fmt: skip
def test_what_is_no_reference_is_refused_and_the_field_named(text: str) -> None:
    with pytest.raises(Invalid) as refused:
        parse_reference(text, field="images.3.repository")
    assert refused.value.errors[0].field == "images.3.repository"


_component = st.from_regex(r"[a-z0-9]{1,8}([._-][a-z0-9]{1,8})?", fullmatch=True)


@given(
    st.lists(_component, min_size=1, max_size=4),
    st.none() | st.sampled_from(["ghcr.io", "localhost:5000", "10.0.0.1"]),
    st.none() | st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,20}", fullmatch=True),
    st.none() | st.just(_DIGEST),
)
def test_what_is_written_is_read_back(path: list[str], host: str | None, tag: str | None, digest: str | None) -> None:
    reference = ImageReference("/".join(path), host, tag, digest)
    if host is None and len(path) > 1 and ("." in path[0] or path[0] == "localhost"):
        return  # Docker reads such a first part as a host
    assert parse_reference(str(reference)) == reference


@given(st.text(max_size=60))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        parsed = parse_reference(text)
    except Invalid:
        return
    assert parse_reference(str(parsed)) == parsed


@given(st.text(max_size=80))
def test_every_container_gets_a_name_that_is_allowed(repository: str) -> None:
    assert re.fullmatch(NAME_PATTERN, container_name(repository))


@pytest.mark.parametrize(
    ("kind", "url", "host"),
    [
        (RegistryType.DOCKER_HUB, None, "docker.io"),
        (RegistryType.GITHUB, None, "ghcr.io"),
        (RegistryType.GITLAB, None, "registry.gitlab.com"),
        (RegistryType.GITLAB, "https://gitlab.example:5050", "gitlab.example:5050"),
        (RegistryType.V2, "https://harbor.example:443", "harbor.example"),
        (RegistryType.V2, "http://127.0.0.1:5000", "127.0.0.1:5000"),
        (RegistryType.V2, "http://127.0.0.1:80", "127.0.0.1"),
        (RegistryType.UNCHECKED, None, None),
        (RegistryType.UNCHECKED, "https://quay.io", "quay.io"),
    ],
)
def test_docker_knows_a_registry_by_its_host(kind: RegistryType, url: str | None, host: str | None) -> None:
    assert pull_host(kind, url) == host


def test_repositories_lie_below_the_namespace() -> None:
    assert full_repository(RegistryType.DOCKER_HUB, "library", "nginx") == "library/nginx"
    assert full_repository(RegistryType.DOCKER_HUB, None, "nginx") == "library/nginx"
    assert full_repository(RegistryType.DOCKER_HUB, None, "grafana/grafana") == "grafana/grafana"
    assert full_repository(RegistryType.V2, "team", "app") == "team/app"
    assert full_repository(RegistryType.V2, "team", "team/app") == "team/app"
    assert full_repository(RegistryType.V2, None, "app") == "app"


def test_an_image_that_is_called_as_its_owner_is_the_owners_and_a_projects_own_image_is_the_projects() -> None:
    assert full_repository(RegistryType.DOCKER_HUB, "grafana", "grafana") == "grafana/grafana"
    assert full_repository(RegistryType.GOOGLE, "git-sync", "git-sync") == "git-sync/git-sync"
    assert full_repository(RegistryType.GITLAB, "group/project", "group/project") == "group/project"
    assert full_repository(RegistryType.GITLAB, "group/project", "web") == "group/project/web"
