"""The plan, as values: it never loses a container, never touches a stranger, and never fights over a port."""

from __future__ import annotations

from dataclasses import replace
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.plan import HostPort, Plan, Seen, Wanted, check_stack, host_ports, is_gated, make_plan
from kernel import clock
from kernel.contracts.config import parse_config
from kernel.contracts.spec import (
    LABEL_CONTAINER,
    LABEL_GENERATION,
    LABEL_NODE,
    LABEL_PREFIX,
    LABEL_SPEC,
    ContainerSpec,
    spec_hash,
)
from kernel.errors import Conflict, Invalid

NODE = "node-1"
NAMES = ("web", "db", "job", "cache")


def container(name: str, *, image: str = "image:1", **config: Any) -> ContainerSpec:
    return ContainerSpec(UUID(int=1), name, image, parse_config(config))


def present(spec: ContainerSpec, *, prefix: str = "p", name: str | None = None, **changes: Any) -> Seen:
    """The container that `spec` once became."""
    labels = {
        LABEL_NODE: NODE,
        LABEL_PREFIX: prefix,
        LABEL_CONTAINER: spec.name,
        LABEL_SPEC: spec_hash(spec),
        LABEL_GENERATION: "1",
    }
    name = name or f"{prefix}-{spec.name}"
    values: dict[str, Any] = {"id": f"id-{name}", "name": name, "state": "running", "labels": labels, "host_ports": host_ports(spec.config)}
    return Seen(**(values | changes))


def plan(seen: list[Seen], *specs: ContainerSpec, **options: Any) -> Plan:
    return make_plan(seen, [Wanted(spec=spec) for spec in specs], node_id=NODE, prefix="p", generation=7, **options)


def test_an_empty_place_gets_everything_under_its_own_name() -> None:
    made = plan([], container("web"), container("db"))
    assert [(one.container, one.name, one.working_name, one.reason) for one in made.changes] == [
        ("web", "p-web", "p-web", "missing"),
        ("db", "p-db", "p-db", "missing"),
    ]
    assert (made.kept, made.old) == ((), ())
    assert made.groups == (("web", "db"),)


def test_an_unchanged_running_container_is_kept() -> None:
    web = container("web")
    made = plan([present(web)], web)
    assert [one.id for one in made.kept] == ["id-p-web"]
    assert (made.changes, made.old, made.groups) == ((), (), ())


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"state": "exited"}, "not-running"),
        ({"state": "restarting"}, "not-running"),
        ({"status": "Up 3 seconds (unhealthy)"}, "not-running"),
    ],
)
def test_an_unchanged_container_that_is_not_sound_is_replaced(changes: dict[str, str], reason: str) -> None:
    web = container("web")
    made = plan([present(web, **changes)], web)
    assert [(one.reason, one.working_name, one.replaces) for one in made.changes] == [(reason, "p-web.g7", "id-p-web")]


def test_a_changed_container_is_made_beside_the_old_one() -> None:
    made = plan([present(container("web"))], container("web", image="image:2"))
    [change], [old] = made.changes, made.old
    assert (change.reason, change.working_name, change.stop_first) == ("changed", "p-web.g7", ())
    assert (old.id, old.name, old.aside, old.was_running) == ("id-p-web", "p-web", "p-web.old", True)


def test_a_local_image_that_is_another_now_makes_a_change() -> None:
    web = container("web")
    seen = present(web, image_id="sha256:old")
    wanted = [Wanted(spec=web, image_id="sha256:new")]
    made = make_plan([seen], wanted, node_id=NODE, prefix="p", generation=2)
    assert made.changes[0].reason == "image-changed"


def test_what_is_no_longer_wanted_goes_and_what_is_elsewhere_stays() -> None:
    gone, elsewhere = present(container("gone")), present(container("web"), prefix="q")
    made = plan([gone, elsewhere], container("web"))
    assert [one.id for one in made.old] == [gone.id]


def test_the_old_holder_of_a_host_port_stops_first_whatever_its_name() -> None:
    ports = [{"container_port": 80, "host_port": 8080}]
    made = plan([present(container("old", ports=ports))], container("new", ports=ports))
    assert made.changes[0].stop_first == ("id-p-old",)


def test_a_host_network_makes_the_old_one_stop_first() -> None:
    old = present(container("web", network_mode="host"), is_on_host_network=True)
    made = plan([old], container("web", network_mode="host", image="image:2"))
    assert made.changes[0].stop_first == (old.id,)


def test_a_name_of_a_stranger_is_refused() -> None:
    stranger = Seen(id="x", name="p-web", state="exited")
    with pytest.raises(Conflict, match="name-taken"):
        plan([stranger], container("web"))


def test_a_port_of_a_running_stranger_is_refused_and_of_a_stopped_one_not() -> None:
    ports = [{"container_port": 80, "host_port": 8080}]
    stranger = Seen(id="x", name="x", state="running", host_ports=frozenset({HostPort(8080, "tcp", "0.0.0.0")}))
    with pytest.raises(Conflict, match="port-taken"):
        plan([stranger], container("web", ports=ports))
    plan([replace(stranger, state="exited")], container("web", ports=ports))


def test_ports_clash_only_on_one_address_and_protocol() -> None:
    assert HostPort(80).clashes(HostPort(80, "tcp", "127.0.0.1"))
    assert HostPort(80, "tcp", "::").clashes(HostPort(80, "tcp", "10.0.0.1"))
    assert not HostPort(80, "tcp", "127.0.0.1").clashes(HostPort(80, "tcp", "127.0.0.2"))
    assert not HostPort(80).clashes(HostPort(80, "udp"))
    assert not HostPort(80).clashes(HostPort(81))


def test_neighbours_without_a_gate_start_together_and_a_gate_stands_alone() -> None:
    check = {"test": ["true"]}
    made = plan([], container("a"), container("b"), container("c", healthcheck=check), container("d"), container("e"))
    assert made.groups == (("a", "b"), ("c",), ("d", "e"))
    assert is_gated(parse_config({"expected_state": {"state": "exited"}}))
    assert not is_gated(parse_config({"expected_state": {"state": "running"}}))


def test_a_stack_with_two_containers_of_a_name_or_a_port_contradicts_itself() -> None:
    ports = [{"container_port": 80, "host_port": 8080}]
    with pytest.raises(Invalid) as caught:
        check_stack([container("a", ports=ports), container("b", ports=ports), container("a")])
    assert [one.field for one in caught.value.errors] == ["stack.containers.1.config.ports", "stack.containers.2.name"]


def test_thousands_of_ports_are_compared_in_no_time() -> None:
    many = [{"first": first, "last": first + 15_999} for first in (1, 20_001)]
    spans = [{"container": one, "host": one} for one in many]
    began = clock.monotonic()
    check_stack([container("a", port_ranges=spans[:1]), container("b", port_ranges=spans[1:])])
    assert clock.monotonic() - began < 30  # each with each would take minutes


def test_a_range_publishes_each_of_its_ports() -> None:
    config = parse_config(
        {"port_ranges": [{"container": {"first": 1, "last": 3}, "host": {"first": 9001, "last": 9003}, "protocol": "udp"}]}
    )
    assert host_ports(config) == {HostPort(9001, "udp"), HostPort(9002, "udp"), HostPort(9003, "udp")}


# -- whatever is there ------------------------------------------------------------------------------------------

_ports = st.sampled_from([None, 8080, 8081])


@st.composite
def _specs(draw: st.DrawFn) -> list[ContainerSpec]:
    """A stack without contradictions."""
    found: list[ContainerSpec] = []
    used: set[int] = set()
    for name in draw(st.lists(st.sampled_from(NAMES), unique=True, min_size=1)):
        port = draw(_ports)
        config: dict[str, Any] = {"ports": [{"container_port": 80, "host_port": port}]} if port and port not in used else {}
        used |= {port} if port else set()
        if draw(st.booleans()):
            config["healthcheck"] = {"test": ["true"]}
        found.append(container(name, image=draw(st.sampled_from(["image:1", "image:2"])), **config))
    return found


@st.composite
def _engines(draw: st.DrawFn) -> list[Seen]:
    """What may stand on an engine: ours, leftovers of ours, other places' and strangers'."""
    found: dict[str, Seen] = {}
    for spec in draw(_specs()):
        state = draw(st.sampled_from(["running", "exited", "created", "restarting"]))
        name = f"p-{spec.name}" + draw(st.sampled_from(["", "", ".old", ".g7"]))
        found[name] = present(spec, name=name, state=state)
    for name in draw(st.lists(st.sampled_from(["p-web", "p-other", "stranger"]), unique=True)):
        taken = frozenset({HostPort(port)} if (port := draw(_ports)) else set())
        found.setdefault(name, Seen(id=f"foreign-{name}", name=name, state="running", host_ports=taken))
    return list(found.values())


@given(engine=_engines(), specs=_specs(), force=st.booleans())
def test_a_plan_accounts_for_every_container_and_never_for_a_strangers(engine: list[Seen], specs: list[ContainerSpec], force: bool) -> None:
    ours = {one.id for one in engine if one.belongs_to(NODE, "p")}
    try:
        made = plan(engine, *specs, force_recreate=force)
    except Conflict:
        return  # of names and ports of strangers; the tests above say when
    kept, old = {one.id for one in made.kept}, {one.id for one in made.old}
    assert kept | old == ours
    assert not kept & old
    # Each wanted container is kept or made, exactly once, and each that is made is started exactly once.
    assert sorted([one.container for one in made.kept] + [one.container for one in made.changes]) == sorted(spec.name for spec in specs)
    assert [name for group in made.groups for name in group] == [one.container for one in made.changes]
    assert not (force and kept)


@given(engine=_engines(), specs=_specs())
def test_names_never_collide_at_any_step_of_a_plan(engine: list[Seen], specs: list[ContainerSpec]) -> None:
    try:
        made = plan(engine, *specs)
    except Conflict:
        return
    names = [one.name for one in engine] + [one.working_name for one in made.changes]
    assert len(names) == len(set(names))
    by_id = {one.id: one for one in made.old}
    standing = {one.name for one in engine} | {one.working_name for one in made.changes}
    for change in made.changes:
        if change.replaces:
            old = by_id[change.replaces]
            assert old.name == change.name
            assert old.aside not in standing
            standing = standing - {old.name} | {old.aside}
        standing = standing - {change.working_name} | {change.name}


@given(engine=_engines(), specs=_specs())
def test_whoever_needs_a_port_stops_its_holder_first(engine: list[Seen], specs: list[ContainerSpec]) -> None:
    try:
        made = plan(engine, *specs)
    except Conflict:
        return
    by_name = {spec.name: spec for spec in specs}
    by_id = {one.id: one for one in engine}
    for change in made.changes:
        for wanted in host_ports(by_name[change.container].config):
            holders = {one.id for one in engine if one.is_running and any(wanted.clashes(port) for port in one.host_ports)}
            assert holders == set(change.stop_first)
        for stopped in change.stop_first:
            assert by_id[stopped].belongs_to(NODE, "p")


@given(engine=_engines(), specs=_specs())
def test_a_plan_survives_the_journal(engine: list[Seen], specs: list[ContainerSpec]) -> None:
    import json

    try:
        made = plan(engine, *specs)
    except Conflict:
        return
    assert Plan.from_json(json.loads(json.dumps(made.to_json()))) == made


@given(specs=_specs())
def test_a_plan_for_what_a_plan_made_changes_nothing(specs: list[ContainerSpec]) -> None:
    made = plan([present(spec) for spec in specs], *specs)
    assert (made.changes, made.old) == ((), ())
