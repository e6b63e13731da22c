"""The health gate's judgement, as values."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from agent.docker.values import Inspected, inspected, seen
from agent.probes import Judgement, Probe, Verdict, address_of, has_check, judge
from kernel.contracts.config import Config, parse_config
from tests.fixtures.waiting import eventually

RUNNING = Inspected(id="c", name="c", state="running")


def verdict(found: Inspected, probe: Judgement | None = None, **expected: Any) -> str:
    return judge(parse_config({"expected_state": expected} if expected else {}), found, probe).verdict


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (RUNNING, "ready"),
        (replace(RUNNING, state="created"), "wait"),
        (replace(RUNNING, state="restarting"), "wait"),
        (replace(RUNNING, state="exited"), "ended"),
        (replace(RUNNING, state="dead"), "ended"),
        (replace(RUNNING, health="starting"), "wait"),
        (replace(RUNNING, health="healthy"), "ready"),
        (replace(RUNNING, health="unhealthy"), "failed"),
    ],
)
def test_one_look_is_judged_by_state_and_health(found: Inspected, expected: str) -> None:
    assert verdict(found) == expected


def test_what_should_exit_is_judged_by_its_code() -> None:
    ended = replace(RUNNING, state="exited", exit_code=3)
    assert verdict(RUNNING, state="exited") == "wait"
    assert verdict(ended, state="exited") == "failed"
    assert verdict(ended, state="exited", exit_code=3) == "ready"


def test_what_should_be_healthy_cannot_without_a_check() -> None:
    assert verdict(RUNNING, state="healthy") == "failed"
    assert verdict(replace(RUNNING, health="healthy"), state="healthy") == "ready"


def test_a_probe_of_ours_goes_before_the_images_check() -> None:
    assert verdict(replace(RUNNING, health="healthy"), Judgement(Verdict.WAIT)) == "wait"
    assert verdict(replace(RUNNING, state="exited"), Judgement(Verdict.READY)) == "ended"


def test_an_end_says_its_code_and_whether_memory_was_the_reason() -> None:
    said = judge({}, replace(RUNNING, state="exited", exit_code=137, was_oom_killed=True)).detail
    assert "137" in said
    assert "memory" in said


def test_a_probe_fails_only_after_its_retries_at_its_interval() -> None:
    check = parse_config({"healthcheck": {"http": {"port": 80}, "interval_seconds": 0.1, "retries": 2}})["healthcheck"]
    answers: list[str | None] = ["no"]

    def ask(address: str, asked: Config) -> str | None:
        assert (address, asked) == ("1.2.3.4", check)
        return answers[0]

    probe = Probe(check, ask)
    assert probe.look("1.2.3.4").verdict is Verdict.WAIT
    eventually(lambda: probe.look("1.2.3.4").verdict is Verdict.FAILED)
    answers[0] = None
    eventually(lambda: probe.look("1.2.3.4").verdict is Verdict.READY)


def test_a_probe_does_not_count_within_its_start_period() -> None:
    check = {"tcp": {"port": 1}, "interval_seconds": 0.0, "retries": 1, "start_period_seconds": 3600, "timeout_seconds": 1}
    probe = Probe(check, lambda _address, _check: "no")
    assert probe.look("x").verdict is Verdict.WAIT


def test_only_http_and_tcp_are_the_agents_to_ask() -> None:
    assert Probe.of({"healthcheck": {"test": ["x"]}}) is None
    assert Probe.of({}) is None
    assert Probe.of(parse_config({"healthcheck": {"tcp": {"port": 1}}})) is not None
    assert has_check({"healthcheck": {"tcp": {"port": 1}}}, RUNNING)
    assert has_check({}, replace(RUNNING, health="starting"))
    assert not has_check({}, RUNNING)


def test_a_container_is_asked_where_the_host_reaches_it() -> None:
    assert address_of(replace(RUNNING, addresses={"n": "172.18.0.2"})) == "172.18.0.2"
    assert address_of(replace(RUNNING, is_on_host_network=True)) == "127.0.0.1"
    assert address_of(RUNNING) == ""


def test_an_image_without_a_health_check_has_none_in_what_docker_says() -> None:
    raw = {
        "Id": "c", "Name": "/c", "State": {"Status": "running", "Health": {"Status": "none"}}, "Config": {"Image": "i"},
        "HostConfig": {}, "NetworkSettings": {"Ports": {"80/tcp": [{"HostIp": "", "HostPort": "8080"}], "81/tcp": None}},
    }  # fmt: skip
    found = inspected(raw)
    assert (found.health, found.stop_seconds) == (None, 10)
    assert found.ports == ({"container_port": 80, "protocol": "tcp", "host_ip": "", "host_port": 8080},)


def test_a_listed_container_without_names_or_ports_is_still_seen() -> None:
    found = seen({"Id": "c", "Names": None, "Ports": None, "Labels": None, "Mounts": None})
    assert (found.name, found.host_ports, found.generation, found.is_running) == ("", frozenset(), 0, False)
