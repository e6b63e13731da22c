"""Marks the gateway's own views with the permission that they need, as every route must name one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

View = TypeVar("View", bound=Callable[..., Any])  # Flask views return many kinds


def public(why: str) -> Callable[[View], View]:
    """A route for everybody; `why` says what makes that right."""
    return names(f"public: {why}")


def names(permission: str) -> Callable[[View], View]:
    """A route that needs `permission`; its view (or the service that it asks) checks it."""

    def decorate(view: View) -> View:
        view.permission = permission  # type: ignore[attr-defined]  # read from the URL map
        return view

    return decorate
