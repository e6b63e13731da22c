"""From images and configuration to a stack, with every problem at once."""

from __future__ import annotations

from dataclasses import replace
from typing import Any
from uuid import UUID

import pytest

from kernel import clock
from kernel.contracts.catalog import EnvironmentRule
from kernel.contracts.spec import ContainerSpec, SealedSecret, StackSpec
from kernel.errors import Invalid
from services.deployer.domain.observed import Observed
from services.deployer.domain.ports import HostPort
from services.deployer.domain.resolve import (
    Bundle,
    InstanceConfig,
    PinnedImage,
    Problem,
    Resolved,
    StoredSecret,
    Wish,
    clashes,
    only,
    refuse,
    reseal,
    resolve,
)


def image(name: str = "web", position: int = 0, /, **config: Any) -> PinnedImage:
    return PinnedImage(clock.new_id(), position, name, f"registry.test/{name}:1", "1", None, "registry.test", config)


def wish(*images: PinnedImage, instance: dict[str, Any] | None = None, **more: Any) -> Wish:
    instances = [InstanceConfig(clock.new_id(), one.image_id, instance or {}) for one in images]
    return Wish(**({"project": "p", "version": "1.0.0", "prefix": "shop", "node": "n1", "seal_key": "k", "instances": instances} | more))


def spec(name: str, instance_id: UUID | None = None, **config: Any) -> ContainerSpec:
    return ContainerSpec(instance_id or clock.new_id(), name, f"{name}:1", config)


def test_containers_stand_in_the_order_of_their_images_and_take_their_configured_name() -> None:
    images = [image("b", 1), image("a", 0, name="first")]
    assert [one.name for one in resolve(wish(*images), images).stack] == ["first", "b"]


def test_secrets_that_are_set_go_along_and_missing_required_ones_are_named() -> None:
    web = image(secrets={"KEY": {"as": "file"}, "GONE": {}, "MAYBE": {"required": False}, "OLD": {}})
    secrets = {"KEY": StoredSecret("box", "k"), "OLD": StoredSecret("box", "another"), "UNUSED": StoredSecret("box", "k")}
    found = resolve(wish(web, secrets=secrets), [web])
    assert found.stack[0].secrets == {"KEY": SealedSecret("box", "file")}
    assert [(one.code, one.field) for one in found.problems] == [
        ("secret-missing", "secrets.GONE"),
        ("secret-sealed-to-another-key", "secrets.OLD"),
    ]


def test_what_an_images_labels_want_is_enforced() -> None:
    rules = (
        EnvironmentRule("PORT", "int", required=True),
        EnvironmentRule("KEY", required=True, secret=True),
        EnvironmentRule("DEBUG", "boolean"),
    )
    web = replace(image(environment={"PORT": "eighty"}, secrets={"KEY": {"required": False}}), environment_rules=rules)
    found = resolve(wish(web), [web])
    assert [(one.code, one.field) for one in found.problems] == [
        ("image-requirement", "instances.web.config.environment.PORT"),
        ("image-requirement", "instances.web.config.environment.KEY"),
    ]
    met = wish(web, instance={"environment": {"PORT": "80"}}, secrets={"KEY": StoredSecret("box", "k")})
    assert resolve(met, [web]).problems == ()


def test_what_templates_make_of_a_configuration_is_checked_again() -> None:
    web = image(volumes=[{"path": "/data", "name": "{{node}}"}])
    found = resolve(wish(web, node="no such / name"), [web])
    assert [(one.code, one.field) for one in found.problems] == [("config-invalid", "instances.web.config.volumes.0.name")]


def test_bundles_that_disagree_are_told_beside_everything_else() -> None:
    web = image(secrets={"KEY": {}}, network_mode="host", networks=["n"])
    bundles = [Bundle("one", {"environment": {"A": "1"}}), Bundle("two", {"environment": {"A": "2"}})]
    codes = [one.code for one in resolve(wish(web, bundles=bundles), [web]).problems]
    assert codes == ["config-bundle-conflict", "config-invalid", "secret-missing"]
    assert (
        resolve(wish(web, bundles=bundles, config={"environment": {"A": "3"}}, secrets={"KEY": StoredSecret("b", "k")}), [web]).problems
        != ()
    )


def test_a_frozen_stack_stays_as_it_was_under_the_same_key() -> None:
    old = ContainerSpec(clock.new_id(), "web", "web:1", {}, secrets={"KEY": SealedSecret("old")})
    fresh = {"KEY": StoredSecret("new", "k2")}
    assert reseal([old], fresh, sealed_to="k2", seal_key="k2") == Resolved((old,), ())
    assert reseal([old], fresh, sealed_to="k1", seal_key="k2").stack[0].secrets == {"KEY": SealedSecret("new")}
    assert [one.field for one in reseal([old], {}, sealed_to="k1", seal_key="k2").problems] == ["secrets.KEY"]


def test_only_the_chosen_instances_change() -> None:
    chosen, left, fresh = clock.new_id(), clock.new_id(), clock.new_id()
    new = [spec("web", chosen, user="new"), spec("api", left, user="new"), spec("never", fresh)]
    standing = StackSpec("p", "1", (spec("api", user="old"), spec("other")))
    found = only(frozenset({chosen}), Resolved(tuple(new), ()), standing).stack
    assert [(one.name, one.config.get("user")) for one in found] == [("web", "new"), ("api", "old"), ("other", None)]
    assert [one.name for one in only(frozenset({chosen}), Resolved(tuple(new), ()), None).stack] == ["web"]


@pytest.mark.parametrize(
    ("one", "other", "clash"),
    [
        ({"host_port": 80}, {"host_port": 80}, True),
        ({"host_port": 80}, {"host_port": 81}, False),
        ({"host_port": 80, "protocol": "udp"}, {"host_port": 80}, False),
        ({"host_port": 80, "host_ip": "127.0.0.1"}, {"host_port": 80, "host_ip": "127.0.0.2"}, False),
        ({"host_port": 80, "host_ip": "127.0.0.1"}, {"host_port": 80, "host_ip": "0.0.0.0"}, True),
        ({}, {}, False),
    ],
)
def test_two_containers_cannot_hold_one_port_of_the_host(one: dict[str, Any], other: dict[str, Any], clash: bool) -> None:
    stack = [spec("a", ports=[{"container_port": 1} | one]), spec("b", ports=[{"container_port": 1} | other])]
    assert bool(clashes(stack, [], prefix="shop")) is clash


def test_a_range_of_ports_counts_as_each_of_them() -> None:
    span = {"container": {"first": 1, "last": 3}, "host": {"first": 8080, "last": 8082}}
    stack = [spec("a", port_ranges=[span]), spec("b", ports=[{"container_port": 1, "host_port": 8081}])]
    assert [one.code for one in clashes(stack, [], prefix="shop")] == ["host-port-taken"]


def test_thousands_of_ports_are_compared_in_no_time() -> None:
    many = [{"first": first, "last": first + 15_999} for first in (1, 20_001)]
    spans = [{"container": one, "host": one} for one in many]
    began = clock.monotonic()
    assert not clashes([spec("a", port_ranges=spans[:1]), spec("b", port_ranges=spans[1:])], [], prefix="shop")
    assert 0 < len(clashes([spec("a", port_ranges=spans[:1])] * 20, [], prefix="shop")) <= 200
    assert clock.monotonic() - began < 30  # each with each would take minutes


@pytest.mark.parametrize(("prefix", "state", "clash"), [("other", "running", True), ("shop", "running", False), ("other", "exited", False)])
def test_a_port_held_at_another_place_is_taken(prefix: str, state: str, clash: bool) -> None:
    held = Observed(prefix=prefix, name="x", container_id="c", image="i", state=state, ports=(HostPort(8080, "tcp", "0.0.0.0"),))
    assert bool(clashes([spec("a", ports=[{"container_port": 1, "host_port": 8080}])], [held], prefix="shop")) is clash


def test_problems_of_one_kind_give_their_code_and_several_kinds_a_common_one() -> None:
    one, other = Problem("secret-missing", "secrets.A", "is missing"), Problem("host-port-taken", "x", "is taken")
    refuse([])
    with pytest.raises(Invalid) as refused:
        refuse([one, one])
    assert refused.value.code == "secret-missing"
    with pytest.raises(Invalid) as refused:
        refuse([one, other])
    assert (refused.value.code, refused.value.facts) == ("deployment-invalid", {"codes": ["secret-missing", "host-port-taken"]})
    assert [error.field for error in refused.value.errors] == ["secrets.A", "x"]
