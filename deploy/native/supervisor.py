"""supervisord: its configuration as text, and the few calls that we make to it."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from xmlrpc.client import Fault, ServerProxy, Transport

import psutil

from deploy.native.errors import StackError
from deploy.native.layout import Layout
from deploy.native.processes import Command, raise_open_file_limit, wait_until, write_file

MARK = "FAIRLEAD_STACK"  # in the environment of every process of ours: whose stack it belongs to
SERVERS = "servers"
SERVICES = "services"
_ALREADY_STARTED = 60  # supervisord's faults
_NOT_RUNNING = 70
_BAD_NAME = 10
_UNWRITABLE = re.compile(r"""["\n\r]|^'|'$|\s[;#]|^[;#]""")


@dataclass(frozen=True)
class Program:
    """A command under supervision; `group` says what is stopped together, `starts_itself` what supervisord starts first."""

    command: Command
    group: str
    starts_itself: bool = False
    holds_secrets: bool = False  # its environment goes into a file of its own; the command is then a Python module's

    @property
    def name(self) -> str:
        """How it is called in logs and tables."""
        return self.command.part

    @property
    def full_name(self) -> str:
        """How supervisord calls it."""
        return f"{self.group}:{self.name}"


@dataclass(frozen=True)
class State:
    """What supervisord knows of a program."""

    name: str
    group: str
    state: str
    pid: int
    seconds: int
    problem: str


def _escape(text: str) -> str:
    """A path or argument: percent signs mean something to supervisord's reader, the rest to its splitter."""
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%")


def _environment(values: Mapping[str, str]) -> str:
    """supervisord has no way to write a quotation mark or a comment sign in a value: such values are refused, not bent."""
    for name, value in values.items():
        if _UNWRITABLE.search(value):
            raise StackError(name, "holds a quotation mark, a line break or a comment sign, which supervisord cannot hand on")
    return ",".join(f'{name}="{value.replace("%", "%%")}"' for name, value in sorted(values.items()))


def environment_file(layout: Layout, program: Program) -> Path:
    """Where the environment of a program with secrets stands."""
    return layout.environments / f"{program.name}.json"


def _start(layout: Layout, program: Program) -> tuple[tuple[str, ...], dict[str, str]]:
    """The command line and the environment that supervisord is told."""
    command = program.command
    if program.holds_secrets:
        become = (command.arguments[0], "-m", "deploy.native.become", str(environment_file(layout, program)))
        return (*become, *command.arguments[2:]), {MARK: str(layout.run)}
    return command.arguments, {**command.environment, MARK: str(layout.run)}


def _section(layout: Layout, program: Program) -> str:
    command = program.command
    arguments, environment = _start(layout, program)
    lines = [
        f"[program:{program.name}]",
        "command=" + " ".join(f'"{_escape(argument)}"' for argument in arguments),
        f"directory={_escape(str(command.directory))}",
        f"environment={_environment(environment)}",
        *([f"user={command.account}"] if command.account else []),
        f"autostart={str(program.starts_itself).lower()}",
        "autorestart=true",
        "startsecs=1",
        "startretries=1000000",
        f"stopsignal={command.stop_signal.name.removeprefix('SIG')}",
        f"stopwaitsecs={command.stop_seconds:.0f}",
        "killasgroup=true",
        "redirect_stderr=true",
        f"stdout_logfile={_escape(str(layout.log(program.name)))}",
        "stdout_logfile_maxbytes=10MB",
        "stdout_logfile_backups=2",
    ]
    return "\n".join(lines)


def render(layout: Layout, programs: Sequence[Program]) -> str:
    """supervisord.conf. No secret stands in it: `save` puts those into files of their own."""
    groups = {program.group: [p.name for p in programs if p.group == program.group] for program in programs}
    path = _escape(str(layout.supervisor_socket))
    head = [
        f"[unix_http_server]\nfile={path}\nchmod=0700",
        "[rpcinterface:supervisor]\nsupervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface",
        f"[supervisorctl]\nserverurl=unix://{path}",
        "\n".join(
            [
                "[supervisord]",
                f"logfile={_escape(str(layout.log('supervisord')))}",
                "logfile_maxbytes=5MB",
                "logfile_backups=1",
                f"pidfile={_escape(str(layout.supervisor_pid))}",
                f"directory={_escape(str(layout.run))}",
                "identifier=fairlead",
                *(["user=root"] if os.geteuid() == 0 else []),
            ]
        ),
    ]
    bodies = [_section(layout, program) for program in programs]
    tails = [f"[group:{group}]\nprograms={','.join(names)}\npriority={order}" for order, (group, names) in enumerate(groups.items())]
    return "\n\n".join([*head, *bodies, *tails]) + "\n"


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=90)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


class _UnixTransport(Transport):
    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path = path

    def make_connection(self, host: object) -> http.client.HTTPConnection:
        return _UnixConnection(self._path)


class Supervisor:
    """The supervisord of one stack. Not for two threads at once: make one each."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._proxy = ServerProxy("http://localhost", transport=_UnixTransport(layout.supervisor_socket), allow_none=True)

    def pid(self) -> int | None:
        """Its process id, or None when it does not run. A pid file whose number went to another program does not count."""
        try:
            number = int(self._layout.supervisor_pid.read_text())
            command = psutil.Process(number).cmdline()
        except (FileNotFoundError, ValueError, psutil.NoSuchProcess, psutil.AccessDenied):
            return None
        return number if str(self._layout.supervisor_config) in command else None

    def start(self) -> None:
        """Starts supervisord, which starts the servers; returns once it takes calls."""
        raise_open_file_limit()
        log = self._layout.log("supervisord")
        command = [sys.executable, "-m", "deploy.native.supervise", "--nodaemon", "--silent", "-c", str(self._layout.supervisor_config)]
        with log.open("ab") as stream:
            process = subprocess.Popen(
                command,
                env=_clean_environment(self._layout),
                cwd=self._layout.root,
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=stream,
                start_new_session=True,
            )

        def check() -> bool:
            if process.poll() is not None:
                raise StackError("supervisord", f"ended with {process.returncode}", log=log)
            return self.answers()

        wait_until(check, seconds=60, part="supervisord", problem="does not answer", log=log)
        process.returncode = 0  # it outlives us on purpose: Python need not warn of a child that nobody waited for

    def answers(self) -> bool:
        """Whether it takes calls."""
        try:
            return bool(self._proxy.supervisor.getState())
        except (OSError, http.client.HTTPException):
            return False

    def states(self) -> list[State]:
        """Every program, in the order of the configuration."""
        rows = self._proxy.supervisor.getAllProcessInfo()
        return [_state(row) for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []

    def state(self, program: str) -> State | None:
        """One program, by its short name."""
        return next((state for state in self.states() if state.name == program), None)

    def start_programs(self, full_names: Iterable[str]) -> None:
        """Starts those that do not run; does not wait."""
        for name in full_names:
            try:
                self._proxy.supervisor.startProcess(name, False)
            except Fault as fault:
                if fault.faultCode != _ALREADY_STARTED:
                    raise StackError(name, f"supervisord refuses to start it: {fault.faultString}") from fault

    def stop_group(self, group: str) -> None:
        """Stops all programs of a group at once and waits for them."""
        try:
            self._proxy.supervisor.stopProcessGroup(group, True)
        except Fault as fault:
            if fault.faultCode not in (_NOT_RUNNING, _BAD_NAME):
                raise StackError(group, f"supervisord refuses to stop it: {fault.faultString}") from fault

    def shut_down(self) -> None:
        """Ends supervisord itself, and what it still runs."""
        pid = self.pid()
        if pid is None:
            return
        os.kill(pid, signal.SIGTERM)
        wait_until(lambda: self.pid() is None, seconds=90, part="supervisord", problem="does not end",
                   log=self._layout.log("supervisord"))  # fmt: skip


def _clean_environment(layout: Layout) -> dict[str, str]:
    """Nothing of the caller's environment reaches a server."""
    values = {
        "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "LANG": "C.UTF-8",
        "HOME": str(layout.run),
        MARK: str(layout.run),
        # For the forks: glibc would keep an arena of up to 64 MB for each thread, and what was freed for itself.
        "MALLOC_ARENA_MAX": "2",
        "MALLOC_TRIM_THRESHOLD_": "131072",
    }
    if layout.account is not None:
        values["PYTHONDONTWRITEBYTECODE"] = "1"  # root's files in the user's checkout would be in the way later
    return values


def _state(row: Mapping[str, object]) -> State:
    start, present = int(str(row["start"])), int(str(row["now"]))
    return State(
        name=str(row["name"]),
        group=str(row["group"]),
        state=str(row["statename"]).lower(),
        pid=int(str(row["pid"])),
        seconds=max(present - start, 0) if row["pid"] else 0,
        problem=str(row["spawnerr"] or ""),
    )


def save(layout: Layout, programs: Sequence[Program]) -> bool:
    """Writes supervisord.conf and the environments; True when any differs from what was there."""
    changed = _write(layout.supervisor_config, render(layout, programs), account=None)
    for program in programs:
        if program.holds_secrets:
            environment = {**program.command.environment, MARK: str(layout.run)}
            text = json.dumps(environment, indent=1, sort_keys=True) + "\n"
            changed |= _write(environment_file(layout, program), text, account=program.command.account)
    return changed


def _write(path: Path, text: str, *, account: str | None) -> bool:
    if path.exists() and path.read_text() == text:
        return False
    write_file(path, text, account=account, mode=0o600)
    return True


def marked_processes(layout: Layout) -> list[psutil.Process]:
    """Every living process that carries this stack's mark, whoever its parent is by now."""
    mine = {process.pid for process in [psutil.Process(), *psutil.Process().parents()]}
    found = []
    for process in psutil.process_iter():
        try:
            if process.pid not in mine and process.environ().get(MARK) == str(layout.run):
                found.append(process)
        except (psutil.NoSuchProcess, psutil.AccessDenied, psutil.ZombieProcess, OSError):
            continue
    return found


__all__ = ["SERVERS", "SERVICES", "Program", "State", "Supervisor", "marked_processes", "render", "save"]
