"""What a worker deletes now and then: all of it, however much there is, in small batches."""

from __future__ import annotations

import pytest
from sqlalchemy import text

from kernel import housekeeping
from kernel.db import Database


def test_old_rows_go_and_young_ones_stay_in_as_many_batches_as_it_takes(db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(housekeeping, "BATCH", 3)
    with db.system() as session:
        for table, columns, value in (
            ("inbox (consumer, message_id, received_at)", "'c', gen_random_uuid()", "31 days"),
            ("idempotency_keys (owner, key, request_hash, created_at)", "'o', gen_random_uuid()::text, 'h'", "25 hours"),
        ):
            session.execute(text(f"INSERT INTO {table} SELECT {columns}, now() - interval '{value}' FROM generate_series(1, 7)"))
            session.execute(text(f"INSERT INTO {table} SELECT {columns}, now() FROM generate_series(1, 2)"))
    housekeeping.forget_old(db)
    with db.system() as session:
        assert session.execute(text("SELECT (SELECT count(*) FROM inbox), (SELECT count(*) FROM idempotency_keys)")).one() == (2, 2)
