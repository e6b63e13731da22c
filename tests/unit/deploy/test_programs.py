"""The programs of the native stack: each gets the settings and secrets that it needs, and no others."""

from __future__ import annotations

import json
import os
import socket
import stat
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from supervisor.options import ServerOptions

from deploy.native import keys, processes, programs, supervisor
from deploy.native import layout as layout_module
from deploy.native.errors import StackError
from deploy.native.layout import Layout
from deploy.native.ports import DEFAULTS
from deploy.native.processes import Command
from deploy.native.programs import Stack


@pytest.fixture
def stack(tmp_path: Path) -> Stack:
    layout = Layout(Path.cwd(), tmp_path / "run")
    layout.make()
    return Stack(
        layout,
        DEFAULTS,
        keys.load_or_make(layout),
        {"FAIRLEAD_LOG_LEVEL": "debug", "FAIRLEAD_PORT": "9000", "HOME": "/root"},
    )


def environment_of(stack: Stack, name: str) -> Mapping[str, str]:
    return next(program.command.environment for program in programs.services(stack) if program.name == name)


def opened(stack: Stack, **environ: str) -> Stack:
    return replace(stack, environ={**stack.environ, **environ})


def test_on_loopback_agents_reach_the_broker_plainly_and_nobody_else_does(stack: Stack) -> None:
    assert stack.node.tls is None
    deployer = environment_of(stack, "deployer-web")
    assert deployer["FAIRLEAD_AGENT_BROKER_URL"] == f"amqp://127.0.0.1:{DEFAULTS['rabbitmq']}/agents"
    assert "FAIRLEAD_AGENT_BROKER_AUTHORITY_FILE" not in deployer


@pytest.mark.parametrize(
    ("host", "url", "name"),
    [
        ("0.0.0.0", "https://fairlead.example.org", "fairlead.example.org"),
        ("10.0.0.7", "", "10.0.0.7"),
        ("fd00::7", "", "[fd00::7]"),
        ("0.0.0.0", "", socket.getfqdn()),
    ],
)
def test_open_to_other_machines_the_broker_is_too_and_over_tls(stack: Stack, host: str, url: str, name: str) -> None:
    stack = opened(stack, FAIRLEAD_HOST=host, FAIRLEAD_PUBLIC_URL=url)
    assert stack.node.tls is not None
    assert (stack.node.tls.host, stack.node.tls.port) == (host, DEFAULTS["agents"])
    listens = environment_of(stack, "gateway")["HOST"].split(",")
    assert listens == ([host] if host == "0.0.0.0" else [host, "127.0.0.1"])
    assert stack.public_url == (url or f"http://{name}:{DEFAULTS['gateway']}")
    deployer = environment_of(stack, "deployer-web")
    assert deployer["FAIRLEAD_AGENT_BROKER_URL"] == f"amqps://{name}:{DEFAULTS['agents']}/agents"
    assert deployer["FAIRLEAD_AGENT_BROKER_AUTHORITY_FILE"] == str(stack.layout.broker_authority)


def test_an_address_of_the_operators_own_stands_as_given(stack: Stack) -> None:
    stack = opened(stack, FAIRLEAD_HOST="0.0.0.0", FAIRLEAD_AGENT_BROKER_URL="amqps://broker.example.org/agents")
    deployer = environment_of(stack, "deployer-web")
    assert deployer["FAIRLEAD_AGENT_BROKER_URL"] == "amqps://broker.example.org/agents"
    assert "FAIRLEAD_AGENT_BROKER_AUTHORITY_FILE" not in deployer


def secrets_of(stack: Stack) -> dict[str, str]:
    """Every secret, by what it opens."""
    roles = stack.keys.roles.values()
    return (
        {f"database {role.name}": role.password for role in roles}
        | {f"database {role.owner}": role.owner_password for role in roles}
        | {f"broker {name}": password for name, password in stack.keys.broker.items()}
        | {"database postgres": stack.keys.postgres, "registry": stack.keys.registry}
    )


def held(stack: Stack) -> dict[str, set[str]]:
    """Which secrets stand in the environment of which program."""
    return {
        program.name: {
            what for what, secret in secrets_of(stack).items() if any(secret in value for value in program.command.environment.values())
        }
        for program in programs.services(stack)
    }


def test_each_program_holds_its_own_secrets_and_no_others(stack: Stack) -> None:
    assert held(stack) == {
        "identity-web": {"database identity"},
        "catalog-web": {"database catalog"},
        "deployer-web": {"database deployer", "broker provisioner"},
        "audit-web": {"database audit"},
        "gateway": {"broker gateway"},
        "identity-worker": {"database identity", "broker identity"},
        "catalog-worker": {"database catalog", "broker catalog"},
        "deployer-worker": {"database deployer", "broker deployer", "broker provisioner"},
        "audit-worker": {"database audit", "broker audit"},
    }


def test_key_files_are_named_to_their_readers_only(stack: Stack) -> None:
    readers = {
        program.name
        for program in programs.services(stack)
        if {"FAIRLEAD_ENCRYPTION_KEYS_FILE", "FAIRLEAD_SIGNING_KEY_FILE"} & set(program.command.environment)
    }
    assert readers == {f"{service}-{kind}" for service in ("identity", "catalog", "deployer", "audit") for kind in ("web", "worker")}


def test_settings_of_the_caller_are_handed_on_and_steering_ones_are_not(stack: Stack) -> None:
    environment = programs.services(stack)[0].command.environment
    assert environment["FAIRLEAD_LOG_LEVEL"] == "debug"
    assert "FAIRLEAD_PORT" not in environment
    assert environment["HOME"] == "/nonexistent"


def test_keys_are_made_once_and_closed_to_others(stack: Stack) -> None:
    again = keys.load_or_make(stack.layout)
    assert again == stack.keys
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in stack.layout.secrets.iterdir() if path.is_file()}
    assert set(modes.values()) == {0o600}, modes
    assert stat.S_IMODE(stack.layout.secrets.stat().st_mode) == 0o700


def test_supervisord_reads_the_rendered_configuration_as_it_was_meant(stack: Stack) -> None:
    everything = programs.services(stack)
    supervisor.save(stack.layout, everything)
    assert stat.S_IMODE(stack.layout.supervisor_config.stat().st_mode) == 0o600
    options = ServerOptions()
    options.realize(["-c", str(stack.layout.supervisor_config)], doc="")
    read = {process.name: process for group in options.process_group_configs for process in group.process_configs}
    assert set(read) == {program.name for program in everything}
    for program in everything:
        assert read[program.name].environment == {supervisor.MARK: str(stack.layout.run)}
        assert read[program.name].autorestart


def test_secrets_stand_in_files_of_their_programs_and_nowhere_else(stack: Stack) -> None:
    everything = programs.services(stack)
    assert supervisor.save(stack.layout, everything)
    config = stack.layout.supervisor_config.read_text()
    assert not [what for what, secret in secrets_of(stack).items() if secret in config]
    for program in everything:
        path = supervisor.environment_file(stack.layout, program)
        assert json.loads(path.read_text()) == {**program.command.environment, supervisor.MARK: str(stack.layout.run)}
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert not supervisor.save(stack.layout, everything), "nothing has changed"


def read_back(stack: Stack, value: str) -> tuple[str, str]:
    """The value as supervisord would hand it on, and the command that it would run."""
    command = Command(part="odd", arguments=("/bin/echo", "a b%"), directory=Path("/"), environment={"ODD": value})
    supervisor.save(stack.layout, [supervisor.Program(command, "services")])
    options = ServerOptions()
    options.realize(["-c", str(stack.layout.supervisor_config)], doc="")
    process = options.process_group_configs[0].process_configs[0]
    return process.environment["ODD"], process.command


@pytest.mark.parametrize("value", ["a%b", "a,b=c", "{127,0,0,1} +S 2:2", "back\\slash", "it's", "a;b#c", ""])
def test_values_with_signs_of_the_configuration_language_survive(stack: Stack, value: str) -> None:
    assert read_back(stack, value) == (value, '"/bin/echo" "a b%"')


@pytest.mark.parametrize("value", ['say "hello"', "two\nlines", "a ;comment", "a #comment", "'quoted'"])
def test_values_that_supervisord_would_bend_are_refused(stack: Stack, value: str) -> None:
    with pytest.raises(StackError, match="ODD"):
        read_back(stack, value)


def test_the_run_directory_of_the_environment_makes_another_stack(tmp_path: Path) -> None:
    usual, other = Layout.of({}), Layout.of({"FAIRLEAD_RUN_DIR": str(tmp_path)})
    assert usual.number == 0
    assert other.number != 0
    assert other.run == tmp_path


def test_sockets_stay_within_the_107_bytes_that_linux_allows(tmp_path: Path) -> None:
    deep = Layout(Path.cwd(), tmp_path / ("d" * 60) / ("e" * 60) / "run")
    assert len(str(deep.supervisor_socket)) < 100
    assert len(f"{deep.docker_exec}/containerd/containerd.sock.ttrpc") < 107


def test_data_goes_elsewhere_when_other_accounts_cannot_pass(tmp_path: Path) -> None:
    (tmp_path / "shut").mkdir(mode=0o700)
    assert not processes.may_be_entered(tmp_path / "shut" / "run" / "postgres")
    assert processes.may_be_entered(Path("/var/lib/fairlead-that-is-not-there/postgres"))
    layout = Layout(Path.cwd(), tmp_path / "shut" / "run")
    assert layout.state == (layout_module.STATE_ELSEWHERE / layout.name if os.geteuid() == 0 else layout.run)
    layout.make()
    assert not (layout_module.STATE_ELSEWHERE / layout.name).exists(), "made only when a server needs it"
