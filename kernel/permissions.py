"""The one table of roles, scopes and what they allow."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum


class Action(StrEnum):
    """What a route needs; a route names a resource and one of these."""

    READ = "read"
    DEPLOY = "deploy"
    WRITE = "write"
    ADMIN = "admin"
    OWNER = "owner"


class Role(StrEnum):
    """What a member of a team is."""

    VIEWER = "viewer"
    MEMBER = "member"
    ADMIN = "admin"
    OWNER = "owner"


ROLE_ALLOWS: dict[Role, frozenset[Action]] = {
    Role.VIEWER: frozenset({Action.READ}),
    Role.MEMBER: frozenset({Action.READ, Action.DEPLOY, Action.WRITE}),
    Role.ADMIN: frozenset({Action.READ, Action.DEPLOY, Action.WRITE, Action.ADMIN}),
    Role.OWNER: frozenset(Action),
}

# A token's scope only narrows what its role allows. A log-in session carries the scope `admin`.
SCOPE_ALLOWS: dict[str, frozenset[Action]] = {
    "read": frozenset({Action.READ}),
    "deploy": frozenset({Action.READ, Action.DEPLOY}),
    "write": frozenset({Action.READ, Action.WRITE}),
    "admin": frozenset(Action),
}

# The resource types that a scope may be narrowed to: `deployments:deploy`, `registries:read`.
RESOURCES: tuple[str, ...] = (
    "account", "teams", "members", "invitations", "tokens",
    "registries", "projects", "versions", "images", "config-bundles", "templates",
    "nodes", "containers", "deployments", "secrets", "triggers", "audit", "events",
)  # fmt: skip


def is_scope(scope: str) -> bool:
    """Is `scope` one of `read`, `deploy`, `write`, `admin`, alone or behind a resource type and a colon?"""
    resource, colon, action = scope.rpartition(":")
    return action in SCOPE_ALLOWS and (not colon or resource in RESOURCES)


def may(role: Role | None, scopes: Iterable[str], resource: str, action: Action) -> bool:
    """May somebody of `role` whose token carries `scopes` do `action` on `resource`?"""
    if role is None or action not in ROLE_ALLOWS[role]:
        return False
    return scope_covers(scopes, resource, action)


def scope_covers(scopes: Iterable[str], resource: str, action: Action) -> bool:
    """Does any of `scopes` allow `action` on `resource`, whatever the role?"""
    for scope in scopes:
        limited_to, colon, name = scope.rpartition(":")
        if (not colon or limited_to == resource) and action in SCOPE_ALLOWS.get(name, frozenset()):
            return True
    return False
