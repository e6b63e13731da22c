"""What the routes find in the application, and how they send lists and locations."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar
from uuid import UUID

from flask import current_app

from kernel.db import Database
from kernel.http import decode_cursor
from kernel.http.paging import encode_cursor
from services.catalog.remote.browser import Browser, tag_order
from services.catalog.remote.cache import Dated
from services.catalog.usecases.labels import LabelReader
from services.catalog.usecases.registries import Vault

T = TypeVar("T")
TEAM = "/api/v1/teams/<uuid:team_id>"

Json = dict[str, Any]  # what a schema dumps


def db() -> Database:
    found: Database = current_app.extensions["fairlead"]["db"]
    return found


def vault() -> Vault:
    found: Vault = current_app.extensions["fairlead"]["vault"]
    return found


def browser() -> Browser:
    found: Browser = current_app.extensions["fairlead"]["browser"]
    return found


def labels() -> LabelReader:
    return LabelReader(vault(), browser())


def location(team_id: UUID, kind: str, identity: UUID) -> dict[str, str]:
    """The header that says where a new thing is."""
    return {"Location": f"/api/v1/teams/{team_id}/{kind}/{identity}"}


def name_cursor(cursor: str | None) -> tuple[str, UUID] | None:
    """Lists by name go on behind (name, id)."""
    found = decode_cursor(cursor, str, UUID)
    return None if found is None else (found[0], found[1])


def names_page(found: Dated[list[str]], *, limit: int, cursor: str | None, newest_first: bool = False) -> Json:
    """A page of what a registry listed; it goes on behind a name, which may be gone by then."""
    names: Sequence[str] = found.value
    after = decode_cursor(cursor, str)
    if after is not None and newest_first:
        names = [name for name in names if tag_order(name) < tag_order(after[0])]
    elif after is not None:
        names = [name for name in names if name > after[0]]
    shown = names[:limit]
    more = len(names) > limit
    return {
        "items": [{"name": name} for name in shown],
        "next_cursor": encode_cursor(shown[-1]) if more else None,
        "as_of": found.as_of,
        "total": len(found.value),
    }
