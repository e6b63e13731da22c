"""Deployments over HTTP, on a real database."""

from __future__ import annotations

import threading

import pytest
from nacl.public import PrivateKey

from kernel import clock
from tests.integration.services.deployer.world import Somebody, World

WEB = {"name": "web", "config": {"ports": [{"container_port": 80, "host_port": 8080}], "environment": {"A": "image"}}}


def test_a_deployment_has_an_instance_for_each_image_and_says_how_it_stands(world: World) -> None:
    made = world.deploy(world.catalog.add(WEB, {"name": "db"}), note="first", config={"environment": {"A": "mine"}})
    assert (made["status"], made["mutable"], made["startable"], made["sync"], made["last_attempt"]) == ("preparing", True, True, None, None)
    assert [one["image_name"] for one in made["instances"]] == ["web", "db"]
    assert (made["node_name"], made["node_status"], made["config"]) == ("n1", "connected", {"environment": {"A": "mine"}})
    assert world.get(made) == made
    assert world.names() == ["deployment.created"]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"prefix": "Shop"}, "prefix"),
        ({"prefix": "shop\n"}, "prefix"),
        ({"extra": 1}, "extra"),
        ({"config": {"ports": [{}]}}, "config.ports.0.container_port"),
    ],
)
def test_a_wrong_field_is_named(world: World, body: dict[str, object], field: str) -> None:
    wanted = {"version_id": world.catalog.add(WEB), "node_id": str(world.node), "prefix": "shop"} | body
    answer = world.me.call("POST", "/deployments", wanted, status=422)
    assert [one["field"] for one in answer["errors"]] == [field]


def test_what_the_rules_of_making_forbid_is_a_conflict_with_their_code(world: World) -> None:
    rolling, incremental, empty = world.catalog.add(WEB, type="rolling"), world.catalog.add(WEB), world.catalog.add()
    world.deploy(rolling)
    world.deploy(incremental)
    for version, prefix, code in (
        (rolling, "other", "deployment-exists"),
        (incremental, "shop", "deployment-preparing-exists"),
        (empty, "shop", "version-has-no-images"),
    ):
        body = {"version_id": version, "node_id": str(world.node), "prefix": prefix}
        assert world.me.call("POST", "/deployments", body, status=409)["code"] == code
    world.deploy(incremental, prefix="other")


def test_a_version_or_node_that_is_not_there_is_a_404(world: World) -> None:
    body = {"version_id": str(clock.new_id()), "node_id": str(world.node), "prefix": "shop"}
    assert world.me.call("POST", "/deployments", body, status=404)["code"] == "not-found"
    body = {"version_id": world.catalog.add(WEB), "node_id": str(clock.new_id()), "prefix": "shop"}
    assert world.me.call("POST", "/deployments", body, status=404)["code"] == "not-found"


def test_another_team_finds_nothing_wherever_it_looks(world: World) -> None:
    made = world.run(world.catalog.add(WEB))
    stranger = Somebody(world.app, clock.new_id(), "owner")
    where = f"/deployments/{made['id']}"
    instance = f"{where}/instances/{made['instances'][0]['id']}"
    for method, path, body in (
        ("GET", where, None),
        ("PATCH", where, {"note": "mine"}),
        ("DELETE", where, None),
        ("PATCH", instance, {"config": {}}),
        ("GET", f"{where}/secrets", None),
        ("PUT", f"{where}/secrets", {"A": {"value": "x"}}),
        ("POST", f"{where}/plan", {}),
        ("POST", f"{where}/start", {}),
        ("POST", f"{where}/cancel", None),
        ("POST", f"{where}/copy", {}),
        ("GET", f"{where}/attempts", None),
        ("GET", f"{where}/attempts/1", None),
        ("GET", f"{where}/events", None),
    ):
        stranger.call(method, path, body, status=404)
    assert stranger.call("GET", "/deployments")["items"] == []
    body = {"version_id": made["version_id"], "node_id": str(world.node), "prefix": "shop"}
    stranger.call("POST", "/deployments", body, status=404)
    assert world.get(made)["revision"] == made["revision"]


def test_a_viewer_reads_and_changes_nothing(world: World) -> None:
    made = world.deploy(world.catalog.add(WEB))
    viewer = world.me.as_("viewer")
    assert viewer.call("GET", f"/deployments/{made['id']}")["id"] == made["id"]
    viewer.call("POST", f"/deployments/{made['id']}/start", {}, status=403)
    viewer.call("PATCH", f"/deployments/{made['id']}", {"note": "x"}, status=403)
    assert "request.refused" in world.names()


def test_lists_are_filtered_and_paged(world: World) -> None:
    version = world.catalog.add(WEB)
    made = [world.deploy(version, prefix=prefix)["id"] for prefix in ("a", "b", "c")]
    other = world.deploy(world.catalog.add(WEB, type="rolling"), prefix="a")
    page = world.me.call("GET", "/deployments?limit=2")
    rest = world.me.call("GET", f"/deployments?limit=2&cursor={page['next_cursor']}")
    assert [one["id"] for one in page["items"] + rest["items"]] == [other["id"], *reversed(made)]
    for query, expected in (
        ("prefix=a", [other["id"], made[0]]),
        (f"version={version}", list(reversed(made))),
        (f"project={other['project_id']}", [other["id"]]),
        ("status=failed", []),
        (f"node={clock.new_id()}", []),
    ):
        assert [one["id"] for one in world.me.call("GET", f"/deployments?{query}")["items"]] == expected
    world.me.call("GET", "/deployments?status=lost", status=422)


def test_a_patch_changes_what_it_names_and_a_stale_one_is_refused(world: World) -> None:
    made = world.deploy(world.catalog.add(WEB), config={"environment": {"A": "1", "B": "2"}})
    where = f"/deployments/{made['id']}"
    patch = {"note": "new", "config": {"environment": {"A": None, "C": "3"}}, "prefix": "other"}
    changed = world.me.call("PATCH", where, patch, headers={"If-Match": f'"{made["revision"]}"'})
    assert (changed["note"], changed["prefix"], changed["config"]) == ("new", "other", {"environment": {"B": "2", "C": "3"}})
    assert world.me.call("PATCH", where, {"note": "x"}, status=412, headers={"If-Match": '"1"'})["code"] == "precondition-failed"
    wrong = world.me.call("PATCH", where, {"config": {"ports": "none"}}, status=422)
    assert [one["field"] for one in wrong["errors"]] == ["config.ports"]
    assert world.names() == ["deployment.created", "deployment.changed", "request.refused"]


def test_instances_have_their_own_configuration(world: World) -> None:
    made = world.deploy(world.catalog.add(WEB))
    where = f"/deployments/{made['id']}/instances/{made['instances'][0]['id']}"
    assert world.me.call("PATCH", where, {"config": {"environment": {"A": "mine"}}})["config"] == {"environment": {"A": "mine"}}
    assert world.me.call("PUT", where, {"config": {"environment": {"A": None}}})["config"] == {"environment": {"A": None}}
    assert world.me.call("PATCH", where, {"config": {"environment": None}})["config"] == {}
    world.me.call("PATCH", f"/deployments/{made['id']}/instances/{clock.new_id()}", {"config": {}}, status=404)


def test_what_ran_as_an_incremental_version_cannot_be_changed_but_may_be_protected(world: World) -> None:
    made = world.run(world.catalog.add(WEB))
    where = f"/deployments/{made['id']}"
    assert (made["status"], made["mutable"], made["startable"]) == ("successful", False, False)
    assert world.me.call("PATCH", where, {"note": "x"}, status=409)["code"] == "deployment-immutable"
    instance = f"{where}/instances/{made['instances'][0]['id']}"
    assert world.me.call("PATCH", instance, {"config": {}}, status=409)["code"] == "deployment-immutable"
    assert world.me.call("PATCH", where, {"protected": True})["protected"] is True


def test_none_may_be_protected_where_protection_would_stop_its_start(world: World) -> None:
    world.deploy(world.catalog.add(WEB), protected=True)
    body = {"version_id": world.catalog.add(WEB), "node_id": str(world.node), "prefix": "shop"}
    assert world.me.call("POST", "/deployments", body | {"protected": True}, status=409)["code"] == "place-protected"
    other = world.me.call("POST", "/deployments", body)
    assert world.me.call("PATCH", f"/deployments/{other['id']}", {"protected": True}, status=409)["code"] == "place-protected"
    moved = world.me.call("PATCH", f"/deployments/{other['id']}", {"protected": True, "prefix": "free"})
    assert moved["protected"] is True
    assert world.me.call("PATCH", f"/deployments/{other['id']}", {"prefix": "shop"}, status=409)["code"] == "place-protected"


def test_a_rolling_one_that_moves_has_not_run_at_its_new_place(world: World) -> None:
    made = world.run(world.catalog.add(WEB, type="rolling"))
    moved = world.me.call("PATCH", f"/deployments/{made['id']}", {"prefix": "elsewhere"})
    assert (moved["status"], moved["sync"]) == ("preparing", None)


def test_a_copy_has_the_configuration_and_the_secrets_only_on_the_same_node(world: World) -> None:
    made = world.deploy(world.catalog.add({"name": "web", "config": {"secrets": {"KEY": {}}}}), config={"environment": {"A": "1"}})
    world.me.call("PUT", f"/deployments/{made['id']}/secrets", {"KEY": {"value": "hush"}})
    instance = f"/deployments/{made['id']}/instances/{made['instances'][0]['id']}"
    world.me.call("PATCH", instance, {"config": {"user": "app"}})
    world.me.call("POST", f"/deployments/{made['id']}/copy", {}, status=409)
    here = world.me.call("POST", f"/deployments/{made['id']}/copy", {"prefix": "two"})
    away = world.me.call("POST", f"/deployments/{made['id']}/copy", {"node_id": str(world.add_node("n2", key=PrivateKey.generate()))})
    for copy in (here, away):
        assert (copy["config"], copy["instances"][0]["config"], copy["status"]) == (
            {"environment": {"A": "1"}},
            {"user": "app"},
            "preparing",
        )
    secrets = [world.me.call("GET", f"/deployments/{one['id']}/secrets")["items"][0]["set"] for one in (here, away)]
    assert secrets == [True, False]


def test_a_deleted_one_is_gone_and_its_containers_are_removed_only_if_they_are_its_own(world: World) -> None:
    first, second = world.catalog.add(WEB), world.catalog.add(WEB, seq=2)
    project = world.catalog.versions[first]["project_id"]
    world.catalog.versions[second]["project_id"] = project
    old, new = world.run(first), world.run(second)
    world.me.call("DELETE", f"/deployments/{old['id']}?remove_containers=true")
    assert "place.remove" not in world.names("agents")
    world.me.call("DELETE", f"/deployments/{new['id']}?remove_volumes=true", status=422)
    world.me.call("DELETE", f"/deployments/{new['id']}?remove_containers=true&remove_volumes=true")
    world.me.call("GET", f"/deployments/{new['id']}", status=404)
    last = world.messages("agents")[-1]
    assert (last.name, last.generation, last.epoch, last.node) == ("deployer.place.remove", 3, 3, world.node)
    assert world.messages()[-1].name == "deployer.deployment.deleted"


def test_a_deleted_one_takes_away_neither_what_its_successor_kept_nor_what_is_being_brought_up(world: World) -> None:
    first, second = world.catalog.add(WEB), world.catalog.add(WEB, seq=2)
    world.catalog.versions[second]["project_id"] = world.catalog.versions[first]["project_id"]
    old, new = world.run(first), world.run(second)
    world.see({"prefix": "shop", "name": "web", "container_id": "c1", "image": "web", "state": "running", "deployment_id": old["id"]})
    world.me.call("DELETE", f"/deployments/{old['id']}?remove_containers=true")
    assert "place.remove" not in world.names("agents")
    world.start(world.deploy(world.catalog.add(WEB, seq=3)))
    answer = world.me.call("DELETE", f"/deployments/{new['id']}?remove_containers=true", status=409)
    assert answer["code"] == "attempt-live"
    assert "place.remove" not in world.names("agents")


def test_one_in_progress_can_neither_be_deleted_nor_copied_nor_changed(world: World) -> None:
    made = world.deploy(world.catalog.add(WEB))
    world.start(made)
    where = f"/deployments/{made['id']}"
    assert world.me.call("DELETE", where, status=409)["code"] == "deployment-in-progress"
    assert world.me.call("POST", f"{where}/copy", {"prefix": "b"}, status=409)["code"] == "deployment-in-progress"
    assert world.me.call("PATCH", where, {"note": "x"}, status=409)["code"] == "deployment-immutable"


def test_of_many_made_at_once_the_database_lets_one_through(world: World) -> None:
    body = {"version_id": world.catalog.add(WEB), "node_id": str(world.node), "prefix": "shop"}
    answers: list[tuple[int, str]] = []
    gate = threading.Barrier(8)

    def make() -> None:
        client = world.app.test_client()
        gate.wait()
        path, headers = f"/api/v1/teams/{world.team}/deployments", {"Authorization": f"Bearer {world.me.token}"}
        answer = client.post(path, json=body, headers=headers)
        answers.append((answer.status_code, answer.get_json().get("code")))

    threads = [threading.Thread(target=make) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(answers, key=str) == [(201, None)] + [(409, "deployment-preparing-exists")] * 7


def test_config_bundles_that_are_not_there_are_named_when_they_are_given(world: World) -> None:
    known, nobody = str(clock.new_id()), str(clock.new_id())
    world.catalog.bundles[known] = {"id": known, "name": "b", "config": {}}
    version = world.catalog.add({"name": "web"})
    body = {"version_id": version, "node_id": str(world.node), "prefix": "shop", "config_bundle_ids": [known, nobody]}
    refused = world.me.call("POST", "/deployments", body, status=422)
    assert [one["field"] for one in refused["errors"]] == ["config_bundle_ids.1"]
    made = world.deploy(version, config_bundle_ids=[known])
    path = f"/deployments/{made['id']}"
    refused = world.me.call("PATCH", path, {"config_bundle_ids": [nobody, known]}, status=422)
    assert [one["field"] for one in refused["errors"]] == ["config_bundle_ids.0"]
    assert world.get(made)["config_bundle_ids"] == [known]
    world.me.call("PATCH", f"/deployments/{nobody}", {"config_bundle_ids": [nobody]}, status=404)
    assert world.me.call("PATCH", path, {"config_bundle_ids": None})["config_bundle_ids"] == []


def test_without_the_catalog_only_new_config_bundles_are_refused(world: World) -> None:
    known, other = str(clock.new_id()), str(clock.new_id())
    world.catalog.bundles |= {one: {"id": one, "name": one, "config": {}} for one in (known, other)}
    made = world.deploy(world.catalog.add({"name": "web"}), config_bundle_ids=[known])
    world.catalog.is_away = True
    path = f"/deployments/{made['id']}"
    assert world.me.call("PATCH", path, {"config_bundle_ids": [known, other]}, status=503)["code"] == "catalog-unavailable"
    assert world.me.call("PATCH", path, {"config_bundle_ids": [known], "note": "n"})["note"] == "n"
    assert world.me.call("PATCH", path, {"config_bundle_ids": []})["config_bundle_ids"] == []


@pytest.mark.parametrize("verb", ["start", "cancel"])
def test_an_answer_that_takes_long_says_where_to_look(world: World, verb: str) -> None:
    made = world.deploy(world.catalog.add({"name": "web"}))
    if verb == "cancel":
        world.start(made)
    client, headers = world.app.test_client(), {"Authorization": f"Bearer {world.me.token}"}
    answer = client.post(f"/api/v1/teams/{world.team}/deployments/{made['id']}/{verb}", json={}, headers=headers)
    assert answer.status_code == 202
    found = client.get(answer.headers["Location"], headers=headers)
    assert (found.status_code, found.get_json()["number"]) == (200, 1)
