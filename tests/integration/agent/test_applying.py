"""Deployments that succeed, on a real Docker Engine."""

from __future__ import annotations

import json

from deploy.native.ports import free_port
from kernel.contracts.spec import LABEL_ATTEMPT, LABEL_GENERATION, LABEL_SPEC, spec_hash
from tests.integration.agent.ground import Ground, names, spec


def test_a_first_deployment_makes_its_containers_and_says_so(ground: Ground) -> None:
    specs = [spec("web", ground.image), spec("db", ground.image)]
    finished = ground.apply(*specs)

    assert (finished.outcome, finished.code, finished.restored) == ("succeeded", None, True), finished
    assert names(ground.running(), ground.prefix) == {"web", "db"}
    assert {(one.name, one.action, one.health_checked) for one in finished.containers} == {
        ("web", "created", False),
        ("db", "created", False),
    }
    found = ground.inspect("web")
    assert found["Config"]["Labels"][LABEL_ATTEMPT] == str(finished.attempt_id)
    assert found["Config"]["Labels"][LABEL_GENERATION] == "1"
    assert found["Config"]["Labels"][LABEL_SPEC] == spec_hash(specs[0])
    assert found["HostConfig"]["RestartPolicy"]["Name"] == "unless-stopped"
    assert set(finished.seconds) >= {"pull", "create", "start", "healthy", "switch", "total"}


def test_an_upgrade_keeps_what_is_unchanged_and_replaces_the_rest(ground: Ground) -> None:
    ground.apply(spec("web", ground.image), spec("db", ground.image), spec("gone", ground.image))
    before = ground.running()

    finished = ground.apply(spec("web", ground.other_image), spec("db", ground.image), spec("fresh", ground.image))

    after = ground.running()
    assert finished.outcome == "succeeded", finished
    assert names(after, ground.prefix) == {"web", "db", "fresh"}
    assert after[f"{ground.prefix}-db"] == before[f"{ground.prefix}-db"]
    assert after[f"{ground.prefix}-web"] != before[f"{ground.prefix}-web"]
    actions = {one.name: one.action for one in finished.containers}
    assert actions == {"web": "replaced", "db": "kept", "fresh": "created", "gone": "removed"}


def test_forced_recreation_replaces_even_what_is_unchanged(ground: Ground) -> None:
    ground.apply(spec("web", ground.image))
    before = ground.running()
    finished = ground.apply(spec("web", ground.image), force_recreate=True)
    assert finished.outcome == "succeeded"
    assert set(ground.running().values()).isdisjoint(before.values())


def test_a_stopped_container_is_made_anew_although_it_is_unchanged(ground: Ground) -> None:
    ground.apply(spec("web", ground.image))
    ground.docker.api.stop(f"{ground.prefix}-web", timeout=0)
    assert ground.apply(spec("web", ground.image)).outcome == "succeeded"
    assert names(ground.running(), ground.prefix) == {"web"}


def test_containers_of_a_place_find_each_other_by_their_short_names(ground: Ground) -> None:
    serve = ["httpd", "-f", "-p", "80", "-h", "/www"]
    finished = ground.apply(spec("web", ground.image, command=serve), spec("other", ground.image))
    assert finished.outcome == "succeeded"
    assert ground.execute("other", "wget", "-q", "-O", "-", "http://web/") == "one"
    assert ground.execute("other", "wget", "-q", "-O", "-", f"http://{ground.prefix}-web/") == "one"


def test_a_new_container_takes_over_the_host_port_of_the_old(ground: Ground) -> None:
    port = free_port()
    ports = [{"container_port": 80, "host_port": port, "host_ip": "127.0.0.1"}]
    check = {"http": {"path": "/", "port": 80}, "interval_seconds": 0.2}
    serve = ["httpd", "-f", "-p", "80", "-h", "/www"]
    first = ground.apply(spec("web", ground.image, command=serve, ports=ports, healthcheck=check))
    second = ground.apply(spec("web", ground.other_image, command=serve, ports=ports, healthcheck=check))
    assert (first.outcome, second.outcome) == ("succeeded", "succeeded"), (first, second)
    assert second.containers[0].health_checked
    assert ground.inspect("web")["NetworkSettings"]["Ports"]["80/tcp"] == [{"HostIp": "127.0.0.1", "HostPort": str(port)}]
    assert len(ground.running()) == 1


def test_a_renamed_container_may_take_the_port_of_the_one_that_goes(ground: Ground) -> None:
    ports = [{"container_port": 80, "host_port": free_port(), "host_ip": "127.0.0.1"}]
    ground.apply(spec("web", ground.image, ports=ports))
    finished = ground.apply(spec("front", ground.image, ports=ports))
    assert finished.outcome == "succeeded", finished
    assert names(ground.running(), ground.prefix) == {"front"}


def test_init_containers_run_to_their_end_before_the_main_one_starts(ground: Ground) -> None:
    volume = {"path": "/data", "type": "volume", "name": "shared"}
    inits = [
        {"name": "first", "image": ground.image, "command": ["sh", "-c", "echo 1 > /data/first"], "volumes": [volume]},
        {"name": "second", "image": ground.image, "command": ["sh", "-c", "cat /data/first && echo 2 > /data/second"], "volumes": [volume]},
    ]
    finished = ground.apply(spec("web", ground.image, init_containers=inits, volumes=[volume]))
    assert finished.outcome == "succeeded", finished
    assert ground.execute("web", "cat", "/data/first", "/data/second") == "1\n2\n"
    assert names(ground.containers(), ground.prefix) == {"web"}


def test_a_job_succeeds_by_exiting_with_the_expected_code(ground: Ground) -> None:
    expected = {"state": "exited", "exit_code": 3, "timeout_seconds": 20}
    finished = ground.apply(spec("job", ground.image, command=["sh", "-c", "exit 3"], expected_state=expected), spec("web", ground.image))
    assert finished.outcome == "succeeded", finished
    found = ground.inspect("job")
    assert (found["State"]["Status"], found["State"]["ExitCode"]) == ("exited", 3)
    assert found["HostConfig"]["RestartPolicy"]["Name"] == "no"


def test_a_container_behind_a_gate_starts_after_what_it_waits_for(ground: Ground) -> None:
    check = {"test": ["test", "-f", "/tmp/ready"], "interval_seconds": 0.3, "retries": 30}
    slow = spec("db", ground.image, command=["sh", "-c", "sleep 1; touch /tmp/ready; exec sleep 100000"], healthcheck=check)
    finished = ground.apply(slow, spec("web", ground.image))
    assert finished.outcome == "succeeded", finished
    ready = ground.inspect("db")["State"]["Health"]["Log"][-1]["End"]
    assert ground.inspect("web")["State"]["StartedAt"] >= ground.inspect("db")["State"]["StartedAt"]
    steps = ground.steps(finished.attempt_id)
    assert steps.index("healthy") > steps.index("started")
    assert ready


def test_secrets_reach_the_container_as_variables_and_files_and_nothing_else(ground: Ground) -> None:
    sealed = {"PASSWORD": ground.sealed("PASSWORD", "s3cret-in-env"), "KEY": ground.sealed("KEY", "s3cret-in-file", as_="file")}
    secrets = {"PASSWORD": {"as": "env"}, "KEY": {"as": "file"}}
    leak = ["sh", "-c", "echo password is $PASSWORD; exec sleep 100000"]
    finished = ground.apply(spec("web", ground.image, sealed=sealed, secrets=secrets, command=leak, user="1234"))
    assert finished.outcome == "succeeded", finished
    assert ground.execute("web", "sh", "-c", "echo -n $PASSWORD") == "s3cret-in-env"
    assert ground.execute("web", "cat", "/run/secrets/KEY") == "s3cret-in-file"
    mount = next(one for one in ground.inspect("web")["Mounts"] if one["Destination"] == "/run/secrets")
    assert (mount["RW"], mount["Type"]) == (False, "bind")
    root = ground.directory / "secrets"
    assert root.stat().st_mode & 0o777 == 0o700
    [directory] = root.iterdir()
    assert (directory / "secrets" / "KEY").stat().st_mode & 0o777 == 0o400
    assert "s3cret" not in json.dumps([str(report) for report in ground.reports()])

    ground.apply(spec("web", ground.image))
    assert list(root.iterdir()) == []


def test_files_are_written_before_the_start_even_below_a_read_only_root(ground: Ground) -> None:
    files = [{"path": "/etc/app/settings.txt", "content": "hello", "mode": "0640"}]
    finished = ground.apply(spec("web", ground.image, files=files), spec("shut", ground.image, files=files, read_only_root=True))
    assert finished.outcome == "succeeded", finished
    assert ground.execute("web", "ls", "-l", "/etc/app/settings.txt").startswith("-rw-r-----")
    assert ground.execute("web", "cat", "/etc/app/settings.txt") == "hello"
    assert ground.execute("shut", "cat", "/etc/app/settings.txt") == "hello"
    assert "Read-only" in ground.execute("shut", "touch", "/etc/app/new")


def test_a_container_may_join_shared_networks_that_outlive_it(ground: Ground) -> None:
    shared = f"{ground.prefix}-shared"
    assert ground.apply(spec("web", ground.image, networks=[shared])).outcome == "succeeded"
    joined = ground.inspect("web")["NetworkSettings"]["Networks"]
    assert set(joined) == {f"fairlead-{ground.prefix}", shared}
    assert "web" in joined[shared]["Aliases"]


def test_a_container_that_comes_up_at_the_second_try_is_let_up(ground: Ground) -> None:
    volume = {"path": "/data", "type": "volume", "name": "tries"}
    command = ["sh", "-c", "test -f /data/tried && exec sleep 100000; touch /data/tried; exit 1"]
    finished = ground.apply(spec("web", ground.image, command=command, volumes=[volume], expected_state={"stable_seconds": 1}))
    assert finished.outcome == "succeeded", finished


def test_removing_a_place_takes_its_containers_and_its_volumes_if_asked(ground: Ground) -> None:
    volume = {"path": "/data", "type": "volume", "name": "kept"}
    ground.apply(spec("web", ground.image, volumes=[volume]))
    ground.remove_place()
    _wait_until_gone(ground)
    assert ground.leftovers() == [f"{ground.prefix}-kept"]
    ground.apply(spec("web", ground.image, volumes=[volume]))
    ground.remove_place(volumes=True)
    _wait_until_gone(ground)
    assert ground.leftovers() == []


def _wait_until_gone(ground: Ground) -> None:
    from tests.fixtures.waiting import eventually

    eventually(lambda: not ground.core.journal.unfinished(), what="the removal")
    assert ground.containers() == {}
