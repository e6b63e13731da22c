"""Lists of repositories as the public registries give them, told by answers that these gave (tests/fixtures/registries)."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.fixtures.catalog import TestCatalog, make_catalog
from tests.fixtures.recorded import Registries, check, exchange, repositories
from tests.fixtures.recorded import registries as replayed
from tests.fixtures.servers import TestDatabase

_USER = {"username": "robot", "password": "key"}
_GITHUB = "GET https://api.github.com/orgs/acme/packages"
_HUB = "GET https://hub.docker.com/v2/namespaces/acme/repositories"


def test_a_gitlab_projects_own_image_is_listed_by_the_projects_name(recorded_catalog: TestCatalog, registries: Registries) -> None:
    registries.play("gitlab/api-not-found")
    registries.play("gitlab/repositories", "GET https://gitlab.com/api/v4/projects/group%2Fproject/registry/repositories")
    registry = registries.new(recorded_catalog, "gitlab", namespace="group/project", **_USER)
    assert repositories(recorded_catalog, registry) == ["group/project", "releases"]


def test_github_is_asked_for_the_next_page_although_it_links_to_none(recorded_catalog: TestCatalog, registries: Registries) -> None:
    path = "GET https://api.github.com/orgs/aws/packages"
    one = json.loads(exchange("github/packages").body)[0]
    page = json.dumps([one | {"name": f"package-{number:03}"} for number in range(100)]).encode()
    registries.play("github/packages", f"{path}?package_type=container&per_page=100&page=1", body=page)
    registries.play("github/packages", f"{path}?package_type=container&per_page=100&page=2")
    registry = registries.new(recorded_catalog, "github", namespace="aws", **_USER)
    names = repositories(recorded_catalog, registry)
    assert (len(names), names[0]) == (101, one["name"])
    assert len(registries.asked) == 2


@pytest.mark.parametrize(
    ("kind", "log_in", "answer", "path", "wait"),
    [
        ("github", _USER, "github/api-secondary-limit", _GITHUB, "60"),
        # The time that Docker Hub named in Retry-After has long passed.
        ("docker-hub", {}, "docker-hub/api-too-many-requests", _HUB, "1"),
    ],
)
def test_a_list_that_is_asked_for_too_often_is_come_back_to_later(
    recorded_catalog: TestCatalog, registries: Registries, kind: str, log_in: dict[str, str], answer: str, path: str, wait: str
) -> None:
    registries.play(answer, path)
    registry = registries.new(recorded_catalog, kind, namespace="acme", **log_in)
    found = recorded_catalog.call("GET", f"/registries/{registry['id']}/repositories")
    assert (found.status_code, found.get_json()["code"], found.headers["Retry-After"]) == (503, "registry-rate-limited", wait)


def _github_lets_in(registries: Registries) -> None:
    registries.play("github/challenge", "GET https://ghcr.io/v2/")
    registries.play("specification/token", "GET https://ghcr.io/token", log_in="basic")
    registries.play("specification/v2", "GET https://ghcr.io/v2/", log_in="bearer")


def _gitlab_lets_in(registries: Registries) -> None:
    registries.play("gitlab/v2-challenge")
    registries.play("gitlab/token", log_in="basic")
    registries.play("specification/v2", "GET https://registry.gitlab.com/v2/", log_in="bearer")


@pytest.mark.parametrize("answer", ["github/api-invalid-argument", "github/api-bad-credentials"])
def test_github_that_lists_nothing_for_a_token_that_may_pull_is_told_so(
    recorded_catalog: TestCatalog, registries: Registries, answer: str
) -> None:
    _github_lets_in(registries)
    registries.play(answer, _GITHUB)
    registry = registries.new(recorded_catalog, "github", namespace="acme", **_USER)
    found = check(recorded_catalog, registry)
    assert (found["reachable"], found["authenticated"], found["problem"]) == (True, True, None)
    assert "read:packages" in found["detail"]
    assert recorded_catalog.problem("GET", f"/registries/{registry['id']}/repositories", expect=409) == "registry-login-refused"


@pytest.mark.parametrize("answer", ["gitlab/api-unauthorized", "gitlab/api-insufficient-scope"])
def test_gitlab_that_lists_nothing_for_a_token_that_may_pull_is_told_so(
    recorded_catalog: TestCatalog, registries: Registries, answer: str
) -> None:
    _gitlab_lets_in(registries)
    registries.play(answer, "GET https://gitlab.com/api/v4/groups/group/registry/repositories", log_in="private-token")
    found = check(recorded_catalog, registries.new(recorded_catalog, "gitlab", namespace="group", **_USER))
    assert (found["reachable"], found["authenticated"], found["problem"]) == (True, True, None)
    assert "read_api" in found["detail"]


@pytest.fixture
def plain_registries(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Registries]:
    """By plain HTTP, as the recorded Harbor was."""
    with replayed(tmp_path, monkeypatch, secure=False) as made:
        yield made


def test_harbor_that_lists_for_its_administrators_only_is_told_so(
    database: Callable[[str], TestDatabase], plain_registries: Registries
) -> None:
    host = "http://192.168.1.11:8090"
    plain_registries.play("harbor/v2-challenge")
    plain_registries.play("harbor/token")
    plain_registries.play("specification/v2", f"GET {host}/v2/", log_in="bearer")
    plain_registries.play("harbor/catalog-challenge")
    plain_registries.play("harbor/catalog-refused")
    catalog = make_catalog(database("catalog"), egress=plain_registries.egress())
    found = check(catalog, plain_registries.new(catalog, "v2", host, **_USER))
    catalog.db.close()
    assert (found["reachable"], found["authenticated"], found["problem"]) == (True, True, None)
    assert "may not list repositories" in found["detail"]
    assert plain_registries.asked[-1] == "GET 192.168.1.11/v2/_catalog?n=1000 basic"
