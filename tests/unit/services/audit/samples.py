"""Facts for tests of the audit service."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from uuid import UUID

from kernel import clock
from services.audit import chain
from services.audit.domain import Fact

TEAM = UUID("01900000-0000-7000-8000-000000000001")
AT = datetime(2026, 11, 22, 10, 0, 0, 123456, tzinfo=UTC)


def fact(**changes: object) -> Fact:
    """Somebody renamed a registry."""
    plain = Fact(
        id=clock.new_id(),
        team_id=TEAM,
        at=AT,
        action="catalog.registry.changed",
        actor_kind="user",
        actor_id="01900000-0000-7000-8000-00000000000a",
        actor_name="Ada",
        address="192.0.2.7",
        resource_type="registry",
        resource_id="01900000-0000-7000-8000-00000000000b",
        resource_name="local",
        source="catalog",
        before={"name": "old", "size": 1e16},
        after={"name": "local", "ratio": 0.1},
        correlation="c-1",
    )
    return replace(plain, **changes)  # type: ignore[arg-type]  # the fields of a fact


def documents(count: int) -> list[chain.Document]:
    """A chain of so many entries, as an export holds it: through JSON and back."""
    entries = chain.append(None, [fact() for _ in range(count)], AT)
    return [json.loads(json.dumps(chain.document_of(entry))) for entry in entries]
