"""What makes two containers the same: a hash that is stable, and that misses no change."""

from __future__ import annotations

from dataclasses import replace
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernel import clock
from kernel.contracts.spec import ContainerSpec, ContainerSpecSchema, SealedSecret, StackSpec, StackSpecSchema, canonical, spec_hash

WEB = ContainerSpec(
    instance_id=UUID(int=1),
    name="web",
    image="registry.example.com/web@sha256:" + "a" * 64,
    config={"environment": {"B": "2", "A": "1"}, "ports": [{"container_port": 80}]},
    digest="sha256:" + "a" * 64,
    secrets={"KEY": SealedSecret("box", "file")},
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(st.characters(exclude_categories=["Cs"]), max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("abc", max_size=3), inner, max_size=3),
    max_leaves=8,
)


def shuffled(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: shuffled(value[key]) for key in reversed(list(value))}
    return [shuffled(item) for item in value] if isinstance(value, list) else value


def test_the_hash_is_what_it_was() -> None:
    """Another hash here would replace every container of every customer at the next deployment."""
    assert spec_hash(WEB) == "d13d9eb8a5437e6186e0f5de399c3aba7e50dd0e99abc35e24e932a9b1734b1f"


@pytest.mark.parametrize("change", [{"instance_id": clock.new_id()}, {"tag": "1.1.0"}, {"registry": "elsewhere"}])
def test_what_the_container_does_not_see_does_not_count(change: dict[str, Any]) -> None:
    assert spec_hash(replace(WEB, **change)) == spec_hash(WEB)


@pytest.mark.parametrize(
    "change",
    [
        {"name": "api"},
        {"image": "registry.example.com/web@sha256:" + "b" * 64},
        {"digest": "sha256:" + "b" * 64},
        {"config": {}},
        {"config": {"environment": {"B": "2", "A": "9"}, "ports": [{"container_port": 80}]}},
        {"secrets": {}},
        {"secrets": {"KEY": SealedSecret("another box", "file")}},
        {"secrets": {"KEY": SealedSecret("box", "env")}},
    ],
)
def test_whatever_the_container_sees_counts(change: dict[str, Any]) -> None:
    assert spec_hash(replace(WEB, **change)) != spec_hash(WEB)


@given(st.dictionaries(st.text("abc", max_size=3), JSON, max_size=4))
def test_the_order_of_names_does_not_count(config: dict[str, Any]) -> None:
    assert spec_hash(replace(WEB, config=config)) == spec_hash(replace(WEB, config=shuffled(config)))


def test_the_order_of_lists_counts() -> None:
    assert spec_hash(replace(WEB, config={"command": ["a", "b"]})) != spec_hash(replace(WEB, config={"command": ["b", "a"]}))


@given(JSON)
def test_the_same_value_gives_the_same_bytes(value: Any) -> None:
    assert canonical(value) == canonical(shuffled(value))


def test_canonical_json_has_no_spaces_keeps_letters_and_refuses_what_json_does_not_know() -> None:
    assert canonical({"b": [1, "ä"], "a": None}) == '{"a":null,"b":[1,"ä"]}'.encode()
    with pytest.raises(ValueError, match="JSON"):
        canonical(float("nan"))


def test_a_stack_survives_being_frozen_with_an_attempt() -> None:
    stack = StackSpec("shop", "1.0.0", (WEB, replace(WEB, name="db", digest=None, secrets={})))
    assert StackSpecSchema().load(StackSpecSchema().dump(stack)) == stack


@pytest.mark.parametrize(
    "change", [{"digest": "sha256:x"}, {"digest": "sha256:" + "a" * 64 + "\n"}, {"name": "Web"}, {"name": "web\n"}, {"image": ""}]
)
def test_a_specification_that_no_engine_could_run_is_refused(change: dict[str, Any]) -> None:
    schema = ContainerSpecSchema()
    assert schema.validate(schema.dump(WEB) | change)
