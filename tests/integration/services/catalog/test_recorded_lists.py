"""Lists of repositories as the public registries give them, told by answers that these gave (tests/fixtures/registries)."""

from __future__ import annotations

import json

import pytest

from tests.fixtures.catalog import TestCatalog
from tests.fixtures.recorded import Registries, exchange, repositories

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
