"""How messages become facts."""

from __future__ import annotations

import json

import pytest

from kernel import clock
from kernel.contracts import agent
from kernel.contracts.envelope import Envelope, encode
from kernel.contracts.recorded import Recorded
from kernel.errors import Forbidden
from kernel.messaging.consumer import Delivery, Received
from services.audit import messages
from services.audit.domain import NO_TEAM, Fact
from tests.unit.services.audit.samples import TEAM


def delivered(body: bytes, exchange: str = "catalog.events") -> Delivery:
    return Delivery(body=body, exchange=exchange, key="", user_id=None, message_id=None, tag=1)


def event(**changes: object) -> Envelope:
    data = Recorded(resource_type="registry", resource_id="r-1", resource_name="local", after={"name": "local"})
    values: dict[str, object] = {
        "type": "catalog.registry.created.v1",
        "source": "catalog",
        "data": data,
        "team": TEAM,
        "actor": "user:u-1",
    }
    return Envelope(**values | changes)  # type: ignore[arg-type]  # the fields of an envelope


def fact_of(body: bytes) -> Fact:
    delivery = delivered(body)
    return messages.fact_of_event(Received(delivery, messages.read_event(delivery)))


def test_an_event_says_who_did_what_to_what() -> None:
    fact = fact_of(encode(event()))
    assert (fact.action, fact.actor_kind, fact.actor_id, fact.resource_type, fact.after) == (
        "catalog.registry.created", "user", "u-1", "registry", {"name": "local"},
    )  # fmt: skip


def test_an_event_of_no_team_goes_to_the_chain_of_none() -> None:
    assert fact_of(encode(event(team=None))).team_id == NO_TEAM


def test_an_event_of_a_type_from_the_future_is_recorded_too() -> None:
    document = json.loads(encode(event())) | {"type": "catalog.registry.teleported.v7"}
    document["data"] |= {"target": "moon"}
    fact = fact_of(json.dumps(document).encode())
    assert (fact.action, fact.data) == ("catalog.registry.teleported", {"target": "moon"})


def test_a_sender_may_not_tell_of_another() -> None:
    with pytest.raises(Forbidden):
        messages.read_event(delivered(encode(event()), exchange="identity.events"))


def test_secrets_never_reach_the_log() -> None:
    data = Recorded(
        resource_type="registry",
        resource_id="r-1",
        resource_name="fl_pat_abc_def",
        after={"password": "hunter22", "url": "https://me:hunter22@host/", "environment": {"DB_PASSWORD": "hunter22"}},
    )
    fact = fact_of(encode(event(data=data)))
    assert "hunter22" not in repr(fact)
    assert "fl_pat" not in repr(fact)


def test_text_that_no_database_holds_is_replaced() -> None:
    document = json.loads(encode(event()))
    document["data"] |= {"resource_name": "a\x00b\ud800c", "after": {"n\x00": "x\x00", "inf": 1e999}}
    fact = fact_of(json.dumps(document).replace("Infinity", "1e999").encode())
    assert (fact.resource_name, fact.after) == ("a\ufffdb?c", {"n\ufffd": "x\ufffd", "inf": "inf"})


@pytest.mark.parametrize("data", [agent.Heartbeat(boot_id=TEAM), agent.ContainersObserved(containers=[])])
def test_a_pulse_is_no_fact(data: agent.Heartbeat | agent.ContainersObserved) -> None:
    name = "agent.heartbeat.v1" if isinstance(data, agent.Heartbeat) else "agent.containers.observed.v1"
    told = Envelope(type=name, source="agent", data=data, node=TEAM)
    assert messages.fact_of_report(Received(delivered(encode(told)), told)) is None


def test_a_refused_command_is_a_refusal_by_the_node() -> None:
    node = clock.new_id()
    data = agent.CommandRefused(command_id="c-1", command_type="deployer.deployment.apply.v1", code="superseded", detail="older")
    told = Envelope(type="agent.command.refused.v1", source="agent", data=data, node=node, team=TEAM, actor="user:somebody-else")
    fact = messages.fact_of_report(Received(delivered(encode(told)), told))
    assert fact is not None
    assert (fact.outcome, fact.actor_kind, fact.actor_id, fact.reason) == ("refused", "node", str(node), "superseded: older")
