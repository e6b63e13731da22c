"""Every row of the rules of deployments, against the deployer's pure rules."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from kernel.errors import Conflict, FairleadError
from services.deployer.domain import rules
from services.deployer.domain.rules import Existing, Protected, Ran, Standing
from services.deployer.domain.states import Status, VersionType

RULES: dict[str, Any] = yaml.safe_load((Path(__file__).parents[3] / "fixtures/rules/deployments.yaml").read_text())
KINDS = st.sampled_from(VersionType)
STANDING = st.builds(Standing, st.sampled_from("pqr"), KINDS, st.integers(1, 9), st.sampled_from(Status))
RAN = st.builds(Ran, st.sampled_from("pqr"), KINDS, st.integers(1, 9))


@pytest.mark.parametrize("prefix", RULES["prefix"]["accepted"])
def test_a_prefix_of_letters_and_digits_is_accepted(prefix: object) -> None:
    assert rules.is_prefix(str(prefix))


@pytest.mark.parametrize("prefix", RULES["prefix"]["rejected"])
def test_any_other_prefix_is_rejected(prefix: str) -> None:
    assert not rules.is_prefix(prefix)


def rows(table: str) -> list[tuple[VersionType, Status, bool]]:
    return [(VersionType(kind), Status(status), allowed) for kind, line in RULES[table].items() for status, allowed in line.items()]


@pytest.mark.parametrize(("kind", "status", "allowed"), rows("mutable"))
def test_the_rules_say_what_is_mutable(kind: VersionType, status: Status, allowed: bool) -> None:
    assert rules.is_mutable(kind, status) is allowed


@pytest.mark.parametrize(("kind", "status", "allowed"), rows("startable"))
def test_the_rules_say_what_is_startable(kind: VersionType, status: Status, allowed: bool) -> None:
    assert rules.is_startable(kind, status) is allowed


@pytest.mark.parametrize(("kind", "status", "allowed"), rows("deletable"))
def test_the_rules_say_what_is_deletable(kind: VersionType, status: Status, allowed: bool) -> None:
    assert rules.is_deletable(status) is allowed


@pytest.mark.parametrize(("kind", "status", "allowed"), rows("copyable"))
def test_the_rules_say_what_is_copyable(kind: VersionType, status: Status, allowed: bool) -> None:
    assert rules.is_copyable(status) is allowed


@pytest.mark.parametrize("row", RULES["creatable"], ids=lambda row: row["name"])
def test_the_rules_say_where_a_deployment_may_be_made(row: dict[str, Any]) -> None:
    existing = [Existing(one["node"], one["prefix"], Status(one["status"])) for one in row["existing"]]
    refused: FairleadError | None = None
    try:
        rules.check_creatable(VersionType(row["type"]), existing, **row["ask"], images=row.get("images", 1))
    except Conflict as error:
        refused = error
    assert (refused is None, refused and refused.code) == (row["allowed"], row.get("code"))


@pytest.mark.parametrize("row", RULES["protection"], ids=lambda row: row["name"])
def test_the_rules_say_whom_protection_stops(row: dict[str, Any]) -> None:
    others = [Protected(one["version"] == "same") for one in row["others"]]
    refused = rules.blocked_by_protection(
        VersionType(row["type"]), others, override=row.get("override", False), role=row.get("role", "owner")
    )
    assert (refused is None, refused and refused.code) == (row["allowed"], row.get("code"))


@pytest.mark.parametrize("row", RULES["on_success"], ids=lambda row: row["name"])
def test_the_rules_say_what_a_success_does_to_the_others(row: dict[str, Any]) -> None:
    x = Ran(row["x"]["project"], VersionType(row["x"]["type"]), row["x"]["seq"])
    others = {one["id"]: Standing(one["project"], VersionType(one["type"]), one["seq"], Status(one["status"])) for one in row["others"]}
    assert rules.after_success(x, others) == {key: Status(status) for key, status in row["then"].items()}


@given(RAN, st.dictionaries(st.integers(), STANDING))
def test_after_a_success_nothing_else_is_successful_and_told_twice_it_changes_nothing(x: Ran, others: dict[int, Standing]) -> None:
    after = rules.after_success(x, others)
    assert after.keys() == others.keys()
    assert Status.SUCCESSFUL not in after.values()
    again = {key: Standing(one.project, one.type, one.seq, after[key]) for key, one in others.items()}
    assert rules.after_success(x, again) == after


@given(RAN, st.dictionaries(st.integers(), STANDING))
def test_what_never_ran_is_never_changed_by_anothers_success(x: Ran, others: dict[int, Standing]) -> None:
    after = rules.after_success(x, others)
    for key, one in others.items():
        if one.status in (Status.FAILED, Status.PREPARING, Status.IN_PROGRESS):
            assert after[key] is one.status


@given(RAN, st.dictionaries(st.integers(), STANDING))
def test_only_a_newer_incremental_version_of_the_same_project_is_downgraded(x: Ran, others: dict[int, Standing]) -> None:
    after = rules.after_success(x, others)
    for key, one in others.items():
        if after[key] is Status.DOWNGRADED and one.status is not Status.DOWNGRADED:
            assert (one.project, one.type, x.type) == (x.project, VersionType.INCREMENTAL, VersionType.INCREMENTAL)
            assert one.seq > x.seq


@given(KINDS, st.sampled_from(Status))
def test_nothing_in_progress_may_be_touched_and_all_that_is_mutable_may_be_started(kind: VersionType, status: Status) -> None:
    if status is Status.IN_PROGRESS:
        assert not any((rules.is_mutable(kind, status), rules.is_startable(kind, status), rules.is_deletable(status)))
    if rules.is_mutable(kind, status):
        assert rules.is_startable(kind, status)
