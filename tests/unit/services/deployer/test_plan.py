"""What a start would do at a place, and whether the node still runs what was put there."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernel import clock
from kernel.contracts.spec import ContainerSpec, StackSpec, spec_hash
from services.deployer.domain.observed import Observed
from services.deployer.domain.plan import differences, fingerprint, make_plan, sync_of
from services.deployer.domain.states import Sync

DIGEST = "sha256:" + "a" * 64
OTHER = "sha256:" + "b" * 64


def want(name: str = "web", **config: Any) -> ContainerSpec:
    return ContainerSpec(clock.new_id(), name, f"registry.test/{name}@{DIGEST}", config, digest=DIGEST)


def seen(of: ContainerSpec, /, **changes: Any) -> Observed:
    facts = {"prefix": "shop", "name": of.name, "container_id": "c1", "image": of.image, "state": "running", "digest": of.digest}
    return Observed(**(facts | {"spec": spec_hash(of)} | changes))


def stack(*containers: ContainerSpec) -> StackSpec:
    return StackSpec("shop", "1.0.0", containers)


def test_what_is_as_it_should_be_is_kept() -> None:
    web = want()
    plan = make_plan(stack(web), [seen(web)])
    assert [(one.container, one.action) for one in plan.steps] == [("web", "keep")]
    assert not plan.downtime


@pytest.mark.parametrize(
    ("changes", "reasons"),
    [
        ({"spec": "other"}, ("changed",)),
        ({"spec": "other", "digest": OTHER}, ("image-changed",)),
        ({"state": "exited"}, ("not-running",)),
        ({"health": "unhealthy"}, ("unhealthy",)),
        ({"spec": "other", "state": "exited"}, ("changed", "not-running")),
    ],
)
def test_a_replacement_says_why(changes: dict[str, Any], reasons: tuple[str, ...]) -> None:
    web = want()
    (step,) = make_plan(stack(web), [seen(web, **changes)]).steps
    assert (step.action, step.reasons) == ("replace", reasons)


def test_what_is_missing_is_created_and_what_is_no_longer_wanted_is_removed() -> None:
    web, old = want(), want("old")
    steps = make_plan(stack(web), [seen(old)]).steps
    assert [(one.container, one.action) for one in steps] == [("web", "create"), ("old", "remove")]


def test_everything_is_replaced_when_that_is_forced() -> None:
    web = want()
    (step,) = make_plan(stack(web), [seen(web)], force_recreate=True).steps
    assert (step.action, step.reasons) == ("replace", ("force-recreate",))


@pytest.mark.parametrize(
    ("config", "state", "downtime"),
    [
        ({}, "running", False),
        ({"ports": [{"container_port": 80}]}, "running", False),
        ({"ports": [{"container_port": 80, "host_port": 8080}]}, "running", True),
        ({"ports": [{"container_port": 80, "host_port": 8080}]}, "exited", False),
        ({"network_mode": "host"}, "running", True),
    ],
)
def test_replacing_interrupts_only_what_holds_the_host(config: dict[str, Any], state: str, downtime: bool) -> None:
    web = want(**config)
    assert make_plan(stack(web), [seen(web, spec="other", state=state)]).downtime is downtime


@given(st.lists(st.sampled_from("abcde"), unique=True), st.lists(st.sampled_from("abcde"), unique=True), st.booleans())
def test_a_plan_names_every_container_once_and_ends_with_the_stack(wanted: list[str], present: list[str], force: bool) -> None:
    plan = make_plan(stack(*map(want, wanted)), [seen(want(name)) for name in present], force_recreate=force)
    assert sorted(one.container for one in plan.steps) == sorted({*wanted, *present})
    assert [one.container for one in plan.steps if one.action != "remove"] == wanted
    assert {one.container for one in plan.steps if one.action == "remove"} == {*present} - {*wanted}


def test_the_fingerprint_changes_with_what_is_wanted_and_what_is_seen_and_with_nothing_else() -> None:
    web, api = want(), want("api")
    base = fingerprint(stack(web), [seen(web), seen(api)])
    assert fingerprint(stack(web), [seen(api), seen(web)]) == base
    assert fingerprint(stack(replace(web, instance_id=clock.new_id())), [seen(web), seen(api)]) == base
    others = [
        fingerprint(stack(web, api), [seen(web), seen(api)]),
        fingerprint(stack(web), [seen(web)]),
        fingerprint(stack(web), [seen(web, container_id="c2"), seen(api)]),
        fingerprint(stack(web), [seen(web, state="exited"), seen(api)]),
        fingerprint(stack(web), [seen(web), seen(api)], force_recreate=True),
    ]
    assert len({base, *others}) == 6


def test_drift_is_told_field_by_field() -> None:
    web, api, job = want(), want("api"), want("job", expected_state={"state": "exited", "exit_code": 0})
    now = [seen(web, state="exited", digest=OTHER), seen(job, state="exited", exit_code=3), seen(want("extra"))]
    assert [(one.container, one.field) for one in differences(stack(web, api, job), now)] == [
        ("web", "digest"),
        ("web", "state"),
        ("api", "container"),
        ("job", "exit_code"),
        ("extra", "container"),
    ]


def test_a_job_that_has_ended_well_is_in_sync() -> None:
    job = want("job", expected_state={"state": "exited"})
    assert sync_of(stack(job), [seen(job, state="exited", exit_code=0)]) == (Sync.IN_SYNC, ())


def test_what_nobody_has_seen_is_unknown() -> None:
    assert sync_of(stack(want()), None) == (Sync.UNKNOWN, ())
    assert sync_of(None, []) == (Sync.UNKNOWN, ())
