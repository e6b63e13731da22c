"""The families of errors, and the one table that gives each a status."""

from __future__ import annotations

import re

import pytest

from kernel import errors
from kernel.errors import FairleadError, FieldError, Invalid
from kernel.http.problems import STATUSES, status_of

EXAMPLES: list[tuple[FairleadError, int, str]] = [
    (errors.Invalid([FieldError("name", "is missing")]), 422, "invalid"),
    (errors.NotFound("deployment"), 404, "not-found"),
    (errors.Conflict("place-busy", "Another attempt is running."), 409, "place-busy"),
    (errors.PreconditionFailed(), 412, "precondition-failed"),
    (errors.Forbidden(), 403, "forbidden"),
    (errors.Unauthenticated(), 401, "unauthenticated"),
    (errors.Unavailable("The registry does not answer."), 503, "unavailable"),
    (errors.RateLimited(30), 429, "rate-limited"),
]


@pytest.mark.parametrize(("error", "status", "code"), EXAMPLES, ids=lambda value: type(value).__name__)
def test_each_family_has_one_status_and_a_code(error: FairleadError, status: int, code: str) -> None:
    assert status_of(error) == status
    assert error.code == code


def test_every_class_of_error_is_covered_by_the_table() -> None:
    classes = [one for one in vars(errors).values() if isinstance(one, type) and issubclass(one, FairleadError)]
    for one in classes:
        assert one is FairleadError or any(issubclass(one, family) for family, _status in STATUSES), one


def test_a_subclass_stands_before_its_family_in_the_table() -> None:
    families = [family for family, _status in STATUSES]
    for position, family in enumerate(families):
        assert not any(issubclass(later, family) for later in families[position + 1 :]), family


@pytest.mark.parametrize(("error", "status", "code"), EXAMPLES, ids=lambda value: type(value).__name__)
def test_codes_are_kebab_case(error: FairleadError, status: int, code: str) -> None:
    assert re.fullmatch(r"[a-z]+(-[a-z]+)*", error.code)
    assert status in range(400, 600)
    assert code in str(error)


def test_an_invalid_carries_every_wrong_field() -> None:
    wrong = [FieldError("a", "is missing"), FieldError("b.0.c", "is too long")]
    assert Invalid(wrong).errors == tuple(wrong)


def test_the_facts_of_an_error_are_a_copy() -> None:
    facts: dict[str, object] = {"seen": 1}
    error = errors.Conflict("x", "y", facts=facts)
    facts["seen"] = 2
    assert error.facts == {"seen": 1}


def test_another_teams_thing_and_a_missing_thing_are_told_alike() -> None:
    assert str(errors.NotFound("node")) == str(errors.NotFound("node"))
    assert "team" not in errors.NotFound("node").detail
