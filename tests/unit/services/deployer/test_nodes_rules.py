"""What a node's status is, and when an enrolment token is good."""

from __future__ import annotations

from datetime import timedelta

import pytest

from kernel import clock
from kernel.errors import Conflict, Unauthenticated
from services.deployer.domain.nodes import (
    Offer,
    Seen,
    check_deletable,
    enrollment_of,
    is_outdated,
    is_repeated,
    status_of,
    token_hash,
    token_text,
)
from services.deployer.domain.states import NodeStatus


def _seen(*, is_enrolled: bool = True, is_revoked: bool = False, silent: float | None = 1.0, version: str | None = "0.1.0") -> Seen:
    return Seen(is_enrolled, is_revoked, silent, version)


@pytest.mark.parametrize(
    ("seen", "status"),
    [
        (_seen(is_enrolled=False, silent=None), NodeStatus.NEW),
        (_seen(silent=None), NodeStatus.NEW),
        (_seen(), NodeStatus.CONNECTED),
        (_seen(silent=30.0), NodeStatus.CONNECTED),
        (_seen(silent=30.1), NodeStatus.UNREACHABLE),
        (_seen(version="0.0.9"), NodeStatus.OUTDATED),
        (_seen(version="0.0.9", silent=99.0), NodeStatus.UNREACHABLE),
        (_seen(is_revoked=True, silent=99.0), NodeStatus.REVOKED),
        (_seen(is_revoked=True), NodeStatus.REVOKED),
    ],
)
def test_a_status_follows_from_what_was_seen(seen: Seen, status: NodeStatus) -> None:
    assert status_of(seen) is status


@pytest.mark.parametrize(("version", "outdated"), [("0.1.0", False), ("1.0.0", False), ("0.0.99", True), ("unknown", False), (None, False)])
def test_only_a_version_that_is_known_to_be_older_is_outdated(version: str | None, outdated: bool) -> None:
    assert is_outdated(version) is outdated


def test_a_token_names_its_enrolment_and_is_kept_as_a_hash() -> None:
    enrollment_id = clock.new_id()
    token = token_text(enrollment_id, clock.random_token())
    assert token.startswith("fl_enr_")
    assert enrollment_of(token) == enrollment_id
    assert token not in token_hash(token)


@pytest.mark.parametrize("token", ["", "fl_enr_", "fl_pat_x_y", "fl_enr_" + "0" * 32 + "_short", "fl_enr_" + "g" * 32 + "_" + "a" * 43])
def test_what_is_no_token_is_refused_like_an_unknown_one(token: str) -> None:
    with pytest.raises(Unauthenticated, match="enrollment-token-invalid"):
        enrollment_of(token)


def test_a_token_is_good_once_for_one_agent_only_and_for_that_one_again() -> None:
    at = clock.now()
    token = token_text(clock.new_id(), clock.random_token())
    fresh = Offer(token_hash(token), at + timedelta(minutes=1), None)
    used = Offer(token_hash(token), at + timedelta(minutes=1), "key one")
    assert is_repeated(fresh, token=token, key="key one", at=at) is False
    assert is_repeated(used, token=token, key="key one", at=at) is True
    with pytest.raises(Conflict, match="enrollment-token-used"):
        is_repeated(used, token=token, key="key two", at=at)


def test_a_token_is_refused_when_it_is_expired_unknown_or_another() -> None:
    at = clock.now()
    token = token_text(clock.new_id(), clock.random_token())
    for offer in (None, Offer(token_hash(token), at, None), Offer(token_hash(token + "x"), at + timedelta(hours=1), None)):
        with pytest.raises(Unauthenticated, match="enrollment-token-invalid"):
            is_repeated(offer, token=token, key="key", at=at)


def test_a_node_with_deployments_stays() -> None:
    check_deletable(0)
    with pytest.raises(Conflict, match="node-in-use"):
        check_deletable(2)
