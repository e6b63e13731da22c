"""The images of init containers are pinned like the main ones, whoever's configuration names them."""

from __future__ import annotations

from typing import Any

from kernel.contracts.deployer import ApplyDeployment
from tests.integration.services.deployer.world import World

INIT = {"name": "migrate", "image": "registry.test/tool:{{version}}", "command": ["migrate"]}
STRANGER = {"name": "wait", "image": "elsewhere.test/wait:1"}


def order(world: World) -> ApplyDeployment:
    data = world.messages("agents")[-1].data
    assert isinstance(data, ApplyDeployment)
    return data


def inits(world: World) -> list[str]:
    found: list[dict[str, Any]] = order(world).stack.containers[0].config["init_containers"]
    return [one["image"] for one in found]


def test_what_a_registry_of_the_team_holds_is_named_by_its_digest(world: World) -> None:
    version = world.catalog.add({"name": "web", "config": {"init_containers": [INIT, STRANGER]}})
    made = world.deploy(version)
    world.start(made)
    assert inits(world) == [f"registry.test/tool@sha256:{'c' * 64}", "elsewhere.test/wait:1"]
    (asked,) = world.catalog.named
    assert (asked["references"], asked["hold"]) == (["registry.test/tool:1.1.0", "elsewhere.test/wait:1"], True)
    assert order(world).credentials == {"registry.test": "Ym94", "more.test": "bW9yZQ"}


def test_a_deployments_own_configuration_may_name_them_and_a_plan_sees_the_same(world: World) -> None:
    made = world.deploy(world.catalog.add({"name": "web"}), config={"init_containers": [INIT]})
    where = f"/deployments/{made['id']}"
    planned = world.me.call("POST", f"{where}/plan", {}, status=200)
    assert world.catalog.named[-1]["hold"] is False
    world.catalog.digit = "d"
    stale = world.me.call("POST", f"{where}/start", {"plan_fingerprint": planned["fingerprint"]}, status=409)
    assert stale["code"] == "plan-stale"
    world.start(made)
    assert inits(world) == [f"registry.test/tool@sha256:{'d' * 64}"]


def test_a_rollback_brings_the_same_ones_back_without_asking(world: World) -> None:
    first = world.catalog.add({"name": "web", "config": {"init_containers": [INIT]}})
    second = world.catalog.add({"name": "web"}, seq=2)
    world.catalog.versions[second]["project_id"] = world.catalog.versions[first]["project_id"]
    old = world.run(first)
    world.run(second)
    world.catalog.digit = "d"
    world.start(old)
    assert inits(world) == [f"registry.test/tool@sha256:{'c' * 64}"]
    assert len(world.catalog.named) == 1
    assert world.catalog.pins[-1]["hosts"] == ["registry.test"]


def test_without_init_containers_nobody_is_asked(world: World) -> None:
    world.start(world.deploy(world.catalog.add({"name": "web"})))
    assert world.catalog.named == []
