"""Who may write, read and declare what on the broker: nobody more than needed."""

from __future__ import annotations

import itertools
import re
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernel.messaging import topology
from kernel.messaging.topology import AGENTS, CORE

DEFINITIONS = topology.definitions()
SERVICES = ("identity", "catalog", "deployer", "audit", "gateway")
A, B = UUID("0192a000-0000-7000-8000-00000000000a"), UUID("0192a000-0000-7000-8000-00000000000b")


def allows(pattern: str, name: str) -> bool:
    """As RabbitMQ does it: an unanchored search."""
    return re.search(pattern, name) is not None


def right(user: str, vhost: str, verb: str) -> str:
    rows = [row for row in topology.permissions() if (row["user"], row["vhost"]) == (user, vhost)]
    return str(rows[0][verb]) if rows else r"(?!)"


def names(kind: str, vhost: str) -> set[str]:
    return {entry["name"] for entry in DEFINITIONS[kind] if entry["vhost"] == vhost}


NODE_NAMES = [
    make(node)
    for node in (A, B)
    for make in (topology.commands_queue, topology.reports_exchange, topology.streams_exchange)
]  # fmt: skip
EVERYTHING = sorted(
    set(NODE_NAMES)
    | {"amq.default", "", "amq.topic", "commands", "dead-letters"}
    | {name for vhost in (CORE, AGENTS) for kind in ("exchanges", "queues") for name in names(kind, vhost)}
)


def test_an_agent_reaches_exactly_what_is_its_own() -> None:
    rights = topology.node_permission(A)
    assert [name for name in EVERYTHING if allows(rights["write"], name)] == sorted(
        [topology.reports_exchange(A), topology.streams_exchange(A)]
    )
    assert [name for name in EVERYTHING if allows(rights["read"], name)] == [topology.commands_queue(A)]
    assert not any(allows(rights["configure"], name) for name in EVERYTHING if name)


@given(st.uuids(), st.uuids())
def test_no_agent_reaches_anything_of_another(mine: UUID, other: UUID) -> None:
    rights = topology.node_permission(mine)
    for make in (topology.commands_queue, topology.reports_exchange, topology.streams_exchange):
        assert (mine == other) == any(allows(rights[verb], make(other)) for verb in ("write", "read", "configure"))


@given(st.uuids(), st.text(max_size=4), st.text(max_size=4))
def test_names_around_an_agents_own_are_closed(node: UUID, before: str, behind: str) -> None:
    rights = topology.node_permission(node)
    for make in (topology.commands_queue, topology.reports_exchange):
        name = before + make(node) + behind
        open_to = any(allows(rights[verb], name) for verb in ("write", "read"))
        # `$` in a regular expression also fits before a last line feed; no queue can have one that we did not declare.
        assert open_to == (not before and behind in ("", "\n"))


@pytest.mark.parametrize(("user", "sender"), [(user, sender) for user in SERVICES for sender in topology.EVENT_SENDERS])
def test_no_service_writes_anothers_exchange(user: str, sender: str) -> None:
    assert allows(right(user, CORE, "write"), topology.events_exchange(sender)) == (user == sender)


def test_only_the_deployer_writes_commands() -> None:
    assert [user for user in SERVICES if allows(right(user, AGENTS, "write"), topology.COMMANDS)] == ["deployer"]


def test_no_service_writes_reports_in_an_agents_name() -> None:
    for user, node in itertools.product(SERVICES, (A, B)):
        assert not allows(right(user, AGENTS, "write"), topology.reports_exchange(node))


def test_nobody_but_the_agent_reads_its_commands() -> None:
    assert not any(allows(right(user, AGENTS, "read"), topology.commands_queue(A)) for user in SERVICES)


def test_each_shared_queue_is_read_by_its_service_only() -> None:
    for vhost, queues in ((CORE, tuple(topology.CORE_QUEUES)), (AGENTS, topology.AGENT_QUEUES)):
        for queue, user in itertools.product(queues, SERVICES):
            owner = queue.split(".")[0]
            for name in (queue, topology.parked_queue(queue)):
                assert allows(right(user, vhost, "read"), name) == (user == owner), (user, name)


def test_a_service_declares_nothing_but_its_marker_or_its_live_queues() -> None:
    for row in topology.permissions():
        own = topology.marker_queue(row["user"]) if row["user"] != "gateway" else "gateway.live.x"
        declared = [name for name in [*EVERYTHING, own] if name and allows(row["configure"], name)]
        assert declared in ([], [own]), row


def test_every_consumer_can_set_a_message_aside() -> None:
    for vhost, queues in ((CORE, tuple(topology.CORE_QUEUES)), (AGENTS, topology.AGENT_QUEUES)):
        for queue in queues:
            user = queue.split(".")[0]
            for exchange in (topology.DEAD_LETTERS, *(topology.retry_exchange(delay) for delay in topology.RETRY_DELAYS_SECONDS)):
                assert allows(right(user, vhost, "write"), exchange)
                assert exchange in names("exchanges", vhost)


def test_topic_rights_keep_each_sender_to_its_own_types() -> None:
    for row in topology.topic_permissions():
        for sender in topology.EVENT_SENDERS:
            assert allows(row["write"], f"{sender}.thing.happened.v1") == (sender == row["user"])
        assert not allows(row["write"], f"x{row['user']}.thing")


def test_whatever_is_bound_and_dead_lettered_to_exists() -> None:
    for vhost in (CORE, AGENTS):
        exchanges, queues = names("exchanges", vhost), names("queues", vhost)
        for binding in (one for one in DEFINITIONS["bindings"] if one["vhost"] == vhost):
            assert binding["source"] in exchanges
            assert binding["destination"] in queues
        for queue in (one for one in DEFINITIONS["queues"] if one["vhost"] == vhost):
            letters = queue["arguments"].get("x-dead-letter-exchange")
            assert letters in (None, "", *exchanges), "a missing exchange drops messages without a word"


def test_each_shared_queue_is_quorum_limited_and_parks() -> None:
    by_name = {one["name"]: one for one in DEFINITIONS["queues"]}
    policies = [one for one in DEFINITIONS["policies"] if "delivery-limit" in one["definition"]]
    for vhost, queues in ((CORE, tuple(topology.CORE_QUEUES)), (AGENTS, topology.AGENT_QUEUES)):
        for queue in queues:
            arguments = by_name[queue]["arguments"]
            assert arguments["x-queue-type"] == "quorum"
            assert (arguments["x-dead-letter-exchange"], arguments["x-dead-letter-routing-key"]) == (topology.DEAD_LETTERS, queue)
            assert any(one["vhost"] == vhost and allows(one["pattern"], queue) for one in policies)
            bound = {one["destination"] for one in DEFINITIONS["bindings"] if (one["vhost"], one["routing_key"]) == (vhost, queue)}
            assert topology.parked_queue(queue) in bound


def test_commands_lapse_and_keep_one_consumer() -> None:
    policy = next(one for one in DEFINITIONS["policies"] if one["name"] == "commands-lapse")
    assert allows(policy["pattern"], topology.commands_queue(A))
    assert policy["definition"]["message-ttl"] == topology.COMMAND_LIFE_SECONDS * 1000
    ((_name, queue),) = topology.node_resources(A).queues
    assert queue["arguments"]["x-single-active-consumer"] is True
    assert "x-expires" not in queue["arguments"]


def test_a_node_has_its_exchanges_queue_and_bindings() -> None:
    resources = topology.node_resources(A)
    assert dict(resources.exchanges)[topology.reports_exchange(A)]["type"] == "fanout"
    assert dict(resources.exchanges)[topology.streams_exchange(A)]["type"] == "topic"
    assert set(resources.bindings) == {
        (topology.COMMANDS, topology.commands_queue(A), str(A)),
        (topology.reports_exchange(A), "deployer.reports", ""),
        (topology.reports_exchange(A), "audit.reports", ""),
    }


@given(st.uuids(), st.integers(0, 999_999_999))
def test_the_node_of_an_agents_user_is_found_again(node: UUID, number: int) -> None:
    assert topology.node_of_user(topology.agent_user(node, number)) == node


@pytest.mark.parametrize(
    "user",
    [
        *(None, "", "deployer", "agent-1-1", f"agent-{A}", f"agent-{A}-", f"agent-{A}-1x", f"xagent-{A}-1", f"agent-{A}-1\n"),
        f"agent-{str(A).upper()}-1",
    ],
)
def test_who_is_no_agent_has_no_node(user: str | None) -> None:
    assert topology.node_of_user(user) is None


def test_retries_wait_longer_and_longer_and_the_last_delay_repeats() -> None:
    delays = [topology.retry_delay(attempts) for attempts in range(1, 8)]
    assert delays == sorted(delays)
    assert delays[: len(topology.RETRY_DELAYS_SECONDS)] == list(topology.RETRY_DELAYS_SECONDS)
    assert delays[-1] == topology.RETRY_DELAYS_SECONDS[-1]


def test_definitions_are_made_anew_each_time() -> None:
    first: dict[str, Any] = topology.definitions()
    first["queues"][0]["name"] = "changed"
    assert topology.definitions()["queues"][0]["name"] != "changed"
