"""The stack's servers under supervisord: they start together, heal when they are killed, and leave nothing behind."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from io import StringIO
from pathlib import Path

import psutil
import psycopg
import pytest
from rich.console import Console

from deploy.native import keys, ports, postgres, processes, registry, supervisor
from deploy.native.errors import StackError
from deploy.native.layout import Layout
from deploy.native.processes import Command
from deploy.native.programs import Stack
from deploy.native.report import Report
from deploy.native.stack import Operator
from deploy.native.supervisor import SERVERS, SERVICES, Program, Supervisor
from tests.fixtures.waiting import eventually

# A stand-in for a service: it starts a child that ignores everything, as a hanging helper process would.
STUBBORN = "import subprocess, sys, time\nsubprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])\ntime.sleep(600)\n"


@pytest.fixture
def stack(open_directory: Path) -> Iterator[Stack]:
    layout = Layout(Path.cwd(), open_directory / "run")
    layout.make()
    chosen = {name: ports.free_port() for name in ports.DEFAULTS}
    ports.save(layout.ports, chosen)
    made = Stack(layout, chosen, keys.load_or_make(layout), {})
    yield made
    Operator(layout, {}, quiet()).down()


def quiet() -> Report:
    return Report(Console(file=StringIO(), width=200))


def web(stack: Stack) -> Program:
    """A program of ours in small: a Python module with a secret in its environment."""
    module = ("-m", "http.server", "--bind", "127.0.0.1", str(stack.ports["gateway"]))
    environment = {"PATH": "/usr/bin", "SECRET": stack.keys.registry}
    return Program(Command("web", (sys.executable, *module), stack.layout.logs, environment, stop_seconds=5), SERVICES, holds_secrets=True)


def start(stack: Stack, *more: Program) -> Supervisor:
    programs = [
        *more,
        Program(postgres.prepare(stack.cluster), SERVERS, starts_itself=True),
        Program(registry.prepare(stack.registry), SERVERS, starts_itself=True),
        Program(
            Command(
                "stubborn",
                (sys.executable, "-c", STUBBORN.replace("\n", ";")),
                Path("/"),
                {"PATH": "/usr/bin"},
                stop_seconds=1,
            ),
            SERVICES,
        ),
    ]
    supervisor.save(stack.layout, programs)
    control = Supervisor(stack.layout)
    control.start()
    processes.wait_until(lambda: postgres.is_ready(stack.cluster), seconds=60, part="postgres", problem="silent")
    return control


def pid_of(control: Supervisor, program: str) -> int:
    state = control.state(program)
    assert state is not None
    return state.pid


def is_back(control: Supervisor, program: str, old: int) -> bool:
    state = control.state(program)
    return state is not None and state.state == "running" and state.pid != old


@pytest.mark.parametrize("program", ["postgres", "registry"])
def test_a_killed_server_is_started_again(stack: Stack, program: str) -> None:
    control = start(stack)
    old = pid_of(control, program)
    os.kill(old, signal.SIGKILL)
    eventually(lambda: is_back(control, program, old))
    eventually(lambda: postgres.is_ready(stack.cluster) and registry.is_ready(stack.registry))


def test_a_stopped_stack_leaves_no_process(stack: Stack) -> None:
    control = start(stack)
    control.start_programs([f"{SERVICES}:stubborn"])
    eventually(lambda: len(supervisor.marked_processes(stack.layout)) >= 5)
    Operator(stack.layout, {}, quiet()).down()
    assert supervisor.marked_processes(stack.layout) == []
    assert control.pid() is None
    with pytest.raises(psycopg.OperationalError):
        stack.cluster.connect()


def test_what_a_killed_supervisor_left_is_ended_and_the_next_start_works(stack: Stack) -> None:
    control = start(stack)
    number = control.pid()
    assert number is not None
    postmaster = pid_of(control, "postgres")
    os.kill(number, signal.SIGKILL)
    eventually(lambda: control.pid() is None)
    assert psutil.pid_exists(postmaster), "servers outlive their supervisor"
    Operator(stack.layout, {}, quiet()).down()
    assert supervisor.marked_processes(stack.layout) == []
    again = start(stack)
    eventually(lambda: is_back(again, "postgres", postmaster))


def test_a_pid_file_of_another_program_is_not_taken_for_the_supervisor(stack: Stack) -> None:
    stack.layout.supervisor_pid.write_text(str(os.getpid()))
    assert Supervisor(stack.layout).pid() is None


def test_a_program_that_ends_at_once_is_told_with_its_log(stack: Stack) -> None:
    broken = Command("broken", (sys.executable, "-c", "raise SystemExit('no such setting')"), Path("/"))
    supervisor.save(stack.layout, [Program(broken, SERVERS, starts_itself=True)])
    Supervisor(stack.layout).start()
    operator = Operator(stack.layout, {}, quiet(), patience_seconds=0)
    with pytest.raises(StackError, match="ends as soon as it starts") as told:
        operator.await_program("broken", lambda: False)
    assert told.value.log is not None
    assert "no such setting" in told.value.log.read_text()


def test_the_programs_are_shown_with_their_memory(stack: Stack) -> None:
    start(stack)
    screen = StringIO()
    assert Operator(stack.layout, {}, Report(Console(file=screen, width=200))).status() == 3
    shown = screen.getvalue()
    assert "postgres" in shown
    assert "MB" in shown
    assert "not ready" in shown


def test_two_commands_at_once_are_refused(stack: Stack) -> None:
    from deploy.native.stack import alone

    with alone(stack.layout), pytest.raises(StackError, match="another command"), alone(stack.layout):
        pass


def test_a_program_of_ours_is_a_fork_under_its_own_name_and_is_replaced_when_it_is_killed(stack: Stack) -> None:
    control = start(stack, web(stack))
    control.start_programs([web(stack).full_name])
    eventually(lambda: processes.answers(stack.ports["gateway"]))
    process = psutil.Process(pid_of(control, "web"))
    assert process.cmdline()[0].rstrip("\0") == "fairlead web"
    assert process.exe() == psutil.Process(control.pid()).exe()
    assert process.cwd() == str(stack.layout.logs)
    process.kill()
    eventually(lambda: is_back(control, "web", process.pid) and processes.answers(stack.ports["gateway"]))


def test_no_secret_stands_where_other_programs_or_users_could_read_it(stack: Stack) -> None:
    control = start(stack, web(stack))
    control.start_programs([web(stack).full_name])
    eventually(lambda: processes.answers(stack.ports["gateway"]))
    process = psutil.Process(pid_of(control, "web"))
    secret = stack.keys.registry
    assert secret not in str(process.environ()) + str(process.cmdline())
    assert secret not in stack.layout.supervisor_config.read_text()
    assert secret in supervisor.environment_file(stack.layout, web(stack)).read_text()
