"""Deleted deployments are remembered against old news of them, and not for ever."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import text

from kernel import clock, housekeeping
from services.catalog.usecases.teams import forget_deleted_deployments
from tests.fixtures.catalog import TestCatalog

DAYS = 90


def known(catalog: TestCatalog) -> dict[UUID, str]:
    with catalog.db.system() as session:
        return {row[0]: row[1] for row in session.execute(text("SELECT deployment_id, status FROM version_deployments"))}


def age(catalog: TestCatalog, days: int) -> None:
    with catalog.db.system() as session:
        session.execute(text("UPDATE version_deployments SET updated_at = now() - make_interval(days => :days)"), {"days": days})


@pytest.fixture
def version(catalog: TestCatalog) -> Any:
    """Any: the API's JSON."""
    return catalog.new_version()


def test_only_what_was_deleted_long_ago_is_forgotten(catalog: TestCatalog, version: Any) -> None:
    gone, stands, lately = (clock.new_id() for _ in range(3))
    catalog.tell_deployment(version, "successful", deployment_id=stands, revision=3)
    catalog.tell_deployment(version, "deleted", deployment_id=gone, revision=4)
    age(catalog, DAYS + 1)
    catalog.tell_deployment(version, "deleted", deployment_id=lately, revision=2)
    assert forget_deleted_deployments(catalog.db, days=0) == 0
    assert forget_deleted_deployments(catalog.db, days=DAYS) == 1
    assert known(catalog) == {stands: "successful", lately: "deleted"}


def test_what_is_remembered_stands_against_old_news(catalog: TestCatalog, version: Any) -> None:
    gone = clock.new_id()
    catalog.tell_deployment(version, "deleted", deployment_id=gone, revision=4)
    age(catalog, DAYS - 1)
    forget_deleted_deployments(catalog.db, days=DAYS)
    catalog.tell_deployment(version, "successful", deployment_id=gone, revision=3)
    assert known(catalog) == {gone: "deleted"}


def test_it_is_done_in_batches(catalog: TestCatalog, version: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(housekeeping, "BATCH", 2)
    for _ in range(5):
        catalog.tell_deployment(version, "deleted", deployment_id=clock.new_id(), revision=2)
    age(catalog, DAYS + 1)
    assert forget_deleted_deployments(catalog.db, days=DAYS) == 5
    assert known(catalog) == {}
