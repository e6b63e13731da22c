"""What people see of the public registries, told by answers that these gave (tests/fixtures/registries)."""

from __future__ import annotations

import pytest

from kernel import clock
from services.catalog.remote.distribution import Distribution
from tests.fixtures.catalog import TestCatalog
from tests.fixtures.recorded import Registries, check, pinned, refusal, repositories, tags

_HUB = "https://registry-1.docker.io/v2"
_HUB_API = "https://hub.docker.com/v2/namespaces"
_AZURE = "https://azacrlivetest.azurecr.io"
_USER = {"username": "robot", "password": "key"}


def _hub_pings(registries: Registries, log_in: str = "none") -> None:
    registries.play("docker-hub/v2-challenge")
    registries.play("docker-hub/token", "GET https://auth.docker.io/token", log_in=log_in)
    registries.play("specification/v2", f"GET {_HUB}/", log_in="bearer")


# -- Docker Hub -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "limit"),
    [("docker-hub/rate-limit", {"limit": 100, "remaining": 0, "window_seconds": 21600}), ("docker-hub/rate-limit-empty", None)],
)
def test_docker_hub_is_checked_and_what_it_still_allows_is_told(
    recorded_catalog: TestCatalog, registries: Registries, answer: str, limit: dict[str, int] | None
) -> None:
    _hub_pings(registries)
    registries.play("docker-hub/repositories-page", f"GET {_HUB_API}/sauloal/repositories")
    registries.play("docker-hub/repositories-last", "GET https://hub.docker.com/v2/repositories/sauloal/?page=2")
    registries.play("docker-hub/manifest-challenge", f"HEAD {_HUB}/ratelimitpreview/test/manifests/latest")
    registries.play(answer)
    found = check(recorded_catalog, registries.new(recorded_catalog, "docker-hub", namespace="sauloal"))
    assert (found["reachable"], found["authenticated"], found["problem"]) == (True, False, None)
    assert "12 repositories" in found["detail"]
    assert found["rate_limit"] == limit
    assert "GET auth.docker.io/token?service=registry.docker.io none" in registries.asked


def test_docker_hub_lists_a_namespace_page_by_page(recorded_catalog: TestCatalog, registries: Registries) -> None:
    registries.play("docker-hub/repositories", f"GET {_HUB_API}/docker/repositories")
    registries.play("docker-hub/repositories-last", f"GET {_HUB_API}/docker/repositories?page=2&page_size=2")
    registry = registries.new(recorded_catalog, "docker-hub", namespace="docker")
    assert repositories(recorded_catalog, registry) == ["highland_builder", "openjdk11", "openjdk8-openj9", "whalesay"]


def test_docker_hub_tells_a_tags_digest_to_strangers(recorded_catalog: TestCatalog, registries: Registries) -> None:
    registries.play("docker-hub/manifest-challenge", f"HEAD {_HUB}/ratelimitpreview/test/manifests/latest")
    registries.play("docker-hub/token", "GET https://auth.docker.io/token")
    registries.play("docker-hub/rate-limit")
    image = pinned(recorded_catalog, registries, registries.new(recorded_catalog, "docker-hub"), "ratelimitpreview/test", "latest")
    assert image == "docker.io/ratelimitpreview/test@sha256:c2d41d2ba6d8b7b4a3ffec621578eb4d9a0909df29dfa2f6fd8a2e5fd0836aed"
    assert len(registries.asked) == 3


def test_docker_hub_without_an_own_list_is_told_as_reachable(recorded_catalog: TestCatalog, registries: Registries) -> None:
    for path in ("/v2/", "/v2/_catalog"):
        registries.play("docker-hub/v2-challenge", f"GET https://index.docker.io{path}")
    registries.play("docker-hub/token", "GET https://auth.docker.io/token")
    registries.play("specification/v2", "GET https://index.docker.io/v2/", log_in="bearer")
    registries.play("docker-hub/catalog-refused")
    registry = registries.new(recorded_catalog, "v2", "https://index.docker.io", token_host="auth.docker.io")
    found = check(recorded_catalog, registry)
    assert (found["reachable"], found["problem"]) == (True, None)
    assert "does not list" in found["detail"]


@pytest.mark.parametrize("answer", ["docker-hub/too-many-requests", "docker-hub/pull-limit"])
def test_docker_hub_that_is_asked_too_often_is_come_back_to_later(
    recorded_catalog: TestCatalog, registries: Registries, answer: str
) -> None:
    registries.play("docker-hub/manifest-challenge", f"GET {_HUB}/library/alpine/tags/list")
    registries.play("docker-hub/token", "GET https://auth.docker.io/token")
    registries.play(answer, f"GET {_HUB}/library/alpine/tags/list")
    status, code, _, wait = refusal(recorded_catalog, registries.new(recorded_catalog, "docker-hub"), "alpine")
    assert (status, code, wait) == (503, "registry-rate-limited", "60")


def test_docker_hub_refuses_a_wrong_password_at_its_token_server(recorded_catalog: TestCatalog, registries: Registries) -> None:
    registries.play("docker-hub/v2-challenge")
    registries.play("docker-hub/wrong-login")
    found = check(recorded_catalog, registries.new(recorded_catalog, "docker-hub", **_USER))
    assert (found["reachable"], found["authenticated"], found["problem"]) == (True, False, "log-in")


def test_docker_hubs_api_refuses_a_wrong_password_too(recorded_catalog: TestCatalog, registries: Registries) -> None:
    registries.play("docker-hub/api-unauthorized", "POST https://hub.docker.com/v2/auth/token", log_in="none")
    registry = registries.new(recorded_catalog, "docker-hub", namespace="acme", **_USER)
    assert recorded_catalog.problem("GET", f"/registries/{registry['id']}/repositories", expect=409) == "registry-login-refused"
    assert registries.bodies == [b'{"identifier": "robot", "secret": "key"}']


def test_docker_hub_is_logged_in_to_for_private_repositories(recorded_catalog: TestCatalog, registries: Registries) -> None:
    registries.play("docker-hub/api-token")
    registries.play("docker-hub/repositories-last", f"GET {_HUB_API}/acme/repositories", log_in="bearer")
    registry = registries.new(recorded_catalog, "docker-hub", namespace="acme", **_USER)
    assert repositories(recorded_catalog, registry) == ["openjdk11", "openjdk8-openj9"]


# -- GitHub ---------------------------------------------------------------------------


def test_github_is_checked_and_lists_by_its_api(recorded_catalog: TestCatalog, registries: Registries) -> None:
    registries.play("github/challenge", "GET https://ghcr.io/v2/")
    registries.play("specification/token", "GET https://ghcr.io/token", log_in="basic")
    registries.play("specification/v2", "GET https://ghcr.io/v2/", log_in="bearer")
    registries.play("github/packages", "GET https://api.github.com/orgs/aws/packages")
    registry = registries.new(recorded_catalog, "github", namespace="aws", **_USER)
    found = check(recorded_catalog, registry)
    assert (found["authenticated"], found["problem"], found["detail"]) == (True, None, "Reachable, logged in, 1 repositories.")
    assert repositories(recorded_catalog, registry) == ["aws-cloud-map-mcs-controller-for-k8s"]
    assert "GET ghcr.io/token?service=ghcr.io basic" in registries.asked, "the placeholder that ghcr.io names as scope is not asked for"


def test_github_lists_tags_by_links_of_the_path_alone(recorded_catalog: TestCatalog, registries: Registries) -> None:
    path = "GET https://ghcr.io/v2/allexveldman/hello_world/tags/list"
    registries.play("github/challenge", path)
    registries.play("specification/token", "GET https://ghcr.io/token")
    registries.play("github/tags-page", path)
    registries.play("specification/tags-last", f"{path}?last=0.0.1-example.1.poetry.2824051&n=5", log_in="bearer")
    registry = registries.new(recorded_catalog, "github", namespace="allexveldman")
    assert tags(recorded_catalog, registry, "hello_world") == ["1.0", "0.0.1-example.1.poetry.2824051"]


def test_github_tells_the_digest_of_an_index(recorded_catalog: TestCatalog, registries: Registries) -> None:
    registries.play("github/challenge", "HEAD https://ghcr.io/v2/containerd/alpine/manifests/3.14.0")
    registries.play("specification/token", "GET https://ghcr.io/token")
    registries.play("github/manifest-head")
    image = pinned(recorded_catalog, registries, registries.new(recorded_catalog, "github", namespace="containerd"), "alpine", "3.14.0")
    assert image == "ghcr.io/containerd/alpine@sha256:adab3844f497ab9171f070d4cae4114b5aec565ac772e2f2579405b78be67c96"


def test_github_that_is_asked_too_often_is_come_back_to_later(recorded_catalog: TestCatalog, registries: Registries) -> None:
    registries.play("github/too-many-requests", "GET https://ghcr.io/v2/falcosecurity/plugins/tags/list")
    status, code, _, wait = refusal(recorded_catalog, registries.new(recorded_catalog, "github", namespace="falcosecurity"), "plugins")
    assert (status, code, wait) == (503, "registry-rate-limited", "60")


def test_github_lists_a_users_packages_where_there_is_no_organisation(recorded_catalog: TestCatalog, registries: Registries) -> None:
    registries.play("github/api-not-found", "GET https://api.github.com/orgs/tess/packages")
    registries.play("github/packages", "GET https://api.github.com/users/tess/packages")
    registry = registries.new(recorded_catalog, "github", namespace="tess", **_USER)
    assert repositories(recorded_catalog, registry) == ["aws-cloud-map-mcs-controller-for-k8s"]


def test_github_says_which_owner_it_does_not_know(recorded_catalog: TestCatalog, registries: Registries) -> None:
    registries.play("specification/v2", "GET https://ghcr.io/v2/")
    registries.play("github/api-not-found", "GET https://api.github.com/orgs/nobody/packages")
    registries.play("github/api-not-found", "GET https://api.github.com/users/nobody/packages")
    found = check(recorded_catalog, registries.new(recorded_catalog, "github", namespace="nobody", **_USER))
    assert (found["problem"], found["detail"]) == ("namespace", "There is no namespace nobody that this log-in can see.")


# -- GitLab ---------------------------------------------------------------------------


def test_gitlab_is_checked_and_lists_a_group_by_its_api(recorded_catalog: TestCatalog, registries: Registries) -> None:
    registries.play("gitlab/v2-challenge")
    registries.play("gitlab/token", log_in="basic")
    registries.play("specification/v2", "GET https://registry.gitlab.com/v2/", log_in="bearer")
    registries.play("gitlab/repositories")
    registry = registries.new(recorded_catalog, "gitlab", namespace="group", **_USER)
    found = check(recorded_catalog, registry)
    assert (found["authenticated"], found["problem"]) == (True, None)
    assert repositories(recorded_catalog, registry) == ["project", "project/releases"]
    assert "GET gitlab.com/jwt/auth?service=container_registry basic" in registries.asked


def test_gitlab_lists_tags_page_by_page(recorded_catalog: TestCatalog, registries: Registries) -> None:
    path = "GET https://registry.gitlab.com/v2/group/project/tags/list"
    registries.play("gitlab/manifest-challenge", path)
    registries.play("gitlab/token")
    registries.play("gitlab/tags-page", path)
    registries.play("specification/tags-last", f"{path}?n=1000&last=1.9", log_in="bearer")
    assert tags(recorded_catalog, registries.new(recorded_catalog, "gitlab"), "group/project") == ["1.10", "1.9", "1.0"]


def test_gitlab_refuses_a_wrong_log_in_at_its_token_server(recorded_catalog: TestCatalog, registries: Registries) -> None:
    registries.play("gitlab/v2-challenge")
    registries.play("gitlab/wrong-login")
    found = check(recorded_catalog, registries.new(recorded_catalog, "gitlab", namespace="group", **_USER))
    assert (found["reachable"], found["authenticated"], found["problem"]) == (True, False, "log-in")
    assert "GET gitlab.com/jwt/auth?service=container_registry basic" in registries.asked


# -- Google ---------------------------------------------------------------------------


def test_google_is_checked_although_its_challenge_names_no_service(recorded_catalog: TestCatalog, registries: Registries) -> None:
    host = "https://us-central1-docker.pkg.dev"
    registries.play("google/v2-challenge")
    registries.play("specification/token", f"GET {host}/v2/token", log_in="basic")
    registries.play("specification/v2", f"GET {host}/v2/", log_in="bearer")
    registries.play("google/tags-of-project", f"GET {host}/v2/project/tags/list")
    registries.play("google/tags", f"GET {host}/v2/project/proxy-agent/tags/list")
    registry = registries.new(recorded_catalog, "google", host, namespace="project", username="_json_key", password="{}")
    found = check(recorded_catalog, registry)
    assert (found["authenticated"], found["problem"], found["detail"]) == (True, None, "Reachable, logged in, 1 repositories.")
    assert "GET us-central1-docker.pkg.dev/v2/token basic" in registries.asked


def test_google_names_children_and_manifests_beside_tags(recorded_catalog: TestCatalog, registries: Registries) -> None:
    registries.play("google/tags-of-project")
    registries.play("google/tags")
    registry = registries.new(recorded_catalog, "google", "https://gcr.io", namespace="k8s-staging-kas-network-proxy")
    assert repositories(recorded_catalog, registry) == ["proxy-agent"]
    assert tags(recorded_catalog, registry, "proxy-agent") == ["v0.0.8"]


def test_google_tells_the_digest_of_an_index(recorded_catalog: TestCatalog, registries: Registries) -> None:
    registries.play("google/manifest-head")
    registry = registries.new(recorded_catalog, "google", "https://k8s.gcr.io", namespace="git-sync")
    image = pinned(recorded_catalog, registries, registry, "git-sync", "v3.2.2")
    assert image.endswith("/git-sync/git-sync@sha256:6a543fb2d1e92008aad697da2672478dcfac715e3dddd33801d772da6e70cf24")


def test_an_index_of_google_has_the_digest_that_its_tag_list_names(registries: Registries) -> None:
    registries.play("google/index")
    found = Distribution(registries.egress()).manifest(
        registries.access("google", "https://gcr.io"), "k8s-staging-kas-network-proxy/proxy-agent", "v0.0.8", clock.monotonic() + 10
    )
    assert found.digest == "sha256:c419394f3fa40c32352be5a6ec5865270376d4351a3756bb1893be3f28fcba32"
    assert len(found.document["manifests"]) == 5


def test_google_refuses_a_log_in_that_is_none(recorded_catalog: TestCatalog, registries: Registries) -> None:
    host = "https://europe-docker.pkg.dev"
    registries.play("google/manifest-challenge", f"GET {host}/v2/")
    registries.play("google/wrong-login", f"GET {host}/v2/token")
    found = check(recorded_catalog, registries.new(recorded_catalog, "google", host, namespace="project", **_USER))
    assert (found["reachable"], found["authenticated"], found["problem"]) == (True, False, "log-in")


# -- Azure ----------------------------------------------------------------------------


def _azure_logs_in(registries: Registries, *requests: str) -> None:
    for request in requests:
        registries.play("azure/manifest-challenge", request)
    registries.play("azure/token", f"GET {_AZURE}/oauth2/token", log_in="basic")


def test_azure_is_checked_by_a_token_server_that_names_access_tokens_only(recorded_catalog: TestCatalog, registries: Registries) -> None:
    registries.play("azure/v2-challenge")
    _azure_logs_in(registries, f"GET {_AZURE}/v2/_catalog")
    registries.play("azure/v2")
    registries.play("azure/catalog-last", f"GET {_AZURE}/v2/_catalog")
    found = check(recorded_catalog, registries.new(recorded_catalog, "azure", _AZURE, **_USER))
    assert (found["authenticated"], found["problem"], found["detail"]) == (True, None, "Reachable, logged in, 1 repositories.")


def test_azure_continues_its_list_below_a_path_of_its_own(recorded_catalog: TestCatalog, registries: Registries) -> None:
    host = "https://yallacrtestsanon.azurecr.io"
    registries.play("azure/catalog-challenge", f"GET {host}/v2/_catalog")
    registries.play("azure/token", f"GET {host}/oauth2/token", log_in="none")
    registries.play("azure/catalog-page", f"GET {host}/v2/_catalog")
    registries.play("azure/catalog-last")
    registry = registries.new(recorded_catalog, "azure", host)
    assert repositories(recorded_catalog, registry) == ["library/alpine", "library/busybox", "library/hello-world"]


def test_azure_shows_an_image_whose_configuration_lies_elsewhere(recorded_catalog: TestCatalog, registries: Registries) -> None:
    _azure_logs_in(registries, f"GET {_AZURE}/v2/alpine/manifests/3.17.1")
    for name in ("azure/manifest", "azure/blob-redirect", "azure/blob"):
        registries.play(name)
    registry = registries.new(recorded_catalog, "azure", _AZURE, **_USER)
    found = recorded_catalog.ask("GET", f"/registries/{registry['id']}/manifest?repository=alpine&reference=3.17.1")
    assert found["digest"] == "sha256:93d5a28ff72d288d69b5997b8ba47396d2cbb62a72b5d87cd3351094b5d578a0"
    assert (found["size_bytes"], found["created"]) == (528 + 1472 + 3370628, "2023-01-09T17:05:20.656498283Z")
    assert [(one["os"], one["architecture"]) for one in found["platforms"]] == [("linux", "amd64")]
    assert registries.asked[-1].endswith(" none"), "the log-in stays with the registry"


@pytest.mark.parametrize("answer", ["azure/token-refused", "azure/wrong-password"])
def test_azure_refuses_a_wrong_log_in(recorded_catalog: TestCatalog, registries: Registries, answer: str) -> None:
    registries.play("azure/v2-challenge")
    registries.play(answer, f"GET {_AZURE}/oauth2/token", log_in="basic")
    found = check(recorded_catalog, registries.new(recorded_catalog, "azure", _AZURE, **_USER))
    assert (found["reachable"], found["authenticated"], found["problem"]) == (True, False, "log-in")
