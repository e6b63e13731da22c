"""Projects, versions and images through the catalog's API, on a real database."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from sqlalchemy import event

from kernel import clock
from tests.fixtures.catalog import TestCatalog


def test_the_first_version_of_a_project_is_its_default_and_the_next_is_not(catalog: TestCatalog) -> None:
    project = catalog.new_project(name="shop", description="sells")
    first = catalog.ask("POST", f"/projects/{project['id']}/versions", {"name": "1.0.0"}, expect=201)
    second = catalog.ask("POST", f"/projects/{project['id']}/versions", {"name": "next", "type": "rolling"}, expect=201)
    assert (first["default"], first["seq"], first["type"], first["warnings"]) == (True, 1, "incremental", [])
    assert (second["default"], second["seq"], second["chain_id"]) == (False, 2, None)
    moved = catalog.ask("POST", f"/versions/{second['id']}/default")
    assert moved["default"] is True
    assert catalog.ask("GET", f"/projects/{project['id']}")["default_version_id"] == second["id"]
    assert catalog.ask("GET", f"/versions/{first['id']}")["default"] is False


def test_a_versionless_project_has_one_hidden_rolling_version_until_it_is_converted(catalog: TestCatalog) -> None:
    project = catalog.new_project(type="versionless")
    versions = catalog.ask("GET", f"/projects/{project['id']}/versions")["items"]
    assert [(one["type"], one["default"], one["deletable"]) for one in versions] == [("rolling", True, False)]
    assert project["default_version_id"] == versions[0]["id"]
    assert catalog.problem("POST", f"/projects/{project['id']}/versions", {"name": "2"}, expect=409) == "project-versionless"
    assert catalog.problem("DELETE", f"/versions/{versions[0]['id']}", expect=409) == "hidden-version"
    assert catalog.problem("PATCH", f"/versions/{versions[0]['id']}", {"name": "x"}, expect=409) == "hidden-version"
    assert catalog.ask("POST", f"/projects/{project['id']}/convert")["type"] == "versioned"
    assert catalog.problem("POST", f"/projects/{project['id']}/convert", expect=409) == "project-versioned"
    catalog.ask("POST", f"/projects/{project['id']}/versions", {"name": "2.0.0"}, expect=201)


def test_increasing_copies_images_and_their_configuration_and_freezes_the_parent(catalog: TestCatalog) -> None:
    registry = catalog.new_registry()
    parent = catalog.new_version(auto_copy_deployments=True)
    image = catalog.add_image(parent, registry, config={"environment": {"A": "1"}, "ports": [{"container_port": 80, "host_port": 8000}]})
    child = catalog.ask("POST", f"/versions/{parent['id']}/increase", {"name": "1.1.0", "changelog": "better"}, expect=201)
    assert (child["parent_id"], child["chain_id"], child["seq"]) == (parent["id"], parent["id"], 2)
    copied = child["images"][0]
    assert copied["id"] != image["id"]
    assert {key: copied[key] for key in ("repository", "tag", "config", "position")} == {
        key: image[key] for key in ("repository", "tag", "config", "position")
    }
    frozen = catalog.ask("GET", f"/versions/{parent['id']}")
    assert (frozen["mutable"], frozen["increasable"], frozen["deletable"], frozen["child_id"]) == (False, False, False, child["id"])
    assert catalog.problem("POST", f"/versions/{parent['id']}/increase", {"name": "x"}, expect=409) == "version-already-increased"
    assert catalog.problem("PATCH", f"/images/{image['id']}", {"tag": "2"}, expect=409) == "version-immutable"
    assert catalog.problem("DELETE", f"/versions/{parent['id']}", expect=409) == "version-has-child"
    told = catalog.events("version.increased")[0]["data"]
    assert (told["auto_copy"], told["image_ids"]) == (True, {image["id"]: copied["id"]})
    catalog.ask("DELETE", f"/versions/{child['id']}", expect=204)
    assert catalog.ask("GET", f"/versions/{parent['id']}")["increasable"] is True


def test_two_people_who_increase_at_once_make_one_child(catalog: TestCatalog) -> None:
    version = catalog.new_version()
    with ThreadPoolExecutor(2) as pool:
        names = ["1.1.0", "1.2.0"]
        answers = list(pool.map(lambda name: catalog.call("POST", f"/versions/{version['id']}/increase", {"name": name}), names))
    assert sorted(answer.status_code for answer in answers) == [201, 409]


def test_two_people_who_edit_at_once_lose_no_edit(catalog: TestCatalog) -> None:
    version = catalog.new_version()
    seen = catalog.call("GET", f"/versions/{version['id']}").headers["ETag"]
    changed = catalog.call("PATCH", f"/versions/{version['id']}", {"changelog": "mine"}, If_Match=seen)
    assert changed.status_code == 200
    late = catalog.call("PATCH", f"/versions/{version['id']}", {"changelog": "yours"}, If_Match=seen)
    assert (late.status_code, json.loads(late.data)["code"]) == (412, "precondition-failed")
    assert catalog.ask("GET", f"/versions/{version['id']}")["changelog"] == "mine"
    catalog.add_image(version, catalog.new_registry())
    assert catalog.call("GET", f"/versions/{version['id']}").headers["ETag"] != changed.headers["ETag"]


@pytest.mark.parametrize("status", ["successful", "in-progress", "obsolete", "downgraded"])
def test_what_has_been_deployed_stays_as_it_was(catalog: TestCatalog, status: str) -> None:
    version = catalog.new_version()
    image = catalog.add_image(version, catalog.new_registry())
    deployment = clock.new_id()
    catalog.tell_deployment(version, status, deployment_id=deployment, revision=2)
    assert catalog.ask("GET", f"/versions/{version['id']}")["mutable"] is False
    for method, path, body in (
        ("PATCH", f"/images/{image['id']}", {"tag": "2"}),
        ("DELETE", f"/images/{image['id']}", None),
        ("POST", f"/versions/{version['id']}/images", {"registry_id": image["registry_id"], "repository": "a"}),
        ("PUT", f"/versions/{version['id']}/images/order", {"image_ids": [image["id"]]}),
        ("PATCH", f"/versions/{version['id']}", {"name": "other"}),
    ):
        assert catalog.problem(method, path, body, expect=409) == "version-immutable"
    assert catalog.problem("DELETE", f"/versions/{version['id']}", expect=409) == "version-in-use"
    catalog.ask("PATCH", f"/versions/{version['id']}", {"changelog": "words may be mended"})
    catalog.tell_deployment(version, "failed", deployment_id=deployment, revision=1)
    assert catalog.ask("GET", f"/versions/{version['id']}")["mutable"] is False, "an older event changes nothing"
    catalog.tell_deployment(version, "deleted", deployment_id=deployment, revision=3)
    assert catalog.ask("GET", f"/versions/{version['id']}")["mutable"] is True


def test_a_rolling_version_changes_while_it_runs(catalog: TestCatalog) -> None:
    version = catalog.new_version(type="rolling")
    catalog.tell_deployment(version, "in-progress", deployment_id=clock.new_id(), revision=1)
    catalog.add_image(version, catalog.new_registry())
    assert catalog.problem("POST", f"/versions/{version['id']}/increase", {"name": "2"}, expect=409) == "rolling-version"
    assert catalog.problem("DELETE", f"/versions/{version['id']}", expect=409) == "version-in-use"


def test_a_project_that_runs_is_not_deleted_and_a_stopped_one_takes_its_versions_along(catalog: TestCatalog) -> None:
    version = catalog.new_version()
    child = catalog.ask("POST", f"/versions/{version['id']}/increase", {"name": "1.1.0"}, expect=201)
    deployment = clock.new_id()
    catalog.tell_deployment(child, "successful", deployment_id=deployment, revision=1)
    assert catalog.problem("DELETE", f"/projects/{version['project_id']}", expect=409) == "project-in-use"
    catalog.tell_deployment(child, "deleted", deployment_id=deployment, revision=2)
    catalog.ask("DELETE", f"/projects/{version['project_id']}", expect=204)
    catalog.ask("GET", f"/versions/{version['id']}", expect=404)
    assert len(catalog.events("version.deleted")) == 2


def test_many_images_are_added_at_once_or_none(catalog: TestCatalog) -> None:
    registry = catalog.new_registry("http://127.0.0.1:5999")
    version = catalog.new_version()
    digest = "sha256:" + "a" * 64
    wanted = [
        {"repository": "127.0.0.1:5999/shop/web:1.25"},
        {"registry_id": registry["id"], "repository": f"shop/db:15@{digest}"},
        {"registry_id": registry["id"], "repository": "cache"},
    ]
    added = catalog.ask("POST", f"/versions/{version['id']}/images/batch", {"images": wanted}, expect=201)["items"]
    assert [(one["repository"], one["tag"], one["digest"], one["position"], one["name"]) for one in added] == [
        ("shop/web", "1.25", None, 1, "web"),
        ("shop/db", "15", digest, 2, "db"),
        ("cache", "latest", None, 3, "cache"),
    ]
    bad = [wanted[0], {"repository": "Wrong"}, {"repository": "ghcr.io/x/y"}, {"registry_id": str(clock.new_id()), "repository": "x"}]
    wrong = catalog.problem("POST", f"/versions/{version['id']}/images/batch", {"images": bad}, expect=422)
    assert sorted(wrong) == ["images.1.repository", "images.2.registry_id", "images.3.registry_id"]
    assert len(catalog.ask("GET", f"/versions/{version['id']}/images")["items"]) == 3


def test_images_keep_the_order_that_they_are_put_in(catalog: TestCatalog) -> None:
    registry = catalog.new_registry()
    version = catalog.new_version()
    ids = [catalog.add_image(version, registry, name)["id"] for name in ("a", "b", "c")]
    ordered = catalog.ask("PUT", f"/versions/{version['id']}/images/order", {"image_ids": [ids[2], ids[0], ids[1]]})["items"]
    assert [one["repository"] for one in ordered] == ["c", "a", "b"]
    assert [one["repository"] for one in catalog.ask("GET", f"/versions/{version['id']}")["images"]] == ["c", "a", "b"]
    assert "image_ids" in catalog.problem("PUT", f"/versions/{version['id']}/images/order", {"image_ids": ids[:2]}, expect=422)
    assert "image_ids" in catalog.problem("PUT", f"/versions/{version['id']}/images/order", {"image_ids": [ids[0]] * 3}, expect=422)


def test_an_image_is_changed_by_a_merge_patch_and_every_wrong_field_is_named(catalog: TestCatalog) -> None:
    version = catalog.new_version()
    image = catalog.add_image(version, catalog.new_registry(), config={"environment": {"A": "1", "B": "2"}, "tty": True})
    changed = catalog.ask("PATCH", f"/images/{image['id']}", {"tag": "2.0", "config": {"environment": {"A": None, "C": "3"}, "tty": None}})
    assert (changed["tag"], changed["config"]) == ("2.0", {"environment": {"B": "2", "C": "3"}})
    bad = {"config": {"ports": [{"container_port": 70000}], "environment": {"not ok": "x"}, "colour": "red"}}
    wrong = catalog.problem("PATCH", f"/images/{image['id']}", bad, expect=422)
    assert sorted(wrong) == ["config.colour", "config.environment.not ok", "config.ports.0.container_port"]
    catalog.ask("DELETE", f"/images/{image['id']}", expect=204)
    catalog.ask("GET", f"/images/{image['id']}", expect=404)


def test_another_team_sees_nothing_and_cannot_use_what_it_guesses(catalog: TestCatalog) -> None:
    stranger = clock.new_id()
    registry = catalog.new_registry()
    version = catalog.new_version()
    image = catalog.add_image(version, registry)
    for path in (
        f"/registries/{registry['id']}",
        f"/projects/{version['project_id']}",
        f"/versions/{version['id']}",
        f"/images/{image['id']}",
    ):
        catalog.ask("GET", path, expect=404, team=stranger)
        catalog.ask("DELETE", path, expect=404, team=stranger)
    mine = catalog.ask("POST", "/projects", {"name": "theirs", "type": "versionless"}, expect=201, team=stranger)
    body = {"registry_id": registry["id"], "repository": "a"}
    path = f"/versions/{mine['default_version_id']}/images"
    assert "registry_id" in catalog.problem("POST", path, body, expect=422, team=stranger)
    copying = {"name": "2", "copy_from": version["id"]}
    own = catalog.ask("POST", "/projects", {"name": "more"}, expect=201, team=stranger)
    catalog.ask("POST", f"/projects/{own['id']}/versions", copying, expect=404, team=stranger)


def test_a_viewer_reads_and_changes_nothing(catalog: TestCatalog) -> None:
    version = catalog.new_version()
    catalog.ask("GET", f"/versions/{version['id']}", role="viewer")
    assert catalog.problem("POST", f"/versions/{version['id']}/increase", {"name": "2"}, expect=403, role="viewer") == "forbidden"
    assert catalog.events("request.refused")[0]["data"]["outcome"] == "refused"


def test_lists_are_paged_in_a_stable_order_and_never_ask_once_a_row(catalog: TestCatalog) -> None:
    project = catalog.new_project()
    for number in range(1, 8):
        catalog.ask("POST", f"/projects/{project['id']}/versions", {"name": f"1.0.{number}"}, expect=201)
    seen: list[str] = []
    cursor = ""
    statements: list[Any] = []
    event.listen(catalog.db.engine, "before_cursor_execute", lambda *facts: statements.append(facts[2]))
    catalog.ask("GET", f"/projects/{project['id']}/versions?limit=1")
    few = len(statements)
    statements.clear()
    catalog.ask("GET", f"/projects/{project['id']}/versions?limit=7")
    assert len(statements) == few
    while True:
        page = catalog.ask("GET", f"/projects/{project['id']}/versions?limit=3{cursor}")
        seen += [one["name"] for one in page["items"]]
        if page["next_cursor"] is None:
            break
        cursor = f"&cursor={page['next_cursor']}"
    assert seen == [f"1.0.{number}" for number in range(7, 0, -1)]
    names = [catalog.new_project(name=name)["name"] for name in ("b", "a", "B", "ä")]
    assert {one["name"] for one in catalog.ask("GET", "/projects?limit=200")["items"]} >= set(names)
    assert [one["name"] for one in catalog.ask("GET", "/projects?query=%C3%A4")["items"]] == ["ä"]
    assert catalog.ask("GET", "/projects?query=%25")["items"] == []


def test_a_name_is_taken_once(catalog: TestCatalog) -> None:
    catalog.new_project(name="shop")
    assert catalog.problem("POST", "/projects", {"name": "shop"}, expect=409) == "name-taken"
    version = catalog.new_version()
    assert catalog.problem("POST", f"/projects/{version['project_id']}/versions", {"name": "1.0.0"}, expect=409) == "name-taken"
    assert catalog.problem("POST", f"/versions/{version['id']}/increase", {"name": "1.0.0"}, expect=409) == "name-taken"
    catalog.ask("POST", "/projects", {"name": "shop"}, expect=201, team=clock.new_id())
