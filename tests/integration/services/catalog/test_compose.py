"""Compose files and templates through the catalog's API; docker-compose itself judges what goes out."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

from kernel import clock
from tests.fixtures.catalog import TestCatalog

SHOP = (Path(__file__).parents[3] / "fixtures/compose/shop.yaml").read_text()


def _import(catalog: TestCatalog, version: Any, compose: str, **more: Any) -> Any:
    """Any: JSON."""
    return catalog.ask("POST", f"/versions/{version['id']}/import-compose", {"compose": compose} | more)


def test_a_compose_file_becomes_images_and_goes_out_and_in_again(catalog: TestCatalog, tmp_path: Path) -> None:
    hub = catalog.new_registry(type="unchecked", url="https://docker.io")
    packages = catalog.new_registry(type="unchecked", url="https://ghcr.io", namespace="shop")
    version = catalog.new_version()
    options: dict[str, Any] = {"variables": {"TAG": "2.0"}, "env_files": {"web.env": "A=1"}, "profiles": ["debug"]}
    done = _import(catalog, version, SHOP, registries={"docker.io": hub["id"]}, **options)
    assert [one["service"] for one in done["imported"]] == ["db", "cache", "migrate", "web", "tools"]
    web = next(one["image"] for one in done["imported"] if one["service"] == "web")
    assert (web["repository"], web["tag"], web["registry_id"], web["name"]) == ("web", "2.0", packages["id"], "web")
    assert "services.worker" in {one["path"] for one in done["skipped"]}
    assert "services.web.container_name" in {one["path"] for one in done["changed"]}
    out = catalog.call("GET", f"/versions/{version['id']}/export-compose")
    assert out.content_type.startswith("application/yaml")
    (tmp_path / "docker-compose.yml").write_text(out.text)
    judged = subprocess.run(["docker-compose", "config"], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
    assert judged.returncode == 0, judged.stderr
    again = catalog.new_version()
    _import(catalog, again, out.text, registries={"docker.io": hub["id"]})
    shown = [catalog.ask("GET", f"/versions/{one['id']}")["images"] for one in (version, again)]
    kept = ("repository", "tag", "digest", "registry_id", "config", "name", "position")
    assert [[image[key] for key in kept] for image in shown[0]] == [[image[key] for key in kept] for image in shown[1]]


def test_a_service_without_a_registry_is_left_out_and_a_wrong_file_changes_nothing(catalog: TestCatalog) -> None:
    version = catalog.new_version()
    done = _import(catalog, version, "services: {a: {image: quay.io/x/y:1}}")
    assert done["imported"] == []
    assert "quay.io" in done["skipped"][0]["detail"]
    wrong = catalog.problem(
        "POST", f"/versions/{version['id']}/import-compose", {"compose": "services: {a: {image: x, ports: [y]}}"}, expect=422
    )
    assert list(wrong) == ["services.a.ports.0"]
    catalog.tell_deployment(version, "successful", deployment_id=clock.new_id(), revision=1)
    body = {"compose": "services: {a: {image: x}}"}
    assert catalog.problem("POST", f"/versions/{version['id']}/import-compose", body, expect=409) == "version-immutable"


def test_each_template_becomes_a_project_in_one_call(catalog: TestCatalog) -> None:
    listed = catalog.ask("GET", "/templates")["items"]
    assert {"gitea", "wordpress", "vaultwarden"} <= {one["id"] for one in listed}
    for template in listed:
        assert catalog.ask("GET", f"/templates/{template['id']}") == template
        made = catalog.ask("POST", f"/templates/{template['id']}/projects", {"name": template["name"]}, expect=201)
        version = catalog.ask("GET", f"/versions/{made['version_id']}")
        assert (made["project"]["name"], version["name"], version["default"]) == (template["name"], "1.0.0", True)
        assert [one["config"]["name"] for one in version["images"]] == [one["name"] for one in template["services"]]
        assert made["notes"] == []
    assert [one["name"] for one in catalog.ask("GET", "/registries")["items"]] == ["Docker Hub"]
    hidden = catalog.ask("POST", "/templates/gitea/projects", {"name": "again", "type": "versionless"}, expect=201)
    assert catalog.ask("GET", f"/versions/{hidden['version_id']}")["image_count"] == 2
    assert catalog.problem("POST", "/templates/gitea/projects", {"name": "again"}, expect=409) == "name-taken"
    catalog.ask("GET", "/templates/none", expect=404)
