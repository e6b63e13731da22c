"""A failed deployment changes nothing: what ran before runs, the very same containers."""

from __future__ import annotations

import pytest

from agent.docker import Engine
from agent.identity import load_or_make_keys
from deploy.native.ports import free_port
from kernel import clock
from kernel.contracts.agent import DeploymentFinished
from kernel.contracts.config import Config
from kernel.contracts.spec import LABEL_NODE
from kernel.signing import seal
from tests.fixtures.waiting import eventually
from tests.integration.agent.ground import Ground, names, new_prefix, spec

_FAILING_CHECK: Config = {"test": ["false"], "interval_seconds": 0.2, "retries": 2}


def _fails(ground: Ground, finished: DeploymentFinished, code: str, before: dict[str, str]) -> None:
    assert (finished.outcome, finished.code, finished.restored) == ("failed", code, True), finished
    assert ground.running() == before
    for name in before:
        assert ground.docker.api.inspect_container(name)["HostConfig"]["RestartPolicy"]["Name"] == "unless-stopped"


def test_a_failing_health_check_leaves_the_old_one_running(ground: Ground) -> None:
    ground.apply(spec("web", ground.image), spec("db", ground.image))
    before = ground.running()
    started_at = ground.inspect("web")["State"]["StartedAt"]
    finished = ground.apply(spec("web", ground.other_image, healthcheck=_FAILING_CHECK), spec("new", ground.image))
    _fails(ground, finished, "unhealthy", before)
    assert ground.inspect("web")["State"]["StartedAt"] == started_at


class DefectiveEngine(Engine):
    """Every start meets a mistake in our own code."""

    def start(self, container_id: str) -> None:
        raise KeyError(container_id)


def test_a_defect_of_the_agent_fails_one_attempt_and_not_the_agent(ground: Ground) -> None:
    ground.apply(spec("web", ground.image))
    before = ground.running()
    ground.close()
    ground.open(DefectiveEngine(ground.core.settings.docker_address))
    _fails(ground, ground.apply(spec("web", ground.other_image)), "internal-error", before)
    ground.close()
    ground.open()
    assert ground.apply(spec("web", ground.other_image)).outcome == "succeeded"


def test_a_failing_first_deployment_leaves_nothing_at_all(ground: Ground) -> None:
    volume = {"path": "/data", "type": "volume", "name": "data"}
    sealed = {"KEY": ground.sealed("KEY", "value", as_="file")}
    finished = ground.apply(
        spec("web", ground.image, sealed=sealed, volumes=[volume], networks=[f"{ground.prefix}-shared"], healthcheck=_FAILING_CHECK)
    )
    _fails(ground, finished, "unhealthy", {})
    assert ground.leftovers() == []


def test_the_old_one_comes_back_to_its_host_port(ground: Ground) -> None:
    ports = [{"container_port": 80, "host_port": free_port(), "host_ip": "127.0.0.1"}]
    ground.apply(spec("web", ground.image, ports=ports))
    before = ground.running()
    finished = ground.apply(spec("web", ground.other_image, ports=ports, healthcheck=_FAILING_CHECK))
    _fails(ground, finished, "unhealthy", before)
    assert ground.inspect("web")["NetworkSettings"]["Ports"]["80/tcp"]


def test_a_crash_loop_is_told_with_its_last_lines_and_without_secrets(ground: Ground) -> None:
    sealed = {"PASSWORD": ground.sealed("PASSWORD", "hunter2hunter2")}
    command = ["sh", "-c", "echo cannot log in with $PASSWORD; exit 7"]
    finished = ground.apply(spec("web", ground.image, sealed=sealed, command=command, expected_state={"stable_seconds": 1}))
    _fails(ground, finished, "exited", {})
    assert finished.detail is not None
    assert "exited with code 7" in finished.detail
    assert "cannot log in with [hidden]" in finished.detail
    assert all("hunter2" not in str(report) for report in ground.reports())


def test_a_container_that_may_not_restart_fails_at_its_first_end(ground: Ground) -> None:
    finished = ground.apply(spec("web", ground.image, command=["false"], restart_policy="no", expected_state={"stable_seconds": 1}))
    _fails(ground, finished, "exited", {})
    assert "log" not in ground.steps(finished.attempt_id)


def test_a_job_with_the_wrong_code_fails(ground: Ground) -> None:
    expected = {"state": "exited", "timeout_seconds": 20}
    finished = ground.apply(spec("job", ground.image, command=["false"], expected_state=expected))
    _fails(ground, finished, "exited", {})


def test_what_never_becomes_healthy_fails_after_its_time(ground: Ground) -> None:
    check = {"test": ["false"], "interval_seconds": 0.5, "retries": 100}
    expected = {"state": "healthy", "timeout_seconds": 1}
    finished = ground.apply(spec("web", ground.image, healthcheck=check, expected_state=expected))
    _fails(ground, finished, "unhealthy", {})


def test_what_should_be_healthy_needs_a_health_check(ground: Ground) -> None:
    finished = ground.apply(spec("web", ground.image, expected_state={"state": "healthy"}))
    _fails(ground, finished, "unhealthy", {})
    assert "no health check" in str(finished.detail)


@pytest.mark.parametrize("check", [{"http": {"path": "/missing", "port": 80}}, {"tcp": {"port": 81}}])
def test_a_failing_probe_keeps_the_old_release_running(ground: Ground, check: Config) -> None:
    serve = ["httpd", "-f", "-p", "80", "-h", "/www"]
    ground.apply(spec("web", ground.image, command=serve))
    before = ground.running()
    often = check | {"interval_seconds": 0.2, "retries": 2}
    _fails(ground, ground.apply(spec("web", ground.other_image, command=serve, healthcheck=often)), "unhealthy", before)


def test_a_failing_init_container_stops_everything(ground: Ground) -> None:
    ground.apply(spec("web", ground.image))
    before = ground.running()
    inits = [{"name": "migrate", "image": ground.image, "command": ["sh", "-c", "echo no table; exit 2"]}]
    finished = ground.apply(spec("web", ground.other_image, init_containers=inits))
    _fails(ground, finished, "init-failed", before)
    assert "no table" in str(finished.detail)


def test_a_program_that_is_not_there_fails_without_a_trace(ground: Ground) -> None:
    ground.apply(spec("web", ground.image))
    before = ground.running()
    finished = ground.apply(spec("web", ground.other_image, command=["no-such-program"], init=False))
    _fails(ground, finished, "engine-refused", before)


def test_an_unknown_local_image_is_missing(ground: Ground) -> None:
    finished = ground.apply(spec("web", "agenttest-nowhere:1"))
    assert (finished.outcome, finished.code) == ("failed", "image-missing")


def test_a_name_that_somebody_else_holds_is_not_touched(ground: Ground) -> None:
    name = f"{ground.prefix}-web"
    foreign = ground.docker.api.create_container(ground.image, ["sleep", "100"], name=name)["Id"]
    try:
        finished = ground.apply(spec("web", ground.image))
        assert (finished.outcome, finished.code) == ("failed", "name-taken")
        assert ground.docker.api.inspect_container(name)["Id"] == foreign
    finally:
        ground.docker.api.remove_container(foreign, force=True)


def test_a_port_that_another_container_holds_is_taken(ground: Ground) -> None:
    ports = [{"container_port": 80, "host_port": free_port(), "host_ip": "127.0.0.1"}]
    home = ground.prefix
    ground.apply(spec("web", ground.image, ports=ports))
    finished = ground.apply(spec("web", ground.image, ports=ports), prefix=new_prefix())
    assert (finished.outcome, finished.code) == ("failed", "port-taken")
    assert names(ground.running(), home) == {"web"}


def test_a_port_that_another_program_holds_is_taken_and_the_old_one_comes_back(ground: Ground) -> None:
    import socket

    ground.apply(spec("web", ground.image))
    before = ground.running()
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        ports = [{"container_port": 80, "host_port": holder.getsockname()[1], "host_ip": "127.0.0.1"}]
        _fails(ground, ground.apply(spec("web", ground.other_image, ports=ports)), "port-taken", before)


def test_an_attempt_past_its_deadline_is_undone(ground: Ground) -> None:
    ground.apply(spec("web", ground.image))
    before = ground.running()
    check = {"test": ["false"], "interval_seconds": 1, "retries": 100}
    finished = ground.apply(spec("web", ground.other_image, healthcheck=check), timeout_seconds=2)
    _fails(ground, finished, "timed-out", before)


@pytest.mark.parametrize("step", ["created", "started"])
def test_a_cancelled_attempt_is_undone(ground: Ground, step: str) -> None:
    ground.apply(spec("web", ground.image))
    before = ground.running()
    check = {"test": ["false"], "interval_seconds": 1, "retries": 100}
    attempt = ground.start(spec("web", ground.other_image, healthcheck=check))
    eventually(lambda: step in ground.steps(attempt), what=step)
    ground.cancel(attempt, reason="timed-out")
    finished = ground.finished(attempt)
    assert (finished.outcome, finished.code, finished.restored) == ("cancelled", "timed-out", True)
    assert ground.running() == before


def test_cancelling_in_an_init_container_undoes(ground: Ground) -> None:
    inits = [{"name": "long", "image": ground.image, "command": ["sleep", "1000"]}]
    attempt = ground.start(spec("web", ground.image, init_containers=inits))
    eventually(lambda: "started" in ground.steps(attempt), what="the init container")
    ground.cancel(attempt)
    assert ground.finished(attempt).outcome == "cancelled"
    assert ground.containers() == {}
    assert ground.leftovers() == []


def test_a_finished_attempt_answers_a_cancellation_with_its_outcome(ground: Ground) -> None:
    done = ground.apply(spec("web", ground.image))
    ground.cancel(done.attempt_id)
    told = ground.finished_all(done.attempt_id)
    assert [one.outcome for one in told] == ["succeeded", "succeeded"]
    assert told[0] == told[1]
    assert len(ground.running()) == 1


def test_a_newer_order_makes_the_one_under_way_give_way(ground: Ground) -> None:
    check = {"test": ["false"], "interval_seconds": 1, "retries": 100}
    older = ground.start(spec("web", ground.image, healthcheck=check))
    eventually(lambda: "started" in ground.steps(older), what="the older one's start")
    newer = ground.apply(spec("web", ground.other_image))
    assert (ground.finished(older).outcome, ground.finished(older).code) == ("cancelled", "superseded")
    assert newer.outcome == "succeeded"
    assert len(ground.running()) == 1


def test_a_container_of_another_node_is_somebody_elses(ground: Ground) -> None:
    labels = {LABEL_NODE: str(clock.new_id())}
    name = f"{ground.prefix}-web"
    foreign = ground.docker.api.create_container(ground.image, ["sleep", "100"], name=name, labels=labels)["Id"]
    try:
        assert ground.apply(spec("web", ground.image)).code == "name-taken"
        assert ground.docker.api.inspect_container(name)["Id"] == foreign
    finally:
        ground.docker.api.remove_container(foreign, force=True)


def test_secrets_that_cannot_be_opened_refuse_the_order_before_anything(ground: Ground) -> None:
    from kernel.contracts.spec import SealedSecret

    unreadable = ground.apply(spec("web", ground.image, sealed={"KEY": SealedSecret("AAAA")}))
    assert (unreadable.outcome, unreadable.code) == ("refused", "secret-unreadable")
    swapped = ground.apply(spec("web", ground.image, sealed={"KEY": ground.sealed("OTHER", "value")}))
    assert (swapped.outcome, swapped.code) == ("refused", "secret-swapped")
    elsewhere = ground.apply(spec("web", ground.image, sealed={"KEY": ground.sealed("KEY", "value", team=str(clock.new_id()))}))
    assert (elsewhere.outcome, elsewhere.code) == ("refused", "secret-swapped")
    missing = ground.apply(spec("web", ground.image, secrets={"KEY": {}}))
    assert (missing.outcome, missing.code) == ("refused", "secret-missing")
    assert ground.containers() == {}
    assert ground.refusals() == ["secret-unreadable", "secret-swapped", "secret-swapped", "secret-missing"]


def test_the_owners_policy_refuses_before_anything_is_touched(ground: Ground) -> None:
    finished = ground.apply(spec("web", ground.image, privileged=True))
    assert (finished.outcome, finished.code) == ("refused", "policy-denied")
    assert "privileged" in str(finished.detail)
    socket = [{"path": "/sock", "type": "bind", "host_path": "/var/run/docker.sock"}]
    assert ground.apply(spec("web", ground.image, volumes=socket)).code == "policy-denied"
    (ground.directory / "policy.toml").write_text("privileged = 'yes'")
    broken = ground.apply(spec("web", ground.image))
    assert (broken.code, "policy-file" in str(broken.detail)) == ("policy-denied", True)
    assert ground.containers() == {}


def test_credentials_for_another_registry_are_refused(ground: Ground) -> None:
    key = load_or_make_keys(ground.directory).unseal.public_key
    box = seal(key, team=str(ground.node.team_id), node=str(ground.node.node_id), name="registry:evil.example", value="{}")
    finished = ground.apply(spec("web", ground.image), credentials={"good.example": box})
    assert (finished.outcome, finished.code) == ("refused", "secret-swapped")
