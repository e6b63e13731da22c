"""Old events are deleted, on a real database: never those that somebody needs, and a reader is told of the gap."""

from __future__ import annotations

import threading
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import text

from kernel import clock
from services.deployer.domain.states import EventKind
from services.deployer.store import nodes as node_store
from services.deployer.store.events import NewEvent, append_events
from services.deployer.usecases import forget
from services.deployer.usecases.forget import forget_events
from tests.integration.services.deployer.world import World

DAYS = 90


def run(world: World, statement: str, **values: object) -> None:
    with world.db.system() as session:
        session.execute(text(statement), values)


def age(world: World, deployment: Any, *, below: int = 10_000, days: int = DAYS + 1) -> None:
    """Any: the API's JSON."""
    moved = "UPDATE deployment_events SET at = at - make_interval(days => :days) WHERE deployment_id = :id AND number < :below"
    run(world, moved, id=deployment["id"], days=days, below=below)
    started = "UPDATE attempts SET started_at = e.at FROM deployment_events e"
    matches = "e.deployment_id = attempts.deployment_id AND e.attempt = attempts.number AND e.data ->> 'status' = 'in-progress'"
    run(world, f"{started} WHERE {matches}")


def numbers(world: World, deployment: Any, query: str = "") -> list[int]:
    """Any: the API's JSON."""
    return [one["number"] for one in world.events(deployment, query)["items"]]


def log(world: World, deployment: Any, attempt: int, count: int) -> None:
    """Any: the API's JSON."""
    with world.db.system() as session:
        lines = [NewEvent(kind=EventKind.LOG, at=clock.now(), attempt=attempt, message=f"line {n}") for n in range(count)]
        append_events(session, UUID(deployment["id"]), lines)


@pytest.fixture
def tried_twice(world: World) -> Any:
    """A deployment whose first attempt has events 1 to 12, and whose second has the rest. Any: the API's JSON."""
    made = world.deploy(world.catalog.add({"name": "web"}))
    first = world.start(made)
    log(world, made, 1, 10)
    assert world.settle(first, "failed")
    second = world.start(made)
    log(world, made, 2, 3)
    assert world.settle(second)
    assert numbers(world, made) == list(range(1, 18))
    return made


def test_old_events_go_but_for_those_of_the_last_attempt(world: World, tried_twice: Any) -> None:
    age(world, tried_twice)
    assert forget_events(world.db, days=DAYS) == 12
    assert numbers(world, tried_twice) == [13, 14, 15, 16, 17]
    assert forget_events(world.db, days=DAYS) == 0


def test_young_events_stay_and_no_hole_is_made_among_them(world: World, tried_twice: Any) -> None:
    age(world, tried_twice, below=6)
    age(world, tried_twice, below=4, days=1)
    run(world, "UPDATE deployment_events SET at = now() - interval '200 days' WHERE number = 9")
    assert forget_events(world.db, days=DAYS) == 5
    assert numbers(world, tried_twice) == list(range(6, 18))


def test_without_a_number_of_days_nothing_goes(world: World, tried_twice: Any) -> None:
    age(world, tried_twice, days=5000)
    assert forget_events(world.db, days=0) == 0
    assert numbers(world, tried_twice)[0] == 1


def test_a_live_attempts_events_stay_however_old_they_are(world: World) -> None:
    made = world.deploy(world.catalog.add({"name": "web"}))
    world.start(made)
    log(world, made, 1, 5)
    age(world, made)
    assert forget_events(world.db, days=DAYS) == 0
    assert numbers(world, made) == [1, 2, 3, 4, 5, 6]


def test_a_reader_whose_cursor_is_too_old_goes_on_from_the_oldest_kept_and_is_told(world: World, tried_twice: Any) -> None:
    assert world.events(tried_twice)["lost"] is False
    age(world, tried_twice)
    forget_events(world.db, days=DAYS)
    for after, lost in ((0, True), (11, True), (12, False), (13, False), (17, False)):
        page = world.events(tried_twice, f"?after={after}")
        assert (page["lost"], page["next_after"]) == (lost, 17), after
        assert [one["number"] for one in page["items"]] == list(range(max(after + 1, 13), 18))
    gone = world.events(tried_twice, "?attempt=1")
    assert (gone["items"], gone["lost"], gone["done"], gone["next_after"]) == ([], True, True, 17)
    whole = world.events(tried_twice, "?attempt=2")
    assert (whole["lost"], [one["number"] for one in whole["items"]]) == (False, [13, 14, 15, 16, 17])
    assert world.events(tried_twice, "?attempt=1&after=12")["lost"] is False


def test_where_all_events_are_gone_a_reader_goes_on_with_what_comes(world: World, tried_twice: Any) -> None:
    run(world, "DELETE FROM deployment_events")
    page = world.events(tried_twice, "?after=3")
    assert (page["items"], page["lost"], page["next_after"], page["done"]) == ([], True, 17, True)
    assert world.events(tried_twice, "?after=17")["lost"] is False


def test_numbers_go_on_after_the_old_ones_are_gone(world: World, tried_twice: Any) -> None:
    age(world, tried_twice)
    forget_events(world.db, days=DAYS)
    log(world, tried_twice, 2, 1)
    assert numbers(world, tried_twice)[-1] == 18


def test_batches_are_small_and_wait_for_no_writer(world: World, tried_twice: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forget, "BATCH", 5)
    age(world, tried_twice)
    done: list[int] = []
    deleting = threading.Thread(target=lambda: done.append(forget_events(world.db, days=DAYS)))
    with world.db.system() as session:
        # A writer that holds the deployment, and has events that nobody sees yet.
        append_events(session, UUID(tried_twice["id"]), [NewEvent(kind=EventKind.LOG, at=clock.now(), attempt=2)])
        deleting.start()
        deleting.join(20)
        assert done == [12]
    assert numbers(world, tried_twice) == [13, 14, 15, 16, 17, 18]


def test_what_somebody_is_deleting_is_left_to_them(world: World, tried_twice: Any) -> None:
    age(world, tried_twice)
    with world.db.system() as session:
        session.execute(text("DELETE FROM deployments WHERE id = :id"), {"id": tried_twice["id"]})
        deleting = threading.Thread(target=lambda: forget_events(world.db, days=DAYS))
        deleting.start()
        deleting.join(20)
        assert not deleting.is_alive()
    with world.db.system() as session:
        assert session.execute(text("SELECT count(*) FROM deployment_events")).scalar_one() == 0


def test_many_deployments_are_looked_at_page_by_page(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("services.deployer.store.history.PAGE", 2)
    version = world.catalog.add({"name": "web"})
    made = [world.deploy(version, prefix=f"p{n}") for n in range(5)]
    for one in made:
        log(world, one, 1, 2)
        run(world, "UPDATE deployments SET attempt_count = 2 WHERE id = :id", id=one["id"])
        age(world, one)
    assert forget_events(world.db, days=DAYS) == 10
    assert [numbers(world, one) for one in made] == [[]] * 5


def test_a_nodes_last_word_on_reachability_stays(world: World) -> None:
    kinds = ("enrolled", "connected", "unreachable", "connected", "changed")
    with world.db.system() as session:
        node = node_store.lock(session, world.node)
        for kind in kinds:
            node_store.append_event(session, node, kind, clock.now())
    run(world, "UPDATE node_events SET at = now() - interval '91 days'")
    assert forget_events(world.db, days=DAYS) == 3
    found = world.me.call("GET", f"/nodes/{world.node}/events")["items"]
    assert [(one["number"], one["kind"]) for one in found] == [(5, "changed"), (4, "connected")]
    with world.db.system() as session:
        assert node_store.not_connected(session, [world.node]) == set()
