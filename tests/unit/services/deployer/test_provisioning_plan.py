"""What a reconciliation finds to do, from values alone."""

from __future__ import annotations

from dataclasses import replace

from kernel import clock
from kernel.messaging import topology
from services.deployer.provisioning import LIMITS, BrokerState, NodeAccess, compare, password_hash

HASH = password_hash("a password", b"salt")
NODE = NodeAccess(clock.new_id(), 1, HASH)
OTHER = clock.new_id()


def _state(*nodes: NodeAccess) -> BrokerState:
    things = [topology.node_resources(node.node_id) for node in nodes]
    rights = {node.user: topology.node_permission(node.node_id) for node in nodes}
    return BrokerState(
        password_hashes={node.user: node.password_hash for node in nodes} | {"deployer": "x"},
        permissions={user: (r["configure"], r["write"], r["read"]) for user, r in rights.items()} | {"deployer": ("", "", "")},
        limits={node.user: dict(LIMITS) for node in nodes},
        exchanges=frozenset({"commands", *(name for thing in things for name, _ in thing.exchanges)}),
        queues=frozenset({"deployer.reports", *(name for thing in things for name, _ in thing.queues)}),
        bindings=frozenset(binding for thing in things for binding in thing.bindings),
    )


def test_nothing_is_done_where_all_is_as_it_should_be() -> None:
    assert not compare([NODE], _state(NODE)).is_needed


def test_a_wiped_broker_needs_every_node() -> None:
    assert compare([NODE], _state()).missing == (NODE,)


def test_each_single_thing_that_lacks_is_noticed() -> None:
    whole = _state(NODE)
    queue, exchange, user = topology.commands_queue(NODE.node_id), topology.reports_exchange(NODE.node_id), NODE.user
    for broken in (
        replace(whole, queues=whole.queues - {queue}),
        replace(whole, exchanges=whole.exchanges - {exchange}),
        replace(whole, bindings=whole.bindings - {(exchange, "audit.reports", "")}),
        replace(whole, password_hashes={user: password_hash("another", b"salt")}),
        replace(whole, permissions=dict(whole.permissions) | {user: ("^$", ".*", ".*")}),
        replace(whole, limits={}),
    ):
        assert compare([NODE], broken).missing == (NODE,)


def test_what_nobody_knows_goes_and_what_is_not_ours_stays() -> None:
    gone = NodeAccess(OTHER, 1, HASH)
    repair = compare([NODE], _state(NODE, gone))
    assert repair.users == (gone.user,)
    assert repair.queues == (topology.commands_queue(OTHER),)
    assert set(repair.exchanges) == {topology.reports_exchange(OTHER), topology.streams_exchange(OTHER)}
    assert repair.missing == ()


def test_the_former_user_of_a_node_that_enrolled_anew_goes() -> None:
    former = replace(NODE, number=1)
    present = replace(NODE, number=2)
    repair = compare([present], _state(former))
    assert repair.users == (former.user,)
    assert repair.missing == (present,)
    assert repair.queues == ()


def test_a_user_without_rights_on_our_virtual_host_belongs_to_another_installation() -> None:
    state = _state(NODE)
    stranger = topology.agent_user(OTHER, 1)
    assert compare([NODE], replace(state, password_hashes=dict(state.password_hashes) | {stranger: HASH})).users == ()
