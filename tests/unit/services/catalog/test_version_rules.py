"""The rules of versions: every row of the data, and the rule behind the rows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from kernel.contracts.deployer import DEPLOYMENT_STATUSES
from kernel.errors import Conflict
from services.catalog.domain import ProjectType, VersionType
from services.catalog.domain.versions import (
    REASONS,
    immutable_because,
    name_warnings,
    not_deletable_because,
    not_increasable_because,
    refuse,
)

RULES: dict[str, Any] = yaml.safe_load((Path(__file__).parents[3] / "fixtures/rules/deployments.yaml").read_text())
Row = dict[str, Any]  # a row of the rules


def _expected(row: Row) -> str | None:
    return None if row["allowed"] else str(row["code"])


@pytest.mark.parametrize("row", RULES["version_mutable"], ids=str)
def test_a_version_may_be_changed_as_the_rules_say(row: Row) -> None:
    assert immutable_because(VersionType(row["type"]), row["deployments"], children=row["children"]) == _expected(row)


@pytest.mark.parametrize("row", RULES["version_increasable"], ids=str)
def test_a_version_may_be_increased_as_the_rules_say(row: Row) -> None:
    assert not_increasable_because(VersionType(row["type"]), children=row["children"]) == _expected(row)


@pytest.mark.parametrize("row", RULES["version_deletable"], ids=str)
def test_a_version_may_be_deleted_as_the_rules_say(row: Row) -> None:
    found = not_deletable_because(VersionType(row["type"]), ProjectType(row["project"]), row["deployments"], children=row["children"])
    assert found == _expected(row)


_statuses = st.lists(st.sampled_from(DEPLOYMENT_STATUSES), max_size=6)


@given(_statuses, st.integers(0, 1))
def test_a_rolling_version_may_always_be_changed(statuses: list[str], children: int) -> None:
    assert immutable_because(VersionType.ROLLING, statuses, children=children) is None


@given(_statuses, st.sampled_from(DEPLOYMENT_STATUSES))
def test_one_more_deployment_never_makes_a_version_changeable_or_deletable_again(statuses: list[str], more: str) -> None:
    for kind in VersionType:
        if immutable_because(kind, statuses, children=0):
            assert immutable_because(kind, [*statuses, more], children=0)
        if not_deletable_because(kind, ProjectType.VERSIONED, statuses, children=0):
            assert not_deletable_because(kind, ProjectType.VERSIONED, [*statuses, more], children=0)


@given(_statuses, st.integers(0, 1))
def test_an_incremental_version_that_may_be_deleted_may_be_changed(statuses: list[str], children: int) -> None:
    if not_deletable_because(VersionType.INCREMENTAL, ProjectType.VERSIONED, statuses, children=children) is None:
        assert immutable_because(VersionType.INCREMENTAL, statuses, children=children) is None


def test_the_order_of_deployments_does_not_matter() -> None:
    assert immutable_because(VersionType.INCREMENTAL, ["failed", "successful"], children=0) == "version-immutable"
    assert immutable_because(VersionType.INCREMENTAL, ["successful", "failed"], children=0) == "version-immutable"


@pytest.mark.parametrize("code", REASONS)
def test_every_code_has_words_for_people(code: str) -> None:
    with pytest.raises(Conflict) as refused:
        refuse(code)
    assert refused.value.code == code
    assert refused.value.detail.endswith(".")


@pytest.mark.parametrize("name", ["1.0.0", "v1.2.3", "0.0.1-rc.1", "10.20.30+build.5", "1.0.0-alpha-beta"])
def test_a_semantic_version_is_not_warned_about(name: str) -> None:
    assert name_warnings(VersionType.INCREMENTAL, name) == []


@pytest.mark.parametrize("name", ["1.0", "latest", "01.2.3", "1.0.0-", "1.0.0.0", "1.0.0-01", "1.0.0\n", "१.0.0"])
def test_another_name_is_warned_about_and_nothing_more(name: str) -> None:
    assert len(name_warnings(VersionType.INCREMENTAL, name)) == 1
    assert name_warnings(VersionType.ROLLING, name) == []
