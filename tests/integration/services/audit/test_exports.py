"""Exports that fail: as long as nothing was sent, the answer is a problem like any other."""

from __future__ import annotations

from pathlib import Path

import pytest
from nacl.signing import SigningKey
from sqlalchemy import create_engine, text

from kernel.db import Database
from services.audit.app import create_app
from services.audit.settings import Settings
from tests.fixtures.servers import TestDatabase
from tests.integration.services.audit.conftest import Caller, PlainTokens
from tests.unit.services.audit.samples import TEAM

each = pytest.mark.parametrize("form", ["ndjson", "csv"])


def caller_of(db: Database) -> Caller:
    settings = Settings(database_url=db.url, signing_key_file=Path("unused"), identity_url="http://127.0.0.1:1", log_level="critical")
    return Caller(create_app(settings, db=db, verifier=PlainTokens(), signing_key=SigningKey.generate()).test_client(), TEAM)


@each
def test_without_a_database_an_export_is_unavailable(form: str) -> None:
    away = Database("postgresql+psycopg://nobody@127.0.0.1:1/nothing")
    answer = caller_of(away).call("/export", format=form)
    assert (answer.status_code, answer.content_type) == (503, "application/problem+json")
    assert answer.get_json()["code"] == "database-unavailable"
    away.close()


@each
def test_a_defect_before_the_first_piece_is_a_problem(audit_database: TestDatabase, db: Database, form: str) -> None:
    owner = create_engine(audit_database.migration_url)
    with owner.begin() as connection:
        connection.execute(text("ALTER TABLE entries RENAME TO elsewhere"))
    owner.dispose()
    answer = caller_of(db).call("/export", format=form)
    assert (answer.status_code, answer.content_type) == (500, "application/problem+json")
    assert answer.get_json()["code"] == "internal-error"
    assert "Content-Disposition" not in answer.headers


@pytest.mark.parametrize(("form", "lines"), [("ndjson", 0), ("csv", 1)])
def test_an_export_of_nothing_is_whole(db: Database, form: str, lines: int) -> None:
    answer = caller_of(db).call("/export", format=form)
    assert (answer.status_code, len(answer.text.splitlines())) == (200, lines)
