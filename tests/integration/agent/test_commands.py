"""Commands at the door: signature, node, epoch, time, generation, copies."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from nacl.signing import SigningKey

from kernel import clock
from kernel.contracts.agent import DeploymentFinished, Hello, PlaceRemoved
from kernel.contracts.deployer import CancelDeployment, RemovePlace, WelcomeNode
from kernel.contracts.envelope import decode, encode
from kernel.contracts.spec import LABEL_NODE, LABEL_PREFIX
from kernel.errors import FairleadError, Forbidden
from kernel.signing import sign_body
from tests.fixtures.waiting import eventually
from tests.integration.agent.ground import Ground, spec


def test_a_command_that_somebody_else_signed_is_refused(ground: Ground) -> None:
    command = ground.envelope(ground.order(spec("web", ground.image)), generation=1)
    with pytest.raises(Forbidden):
        ground.send(command, key=SigningKey.generate())
    assert ground.refusals() == ["signature-wrong"]
    with pytest.raises(Forbidden):
        ground.deliver(encode(command))
    assert ground.refusals() == ["signature-wrong", "signature-missing"]
    assert ground.reports("agent.deployment.finished") == []


def test_a_command_for_another_node_is_refused(ground: Ground) -> None:
    ground.send(ground.envelope(ground.order(spec("web", ground.image)), generation=1, node=clock.new_id()))
    assert ground.refusals() == ["wrong-node"]
    assert ground.reports("agent.deployment.finished") == []


def test_a_command_of_an_older_epoch_is_refused_without_ending_its_attempt(ground: Ground) -> None:
    ground.send(ground.envelope(WelcomeNode(boot_id=ground.core.reports.boot_id), epoch=5))
    ground.send(ground.envelope(ground.order(spec("web", ground.image)), generation=1, epoch=4))
    assert ground.refusals() == ["stale-epoch"]
    assert ground.reports("agent.deployment.finished") == []
    assert ground.containers() == {}


def test_a_welcome_for_another_process_changes_nothing(ground: Ground) -> None:
    ground.send(ground.envelope(WelcomeNode(boot_id=clock.new_id()), epoch=5))
    assert ground.core.journal.epoch() == 0


def test_what_was_finished_before_the_welcome_is_told_again_in_the_new_epoch(ground: Ground) -> None:
    done = ground.apply(spec("web", ground.image))
    ground.send(ground.envelope(WelcomeNode(boot_id=ground.core.reports.boot_id), epoch=5))
    told = [one for one in ground.reports("agent.deployment.finished") if one.data == done]
    assert [one.epoch for one in told] == [0, 5]


def test_a_copy_of_a_command_acts_once_and_is_answered_with_the_outcome(ground: Ground) -> None:
    order = ground.order(spec("web", ground.image))
    command = ground.envelope(order, generation=1)
    body = sign_body(ground.deployer, encode(command))
    ground.deliver(body)
    ground.deliver(body)
    finished = ground.finished(order.attempt_id)
    before = ground.running()
    ground.deliver(body)
    assert ground.finished_all(order.attempt_id)[1:] == [finished]
    assert ground.running() == before


def test_an_older_generation_after_a_newer_one_is_superseded(ground: Ground) -> None:
    ground.generation = 5
    ground.apply(spec("web", ground.image))
    before = ground.running()
    order = ground.order(spec("web", ground.other_image))
    ground.send(ground.envelope(order, generation=3))
    finished = ground.finished(order.attempt_id)
    assert (finished.outcome, finished.code) == ("refused", "superseded")
    assert ground.refusals() == ["superseded"]
    assert ground.running() == before
    ground.send(ground.envelope(order, generation=3))
    assert ground.finished_all(order.attempt_id) == [finished, finished]


def test_two_attempts_of_one_generation_are_a_conflict(ground: Ground) -> None:
    ground.apply(spec("web", ground.image))
    order = ground.order(spec("web", ground.other_image))
    ground.send(ground.envelope(order, generation=1))
    assert ground.finished(order.attempt_id).code == "generation-conflict"


def test_a_command_that_waited_too_long_is_expired(ground: Ground) -> None:
    order = ground.order(spec("web", ground.image))
    ground.send(ground.envelope(order, generation=1, ttl_seconds=0))
    finished = ground.finished(order.attempt_id)
    assert (finished.outcome, finished.code) == ("refused", "expired")
    assert ground.containers() == {}


def test_a_cancellation_that_overtakes_its_order_keeps_it_from_acting(ground: Ground) -> None:
    order = ground.order(spec("web", ground.image))
    cancel = CancelDeployment(deployment_id=order.deployment_id, attempt_id=order.attempt_id, prefix=ground.prefix)
    ground.send(ground.envelope(cancel, generation=2))
    first = ground.finished(order.attempt_id)
    assert (first.outcome, first.code) == ("refused", "superseded")
    ground.send(ground.envelope(order, generation=1))
    assert ground.finished_all(order.attempt_id) == [first, first]
    assert ground.containers() == {}


def test_an_older_removal_leaves_a_newer_deployment_alone(ground: Ground) -> None:
    ground.generation = 5
    ground.apply(spec("web", ground.image))
    ground.send(ground.envelope(RemovePlace(prefix=ground.prefix), generation=4))
    assert ground.refusals() == ["superseded"]
    assert len(ground.running()) == 1


def removed(ground: Ground, count: int = 1) -> list[PlaceRemoved]:
    def told() -> list[PlaceRemoved]:
        return [one.data for one in ground.reports("agent.place.removed") if isinstance(one.data, PlaceRemoved)]

    return eventually(lambda: found if len(found := told()) >= count else [], what="the place is removed")


def test_a_removal_is_answered_and_told_again_it_is_done_already(ground: Ground) -> None:
    ground.apply(spec("web", ground.image, volumes=[{"type": "volume", "name": "data", "path": "/data"}]))
    ground.remove_place(volumes=True)
    (first,) = removed(ground)
    assert (first.generation, first.outcome, first.containers) == (2, "succeeded", [f"{ground.prefix}-web"])
    assert len(first.volumes) == 1
    assert ground.containers() == {}
    assert ground.leftovers() == []
    # Something that bears the place's labels shows that the engine is not asked a second time.
    labels = {LABEL_NODE: str(ground.node.node_id), LABEL_PREFIX: ground.prefix}
    stays = ground.docker.containers.create(ground.image, ["true"], name=f"{ground.prefix}-stays", labels=labels)
    ground.send(ground.envelope(RemovePlace(prefix=ground.prefix, remove_volumes=True), generation=2, epoch=3, correlation="c-2"))
    assert removed(ground, 2) == [first, first]
    assert [one.correlation for one in ground.reports("agent.place.removed")][1] == "c-2"
    stays.reload()
    ground.remove_place()
    assert removed(ground, 3)[-1].containers == [f"{ground.prefix}-stays"]


def test_a_removal_that_cannot_be_done_says_why_holds_up_nobody_and_is_done_when_told_again(ground: Ground) -> None:
    ground.apply(spec("web", ground.image, volumes=[{"type": "volume", "name": "data", "path": "/data"}]))
    (volume,) = [one.name for one in ground.docker.volumes.list(filters={"label": f"{LABEL_PREFIX}={ground.prefix}"})]
    stranger = ground.docker.containers.create(ground.image, ["true"], volumes={volume: {"bind": "/data", "mode": "rw"}})
    try:
        ground.remove_place(volumes=True)
        (first,) = removed(ground)
        assert (first.outcome, first.code, first.containers) == ("failed", "volume-in-use", [f"{ground.prefix}-web"])
        assert volume in str(first.detail)
        assert ground.core.journal.unfinished() == []
    finally:
        stranger.remove(force=True)
    ground.send(ground.envelope(RemovePlace(prefix=ground.prefix, remove_volumes=True), generation=2))
    assert [one.outcome for one in removed(ground, 2)] == ["failed", "succeeded"]
    assert ground.leftovers() == []


def test_a_removal_with_the_generation_of_an_attempt_is_refused(ground: Ground) -> None:
    ground.apply(spec("web", ground.image))
    ground.send(ground.envelope(RemovePlace(prefix=ground.prefix), generation=1))
    assert ground.refusals() == ["generation-conflict"]
    assert len(ground.running()) == 1


def test_a_stack_that_breaks_the_rules_is_refused_with_every_fault(ground: Ground) -> None:
    wrong = replace(spec("web", ground.image), config={"ports": [{"container_port": 0}], "user": "a b"})
    finished = ground.apply(wrong)
    assert (finished.outcome, finished.code) == ("refused", "command-invalid")
    assert "ports.0.container_port" in str(finished.detail)
    assert "user" in str(finished.detail)
    twice = ground.apply(spec("web", ground.image), spec("web", ground.image))
    assert twice.code == "command-invalid"


def test_a_field_of_a_newer_sender_is_ignored_and_an_unknown_command_refused(ground: Ground) -> None:
    order = ground.order(spec("web", ground.image))
    document = json.loads(encode(ground.envelope(order, generation=1)))
    document["data"]["surprise"] = True
    document["data"]["stack"]["containers"][0]["config"]["surprise"] = 1
    ground.deliver(sign_body(ground.deployer, json.dumps(document).encode()))
    assert ground.finished(order.attempt_id).outcome == "succeeded"

    document["type"] = "deployer.node.dance.v9"
    with pytest.raises(FairleadError):
        ground.deliver(sign_body(ground.deployer, json.dumps(document).encode()))
    assert ground.refusals() == ["unsupported"]


def test_an_order_that_cannot_be_read_still_ends_its_attempt(ground: Ground) -> None:
    order = ground.order(spec("web", ground.image))
    document = json.loads(encode(ground.envelope(order, generation=1)))
    document["data"]["stack"]["containers"] = "none"
    with pytest.raises(FairleadError):
        ground.deliver(sign_body(ground.deployer, json.dumps(document).encode()))
    assert ground.refusals() == ["command-invalid"]
    assert ground.finished(order.attempt_id).outcome == "refused"


def test_a_hello_says_where_each_place_stands(ground: Ground) -> None:
    done = ground.apply(spec("web", ground.image))
    hello = decode(ground.core.reports.hello().body)
    assert isinstance(hello.data, Hello)
    [place] = hello.data.places
    assert (place.prefix, place.generation, place.attempt_id, place.outcome) == (ground.prefix, 1, done.attempt_id, "succeeded")
    assert place.restored is True


def test_reports_are_numbered_and_answer_their_command(ground: Ground) -> None:
    order = ground.order(spec("web", ground.image))
    command = ground.envelope(order, generation=1, correlation="c-1")
    ground.send(command)
    ground.finished(order.attempt_id)
    reports = ground.reports()
    numbers = [one.sequence for one in reports]
    assert numbers == sorted({number for number in numbers if number is not None})
    assert {one.correlation for one in reports} == {"c-1"}
    assert {one.causation for one in reports} == {str(command.id)}
    assert isinstance(reports[-1].data, DeploymentFinished)
