"""Which port each part listens on: wanted ones if free, else the next free ones, written down so that they stay."""

from __future__ import annotations

import itertools
import json
import socket
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

from deploy.native.errors import StackError
from deploy.native.processes import write_file
from kernel import clock

# What people see comes first; a port of a part that only Fairlead itself reaches follows its service.
DEFAULTS: Mapping[str, int] = {
    "gateway": 8080,
    "identity": 8101,
    "catalog": 8102,
    "deployer": 8103,
    "audit": 8104,
    "identity_metrics": 8111,
    "catalog_metrics": 8112,
    "deployer_metrics": 8113,
    "audit_metrics": 8114,
    "postgres": 54321,
    "rabbitmq": 56720,
    "management": 56721,
    "distribution": 56722,
    "agents": 5671,
    "registry": 5500,
}
FORCED_BY: Mapping[str, str] = {"gateway": "FAIRLEAD_PORT"} | {
    name: f"FAIRLEAD_{name.upper()}_PORT" for name in DEFAULTS if name != "gateway"
}
TRIES = 200
# Where `free_port` looks next: no two of a process are the same, though nobody listens on the first one yet.
_next_for_tests = itertools.count(int(clock.random_fraction() * 10_000))
_OFFSETS = (20_000, 100, 100)  # the first port of a second stack, the width of its range, how many ranges there are


@dataclass(frozen=True)
class Choice:
    """The port of every part, and what to tell about those that had to give way."""

    ports: Mapping[str, int]
    notes: Sequence[str]


def is_free(port: int, *, host: str = "127.0.0.1") -> bool:
    """Whether a server could listen there now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True


def owner_of(port: int) -> str:
    """The program that listens there, in words: `nginx (pid 12)`; "another program" when we may not know."""
    try:
        connections = psutil.net_connections(kind="tcp")
    except psutil.AccessDenied:
        return "another program"
    for connection in connections:
        if connection.status == psutil.CONN_LISTEN and connection.laddr and connection.laddr.port == port and connection.pid:
            try:
                return f"{psutil.Process(connection.pid).name()} (pid {connection.pid})"
            except psutil.NoSuchProcess:
                break
    return "another program"


def free_port() -> int:
    """Some port that nobody listens on at this moment, another one each time; for tests.

    It lies below those that Linux gives to clients (32768 and up): a client that knocks while the server is down could be
    given the very port that it knocks at, connect to itself, and keep the server from coming back.
    """
    for _ in range(TRIES):
        port = 10_000 + next(_next_for_tests) % 10_000
        if is_free(port):
            return port
    raise StackError("ports", "no free port between 10000 and 20000")


def wanted(number: int) -> Mapping[str, int]:
    """The ports that a stack asks for first: the known ones for the usual stack (0), a range of its own for a second one."""
    if number == 0:
        return DEFAULTS
    first, width, count = _OFFSETS
    start = first + (number % count) * width
    return {name: start + index for index, name in enumerate(DEFAULTS)}


def choose(
    *,
    recorded: Mapping[str, int],
    environ: Mapping[str, str],
    number: int = 0,
    free: Callable[[int], bool] = is_free,
    owner: Callable[[int], str] = owner_of,
) -> Choice:
    """A free port for every part. A forced one that is taken raises StackError; any other gives way to the next free one."""
    ports: dict[str, int] = {}
    notes: list[str] = []
    for name, default in wanted(number).items():
        forced = environ.get(FORCED_BY[name], "")
        if forced:
            ports[name] = _forced(name, forced, free, owner)
            continue
        first = recorded.get(name, default)
        ports[name] = _next_free(name, first, taken=set(ports.values()), free=free)
        if ports[name] != first:
            notes.append(f"port {first} of {name} is taken by {owner(first)}; it uses {ports[name]} now")
    return Choice(ports, notes)


def are_moved(present: Mapping[str, int], environ: Mapping[str, str]) -> bool:
    """Whether the environment asks for another port than one that a running stack has."""
    return any(environ.get(FORCED_BY[name]) not in (None, "", str(port)) for name, port in present.items())


def _forced(name: str, text: str, free: Callable[[int], bool], owner: Callable[[int], str]) -> int:
    variable = FORCED_BY[name]
    if not text.isdigit() or not 0 < int(text) < 65_536:
        raise StackError(name, f"{variable}={text} is not a port")
    if not free(int(text)):
        raise StackError(name, f"{variable}={text} asks for a port that {owner(int(text))} listens on; stop it or choose another")
    return int(text)


def _next_free(name: str, first: int, *, taken: set[int], free: Callable[[int], bool]) -> int:
    for port in range(first, min(first + TRIES, 65_536)):
        if port not in taken and port not in _wanted_by_others(name) and free(port):
            return port
    raise StackError(name, f"no free port from {first} on")


def _wanted_by_others(name: str) -> set[int]:
    return {port for other, port in DEFAULTS.items() if other != name}


def load(path: Path) -> dict[str, int]:
    """The ports written down in `path`; none when it is not there."""
    if not path.exists():
        return {}
    recorded = json.loads(path.read_text())
    return {str(name): int(port) for name, port in recorded.items() if name in DEFAULTS}


def save(path: Path, ports: Mapping[str, int]) -> None:
    """Writes the ports down for whoever wants to reach a part, and for the next start."""
    write_file(path, json.dumps(dict(ports), indent=2) + "\n")
