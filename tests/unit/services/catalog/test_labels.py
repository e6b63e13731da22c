"""Labels `dev.fairlead.env.*` read as rules, and rules held against an environment."""

from __future__ import annotations

import pytest

from kernel.contracts.catalog import EnvironmentRule, environment_rules, unmet_rules


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("string", EnvironmentRule("A")),
        ("int,required", EnvironmentRule("A", "int", required=True)),
        ("string,secret,required", EnvironmentRule("A", "string", required=True, secret=True)),
        ("boolean,default=true", EnvironmentRule("A", "boolean", default="true")),
        ("string,default=a,b,required", EnvironmentRule("A", default="a,b,required")),
        ("string,default=", EnvironmentRule("A", default="")),
        (" Float , required ", EnvironmentRule("A", "float", required=True)),
    ],
)
def test_a_label_is_read_as_a_rule(text: str, rule: EnvironmentRule) -> None:
    assert environment_rules({"dev.fairlead.env.A": text}) == ([rule], [])


@pytest.mark.parametrize("text", ["", "colour", "int,default=x", "string,secret,default=x", "string,optional", "required"])
def test_a_label_that_is_not_understood_is_a_warning_and_no_failure(text: str) -> None:
    rules, warnings = environment_rules({"dev.fairlead.env.A": text})
    assert rules == []
    assert len(warnings) == 1


def test_a_label_whose_variable_has_no_name_is_a_warning() -> None:
    assert len(environment_rules({"dev.fairlead.env.": "string", "dev.fairlead.env.not-ok": "string", "other": "x"})[1]) == 2


def test_what_an_image_requires_must_be_there_and_fit() -> None:
    rules = [
        EnvironmentRule("PORT", "int", required=True),
        EnvironmentRule("DEBUG", "boolean"),
        EnvironmentRule("KEY", secret=True, required=True),
        EnvironmentRule("RATIO", "float"),
    ]
    assert sorted(unmet_rules(rules, {"DEBUG": "maybe", "RATIO": "1.5"}, [])) == ["DEBUG", "KEY", "PORT"]
    assert unmet_rules(rules, {"PORT": "80", "DEBUG": "off"}, ["KEY"]) == {}
    assert unmet_rules(rules, {"PORT": None}, ["PORT", "KEY"]) == {}
