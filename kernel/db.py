"""A service's own PostgreSQL: one engine, and sessions that are scoped to a team by row-level security."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import DateTime, MetaData, create_engine, text
from sqlalchemy.engine import Engine
from sqlalchemy.exc import DBAPIError, IntegrityError, InterfaceError, OperationalError
from sqlalchemy.orm import DeclarativeBase, Session
from sqlalchemy.orm import sessionmaker as make_sessionmaker

from kernel.errors import Unavailable

_OPTIONS = "-c statement_timeout=20000 -c lock_timeout=10000 -c idle_in_transaction_session_timeout=60000 -c timezone=UTC"
_SCOPE = text("SELECT set_config('app.team', :team, true), set_config('app.scope', :scope, true)")

NAMING = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s",
    "pk": "pk_%(table_name)s",
}


def new_base() -> type[DeclarativeBase]:
    """A declarative base of one service's own, with constraint names that migrations can rely on."""

    class Base(DeclarativeBase):
        metadata = MetaData(naming_convention=NAMING)
        type_annotation_map = {datetime: DateTime(timezone=True)}

    return Base


class Database:
    """Sessions on one database. Every session is one transaction: it commits at the end of the block or not at all."""

    def __init__(self, url: str, *, pool_size: int = 10, name: str = "fairlead") -> None:
        self.url = url
        self.engine: Engine = create_engine(
            url,
            pool_size=pool_size,
            max_overflow=pool_size,
            pool_pre_ping=True,
            pool_timeout=10,
            connect_args={"options": _OPTIONS, "connect_timeout": 5, "application_name": name},
        )
        self._sessions = make_sessionmaker(self.engine, expire_on_commit=False)

    @contextmanager
    def team(self, team_id: UUID) -> Iterator[Session]:
        """A transaction that sees and writes rows of `team_id` only. Raises Unavailable when the database is away."""
        with self._begin(team=str(team_id), scope="") as session:
            yield session

    @contextmanager
    def system(self) -> Iterator[Session]:
        """A transaction that sees all teams: for consumers, timers and sign-in, never for a team's request."""
        with self._begin(team="", scope="system") as session:
            yield session

    @contextmanager
    def _begin(self, *, team: str, scope: str) -> Iterator[Session]:
        try:
            with self._sessions.begin() as session:
                session.execute(_SCOPE, {"team": team, "scope": scope})
                yield session
        except (OperationalError, InterfaceError) as error:
            raise Unavailable(f"The database did not answer: {type(error.orig).__name__}.", code="database-unavailable") from error
        except DBAPIError as error:
            if error.connection_invalidated:
                raise Unavailable("The connection to the database was lost.", code="database-unavailable") from error
            raise

    def ping(self) -> None:
        """Raises Unavailable when the database does not answer."""
        with self.system() as session:
            session.execute(text("SELECT 1"))

    def close(self) -> None:
        self.engine.dispose()


def violated(error: IntegrityError) -> str | None:
    """The name of the constraint or unique index that refused a statement."""
    diagnostics: Any = getattr(error.orig, "diag", None)  # psycopg's own type
    name = getattr(diagnostics, "constraint_name", None)
    return str(name) if name else None


def plain_dsn(url: str) -> str:
    """A SQLAlchemy address as psycopg takes it."""
    return url.replace("postgresql+psycopg://", "postgresql://", 1)
