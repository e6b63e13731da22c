"""The owner's policy: what it forbids, however it is written."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from agent.outcomes import Refused
from agent.policy import Policy, check, read_policy, registry_host
from kernel.contracts.config import parse_config
from kernel.contracts.spec import ContainerSpec

FILES = Path(__file__).resolve().parents[3] / "agent" / "files"


def container(image: str = "image:1", **config: Any) -> ContainerSpec:
    return ContainerSpec(UUID(int=1), "web", image, parse_config(config))


def allowed(policy: Policy, *specs: ContainerSpec, links: dict[str, str] | None = None) -> dict[str, str]:
    """The resolved paths; `links` stand for symbolic links on the host."""
    known = links or {}
    return check(policy, specs, own_paths=["/var/lib/fairlead-agent"], resolve=lambda path: known.get(path, path))


def bind(path: str) -> dict[str, Any]:
    return {"volumes": [{"path": "/x", "type": "bind", "host_path": path}]}


@pytest.mark.parametrize(
    ("config", "rule"),
    [
        ({"privileged": True}, "privileged"),
        ({"network_mode": "host"}, "host_network"),
        ({"networks": ["host"]}, "host_network"),
        ({"capabilities": {"add": ["NET_ADMIN"]}}, "capabilities_add"),
        ({"capabilities": {"add": ["ALL"]}}, "capabilities_add"),
        (bind("/srv"), "host_mounts"),
        (bind("/var/run/docker.sock"), "allow_docker_socket"),
        (bind("/var/run"), "allow_docker_socket"),
        (bind("/"), "allow_docker_socket"),
        ({"init_containers": [{"name": "i", "image": "x", **bind("/etc")}]}, "host_mounts"),
    ],
)
def test_the_defaults_refuse_what_reaches_beyond_the_container(config: dict[str, Any], rule: str) -> None:
    with pytest.raises(Refused) as caught:
        allowed(Policy(), container(**config))
    assert caught.value.code == "policy-denied"
    assert rule in caught.value.detail


def test_an_ordinary_container_is_allowed() -> None:
    assert allowed(Policy(), container(ports=[{"container_port": 80, "host_port": 80}], volumes=[{"path": "/d", "name": "d"}])) == {}


def test_every_broken_rule_is_named() -> None:
    with pytest.raises(Refused) as caught:
        allowed(Policy(digest_required=True), container(privileged=True, network_mode="host"))
    assert all(rule in caught.value.detail for rule in ("privileged", "host_network", "digest_required"))


ROOTS = Policy(host_mounts=("/srv/data", "/mnt"))


@pytest.mark.parametrize("path", ["/srv/data", "/srv/data/x", "/srv//data/./x/", "/mnt/a/b"])
def test_paths_below_a_root_may_be_mounted(path: str) -> None:
    assert list(allowed(ROOTS, container(**bind(path)))) == [path]


@pytest.mark.parametrize("path", ["/srv", "/srv/database", "/srv/data2", "/", "/mntx"])
def test_paths_beside_a_root_may_not_be_mounted(path: str) -> None:
    with pytest.raises(Refused, match=r"host_mounts|allow_docker_socket"):
        allowed(ROOTS, container(**bind(path)))


def test_a_path_with_dots_cannot_climb_out_of_a_root() -> None:
    # The schema refuses such a path already; the policy does not rely on it.
    spec = ContainerSpec(UUID(int=1), "web", "image:1", {"volumes": [{"type": "bind", "path": "/x", "host_path": "/srv/data/../../etc"}]})
    with pytest.raises(Refused, match="host_mounts"):
        allowed(ROOTS, spec)


def test_a_link_is_followed_before_comparing_and_its_target_is_what_gets_mounted() -> None:
    links = {"/srv/data/inside": "/srv/data/real", "/srv/data/outside": "/etc"}
    assert allowed(ROOTS, container(**bind("/srv/data/inside")), links=links) == {"/srv/data/inside": "/srv/data/real"}
    with pytest.raises(Refused, match="host_mounts"):
        allowed(ROOTS, container(**bind("/srv/data/outside")), links=links)


def test_links_are_real_ones_on_a_node(tmp_path: Path) -> None:
    root = tmp_path / "root"
    root.mkdir()
    (root / "out").symlink_to("/etc")
    with pytest.raises(Refused, match="host_mounts"):
        check(Policy(host_mounts=(str(root),)), [container(**bind(str(root / "out")))], own_paths=[])
    assert check(Policy(host_mounts=(str(root),)), [container(**bind(str(root / "new")))], own_paths=[])


def test_the_agents_own_directory_is_nobodys_to_mount() -> None:
    everything = Policy(host_mounts=("/",), allow_docker_socket=True)
    for path in ("/var/lib/fairlead-agent", "/var/lib/fairlead-agent/keys.json", "/var/lib", "/"):
        with pytest.raises(Refused, match="host_mounts"):
            allowed(everything, container(**bind(path)))
    assert allowed(everything, container(**bind("/var/run/docker.sock")))


def test_the_docker_socket_needs_its_rule_and_a_root() -> None:
    with pytest.raises(Refused, match="allow_docker_socket"):
        allowed(Policy(host_mounts=("/var/run",)), container(**bind("/var/run/docker.sock")))
    with pytest.raises(Refused, match="host_mounts"):
        allowed(Policy(allow_docker_socket=True), container(**bind("/var/run/docker.sock")))


@pytest.mark.parametrize(
    ("image", "host"),
    [
        ("nginx", "docker.io"),
        ("library/nginx:1", "docker.io"),
        ("registry.example.com/a/b:1", "registry.example.com"),
        ("Registry.Example.com:5000/a@sha256:00", "registry.example.com:5000"),
        ("localhost/a", "localhost"),
        ("127.0.0.1:5000/a", "127.0.0.1:5000"),
        ("INTRANET/a", "intranet"),
    ],
)
def test_an_images_registry_is_read_as_docker_reads_it(image: str, host: str) -> None:
    assert registry_host(image) == host


def test_only_allowed_registries_may_be_pulled_from() -> None:
    policy = Policy(allowed_registries=("registry.example.com", "*.example.org:5000"))
    allowed(policy, container("registry.example.com/a:1"), container("eu.example.org:5000/a:1"))
    for image in ("nginx", "registry.example.com.evil.net/a", "example.org:5000/a"):
        with pytest.raises(Refused, match="allowed_registries"):
            allowed(policy, container(image))
    with pytest.raises(Refused, match="allowed_registries"):
        allowed(policy, container("registry.example.com/a", init_containers=[{"name": "i", "image": "nginx"}]))


def test_capabilities_are_compared_without_their_prefix() -> None:
    policy = Policy(capabilities_add=("CAP_NET_ADMIN",))
    allowed(policy, container(capabilities={"add": ["NET_ADMIN"]}), container(capabilities={"add": ["CAP_NET_ADMIN"], "drop": ["ALL"]}))


def test_output_goes_only_where_the_machines_owner_allows() -> None:
    remote = container(logging={"driver": "syslog", "options": {"syslog-address": "unix:///run/other.sock"}})
    with pytest.raises(Refused, match=r"logging_drivers \(web: syslog\)"):
        allowed(Policy(), remote)
    allowed(Policy(), container(logging={"driver": "json-file", "options": {"max-size": "10m"}}), container())
    allowed(Policy(logging_drivers=("syslog",)), remote)


def test_limits_above_the_ceilings_are_refused() -> None:
    policy = Policy(max_memory_mb=64, max_cpus=1.0, max_pids=10)
    allowed(policy, container(resources={"memory_bytes": 64 << 20, "cpus": 1.0, "pids": 10}))
    for resources in ({"memory_bytes": 65 << 20}, {"cpus": 1.5}, {"pids": 11}):
        with pytest.raises(Refused, match="max_"):
            allowed(policy, container(resources=resources))


def test_the_installed_example_is_the_defaults(tmp_path: Path) -> None:
    text = (FILES / "policy.toml").read_text()
    assert read_policy(FILES / "policy.toml") == Policy()
    spelled = tmp_path / "policy.toml"
    rules = [line.removeprefix("# ") for line in text.splitlines() if " = " in line and not line.startswith("# max_")]
    spelled.write_text("\n".join(rules))
    assert read_policy(spelled) == Policy()
    named = {line.removeprefix("# ").split(" = ")[0] for line in text.splitlines() if " = " in line}
    assert named == set(Policy.__dataclass_fields__)


@pytest.mark.parametrize("text", ["privileged = 'yes'", "priviledged = true", "host_mounts = '/srv'", "max_cpus = -1", "= broken"])
def test_a_policy_that_cannot_be_understood_allows_nothing(tmp_path: Path, text: str) -> None:
    path = tmp_path / "policy.toml"
    path.write_text(text)
    with pytest.raises(Refused, match="policy-file"):
        read_policy(path)


def test_without_a_file_the_defaults_hold(tmp_path: Path) -> None:
    assert read_policy(tmp_path / "none.toml") == Policy()
