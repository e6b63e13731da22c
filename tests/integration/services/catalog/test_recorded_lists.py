"""Lists of repositories as the public registries give them, told by answers that these gave (tests/fixtures/registries)."""

from __future__ import annotations

from tests.fixtures.catalog import TestCatalog
from tests.fixtures.recorded import Registries, repositories

_USER = {"username": "robot", "password": "key"}


def test_a_gitlab_projects_own_image_is_listed_by_the_projects_name(recorded_catalog: TestCatalog, registries: Registries) -> None:
    registries.play("gitlab/api-not-found")
    registries.play("gitlab/repositories", "GET https://gitlab.com/api/v4/projects/group%2Fproject/registry/repositories")
    registry = registries.new(recorded_catalog, "gitlab", namespace="group/project", **_USER)
    assert repositories(recorded_catalog, registry) == ["group/project", "releases"]
