"""How attempts end, on a real database."""

from __future__ import annotations

from datetime import timedelta
from uuid import UUID

import pytest

from kernel import clock
from kernel.contracts.agent import ContainerOutcome
from kernel.contracts.catalog import VersionIncreased
from kernel.contracts.deployer import DeploymentChanged
from kernel.contracts.envelope import Envelope
from services.deployer.domain.states import EventKind
from services.deployer.models import Deployment
from services.deployer.store.events import NewEvent, append_events
from services.deployer.store.places import lock_place, raise_generation
from services.deployer.usecases.copy_on_increase import copy_on_increase
from services.deployer.usecases.removals import send_due
from tests.integration.services.deployer.world import Json, World

WEB = {"name": "web"}


def fence(world: World, prefix: str = "shop") -> None:
    with world.db.system() as session:
        raise_generation(session, lock_place(session, team_id=world.team, node_id=world.node, prefix=prefix))


def test_an_end_is_told_once_however_often_it_is_reported(world: World) -> None:
    made = world.deploy(world.catalog.add(WEB))
    attempt = world.start(made)
    assert world.settle(attempt, containers=[ContainerOutcome(name="web", action="created")], seconds={"pull": 1.5}) is True
    assert world.settle(attempt) is False
    assert world.settle(attempt, "failed") is False
    last = world.get(made)["last_attempt"]
    assert (last["outcome"], last["containers"][0]["action"], last["seconds"]) == ("succeeded", "created", {"pull": 1.5})
    assert world.names() == ["deployment.created", "deployment.started", "deployment.succeeded"]


def test_an_unknown_attempt_changes_nothing(world: World) -> None:
    assert world.settle({"id": str(clock.new_id())}) is False


def test_a_failure_changes_only_the_deployment_itself(world: World) -> None:
    project = clock.new_id()
    first = world.run(world.catalog.add(WEB, project=project))
    second = world.deploy(world.catalog.add(WEB, seq=2, project=project))
    assert world.settle(world.start(second), "failed", code="unhealthy", detail="web never became healthy")
    assert (world.get(first)["status"], world.get(second)["status"]) == ("successful", "failed")
    assert world.get(second)["last_attempt"]["detail"] == "web never became healthy"
    assert world.names()[-1] == "deployment.failed"


def test_a_late_success_with_nothing_newer_corrects_a_timeout(world: World) -> None:
    project = clock.new_id()
    first = world.run(world.catalog.add(WEB, project=project))
    second = world.deploy(world.catalog.add(WEB, seq=2, project=project))
    attempt = world.start(second)
    fence(world)
    assert world.settle(attempt, "timed-out", code="timed-out")
    assert world.settle(attempt, "failed") is False
    assert (world.get(first)["status"], world.get(second)["status"]) == ("successful", "failed")
    assert world.settle(attempt) is True
    assert (world.get(first)["status"], world.get(second)["status"]) == ("obsolete", "successful")
    assert world.names()[-2:] == ["deployment.corrected", "deployment.obsoleted"]
    assert world.settle(attempt) is False


def overtaken(world: World) -> tuple[Json, Json, Json, Json]:
    """One that runs, an attempt of another that has timed out since, and one that was started after it: (deployments, attempt)."""
    project = clock.new_id()
    first = world.run(world.catalog.add(WEB, project=project))
    late = world.deploy(world.catalog.add(WEB, seq=2, project=project))
    attempt = world.start(late)
    fence(world)
    assert world.settle(attempt, "timed-out")
    return first, late, world.deploy(world.catalog.add(WEB, seq=3, project=project)), attempt


def statuses(world: World, *made: Json) -> list[str]:
    return [world.get(one)["status"] for one in made]


@pytest.mark.parametrize("outcome", ["failed", "cancelled", "refused", "timed-out"])
@pytest.mark.parametrize("word_comes", ["before the newer one ends", "after it"])
def test_a_late_success_counts_when_the_newer_one_has_not_taken_the_place(world: World, outcome: str, word_comes: str) -> None:
    first, late, newer, attempt = overtaken(world)
    newest = world.start(newer)
    if word_comes == "after it":
        assert world.settle(newest, outcome)
        assert statuses(world, first, late, newer) == ["successful", "failed", "failed"]
    assert world.settle(attempt) is True
    assert statuses(world, first, late)[:2] == ["obsolete", "successful"]
    if word_comes == "before the newer one ends":
        assert world.get(newer)["status"] == "in-progress"
        assert world.settle(newest, outcome)
    assert statuses(world, first, late, newer) == ["obsolete", "successful", "failed"]
    assert world.settle(attempt) is False
    if outcome == "timed-out":
        assert world.settle(newest) is True
        assert statuses(world, first, late, newer) == ["obsolete", "obsolete", "successful"]


def test_a_newer_success_makes_a_late_one_obsolete_or_leaves_it_failed_by_the_order_of_their_words(world: World) -> None:
    first, late, newer, attempt = overtaken(world)
    newest = world.start(newer)
    assert world.settle(attempt)
    assert world.settle(newest)
    assert statuses(world, first, late, newer) == ["obsolete", "obsolete", "successful"]

    last = world.deploy(world.catalog.add(WEB, seq=4, project=UUID(first["project_id"])))
    slow = world.start(last)
    fence(world)
    assert world.settle(slow, "timed-out")
    assert world.settle(world.start(late))
    assert world.settle(slow) is False
    assert statuses(world, late, newer, last) == ["successful", "downgraded", "failed"]


def test_a_late_success_below_a_newer_attempt_of_the_same_deployment_says_what_runs(world: World) -> None:
    first, late, _, attempt = overtaken(world)
    again = world.start(late)
    assert world.settle(attempt) is True
    assert statuses(world, first, late) == ["obsolete", "in-progress"]
    assert world.settle(again, "failed", code="unhealthy")
    assert statuses(world, first, late) == ["obsolete", "failed"]
    outcomes = [one["outcome"] for one in world.me.call("GET", f"/deployments/{late['id']}/attempts")["items"]]
    assert outcomes == ["failed", "succeeded"]
    with world.db.system() as session:
        standing = session.get_one(Deployment, UUID(late["id"])).successful_attempt_id
    assert str(standing) == attempt["id"]
    corrected = next(one for one in world.messages() if one.name == "deployer.deployment.corrected")
    assert isinstance(corrected.data, DeploymentChanged)
    assert (corrected.data.status, corrected.data.attempt, corrected.data.attempt_outcome) == ("in-progress", 1, "succeeded")
    assert world.settle(attempt) is False


def test_a_late_success_at_a_place_that_was_cleared_since_corrects_nothing(world: World) -> None:
    first, late, _, attempt = overtaken(world)
    world.me.call("DELETE", f"/deployments/{first['id']}?remove_containers=true")
    assert world.settle(attempt) is False
    assert world.get(late)["status"] == "failed"


def removal(world: World) -> tuple[int | None, int, bool]:
    """The generation that the place is wanted empty with, the place's own, and whether its volumes are to go."""
    with world.db.system() as session:
        place = lock_place(session, team_id=world.team, node_id=world.node, prefix="shop")
        return place.removal_generation, place.generation, place.removal_volumes


def cleared(world: World) -> None:
    """Something ran at the place, and was deleted with its containers and volumes; the node has not answered yet."""
    made = world.run(world.catalog.add(WEB))
    world.me.call("DELETE", f"/deployments/{made['id']}?remove_containers=true&remove_volumes=true")
    assert removal(world) == (2, 2, True)


def test_a_start_that_takes_a_place_ends_its_removal(world: World) -> None:
    cleared(world)
    attempt = world.start(world.deploy(world.catalog.add(WEB)))
    assert attempt["generation"] == 3
    send_due(world.db, world.key)
    assert world.names("agents")[-1] == "deployment.apply"
    assert world.settle(attempt)
    assert removal(world) == (None, 3, False)


@pytest.mark.parametrize("outcome", ["failed", "cancelled", "refused"])
def test_a_start_that_does_not_take_it_brings_the_removal_back(world: World, outcome: str) -> None:
    cleared(world)
    assert world.settle(world.start(world.deploy(world.catalog.add(WEB))), outcome)
    assert removal(world) == (4, 4, True)
    send_due(world.db, world.key)
    last = world.messages("agents")[-1]
    assert (last.name, last.generation) == ("deployer.place.remove", 4)


@pytest.mark.parametrize(("word", "after"), [("succeeded", (None, 4, False)), ("failed", (5, 5, True))])
def test_after_a_deadline_the_nodes_word_decides_on_the_removal(world: World, word: str, after: tuple[int | None, int, bool]) -> None:
    cleared(world)
    attempt = world.start(world.deploy(world.catalog.add(WEB)))
    fence(world)
    assert world.settle(attempt, "timed-out")
    assert removal(world) == (2, 4, True)
    for _ in range(2):
        world.settle(attempt, word)
    assert removal(world) == after


def test_who_asked_for_the_volumes_too_is_not_forgotten(world: World) -> None:
    cleared(world)
    other = world.deploy(world.catalog.add(WEB))
    world.see({"prefix": "shop", "name": "web", "container_id": "c", "image": "web", "state": "running", "deployment_id": other["id"]})
    world.me.call("DELETE", f"/deployments/{other['id']}?remove_containers=true")
    assert removal(world) == (3, 3, True)


def test_a_success_at_another_place_touches_nothing_here(world: World) -> None:
    version = world.catalog.add(WEB)
    here = world.run(version, prefix="a")
    world.run(version, prefix="b")
    assert world.get(here)["status"] == "successful"


def test_events_are_numbered_without_a_gap(world: World) -> None:
    made = world.deploy(world.catalog.add(WEB))
    at = clock.now()
    steps = [NewEvent(kind=EventKind.STEP, at=at + timedelta(seconds=n), attempt=1, message=str(n)) for n in range(3)]
    with world.db.system() as session:
        assert append_events(session, UUID(made["id"]), steps) == 3
        assert append_events(session, UUID(made["id"]), steps) == 6
        assert append_events(session, clock.new_id(), steps) == 0
    assert [one["number"] for one in world.events(made)["items"]] == [1, 2, 3, 4, 5, 6]


def test_an_increased_version_copies_the_latest_deployment_of_each_place_once(world: World) -> None:
    parent = world.catalog.add(WEB)
    made = world.run(parent, config={"environment": {"A": "1"}})
    world.deploy(parent, prefix="two")
    child, image = clock.new_id(), clock.new_id()
    told = VersionIncreased(
        resource_type="version",
        resource_id=str(child),
        project_id=UUID(made["project_id"]),
        parent_id=UUID(parent),
        version_id=child,
        version_name="1.2.0",
        version_seq=2,
        auto_copy=True,
        image_ids={made["instances"][0]["image_id"]: str(image)},
    )
    event = Envelope(type="catalog.version.increased.v1", source="catalog", data=told, team=world.team)
    for expected in (2, 0):
        with world.db.system() as session:
            assert copy_on_increase(session, event) == expected
    copies = world.me.call("GET", f"/deployments?version={child}")["items"]
    assert {(one["prefix"], one["status"], one["version_name"]) for one in copies} == {
        ("shop", "preparing", "1.2.0"),
        ("two", "preparing", "1.2.0"),
    }
    assert {one["instances"][0]["image_id"] for one in copies} == {str(image)}
