"""A revoked token, an ended session and a removed member are refused by every service within five seconds, at the gateway."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from cli.client import ApiError, Client
from kernel import clock
from tests.fixtures.stack import Stack
from tests.fixtures.waiting import eventually

_SOON_SECONDS = 5.0
# One path of each service.
_PATHS = ("", "/members", "/registries", "/nodes", "/audit")


def _team(owner: Client) -> str:
    mark = clock.new_id().hex[-10:]
    return str(owner.post("/teams", {"name": f"Team {mark}", "slug": f"t-{mark}"})["id"])


def _statuses(client: Client, team: str) -> set[int]:
    """What each service answers."""
    found = set()
    for path in _PATHS:
        try:
            client.get(f"/teams/{team}{path}")
            found.add(200)
        except ApiError as error:
            found.add(error.status)
    return found


def _assert_refused_soon(client: Client, team: str, status: int, end: Callable[[], object]) -> None:
    assert _statuses(client, team) == {200}
    end()
    ended_at = clock.monotonic()
    still: list[float] = []

    def refused() -> bool:
        began = clock.monotonic()
        if _statuses(client, team) == {status}:
            return True
        still.append(began - ended_at)
        return False

    eventually(refused, what=f"all answer {status}")
    # However long an answer takes: who asks later than that is refused.
    assert max(still, default=0) < _SOON_SECONDS


def test_a_revoked_token_is_refused_everywhere_within_five_seconds(stack: Stack) -> None:
    ann = stack.person("ann")
    team = _team(ann)
    for path in ("/me/tokens", f"/teams/{team}/tokens"):
        made = ann.post(path, {"name": "ci", "scopes": ["read"]})
        _assert_refused_soon(Client(stack.base_url, made["token"]), team, 401, lambda: ann.delete(f"{path}/{made['id']}"))  # noqa: B023 - called at once


def test_an_ended_session_is_refused_everywhere_within_five_seconds(stack: Stack) -> None:
    ann = stack.person("ann")
    team = _team(ann)
    elsewhere = Client(stack.base_url, ann.token)
    _assert_refused_soon(elsewhere, team, 401, lambda: ann.post("/auth/logout", {}))


def test_a_removed_member_is_refused_everywhere_within_five_seconds(stack: Stack) -> None:
    ann, bob = stack.person("ann"), stack.person("bob")
    team = _team(ann)
    me = bob.get("/me")
    ann.post(f"/teams/{team}/invitations", {"email": me["email"], "role": "admin"})
    bob.post(f"/invitations/{bob.get('/me/invitations')['items'][0]['id']}/accept", {})
    _assert_refused_soon(bob, team, 404, lambda: ann.delete(f"/teams/{team}/members/{me['id']}"))


def test_a_deleted_teams_tokens_and_nodes_end(stack: Stack) -> None:
    ann = stack.person("ann")
    team = _team(ann)
    token = ann.post(f"/teams/{team}/tokens", {"name": "ci", "scopes": ["read"]})["token"]
    slug = ann.get(f"/teams/{team}")["slug"]
    ann.post(f"/teams/{team}/nodes", {"name": "n"})
    with pytest.raises(ApiError, match="confirmation-required"):
        ann.delete(f"/teams/{team}")
    _assert_refused_soon(Client(stack.base_url, token), team, 401, lambda: ann.delete(f"/teams/{team}?confirm={slug}"))
    eventually(lambda: _statuses(ann, team) == {404})  # her own rights may be remembered for as long
