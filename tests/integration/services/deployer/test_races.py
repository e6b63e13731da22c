"""What happens when two things come at the same moment, on a real database with a connection each."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import text

from kernel.contracts.catalog import VersionIncreased
from kernel.contracts.envelope import Envelope
from kernel.contracts.recorded import Recorded
from kernel.errors import Conflict
from kernel.messaging.consumer import Delivery, Received
from services.deployer.messages import events_handler
from services.deployer.provisioning import Provisioner
from services.deployer.store import nodes as node_store
from services.deployer.store.places import node_of
from services.deployer.usecases import deployments as deployment_usecases
from services.deployer.usecases.announce import announce
from services.deployer.usecases.catalog import Catalog
from services.deployer.usecases.copy_on_increase import copy_on_increase
from services.deployer.usecases.deadlines import watch_clock
from services.deployer.usecases.deployments import NewDeployment
from services.deployer.usecases.nodes import delete_node
from tests.fixtures.waiting import eventually, waits_for_lock
from tests.integration.services.deployer.world import World


def beside(action: Callable[[], Any]) -> Future[Any]:
    """`action` in a thread of its own. Any: whatever it returns."""
    pool = ThreadPoolExecutor(1)
    try:
        return pool.submit(action)
    finally:
        pool.shutdown(wait=False)


def until_it_waits(world: World) -> None:
    eventually(lambda: waits_for_lock(world.db), what="the other one that waits")


@pytest.fixture
def empty(world: World) -> UUID:
    """A node with nothing on it."""
    return world.add_node("n2")


def delete(world: World, node_id: UUID) -> None:
    nowhere = Provisioner("http://127.0.0.1:1", "amqp://127.0.0.1:1/agents")
    delete_node(world.db, nowhere, world.me.as_("owner").principal(), node_id, lambda _revision: None)


def create(world: World, node_id: UUID, version: str) -> UUID:
    wanted = NewDeployment(version_id=UUID(version), node_id=node_id, prefix="shop")
    return deployment_usecases.create(world.db, Catalog(world.catalog), world.me.principal(), wanted)


def test_a_node_on_which_a_deployment_is_being_made_is_in_use(world: World, empty: UUID, monkeypatch: pytest.MonkeyPatch) -> None:
    version = world.catalog.add({"name": "web"})
    announced = announce
    deleting: list[Future[Any]] = []

    def announce_late(*arguments: Any, **more: Any) -> None:
        # The deployment stands in its transaction, which nobody else sees yet.
        deleting.append(beside(lambda: delete(world, empty)))
        until_it_waits(world)
        announced(*arguments, **more)

    monkeypatch.setattr(deployment_usecases, "announce", announce_late)
    made = create(world, empty, version)
    with pytest.raises(Conflict) as refused:
        deleting[0].result(20)
    assert refused.value.code == "node-in-use"
    assert world.get({"id": str(made)})["node_id"] == str(empty)


@pytest.mark.parametrize("what", ["create", "copy", "move"])
def test_a_deployment_for_a_node_that_is_being_deleted_finds_no_node(world: World, empty: UUID, what: str) -> None:
    version = world.catalog.add({"name": "web"})
    if what == "create":
        method, path, body = "POST", "/deployments", {"version_id": version, "node_id": str(empty), "prefix": "shop"}
    else:
        made = world.deploy(version)
        method, path = ("POST", f"/deployments/{made['id']}/copy") if what == "copy" else ("PATCH", f"/deployments/{made['id']}")
        body = {"node_id": str(empty)} | ({"prefix": "other"} if what == "copy" else {})
    with world.db.team(world.team) as session:
        session.delete(node_store.lock_to_delete(session, empty))
        session.flush()
        answer = beside(lambda: world.me.call(method, path, body, status=404))
        until_it_waits(world)
    assert answer.result(20)["code"] == "not-found"


def test_a_deployment_is_made_while_its_node_is_busy_with_something_else(world: World) -> None:
    """Only deletion is kept away: reports and revocations lock a node all the time."""
    version = world.catalog.add({"name": "web"})
    with world.db.team(world.team) as session:
        node_store.lock(session, world.node)
        assert beside(lambda: world.deploy(version)).result(20)["node_id"] == str(world.node)


def test_a_node_that_is_deleted_before_its_turn_does_not_end_the_clock(world: World) -> None:
    """Found as one that is there with something waiting, and gone when its turn comes: the others are sent all the same."""
    version = world.catalog.add({"name": "web"})
    nodes = [world.add_node(name, key=world.node_key, silent_seconds=3600) for name in ("n2", "n3", "n4")]
    for node_id in nodes:
        made = world.me.call("POST", "/deployments", {"version_id": version, "node_id": str(node_id), "prefix": "shop"})
        world.start(made, wait_for_node_seconds=600)
    with world.db.system() as session:
        session.execute(text("UPDATE nodes SET last_seen_at = now()"))
    gone = nodes[1]
    with world.db.system() as session:
        node_store.lock_to_delete(session, gone)
        looking = beside(lambda: watch_clock(world.db, world.key))
        until_it_waits(world)
        session.execute(text("DELETE FROM deployments WHERE node_id = :id"), {"id": gone})
        session.execute(text("DELETE FROM nodes WHERE id = :id"), {"id": gone})
    assert looking.result(20) is None
    assert {one.node for one in world.messages("agents")} == {nodes[0], nodes[2]}


@dataclass(frozen=True)
class Increase:
    """A version with one deployment at each of two places, and the event of its new version."""

    child: str
    event: Envelope
    sources: list[str]


@pytest.fixture
def increase(world: World) -> Increase:
    parent = world.catalog.add({"name": "web"})
    child = world.catalog.add({"name": "web"}, seq=2)
    sources = [world.run(parent, prefix=prefix)["id"] for prefix in ("one", "two")]
    told = VersionIncreased(
        resource_type="version",
        resource_id=child,
        version_id=UUID(child),
        parent_id=UUID(parent),
        project_id=UUID(world.catalog.versions[parent]["project_id"]),
        version_name="1.2.0",
        version_seq=2,
        auto_copy=True,
        image_ids={},
    )
    event = Envelope(type="catalog.version.increased.v1", source="catalog", subject=child, data=told, team=world.team, actor="user:ada")
    return Increase(child, event, sources)


def copied(world: World, event: Envelope) -> int:
    with world.db.system() as session:
        return copy_on_increase(session, event)


def refusals(world: World) -> list[tuple[str, str | None, str]]:
    """What was recorded as refused: of which deployment, why, on whose account."""
    told = [one for one in world.messages() if one.name == "deployer.request.refused"]
    return [(one.data.resource_id, one.data.reason, one.actor) for one in told if isinstance(one.data, Recorded)]


def test_a_copy_whose_place_is_taken_this_moment_is_recorded_and_the_others_are_made(world: World, increase: Increase) -> None:
    wanted = NewDeployment(version_id=UUID(increase.child), node_id=world.node, prefix="one")
    who = world.me.principal()
    announced: list[Future[Any]] = []
    catalog = Catalog(world.catalog)
    version = catalog.version(who, wanted.version_id)
    with world.db.team(world.team) as session:
        # Somebody prepares the same at the first place, and has not committed yet.
        deployment_usecases._make(session, who, version, node_of(session, world.node), wanted)
        announced.append(beside(lambda: copied(world, increase.event)))
        until_it_waits(world)
    assert announced[0].result(20) == 1
    found = world.me.call("GET", f"/deployments?version={increase.child}")["items"]
    assert sorted(one["prefix"] for one in found) == ["one", "two"]
    assert refusals(world) == [(increase.sources[0], "deployment-preparing-exists", "user:ada")]


def test_a_place_that_was_taken_before_is_recorded_too(world: World, increase: Increase) -> None:
    world.deploy(increase.child, prefix="two")
    assert copied(world, increase.event) == 1
    assert refusals(world) == [(increase.sources[1], "deployment-preparing-exists", "user:ada")]


def test_an_event_whose_copy_is_refused_is_not_parked(world: World, increase: Increase) -> None:
    world.deploy(increase.child, prefix="one")
    world.deploy(increase.child, prefix="two")
    handler = events_handler(world.db, Provisioner("http://127.0.0.1:1", "amqp://127.0.0.1:1/agents"))
    received = Received(Delivery(b"", "catalog.events", increase.event.type, None, str(increase.event.id), 1), increase.event)
    assert handler([received]) == {}
    assert handler([received]) == {}
    assert len(refusals(world)) == 2
