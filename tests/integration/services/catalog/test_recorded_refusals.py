"""What is private or not there, and tokens that are no longer taken, told by answers of registries (tests/fixtures/registries)."""

from __future__ import annotations

import pytest

from tests.fixtures.catalog import TestCatalog
from tests.fixtures.recorded import Registries, check, refusal, tags

_USER = {"username": "robot", "password": "key"}
_HUB = "https://registry-1.docker.io/v2/library/ggcr-debug-builder/tags/list"
_GITHUB = "https://ghcr.io/v2/jvalue/open-data-service/ui/tags/list"
_EUROPE = "https://europe-west2-docker.pkg.dev"


def test_docker_hub_does_not_say_whether_a_private_repository_exists(recorded_catalog: TestCatalog, registries: Registries) -> None:
    registries.play("docker-hub/manifest-challenge", f"GET {_HUB}")
    registries.play("docker-hub/token", "GET https://auth.docker.io/token")
    registries.play("docker-hub/repository-refused", f"GET {_HUB}")
    status, code, detail, _ = refusal(recorded_catalog, registries.new(recorded_catalog, "docker-hub"), "ggcr-debug-builder")
    assert (status, code) == (409, "registry-login-refused")
    assert detail == "registry-1.docker.io does not have it, or does not show it to anyone without a user and a password."


@pytest.mark.parametrize(
    ("kind", "url", "log_in", "challenge", "denied"),
    [
        ("github", "https://ghcr.io", {}, "github/challenge", ("github/token-denied", "https://ghcr.io/token")),
        ("gitlab", "https://registry.gitlab.com", _USER, "gitlab/manifest-challenge", ("gitlab/forbidden", "https://gitlab.com/jwt/auth")),
        (
            "google",
            "https://europe-docker.pkg.dev",
            {},
            "google/manifest-challenge",
            ("google/token-denied", "https://europe-docker.pkg.dev/v2/token"),
        ),
    ],
)
def test_a_token_server_that_denies_a_repository_is_not_taken_for_a_wrong_password(
    recorded_catalog: TestCatalog,
    registries: Registries,
    kind: str,
    url: str,
    log_in: dict[str, str],
    challenge: str,
    denied: tuple[str, str],
) -> None:
    registries.play(challenge, f"GET {url}/v2/acme/app/tags/list")
    registries.play(denied[0], f"GET {denied[1]}")
    registry = registries.new(recorded_catalog, kind, url if kind == "google" else None, namespace="acme", **log_in)
    status, code, detail, _ = refusal(recorded_catalog, registry, "app")
    assert (status, code) == (409, "registry-login-refused")
    assert "does not have it, or does not show it to" in detail
    assert ("this user and password" in detail) == bool(log_in)


def test_google_denies_what_a_user_may_not_read(recorded_catalog: TestCatalog, registries: Registries) -> None:
    registries.play("google/manifest-denied", f"GET {_EUROPE}/v2/project/ml/image/tags/list", log_in="bearer")
    registries.play("google/manifest-challenge", f"GET {_EUROPE}/v2/project/ml/image/tags/list")
    registries.play("specification/token", "GET https://europe-docker.pkg.dev/v2/token", log_in="basic")
    more = {"token_host": "europe-docker.pkg.dev", "namespace": "project", **_USER}
    status, _, detail, _ = refusal(recorded_catalog, registries.new(recorded_catalog, "google", _EUROPE, **more), "ml/image")
    assert status == 409
    assert detail == "europe-west2-docker.pkg.dev does not have it, or does not show it to this user and password."


def test_github_gives_another_token_where_it_no_longer_takes_the_kept_one(recorded_catalog: TestCatalog, registries: Registries) -> None:
    registries.play("github/challenge", f"GET {_GITHUB}")
    registries.play("specification/token", "GET https://ghcr.io/token")
    registries.play("github/tags")
    registry = registries.new(recorded_catalog, "github", namespace="jvalue")
    assert tags(recorded_catalog, registry, "open-data-service/ui") == ["0.1.0", "latest"]
    registries.asked.clear()
    registries.play("github/invalid-token", once=True)
    assert tags(recorded_catalog, registry, "open-data-service/ui&refresh=true") == ["0.1.0", "latest"]
    assert [asked.rpartition(" ")[2] for asked in registries.asked] == ["bearer", "none", "none", "bearer"]


def test_github_denies_a_wrong_password_as_it_does_a_repository(recorded_catalog: TestCatalog, registries: Registries) -> None:
    registries.play("github/challenge", "GET https://ghcr.io/v2/")
    registries.play("github/token-denied", log_in="basic")
    found = check(recorded_catalog, registries.new(recorded_catalog, "github", namespace="acme", **_USER))
    assert (found["reachable"], found["authenticated"], found["problem"]) == (True, False, "log-in")
    assert found["detail"].startswith("ghcr.io refuses this user and password")
