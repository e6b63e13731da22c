"""What Docker is asked to create, as values."""

from __future__ import annotations

import json
from typing import Any
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from agent.containers import (
    Ceilings,
    Local,
    Origin,
    create_arguments,
    final_restart_policy,
    init_arguments,
    named_volumes,
    networks,
)
from kernel.contracts.config import Config, parse_config
from kernel.contracts.spec import LABEL_PREFIX, LABEL_ROLE, LABEL_SPEC, ContainerSpec, spec_hash

ORIGIN = Origin(node_id=UUID(int=1), team_id=UUID(int=2), prefix="p", deployment_id=UUID(int=3), attempt_id=UUID(int=4), generation=5)


def arguments(local: Local | None = None, **config: Any) -> dict[str, Any]:
    spec = ContainerSpec(UUID(int=9), "web", "image:1", parse_config(config))
    return create_arguments(spec, ORIGIN, local or Local())


def test_nothing_asked_gives_a_plain_container_on_the_place_network() -> None:
    made = arguments()
    assert made["Image"] == "image:1"
    assert made["HostConfig"]["RestartPolicy"] == {"Name": "no"}
    assert made["HostConfig"]["NetworkMode"] == "fairlead-p"
    assert made["NetworkingConfig"] == {"EndpointsConfig": {"fairlead-p": {"Aliases": ["web", "p-web"]}}}
    assert not {"Privileged", "CapAdd", "Memory", "Init"} & set(made["HostConfig"])
    assert not {"Cmd", "Entrypoint", "User", "Healthcheck"} & set(made)


def test_labels_say_whose_it_is_and_cannot_be_forged_by_configuration() -> None:
    spec = ContainerSpec(UUID(int=9), "web", "image:1", {"labels": {LABEL_PREFIX: "other", "mine": "1", "none": None}})
    made = create_arguments(spec, ORIGIN, Local())["Labels"]
    assert (made[LABEL_PREFIX], made[LABEL_ROLE], made[LABEL_SPEC], made["mine"]) == ("p", "main", spec_hash(spec), "1")
    assert "none" not in made


def test_ports_are_exposed_and_those_with_a_host_port_are_bound() -> None:
    made = arguments(
        ports=[{"container_port": 80, "host_port": 8080, "host_ip": "127.0.0.1"}, {"container_port": 53, "protocol": "udp"}],
        port_ranges=[{"container": {"first": 10, "last": 11}, "host": {"first": 9010, "last": 9011}}],
    )
    assert set(made["ExposedPorts"]) == {"80/tcp", "53/udp", "10/tcp", "11/tcp"}
    assert made["HostConfig"]["PortBindings"] == {
        "80/tcp": [{"HostIp": "127.0.0.1", "HostPort": "8080"}],
        "10/tcp": [{"HostIp": "", "HostPort": "9010"}],
        "11/tcp": [{"HostIp": "", "HostPort": "9011"}],
    }


def test_volumes_are_the_places_own_and_binds_use_the_resolved_path() -> None:
    made = arguments(
        Local(host_paths={"/srv/link": "/srv/real"}),
        volumes=[
            {"path": "/data", "name": "data"},
            {"path": "/srv", "type": "bind", "host_path": "/srv/link", "read_only": True},
            {"path": "/tmp//x/", "type": "tmpfs", "size_bytes": 4096},
        ],
    )
    assert made["HostConfig"]["Mounts"] == [
        {"Type": "volume", "Target": "/data", "ReadOnly": False, "Source": "p-data"},
        {"Type": "bind", "Target": "/srv", "ReadOnly": True, "Source": "/srv/real"},
        {"Type": "tmpfs", "Target": "/tmp/x", "ReadOnly": False, "TmpfsOptions": {"SizeBytes": 4096}},
    ]


def test_secrets_go_into_the_environment_or_are_mounted_read_only() -> None:
    made = arguments(Local(environment={"KEY": "value"}, secrets_directory="/dir"), environment={"KEY": "old", "A": "1", "B": None})
    assert made["Env"] == ["A=1", "KEY=value"]
    assert made["HostConfig"]["Mounts"] == [{"Type": "bind", "Source": "/dir", "Target": "/run/secrets", "ReadOnly": True}]


def test_limits_of_the_owner_hold_for_a_container_without_its_own() -> None:
    ceilings = Local(ceilings=Ceilings(memory_bytes=1 << 30, cpus=2, pids=100))
    assert (
        arguments(ceilings)["HostConfig"] | {"NanoCpus": 2_000_000_000, "Memory": 1 << 30, "PidsLimit": 100}
        == arguments(ceilings)["HostConfig"]
    )
    own = arguments(ceilings, resources={"memory_bytes": 64 << 20, "cpus": 0.5})["HostConfig"]
    assert (own["Memory"], own["NanoCpus"], own["PidsLimit"]) == (64 << 20, 500_000_000, 100)


def test_a_health_test_is_a_command_and_never_a_shell_unless_asked() -> None:
    check = {"interval_seconds": 1.5, "timeout_seconds": 1, "retries": 4}
    made = arguments(healthcheck={"test": ["check", "it"], **check})["Healthcheck"]
    assert made == {"Test": ["CMD", "check", "it"], "Interval": 1_500_000_000, "Timeout": 1_000_000_000, "StartPeriod": 0, "Retries": 4}
    assert arguments(healthcheck={"test": ["CMD-SHELL", "a | b"]})["Healthcheck"]["Test"] == ["CMD-SHELL", "a | b"]
    assert arguments(healthcheck={"http": {"port": 80}})["Healthcheck"] == {"Test": ["NONE"]}


def test_a_host_network_joins_no_other_and_publishes_nothing() -> None:
    made = arguments(network_mode="host", networks=["shared"], ports=[{"container_port": 80, "host_port": 80}])
    assert made["HostConfig"]["NetworkMode"] == "host"
    assert "NetworkingConfig" not in made
    assert made["HostConfig"]["PortBindings"] == {}
    assert networks(parse_config({"networks": ["shared"]}), "p") == ["fairlead-p", "shared"]


def test_docker_never_starts_at_boot_what_was_stopped_on_purpose() -> None:
    assert final_restart_policy({}) == "unless-stopped"
    assert final_restart_policy({"restart_policy": "always"}) == "unless-stopped"
    assert final_restart_policy({"restart_policy": "on-failure"}) == "on-failure"
    assert final_restart_policy({"expected_state": {"state": "exited"}}) == "no"


def test_an_init_container_has_its_own_program_and_the_main_ones_place() -> None:
    config = parse_config({"user": "1000", "init_containers": [{"name": "make", "image": "tool:1", "command": ["go"]}]})
    spec = ContainerSpec(UUID(int=9), "web", "image:1", config)
    made = init_arguments(spec, config["init_containers"][0], ORIGIN, Local(environment={"KEY": "v"}))
    assert (made["Image"], made["Cmd"], made["User"], made["Env"]) == ("tool:1", ["go"], "1000", ["KEY=v"])
    assert made["Labels"][LABEL_ROLE] == "init"
    assert made["HostConfig"]["NetworkMode"] == "fairlead-p"
    assert "Aliases" not in made["NetworkingConfig"]["EndpointsConfig"]["fairlead-p"]


def test_the_volumes_of_init_containers_count_too() -> None:
    volume = {"path": "/d", "name": "shared"}
    config = parse_config(
        {"volumes": [volume], "init_containers": [{"name": "i", "image": "x", "volumes": [{"path": "/e", "name": "more"}]}]}
    )
    assert named_volumes(config) == ["more", "shared"]


# Every field with a few values that the schema accepts.
_configs = st.fixed_dictionaries(
    {},
    optional={
        "environment": st.dictionaries(st.sampled_from(["A", "B"]), st.one_of(st.none(), st.text("xyz=\n ", max_size=5))),
        "command": st.one_of(st.none(), st.lists(st.text("ab ", max_size=3), max_size=3)),
        "privileged": st.one_of(st.none(), st.booleans()),
        "ports": st.one_of(
            st.none(),
            st.lists(
                st.builds(lambda a, b: {"container_port": a, "host_port": b}, st.integers(1, 9), st.integers(1, 9)),
                unique_by=lambda one: one["container_port"],
            ),
        ),
        "volumes": st.one_of(st.none(), st.just([{"path": "/a", "name": "v"}, {"path": "/t", "type": "tmpfs"}])),
        "networks": st.one_of(st.none(), st.lists(st.sampled_from(["n1", "n2"]), unique=True)),
        "network_mode": st.sampled_from([None, "bridge", "host", "none"]),
        "restart_policy": st.sampled_from([None, "no", "on-failure", "unless-stopped", "always"]),
        "resources": st.one_of(st.none(), st.just({"cpus": 0.1}), st.just({"memory_bytes": None})),
        "capabilities": st.one_of(st.none(), st.just({"add": ["NET_ADMIN"], "drop": ["ALL"]})),
        "healthcheck": st.one_of(st.none(), st.just({"test": ["a"]}), st.just({"tcp": {"port": 1}})),
        "logging": st.one_of(st.none(), st.just({"driver": "json-file"})),
        "labels": st.one_of(st.none(), st.dictionaries(st.text("ab", min_size=1), st.none())),
    },
)


@given(config=_configs)
def test_whatever_is_configured_makes_json_that_never_restarts_by_itself(config: Config) -> None:
    made = arguments(**config)
    json.dumps(made)
    assert made["HostConfig"]["RestartPolicy"] == {"Name": "no"}
    assert final_restart_policy(parse_config(config)) != "always"
    assert ("Privileged" in made["HostConfig"]) == (config.get("privileged") is not None)


@given(config=_configs)
def test_the_same_configuration_makes_the_same_arguments(config: Config) -> None:
    assert arguments(**config) == arguments(**config)
