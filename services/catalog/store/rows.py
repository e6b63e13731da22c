"""From rows to values and back, and what a violated constraint means."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from enum import Enum
from typing import Any, TypeVar
from uuid import UUID

from sqlalchemy import ColumnElement, Select, delete, insert, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from kernel.db import violated
from kernel.errors import Conflict, NotFound

T = TypeVar("T")

_TAKEN = {
    "uq_registries_name": ("name-taken", "The team has a registry of this name already."),
    "uq_projects_name": ("name-taken", "The team has a project of this name already."),
    "uq_versions_name": ("name-taken", "The project has a version of this name already."),
    "uq_versions_parent": ("version-already-increased", "The version has a successor already. Increase that one."),
    "uq_config_bundles_name": ("name-taken", "The team has a config bundle of this name already."),
    "fk_images_registry": ("registry-in-use", "Images come from this registry. Move or remove them first."),
    "uq_images_position": ("images-changed", "The images were changed by somebody else at the same time. Read them again."),
}

Row = type[Any]  # a mapped class; what its columns are is known where it is named
Convert = dict[str, Callable[[Any], Any]]


def to_value(kind: type[T], row: Any, convert: Convert) -> T:
    """The frozen value of a row; `convert` makes enums of texts."""
    values = {field.name: getattr(row, field.name) for field in dataclasses.fields(kind)}  # type: ignore[arg-type]  # a dataclass type
    return kind(**{name: convert[name](value) if name in convert else value for name, value in values.items()})


def columns_of(value: object) -> dict[str, Any]:
    """A value's fields as columns. Any: whatever types the columns have."""
    found = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}  # type: ignore[arg-type]  # a dataclass
    return {name: part.value if isinstance(part, Enum) else part for name, part in found.items()}


def execute(session: Session, statement: Any, parameters: Any = None) -> Any:
    """Run a statement. Raises Conflict where a known constraint refuses it. Any: SQLAlchemy's own unions."""
    try:
        return session.execute(statement, parameters)
    except IntegrityError as error:
        known = _TAKEN.get(violated(error) or "")
        if known is None:
            raise
        raise Conflict(*known) from error


def add(session: Session, row: Row, *values: object) -> None:
    if values:
        execute(session, insert(row), [columns_of(value) for value in values])


def save(session: Session, row: Row, value: Any) -> None:
    """Write every field of a value over its row."""
    columns = columns_of(value)
    execute(session, update(row).where(row.id == value.id, row.team_id == value.team_id).values(columns))


def remove(session: Session, row: Row, team_id: UUID, identity: UUID) -> None:
    execute(session, delete(row).where(row.id == identity, row.team_id == team_id))


def get(session: Session, row: Row, team_id: UUID, identity: UUID, *, thing: str, lock: bool = False) -> Any:
    """The row. Raises NotFound. Any: the mapped class that was asked for."""
    statement: Select[Any] = select(row).where(row.id == identity, row.team_id == team_id)
    if lock:
        statement = statement.with_for_update()
    found = session.execute(statement.execution_options(populate_existing=True)).scalar_one_or_none()
    if found is None:
        raise NotFound(thing)
    return found


def contains(column: Any, text: str) -> ColumnElement[bool]:
    """Does the column hold `text`, whatever the case? Its own wildcards mean themselves."""
    found: ColumnElement[bool] = column.icontains(text, autoescape=True)
    return found
