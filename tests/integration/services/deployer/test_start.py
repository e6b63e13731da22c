"""Starting deployments, on a real database."""

from __future__ import annotations

import threading
from typing import Any
from uuid import UUID

from nacl.public import PrivateKey
from sqlalchemy import text

from kernel import clock, signing
from kernel.contracts.deployer import ApplyDeployment, CancelDeployment, DeploymentChanged
from kernel.contracts.spec import spec_hash
from kernel.errors import FieldError, Invalid
from tests.integration.services.deployer.world import World

WEB: dict[str, Any] = {"name": "web", "digit": "a", "config": {"ports": [{"container_port": 80, "host_port": 8080}]}}
API: dict[str, Any] = {"name": "api", "digit": "b", "config": {"environment": {"V": "{{version}} {{prefix}} {{node}}"}}}


def seen(container: Any, prefix: str = "shop", **more: Any) -> dict[str, Any]:
    """A container as the agent reports it."""
    row = {"prefix": prefix, "name": container.name, "container_id": "c1", "image": container.image, "state": "running"}
    return row | {"spec": spec_hash(container), "digest": container.digest, "ports": []} | more


def apply_of(world: World) -> ApplyDeployment:
    """The last apply command."""
    data = [one.data for one in world.messages("agents") if one.name == "deployer.deployment.apply"][-1]
    assert isinstance(data, ApplyDeployment)
    return data


def test_a_start_is_one_attempt_with_a_signed_command_and_an_event(world: World) -> None:
    made = world.deploy(world.catalog.add(WEB, API))
    attempt = world.start(made, timeout_seconds=60)
    assert (attempt["number"], attempt["generation"], attempt["outcome"]) == (1, 1, None)
    assert world.get(made)["status"] == "in-progress"
    command = world.messages("agents")[-1]
    assert (command.name, command.node, command.epoch, command.generation, command.ttl_seconds) == (
        "deployer.deployment.apply", world.node, 3, 1, 60,
    )  # fmt: skip
    stack = apply_of(world).stack
    assert [one.name for one in stack.containers] == ["web", "api"]
    assert stack.containers[1].config["environment"] == {"V": "1.1.0 shop n1"}
    assert stack.containers[0].image.startswith("registry.test/web@sha256:aaa")
    assert apply_of(world).credentials == {"registry.test": "Ym94"}
    with world.db.system() as session:
        body = session.execute(text("SELECT body FROM outbox WHERE vhost = 'agents'")).scalar_one()
    assert signing.verify_body(world.key.verify_key, bytes(body))
    started = world.messages()[-1].data
    assert isinstance(started, DeploymentChanged)
    assert (started.status, started.attempt, started.revision) == ("in-progress", 1, 2)
    assert world.catalog.pins[-1]["hold"] is True


def test_of_twenty_starts_at_once_one_is_accepted_and_nineteen_are_refused(world: World) -> None:
    made = world.deploy(world.catalog.add(WEB))
    answers: list[tuple[int, Any]] = []
    gate = threading.Barrier(20)

    def go() -> None:
        client = world.app.test_client()
        gate.wait()
        path = f"/api/v1/teams/{world.team}/deployments/{made['id']}/start"
        answer = client.post(path, json={}, headers={"Authorization": f"Bearer {world.me.token}"})
        answers.append((answer.status_code, answer.get_json()))

    threads = [threading.Thread(target=go) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(status for status, _ in answers) == [202] + [409] * 19
    assert {body["code"] for status, body in answers if status == 409} == {"attempt-live"}
    assert world.names("agents") == ["deployment.apply"]
    assert [one["number"] for one in world.me.call("GET", f"/deployments/{made['id']}/attempts")["items"]] == [1]
    assert world.catalog.released == []


def test_a_start_needs_no_body(world: World) -> None:
    made = world.deploy(world.catalog.add(WEB))
    assert world.me.call("POST", f"/deployments/{made['id']}/plan", status=200)["actions"][0]["action"] == "create"
    assert world.me.call("POST", f"/deployments/{made['id']}/start", status=202)["attempt"]["number"] == 1


def test_a_second_deployment_cannot_start_while_one_is_worked_on_at_the_place(world: World) -> None:
    first, second = world.deploy(world.catalog.add(WEB)), world.deploy(world.catalog.add(API))
    world.start(first)
    answer = world.me.call("POST", f"/deployments/{second['id']}/start", {}, status=409)
    assert (answer["code"], answer["deployment_id"], answer["attempt"]) == ("attempt-live", first["id"], 1)


def test_everything_that_is_wrong_is_told_at_once(world: World) -> None:
    world.catalog.bundles = {
        bundle: {"id": bundle, "name": name, "config": {"environment": {"MODE": name}}}
        for bundle, name in ((str(clock.new_id()), "one"), (str(clock.new_id()), "two"))
    }
    twin = {
        "name": "web",
        "config": {"ports": [{"container_port": 1, "host_port": 8080}], "secrets": {"KEY": {}, "FREE": {"required": False}}},
    }
    made = world.deploy(world.catalog.add(WEB, twin), config_bundle_ids=list(world.catalog.bundles))
    world.see(
        {
            "prefix": "other",
            "name": "x",
            "container_id": "c",
            "image": "i",
            "state": "running",
            "ports": [{"container_port": 1, "host_port": 8080}],
        }
    )
    answer = world.me.call("POST", f"/deployments/{made['id']}/start", {}, status=422)
    assert {(one["field"], one["message"].split(":")[0]) for one in answer["errors"]} == {
        ("instances.web.config.environment.MODE", "is said differently by the config bundles"),
        ("secrets.KEY", "is required by web and not set"),
        ("instances.web.config.name", "is the name of two containers in this stack"),
        ("instances.web.config.ports", "host port 8080/tcp is asked for by web too"),
        ("instances.web.config.ports", "host port 8080/tcp is held by x under other"),
    }
    assert set(answer["codes"]) == {"config-bundle-conflict", "secret-missing", "container-name-taken", "host-port-taken"}
    assert (world.get(made)["status"], world.names("agents")) == ("preparing", [])
    assert [one["deployment_id"] for one in world.catalog.released] == [made["id"]]


def test_one_kind_of_problem_gives_its_own_code(world: World) -> None:
    made = world.deploy(world.catalog.add({"name": "web", "config": {"secrets": {"KEY": {}}}}))
    assert world.me.call("POST", f"/deployments/{made['id']}/start", {}, status=422)["code"] == "secret-missing"


def test_what_the_catalog_refuses_is_handed_on(world: World) -> None:
    made = world.deploy(world.catalog.add(WEB))
    world.catalog.refuse_pin = Invalid([FieldError("images.0.tag", "is not in the registry")])
    answer = world.me.call("POST", f"/deployments/{made['id']}/start", {}, status=422)
    assert answer["errors"] == [{"field": "images.0.tag", "message": "is not in the registry"}]
    assert world.get(made)["status"] == "preparing"


def test_the_newer_version_makes_the_older_obsolete_and_a_rollback_brings_back_exactly_what_ran(world: World) -> None:
    secret = {"name": "api", "digit": "b", "config": {"secrets": {"KEY": {}}}}
    project = clock.new_id()
    first, second = world.catalog.add(WEB, secret, project=project), world.catalog.add(WEB, seq=2, project=project)
    old = world.deploy(first)
    world.me.call("PUT", f"/deployments/{old['id']}/secrets", {"KEY": {"value": "hush"}})
    world.settle(world.start(old))
    ran = apply_of(world).stack
    new = world.run(second)
    assert (world.get(old)["status"], new["status"]) == ("obsolete", "successful")
    world.catalog.versions[first]["images"][0]["digest"] = "sha256:" + "f" * 64
    attempt = world.start(old)
    assert apply_of(world).stack == ran
    assert (world.catalog.pins[-1]["resolve"], attempt["options"]["frozen"]) == (False, True)
    assert world.settle(attempt)
    assert (world.get(old)["status"], world.get(new)["status"]) == ("successful", "downgraded")
    assert [one.name.rpartition(".")[2] for one in world.messages()][-2:] == ["succeeded", "downgraded"]
    revisions = [
        one.data.revision
        for one in world.messages()
        if isinstance(one.data, DeploymentChanged) and str(one.data.deployment_id) == old["id"]
    ]
    assert revisions == sorted(set(revisions))


def test_a_failed_rollback_is_still_a_rollback_when_it_is_tried_again(world: World) -> None:
    project = clock.new_id()
    old = world.run(world.catalog.add(WEB, project=project))
    ran = apply_of(world).stack
    world.run(world.catalog.add(API, seq=2, project=project))
    assert world.settle(world.start(old), "failed", code="unhealthy")
    assert world.get(old)["status"] == "failed"
    world.start(old)
    assert apply_of(world).stack == ran


def test_a_rollback_to_a_node_with_a_new_key_names_the_secrets_to_set_again(world: World) -> None:
    project = clock.new_id()
    made = world.deploy(world.catalog.add({"name": "api", "config": {"secrets": {"KEY": {}}}}, project=project))
    world.me.call("PUT", f"/deployments/{made['id']}/secrets", {"KEY": {"value": "hush"}})
    world.settle(world.start(made))
    world.run(world.catalog.add(WEB, seq=2, project=project))
    key = PrivateKey.generate()
    world.update_node(seal_key=signing.to_text(key.public_key))
    answer = world.me.call("POST", f"/deployments/{made['id']}/start", {}, status=422)
    assert (answer["code"], answer["errors"][0]["field"]) == ("secret-sealed-to-another-key", "secrets.KEY")
    world.me.call("PUT", f"/deployments/{made['id']}/secrets", {"KEY": {"value": "again"}})
    world.start(made)
    sealed = apply_of(world).stack.containers[0].secrets["KEY"].sealed
    assert signing.open_sealed(key, sealed, team=str(world.team), node=str(world.node), name="KEY") == "again"


def test_protection_stops_a_member_and_gives_way_to_an_admin(world: World) -> None:
    project = clock.new_id()
    first = world.run(world.catalog.add(WEB, project=project))
    world.me.call("PATCH", f"/deployments/{first['id']}", {"protected": True})
    second = world.deploy(world.catalog.add(WEB, seq=2, project=project))
    where = f"/deployments/{second['id']}/start"
    assert world.me.call("POST", where, {}, status=409)["code"] == "place-protected"
    assert world.me.call("POST", where, {"ignore_protection": True}, status=403)["code"] == "override-forbidden"
    world.me.as_("admin").call("POST", where, {"ignore_protection": True}, status=202)


def test_a_node_that_is_away_is_refused_at_once_unless_it_may_be_waited_for(world: World) -> None:
    made = world.deploy(world.catalog.add(WEB))
    with world.db.team(world.team) as session:
        session.execute(text("UPDATE nodes SET last_seen_at = now() - interval '5 minutes'"))
    answer = world.me.call("POST", f"/deployments/{made['id']}/start", {}, status=409)
    assert (answer["code"], answer["node_status"]) == ("node-not-connected", "unreachable")
    attempt = world.start(made, wait_for_node_seconds=600)
    assert (attempt["sent_at"], world.names("agents")) == (None, [])
    ended = world.me.call("POST", f"/deployments/{made['id']}/cancel", status=202)["attempt"]
    assert (ended["outcome"], world.get(made)["status"]) == ("cancelled", "failed")


def test_more_than_one_thing_in_the_way_is_named_together(world: World) -> None:
    first = world.run(world.catalog.add(WEB))
    world.me.call("PATCH", f"/deployments/{first['id']}", {"protected": True})
    second = world.deploy(world.catalog.add(WEB))
    with world.db.team(world.team) as session:
        session.execute(text("UPDATE nodes SET last_seen_at = now() - interval '5 minutes'"))
    answer = world.me.call("POST", f"/deployments/{second['id']}/start", {}, status=409)
    assert [one["field"] for one in answer["errors"]] == ["place-protected", "node-not-connected"]


def test_a_plan_tells_what_a_start_would_do_and_a_stale_one_is_refused(world: World) -> None:
    project = clock.new_id()
    first = world.run(world.catalog.add(WEB, API, {"name": "gone", "digit": "c"}, project=project))
    web, api, gone = apply_of(world).stack.containers
    world.see(seen(web), seen(api), seen(gone))
    newer = WEB | {"digit": "d"}
    plain_api = {"name": "api", "digit": "b", "config": {"environment": {"V": "1.1.0 shop n1"}}}
    second = world.deploy(world.catalog.add(newer, plain_api, {"name": "new"}, seq=2, project=project))
    plan = world.me.call("POST", f"/deployments/{second['id']}/plan", {}, status=200)
    steps = {one["name"]: (one["action"], one["reason"], one["downtime"]) for one in plan["actions"]}
    assert steps == {
        "web": ("replace", "image-changed", True),
        "api": ("keep", None, False),
        "new": ("create", None, False),
        "gone": ("remove", None, False),
    }
    assert (plan["downtime"], plan["blocked"], plan["frozen"]) == (True, [], False)
    assert world.catalog.pins[-1]["hold"] is False
    world.see(seen(web), seen(api))
    where = f"/deployments/{second['id']}/start"
    assert world.me.call("POST", where, {"plan_fingerprint": plan["fingerprint"]}, status=409)["code"] == "plan-stale"
    plan = world.me.call("POST", f"/deployments/{second['id']}/plan", {}, status=200)
    world.me.call("POST", where, {"plan_fingerprint": plan["fingerprint"]}, status=202)
    blocked = world.me.call("POST", f"/deployments/{second['id']}/plan", {}, status=200)["blocked"]
    assert [one["code"] for one in blocked] == ["attempt-live"]
    assert first["status"] == "successful"


def test_a_start_of_some_instances_leaves_the_others_as_they_stand(world: World) -> None:
    made = world.run(world.catalog.add(WEB, API, type="rolling"))
    before = {one.name: one for one in apply_of(world).stack.containers}
    for instance in made["instances"]:
        world.me.call("PATCH", f"/deployments/{made['id']}/instances/{instance['id']}", {"config": {"environment": {"NEW": "1"}}})
    world.start(made, instances=[made["instances"][1]["id"]])
    after = {one.name: one for one in apply_of(world).stack.containers}
    assert (after["web"], after["api"] == before["api"]) == (before["web"], False)
    wrong = world.me.call("POST", f"/deployments/{made['id']}/plan", {"instances": [str(clock.new_id())]}, status=422)
    assert wrong["errors"][0]["field"] == "instances.0"


def test_cancelling_tells_the_node_and_ends_with_its_word(world: World) -> None:
    made = world.deploy(world.catalog.add(WEB))
    attempt = world.start(made)
    where = f"/deployments/{made['id']}/cancel"
    assert world.me.call("POST", where, status=202)["attempt"]["cancel_requested_at"]
    command = world.messages("agents")[-1]
    assert isinstance(command.data, CancelDeployment)
    assert (command.data.attempt_id, command.generation) == (UUID(attempt["id"]), 1)
    assert world.get(made)["status"] == "in-progress"
    assert world.settle(attempt, "cancelled", detail="undone")
    assert world.me.call("POST", where, status=409)["code"] == "no-live-attempt"
    assert world.get(made)["last_attempt"]["outcome"] == "cancelled"


def test_sync_compares_what_was_seen_with_what_the_success_put_there(world: World) -> None:
    made = world.run(world.catalog.add(WEB))
    assert made["sync"] == {"state": "unknown", "observed_at": None, "differences": []}
    (web,) = apply_of(world).stack.containers
    world.see(seen(web))
    assert world.get(made)["sync"]["state"] == "in-sync"
    world.see(seen(web, state="exited"), seen(web, name="extra"), seen(web, prefix="other"))
    sync = world.get(made)["sync"]
    assert sync["state"] == "drifted"
    assert [(one["container"], one["field"], one["observed"]) for one in sync["differences"]] == [
        ("web", "state", "exited"),
        ("extra", "container", "present"),
    ]
    with world.db.team(world.team) as session:
        session.execute(text("UPDATE nodes SET observed_at = now() - interval '5 minutes'"))
    assert world.get(made)["sync"]["state"] == "unknown"


def test_the_frozen_specification_is_shown_without_boxes(world: World) -> None:
    made = world.deploy(world.catalog.add({"name": "api", "config": {"secrets": {"KEY": {"as": "file"}}}}))
    world.me.call("PUT", f"/deployments/{made['id']}/secrets", {"KEY": {"value": "hush"}})
    world.start(made)
    shown = world.me.call("GET", f"/deployments/{made['id']}/attempts/1")
    assert shown["spec"]["containers"][0]["secrets"] == {"KEY": {"as": "file"}}
    assert "credentials" not in shown
    world.me.call("GET", f"/deployments/{made['id']}/attempts/2", status=404)


def test_events_are_read_on_by_number_and_say_when_they_are_over(world: World) -> None:
    made = world.deploy(world.catalog.add(WEB))
    attempt = world.start(made)
    page = world.events(made)
    assert ([one["number"] for one in page["items"]], page["done"], page["status"]) == ([1], False, "in-progress")
    world.settle(attempt)
    page = world.events(made, f"?after={page['next_after']}&attempt=1")
    assert [(one["number"], one["kind"], one["data"]["status"]) for one in page["items"]] == [(2, "status", "successful")]
    assert (page["done"], page["more"], page["status"]) == (True, False, "successful")
    assert world.events(made, "?limit=1")["more"] is True
    world.me.call("GET", f"/deployments/{made['id']}/events?attempt=9", status=404)
