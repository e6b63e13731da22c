"""The table of roles and scopes, spelled out."""

from __future__ import annotations

import itertools

import pytest

from kernel.permissions import RESOURCES, SCOPE_ALLOWS, Action, Role, is_scope, may, scope_covers

A = Action
BY_ROLE = {
    Role.VIEWER: {A.READ},
    Role.MEMBER: {A.READ, A.DEPLOY, A.WRITE},
    Role.ADMIN: {A.READ, A.DEPLOY, A.WRITE, A.ADMIN},
    Role.OWNER: {A.READ, A.DEPLOY, A.WRITE, A.ADMIN, A.OWNER},
}
BY_SCOPE = {"read": {A.READ}, "deploy": {A.READ, A.DEPLOY}, "write": {A.READ, A.WRITE}, "admin": set(A)}


@pytest.mark.parametrize(("role", "action"), list(itertools.product(Role, Action)))
def test_a_session_may_what_its_role_may(role: Role, action: Action) -> None:
    assert may(role, ["admin"], "deployments", action) == (action in BY_ROLE[role])


@pytest.mark.parametrize(("role", "scope", "action"), list(itertools.product(Role, SCOPE_ALLOWS, Action)))
def test_a_scope_only_narrows_what_the_role_allows(role: Role, scope: str, action: Action) -> None:
    assert may(role, [scope], "deployments", action) == (action in BY_ROLE[role] and action in BY_SCOPE[scope])


def test_without_a_role_nothing_is_allowed() -> None:
    assert not any(may(None, ["admin"], resource, action) for resource in RESOURCES for action in Action)


def test_without_a_scope_nothing_is_allowed() -> None:
    assert not any(may(Role.OWNER, [], resource, action) for resource in RESOURCES for action in Action)


@pytest.mark.parametrize(("resource", "action"), list(itertools.product(RESOURCES, Action)))
def test_a_scope_for_one_resource_says_nothing_of_another(resource: str, action: Action) -> None:
    assert scope_covers(["deployments:deploy"], resource, action) == (resource == "deployments" and action in (A.READ, A.DEPLOY))


@pytest.mark.parametrize(
    "scope", ["", "all", "*", "read:deployments", "deployments:", ":deployments", ":read", ":", "::read", "deployments:*", "Read"]
)
def test_what_is_no_scope_opens_nothing(scope: str) -> None:
    assert not is_scope(scope)
    assert not any(scope_covers([scope], resource, action) for resource in RESOURCES for action in Action)


@pytest.mark.parametrize("scope", ["read", "deploy", "write", "admin", "deployments:deploy", "registries:read", "config-bundles:write"])
def test_scopes_are_known(scope: str) -> None:
    assert is_scope(scope)


def test_each_role_may_more_than_the_one_before() -> None:
    for weaker, stronger in itertools.pairwise(Role):
        assert BY_ROLE[weaker] < BY_ROLE[stronger]
