"""The exchange's memory: short, and emptied when rights change."""

from __future__ import annotations

import json
from collections.abc import Callable
from uuid import UUID

import pytest

from gateway.exchange import Exchange
from gateway.upstream import Upstream
from kernel import clock
from kernel.errors import NotFound, Unauthenticated, Unavailable

TEAM = UUID(int=7)


class Identity(Upstream):
    """Answers from a script instead of the network."""

    def __init__(self) -> None:
        self.answers: list[tuple[int, object]] = []
        self.asked = 0
        self.meanwhile: Callable[[], None] = lambda: None

    def fetch(self, *_: object, **__: object) -> tuple[int, bytes]:
        self.asked += 1
        self.meanwhile()
        status, document = self.answers[min(self.asked, len(self.answers)) - 1]
        return status, json.dumps(document).encode()


@pytest.fixture
def identity() -> Identity:
    return Identity()


def good(token: str, seconds: int = 60) -> tuple[int, object]:
    return 200, {"token": token, "expires_in": seconds}


def test_an_answer_is_kept_for_five_seconds(identity: Identity, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr(clock, "monotonic", lambda: now)
    identity.answers = [good("one"), good("two")]
    exchange = Exchange(identity)
    assert exchange.internal_token("t", TEAM, "a") == "one"
    now = 104.9
    assert exchange.internal_token("t", TEAM, "a") == "one"
    now = 105.1
    assert exchange.internal_token("t", TEAM, "a") == "two"


@pytest.mark.parametrize(("team", "address", "token"), [(None, "a", "t"), (TEAM, "b", "t"), (TEAM, "a", "u")])
def test_an_answer_is_for_one_token_one_team_and_one_address(identity: Identity, team: UUID | None, address: str, token: str) -> None:
    identity.answers = [good("one"), good("two")]
    exchange = Exchange(identity)
    exchange.internal_token("t", TEAM, "a")
    assert exchange.internal_token(token, team, address) == "two"


@pytest.mark.parametrize(("status", "error"), [(401, Unauthenticated), (404, NotFound)])
def test_a_refusal_is_kept_for_a_second(identity: Identity, monkeypatch: pytest.MonkeyPatch, status: int, error: type[Exception]) -> None:
    now = 100.0
    monkeypatch.setattr(clock, "monotonic", lambda: now)
    identity.answers = [(status, {"code": "x", "detail": "no"}), good("one")]
    exchange = Exchange(identity)
    for moment in (100.0, 100.9):
        now = moment
        with pytest.raises(error):
            exchange.internal_token("t", TEAM, "a")
    now = 101.1
    assert exchange.internal_token("t", TEAM, "a") == "one"


def test_trouble_at_identity_is_never_kept(identity: Identity) -> None:
    identity.answers = [(500, {}), good("one")]
    exchange = Exchange(identity)
    with pytest.raises(Unavailable):
        exchange.internal_token("t", TEAM, "a")
    assert exchange.internal_token("t", TEAM, "a") == "one"


def test_an_answer_from_before_a_change_of_rights_is_not_kept(identity: Identity) -> None:
    identity.answers = [good("old"), good("new")]
    exchange = Exchange(identity)
    identity.meanwhile = exchange.forget
    assert exchange.internal_token("t", TEAM, "a") == "old"
    identity.meanwhile = lambda: None
    assert exchange.internal_token("t", TEAM, "a") == "new"


def test_memory_is_bounded(identity: Identity) -> None:
    identity.answers = [good("one")]
    exchange = Exchange(identity)
    for number in range(5000):
        exchange.internal_token(str(number), TEAM, "a")
    assert len(exchange._answers) == 4096
