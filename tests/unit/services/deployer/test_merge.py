"""The effective configuration of a container: rows of the rules, and laws."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from services.deployer.domain.merge import bundle_conflicts, merge, render

RULES: dict[str, Any] = yaml.safe_load((Path(__file__).parents[3] / "fixtures/rules/deployments.yaml").read_text())["merge"]

TEXTS = st.sampled_from(["one", "two", "three"])
NAMES = st.sampled_from(["A", "B", "C"])
PORTS = st.lists(
    st.fixed_dictionaries(
        {
            "container_port": st.integers(1, 3),
            "protocol": st.sampled_from(["tcp", "udp"]),
            "host_port": st.integers(1, 9),
        }
    ),
    max_size=3,
    unique_by=lambda port: (port["container_port"], port["protocol"]),
)
LAYERS = st.fixed_dictionaries(
    {},
    optional={
        "environment": st.none() | st.dictionaries(NAMES, st.none() | TEXTS),
        "labels": st.dictionaries(NAMES, st.none() | TEXTS),
        "ports": st.none() | PORTS,
        "command": st.none() | st.lists(TEXTS, max_size=2),
        "user": st.none() | TEXTS,
    },
)


@pytest.mark.parametrize("row", RULES["cases"], ids=lambda row: row["name"])
def test_the_rules_say_what_configuration_is_effective(row: dict[str, Any]) -> None:
    bundles, deployment, instance = row.get("bundles", []), row.get("deployment"), row.get("instance")
    conflicts = bundle_conflicts(bundles, deployment, instance)
    assert bool(conflicts) == (row.get("error") == "config-bundle-conflict")
    if "result" in row:
        assert merge(row.get("image", {}), bundles, deployment, instance) == row["result"]


@pytest.mark.parametrize(
    ("field", "weaker", "stronger", "result"),
    [
        (
            "ports",
            [{"container_port": 80, "host_port": 1}],
            [{"container_port": 80, "protocol": "tcp", "host_port": 2}],
            [{"container_port": 80, "protocol": "tcp", "host_port": 2}],
        ),
        (
            "ports",
            [{"container_port": 53, "protocol": "udp"}],
            [{"container_port": 53, "protocol": "tcp"}],
            [{"container_port": 53, "protocol": "udp"}, {"container_port": 53, "protocol": "tcp"}],
        ),
        ("volumes", [{"path": "/a", "name": "x"}], [{"path": "/a", "name": "y"}], [{"path": "/a", "name": "y"}]),
        ("networks", ["front"], ["front", "back"], ["front", "back"]),
        ("secrets", {"A": {"required": True}}, {"A": {"required": False}}, {"A": {"required": False}}),
    ],
)
def test_keyed_things_merge_by_their_key(field: str, weaker: Any, stronger: Any, result: Any) -> None:
    assert merge({field: weaker}, instance={field: stronger}) == {field: result}


@given(LAYERS, st.lists(LAYERS, max_size=2), LAYERS, LAYERS)
def test_every_key_has_the_value_of_the_nearest_layer_that_speaks_of_it(
    image: dict[str, Any], bundles: list[dict[str, Any]], deployment: dict[str, Any], instance: dict[str, Any]
) -> None:
    effective = merge(image, bundles, deployment, instance).get("environment", {})
    for name in "ABC":
        expected = None
        for layer in (image, *bundles, deployment, instance):
            if "environment" in layer and layer["environment"] is None:
                expected = None
            elif name in layer.get("environment", {}):
                expected = layer["environment"][name]
        assert effective.get(name) == expected


@given(LAYERS, LAYERS)
def test_merging_leaves_its_layers_as_they_were_and_holds_no_null(image: dict[str, Any], instance: dict[str, Any]) -> None:
    before = repr((image, instance))
    result = merge(image, instance=instance)
    assert repr((image, instance)) == before
    assert None not in result.values()
    assert merge(result, instance=instance) == result


@given(LAYERS, LAYERS, LAYERS)
def test_bundles_that_do_not_conflict_may_stand_in_any_order(one: dict[str, Any], two: dict[str, Any], deployment: dict[str, Any]) -> None:
    def normal(config: dict[str, Any]) -> dict[str, Any]:
        return config | {"ports": sorted(config.get("ports", []), key=str)}

    if bundle_conflicts([one, two], deployment):
        return
    assert normal(merge({}, [one, two], deployment)) == normal(merge({}, [two, one], deployment))


@given(LAYERS, LAYERS)
def test_one_bundle_never_conflicts_and_equal_ones_neither(bundle: dict[str, Any], deployment: dict[str, Any]) -> None:
    assert bundle_conflicts([bundle]) == []
    assert bundle_conflicts([bundle, bundle], deployment) == []


def test_a_bundle_that_empties_a_field_conflicts_with_one_that_fills_it() -> None:
    assert [one.path for one in bundle_conflicts([{"environment": None}, {"environment": {"A": "x"}}])] == ["environment.A"]


def test_templates_are_filled_in_wherever_text_stands() -> None:
    words = {"version": "1.0.0", "prefix": "shop", "node": "n1"}
    config = {
        "environment": {"V": "{{version}}-{{ prefix }}"},
        "command": ["run", "{{node}}"],
        "stop_grace_seconds": 3,
        "user": "{{other}}",
    }
    assert render(config, words) == {
        "environment": {"V": "1.0.0-shop"},
        "command": ["run", "n1"],
        "stop_grace_seconds": 3,
        "user": "{{other}}",
    }
