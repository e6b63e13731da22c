"""Finding things by what people call them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any
from uuid import UUID

from cli.problems import CommandError

Thing = dict[str, Any]  # the API's JSON
_MOST_SHOWN = 5


def is_id(text: str) -> bool:
    try:
        UUID(text)
    except ValueError:
        return False
    return True


def pick(things: Sequence[Thing], given: str, what: str, *, by: Sequence[str] = ("name",)) -> Thing:
    """The one thing whose name is `given`. Raises CommandError `not-found` or `name-ambiguous`."""
    return pick_called(things, given, what, lambda thing: [str(thing.get(key)) for key in by])


def pick_called(things: Sequence[Thing], given: str, what: str, names: Callable[[Thing], Sequence[str]]) -> Thing:
    """As `pick`; `names` tells all that a thing may be called, the clearest one last."""
    found = [thing for thing in things if given in names(thing)]
    if len(found) == 1:
        return found[0]
    if found:
        shown = ", ".join(f"{names(one)[-1]} ({one['id']})" for one in found[:_MOST_SHOWN])
        raise CommandError("name-ambiguous", f"{len(found)} of the team's {what}s are called {given}: {shown}.")
    known = ", ".join(sorted({names(one)[-1] for one in things})[:_MOST_SHOWN])
    raise CommandError("not-found", f"There is no {what} called {given}." + (f" There are: {known}." if known else ""))


def deployment_names(deployment: Thing) -> list[str]:
    """`shop`, `shop@1.0.0`, `web-1/shop`, `web-1/shop@1.0.0`."""
    node, prefix, version = (str(deployment[key]) for key in ("node_name", "prefix", "version_name"))
    return [prefix, f"{prefix}@{version}", f"{node}/{prefix}", f"{node}/{prefix}@{version}"]
