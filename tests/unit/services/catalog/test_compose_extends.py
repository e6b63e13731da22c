"""`extends` and `include`: what stands in the same file is merged, what stands elsewhere is told."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from kernel.errors import Invalid
from services.catalog.compose import ImportOptions, import_compose
from services.catalog.compose.extends import merge_services
from tests.unit.services.catalog.test_compose_import import _KEYS, _json


@pytest.mark.parametrize(
    ("base", "over", "merged"),
    [
        ({"image": "x"}, {"image": "y"}, {"image": "y"}),
        ({"command": ["a", "b"]}, {"command": ["c"]}, {"command": ["c"]}),
        ({"entrypoint": ["a"]}, {"entrypoint": None}, {"entrypoint": None}),
        ({"environment": ["A=1", "B=2"]}, {"environment": {"B": 3, "C": None}}, {"environment": {"A": "1", "B": "3", "C": None}}),
        ({"labels": {"a": "b"}}, {"labels": ["c=d"]}, {"labels": {"a": "b", "c": "d"}}),
        ({"ports": ["80:80"]}, {"ports": ["80:80", "81:81"]}, {"ports": ["80:80", "81:81"]}),
        ({"dns": "1.1.1.1"}, {"dns": ["2.2.2.2"]}, {"dns": ["1.1.1.1", "2.2.2.2"]}),
        ({"env_file": "b"}, {"env_file": ["a"]}, {"env_file": ["b", "a"]}),
        ({"volumes": ["v:/v", "/a:/a"]}, {"volumes": ["w:/v:ro"]}, {"volumes": ["/a:/a", "w:/v:ro"]}),
        ({"volumes": ["v:/v"]}, {"volumes": [{"type": "tmpfs", "target": "/v"}]}, {"volumes": [{"type": "tmpfs", "target": "/v"}]}),
        ({"healthcheck": {"test": ["CMD", "x"], "interval": "5s"}}, {"healthcheck": {"test": ["CMD", "y"]}},
         {"healthcheck": {"test": ["CMD", "y"], "interval": "5s"}}),
        ({"logging": {"driver": "d", "options": {"a": "1", "b": "2"}}}, {"logging": {"options": {"b": "3"}}},
         {"logging": {"driver": "d", "options": {"a": "1", "b": "3"}}}),
        ({"logging": {"driver": "d", "options": {"a": "1"}}}, {"logging": {"driver": "e"}}, {"logging": {"driver": "e"}}),
        ({"deploy": {"resources": {"limits": {"cpus": "1", "memory": "1g"}}}}, {"deploy": {"resources": {"limits": {"cpus": "2"}}}},
         {"deploy": {"resources": {"limits": {"cpus": "2", "memory": "1g"}}}}),
        ({"networks": ["n"]}, {"networks": {"m": {"aliases": ["z"]}}}, {"networks": {"n": None, "m": {"aliases": ["z"]}}}),
        ({"networks": ["n"]}, {"network_mode": "host"}, {"network_mode": "host"}),
        ({"secrets": ["s"]}, {"secrets": ["s", "t"]}, {"secrets": ["s", "t"]}),
        ({"secrets": ["s", "t"]}, {"secrets": [{"source": "s", "target": "q"}]}, {"secrets": ["t", {"source": "s", "target": "q"}]}),
        ({"x-fairlead": {"volumes": [{"path": "/a"}]}}, {"x-fairlead": {"volumes": []}}, {"x-fairlead": {"volumes": []}}),
        ({"x-fairlead": {"route": {"port": 1}}}, {"x-fairlead": {"route": {"port": 2}}}, {"x-fairlead": {"route": {"port": 2}}}),
    ],
)  # fmt: skip
def test_a_service_is_laid_upon_the_one_that_it_extends(base: dict[str, Any], over: dict[str, Any], merged: dict[str, Any]) -> None:
    assert merge_services(base, over) == merged


def test_extending_goes_over_several_steps_and_leaves_the_extended_as_it_was() -> None:
    text = """
services:
  c: {extends: b, command: [c]}
  b: {extends: {service: a}, environment: {B: b}, depends_on: [db]}
  a: {image: x, environment: {A: a, B: a}, command: [a, a]}
  db: {image: y}
"""
    found = {one.name: one.config for one in import_compose(text, ImportOptions()).services}
    assert found["a"]["environment"] == {"A": "a", "B": "a"}
    assert found["c"] | {"name": "b"} == found["b"] | {"command": ["c"]}
    assert found["c"]["environment"] == {"A": "a", "B": "b"}


def test_what_stands_in_other_files_is_told() -> None:
    text = """
include: [one.yml, {path: [two.yml, three.yml]}]
services:
  a: {image: x, extends: {file: common.yml, service: base}}
  b: {extends: a, command: [b]}
  c: {extends: {file: common.yml, service: base}}
"""
    found = import_compose(text, ImportOptions())
    assert [(one.name, one.image) for one in found.services] == [("a", "x"), ("b", "x")]
    told = [(note.path, note.detail) for note in found.skipped]
    assert [path for path, _ in told] == ["services.a.extends", "services.c.extends", "include", "include", "include", "services.c"]
    assert "base of common.yml" in told[0][1]
    assert [detail.partition(" ")[0] for path, detail in told if path == "include"] == ["one.yml", "two.yml", "three.yml"]


@pytest.mark.parametrize("extends", ["{service: b, colour: red}", "[b]", "{file: x.yml}", "''", "nobody"])
def test_an_extends_that_names_nothing_is_refused(extends: str) -> None:
    with pytest.raises(Invalid) as refused:
        import_compose(f"services: {{a: {{image: x, extends: {extends}}}}}", ImportOptions())
    assert refused.value.errors[0].field.startswith("services.a.extends")


@given(st.lists(st.dictionaries(st.sampled_from([*_KEYS, "x-fairlead", "logging", "devices"]), _json, max_size=4), min_size=2, max_size=2))
def test_any_service_that_extends_another_is_imported_or_refused(services: list[dict[str, Any]]) -> None:
    base, over = services
    text = yaml.safe_dump({"services": {"a": {"image": "x", **base}, "b": {"extends": "a", **over}}})
    try:
        import_compose(text, ImportOptions())
    except Invalid:
        return
