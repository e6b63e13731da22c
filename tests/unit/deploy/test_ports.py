"""Ports: wanted ones if free, the next free ones otherwise, and never a silent move of one that somebody asked for."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy.native import ports
from deploy.native.errors import StackError


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    """Another program that listens on some port of loopback."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        yield server


def choose(
    *,
    taken: frozenset[int] = frozenset(),
    recorded: dict[str, int] | None = None,
    environ: dict[str, str] | None = None,
    number: int = 0,
) -> ports.Choice:
    return ports.choose(
        recorded=recorded or {},
        environ=environ or {},
        number=number,
        free=lambda port: port not in taken,
        owner=lambda port: "nginx (pid 7)",
    )


def test_the_usual_ports_are_used_when_they_are_free() -> None:
    choice = choose()
    assert choice.ports == ports.DEFAULTS
    assert choice.notes == []


def test_a_taken_port_gives_way_to_the_next_free_one_and_says_so() -> None:
    choice = choose(taken=frozenset({8080, 8081}))
    assert choice.ports["gateway"] == 8082
    assert choice.notes == ["port 8080 of gateway is taken by nginx (pid 7); it uses 8082 now"]


def test_a_part_that_moves_takes_no_port_that_another_part_wants() -> None:
    choice = choose(taken=frozenset({8101}))
    assert choice.ports["identity"] not in ports.DEFAULTS.values()
    assert len(set(choice.ports.values())) == len(ports.DEFAULTS)


def test_a_recorded_port_stays_although_the_usual_one_is_free_again() -> None:
    assert choose(recorded={"gateway": 8082}).ports["gateway"] == 8082


def test_a_forced_port_is_used() -> None:
    assert choose(environ={"FAIRLEAD_PORT": "9000"}).ports["gateway"] == 9000


def test_a_forced_port_that_is_taken_is_refused_with_its_owner() -> None:
    with pytest.raises(StackError, match=r"FAIRLEAD_PORT=9000 asks for a port that nginx \(pid 7\) listens on"):
        choose(environ={"FAIRLEAD_PORT": "9000"}, taken=frozenset({9000}))


@pytest.mark.parametrize("text", ["http", "0", "65536", "-1"])
def test_a_forced_port_that_is_no_port_is_refused(text: str) -> None:
    with pytest.raises(StackError, match="is not a port"):
        choose(environ={"FAIRLEAD_RABBITMQ_PORT": text})


def test_a_second_stack_asks_for_a_range_of_its_own() -> None:
    first, second = choose(number=0).ports, choose(number=4711).ports
    assert not set(first.values()) & set(second.values())
    assert all(port < 32_768 for port in second.values()), "clients' ports begin there"


def test_ports_are_written_down_and_read_again(tmp_path: Path) -> None:
    ports.save(tmp_path / "ports.json", {"gateway": 8085})
    assert ports.load(tmp_path / "ports.json") == {"gateway": 8085}
    assert ports.load(tmp_path / "none.json") == {}


def test_a_port_on_which_a_program_listens_is_not_free(listener: socket.socket) -> None:
    port = listener.getsockname()[1]
    assert not ports.is_free(port)
    assert "pid" in ports.owner_of(port)


def test_ports_for_tests_are_all_different_and_free() -> None:
    found = [ports.free_port() for _ in range(200)]
    assert len(set(found)) == 200
    assert all(10_000 <= port < 20_000 for port in found)


def test_a_running_stack_moves_only_when_another_port_is_asked_for() -> None:
    present = {"gateway": 8080, "registry": 5500}
    assert not ports.are_moved(present, {})
    assert not ports.are_moved(present, {"FAIRLEAD_PORT": "8080"})
    assert ports.are_moved(present, {"FAIRLEAD_PORT": "9000"})
