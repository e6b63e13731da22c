"""What services tell each other by events, seen from outside: a copied deployment, a frozen version, a deleted team."""

from __future__ import annotations

from typing import Any

from cli.client import ApiError
from kernel import clock
from tests.fixtures.stack import Harbour, Stack, make_harbour, remove_harbour
from tests.fixtures.waiting import eventually

QUICK = {"expected_state": {"stable_seconds": 0}, "stop_grace_seconds": 1}


def test_an_increase_copies_the_latest_deployment_of_each_place(harbour: Harbour) -> None:
    prefix = f"r{clock.new_id().hex[-10:]}"
    version = harbour.version(harbour.image("web", "1", **QUICK), kind="incremental")
    harbour.client.patch(f"{harbour.path}/versions/{version}", {"auto_copy_deployments": True})
    deployment = harbour.deployment(version, prefix)
    instance = harbour.get(deployment)["instances"][0]["id"]
    own = {"config": {"environment": {"OWN": "of this place"}}}
    harbour.client.patch(f"{harbour.path}/deployments/{deployment}/instances/{instance}", own)
    harbour.start(deployment)
    assert harbour.await_end(deployment)["status"] == "successful"
    eventually(lambda: _refused(harbour, version), what="the released version is immutable")
    child = harbour.client.post(f"{harbour.path}/versions/{version}/increase", {"name": "1.1.0"})["id"]

    def copied() -> list[dict[str, Any]]:
        return list(harbour.client.all(f"{harbour.path}/deployments", version=child))

    (copy,) = eventually(copied, what="the copy")
    assert (copy["status"], copy["prefix"]) == ("preparing", prefix)
    assert harbour.get(copy["id"])["instances"][0]["config"] == own["config"]
    harbour.start(copy["id"])
    assert harbour.await_end(copy["id"])["status"] == "successful"
    assert harbour.get(deployment)["status"] == "obsolete"
    environment = harbour.stack.engine.containers.get(f"{prefix}-web").attrs["Config"]["Env"]
    assert "OWN=of this place" in environment


def _refused(harbour: Harbour, version: str) -> bool:
    image = harbour.images(version)[0]["id"]
    try:
        harbour.client.patch(f"{harbour.path}/images/{image}", {"tag": "2"})
    except ApiError as error:
        return (error.status, error.code) == (409, "version-immutable")
    return False


def _is_not_there(harbour: Harbour) -> bool:
    try:
        harbour.client.get(f"{harbour.path}/audit")
    except ApiError as error:
        return error.status == 404
    return False


def test_a_deleted_team_loses_its_node_and_its_members_their_way_in(stack: Stack) -> None:
    doomed = make_harbour(stack)
    try:
        slug = doomed.client.get(doomed.path)["slug"]
        doomed.client.delete(doomed.path, confirm=slug)
        user = f"agent-{doomed.node.id}-1"

        def cut_off() -> bool:
            names = {one["name"] for one in stack.broker_users()}
            return user not in names

        eventually(cut_off, what="the node's broker user is gone")
        eventually(lambda: _is_not_there(doomed), what="the gateway has forgotten the members' rights")
    finally:
        remove_harbour(doomed)
