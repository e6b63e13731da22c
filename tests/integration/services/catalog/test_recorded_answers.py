"""What the public registries have in common, each in its own words: what is missing, what lies elsewhere, what comes page by page."""

from __future__ import annotations

from typing import Any

import pytest

from kernel import clock
from services.catalog.remote.distribution import Distribution
from tests.fixtures.catalog import TestCatalog
from tests.fixtures.recorded import Registries, tags

_AZURE = "https://azacrlivetest.azurecr.io"
_EMPTY = "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"  # of the two bytes {}


@pytest.mark.parametrize(
    ("kind", "url", "challenge", "answer"),
    [
        ("docker-hub", None, "docker-hub/manifest-challenge", "docker-hub/manifest-unknown"),
        ("azure", _AZURE, "azure/manifest-challenge", "azure/manifest-unknown"),
    ],
)
def test_a_tag_that_is_not_there_is_told_so(
    recorded_catalog: TestCatalog, registries: Registries, kind: str, url: str | None, challenge: str, answer: str
) -> None:
    path = f"{url or 'https://registry-1.docker.io'}/v2/velero/velero/manifests/latest"
    registries.play(challenge, f"GET {path}")
    registries.play("azure/token", f"GET {'https://auth.docker.io/token' if url is None else url + '/oauth2/token'}", log_in="none")
    registries.play(answer, f"GET {path}")
    registry = registries.new(recorded_catalog, kind, url)
    recorded_catalog.ask("GET", f"/registries/{registry['id']}/manifest?repository=velero/velero&reference=latest", expect=404)


_CLOUDFLARE = (
    "https://production.cloudflare.docker.com/registry-v2/docker/registry/v2/blobs/sha256/0e/"
    "0ee862cccdc937d47088ae305dc23c6532525f0a2999b8d063a5e0130a0035d5/data"
)
_UBUNTU = "sha256:9c4bf7dbb981591d4a1169138471afe4bf5ff5418841d00e30a7ba372e38d6c1"


@pytest.mark.parametrize(
    ("kind", "host", "redirect", "elsewhere", "body", "digest"),
    [
        ("docker-hub", "https://registry-1.docker.io", "docker-hub/blob-redirect", _CLOUDFLARE, "docker-hub/blob", _UBUNTU),
        (
            "gitlab",
            "https://registry.gitlab.com",
            "gitlab/blob-redirect",
            f"https://cdn.registry.gitlab-static.net/gitlab/docker/registry/v2/blobs/sha256/44/{_EMPTY[7:]}/data",
            "specification/v2",
            _EMPTY,
        ),
        (
            "google",
            "https://k8s.gcr.io",
            "google/blob-redirect",
            "https://storage.googleapis.com/us.artifacts.k8s-artifacts-prod.appspot.com/containers/images/"
            "sha256:0184c1613d92931126feb4c548e5da11015513b9e4c104e7305ee8b53b50a9da",
            "specification/v2",
            _EMPTY,
        ),
        (
            "google",
            "https://us-docker.pkg.dev",
            "google/artifact-blob-redirect",
            "https://us-docker.pkg.dev/artifacts-downloads/namespaces/neuspaces/repositories/neuspaces/downloads/shortened",
            "specification/v2",
            _EMPTY,
        ),
    ],
)
def test_a_blob_is_had_from_where_the_registry_sends_us(
    registries: Registries, kind: str, host: str, redirect: str, elsewhere: str, body: str, digest: str
) -> None:
    registries.play(redirect, f"GET {host}/v2/some/image/blobs/{digest}", log_in="none")
    registries.play(body, f"GET {elsewhere}", log_in="none")
    access = registries.access(kind, host if kind == "google" else None)
    found: dict[str, Any] = Distribution(registries.egress()).blob(access, "some/image", digest, clock.monotonic() + 10)
    assert len(found.get("layers", [])) == (5 if digest == _UBUNTU else 0)


@pytest.mark.parametrize(
    ("repository", "answer", "following"),
    [
        (
            "coreos/etcd",
            "quay/tags-page-absolute",
            "next_page=gAAAAABYF4XlRL00UY6caJ4wGdywTryh8c_MpJfbRTEhQ6e-X4D9MnzHxe0V6UbhxqtGJBqjOvo8_LSmCqOccyvjPs8T4rR0Sw%3D%3D&n=50",
        ),
        (
            "invisionag/yet-another-cloudwatch-exporter",
            "quay/tags-page-relative",
            "next_page=gAAAAABg1i7jwRsgyD_X_wcMmj11T0waURK8w2MpuKG3a5B5C_iWzc1YMHTRDAPiwnqT4s0gkVdH7tUbc5HlXy7RxT139fZABKiEw7vtjNWj8D8d"
            "SAAy-fQ%3D&n=50",
        ),
    ],
)
def test_quay_continues_its_tags_by_absolute_and_relative_links(
    recorded_catalog: TestCatalog, registries: Registries, repository: str, answer: str, following: str
) -> None:
    registries.play("quay/v2-challenge", f"GET https://quay.io/v2/{repository}/tags/list")
    registries.play("specification/token", "GET https://quay.io/v2/auth", log_in="none")
    registries.play(answer, log_in="bearer")
    registries.play("specification/tags-last", f"GET https://quay.io/v2/{repository}/tags/list?{following}", log_in="bearer")
    found = tags(recorded_catalog, registries.new(recorded_catalog, "v2", "https://quay.io"), repository)
    assert len(found) == 2
    assert "1.0" in found


def test_forgejo_is_logged_in_to_although_its_challenge_names_any_scope(recorded_catalog: TestCatalog, registries: Registries) -> None:
    path = "GET https://codeberg.org/v2/forgejo/forgejo/tags/list"
    registries.play("forgejo/v2-challenge", path)
    registries.play("specification/token", "GET https://codeberg.org/v2/token", log_in="none")
    registries.play("specification/tags-last", path, log_in="bearer")
    assert tags(recorded_catalog, registries.new(recorded_catalog, "v2", "https://codeberg.org"), "forgejo/forgejo") == ["1.0"]
    assert "repository%3Aforgejo%2Fforgejo%3Apull" in registries.asked[1]
