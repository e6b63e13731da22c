"""Row-level security: a forgotten WHERE cannot show another team's rows."""

from __future__ import annotations

import pytest
from sqlalchemy import text
from sqlalchemy.exc import ProgrammingError

from kernel import clock
from kernel.db import Database
from kernel.errors import Unavailable

_PUT = text("INSERT INTO things (id, team_id, name) VALUES (:id, :team, :name)")


def test_a_query_without_a_team_sees_only_the_sessions_team(db: Database) -> None:
    ours, theirs = clock.new_id(), clock.new_id()
    for team in (ours, theirs):
        with db.team(team) as session:
            session.execute(_PUT, {"id": clock.new_id(), "team": team, "name": str(team)})
    with db.team(ours) as session:
        assert session.execute(text("SELECT name FROM things")).scalars().all() == [str(ours)]
        changed = session.execute(text("UPDATE things SET name = 'x' WHERE team_id = :t RETURNING id"), {"t": theirs})
        assert changed.all() == []
    with db.system() as session:
        assert session.execute(text("SELECT count(*) FROM things")).scalar_one() == 2


def test_a_row_of_another_team_cannot_be_written(db: Database) -> None:
    with pytest.raises(ProgrammingError, match="row-level security"), db.team(clock.new_id()) as session:
        session.execute(_PUT, {"id": clock.new_id(), "team": clock.new_id(), "name": "smuggled"})


def test_the_scope_ends_with_the_transaction(db: Database) -> None:
    team = clock.new_id()
    with db.team(team) as session:
        session.execute(_PUT, {"id": clock.new_id(), "team": team, "name": "a"})
    with db.engine.connect() as connection:
        assert connection.execute(text("SELECT count(*) FROM things")).scalar_one() == 0


def test_a_failing_block_saves_nothing(db: Database) -> None:
    team = clock.new_id()

    def write_and_fail() -> None:
        with db.team(team) as session:
            session.execute(_PUT, {"id": clock.new_id(), "team": team, "name": "a"})
            raise KeyError

    with pytest.raises(KeyError):
        write_and_fail()
    with db.system() as session:
        assert session.execute(text("SELECT count(*) FROM things")).scalar_one() == 0


def test_a_database_that_is_away_is_unavailable() -> None:
    with pytest.raises(Unavailable) as caught:
        Database("postgresql+psycopg://nobody:none@127.0.0.1:9/none").ping()
    assert caught.value.code == "database-unavailable"
