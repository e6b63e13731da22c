"""Small parts of the agent: settings, identity, secrets' text, errors of Docker, interrupts, the worker's order."""

from __future__ import annotations

import stat
import threading
from pathlib import Path
from uuid import UUID

import pytest

from agent.apply.context import patiently
from agent.docker.errors import EngineAway, of_pull
from agent.identity import load_node, load_or_make_keys, write_private
from agent.interrupt import Interrupt, Stopping, Undisturbed
from agent.journal import Journal, Kind, Work
from agent.link import broker_url
from agent.observe import _moment
from agent.outcomes import Cancelled
from agent.secrets import HIDDEN, Opened, directory_of, redact
from agent.settings import read_settings
from agent.workers import Workers
from kernel import clock
from kernel.errors import Conflict, Invalid
from tests.fixtures.waiting import eventually
from tests.integration.agent.ground import prepare_directory


def test_settings_come_from_the_file_where_the_environment_is_silent(tmp_path: Path) -> None:
    (tmp_path / "agent.env").write_text('# mine\nFAIRLEAD_AGENT_WORKERS=5\nFAIRLEAD_LOG_LEVEL="debug"\n')
    settings = read_settings({"FAIRLEAD_AGENT_DIR": str(tmp_path), "FAIRLEAD_LOG_LEVEL": "error"})
    assert (settings.workers, settings.log_level, settings.directory) == (5, "error", tmp_path)
    assert settings.policy_path == tmp_path / "policy.toml"


def test_keys_are_made_once_and_only_their_owner_may_read_them(tmp_path: Path) -> None:
    first, second = load_or_make_keys(tmp_path), load_or_make_keys(tmp_path)
    assert (bytes(first.sign), bytes(first.unseal)) == (bytes(second.sign), bytes(second.unseal))
    assert stat.S_IMODE((tmp_path / "keys.json").stat().st_mode) == 0o600


def test_a_machine_that_was_never_enrolled_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(Invalid, match="install line"):
        load_node(tmp_path)


def test_a_file_is_replaced_in_one_step(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_private(path, "one")
    write_private(path, "two")
    assert path.read_text() == "two"
    assert list(tmp_path.iterdir()) == [path]


def test_the_brokers_address_carries_the_nodes_login_safely(tmp_path: Path) -> None:
    from dataclasses import replace

    from nacl.signing import SigningKey

    node = prepare_directory(tmp_path, SigningKey.generate())
    odd = replace(node, broker_url="amqps://broker:5671/agents", broker_user="agent-1", broker_password="a/b@c:d")
    assert broker_url(odd) == "amqps://agent-1:a%2Fb%40c%3Ad@broker:5671/agents"


def test_secrets_vanish_from_a_text_by_value_and_by_line() -> None:
    opened = Opened({"PASSWORD": "hunter2!", "SHORT": "ab"}, {"KEY": "-----BEGIN-----\nabcdef\n-----END-----"})
    text = redact("login hunter2! with abcdef and ab", [opened])
    assert text == f"login {HIDDEN} with {HIDDEN} and ab"
    assert "hunter2" not in repr(opened)


def test_files_of_two_generations_lie_apart() -> None:
    root = Path("/root")
    paths = {directory_of(root, prefix="p", container="web", generation=number) for number in (1, 2)}
    assert len(paths) == 2


@pytest.mark.parametrize(
    ("said", "code"),
    [
        ("unauthorized: authentication required", "registry-denied"),
        ("Head https://x: no basic auth credentials", "registry-denied"),
        ("pull access denied for x, repository does not exist", "registry-denied"),
        ("manifest for x:1 not found: manifest unknown", "image-missing"),
        ("write /var/lib: no space left on device", "disk-full"),
        ("dial tcp 127.0.0.1:5000: connect: connection refused", "registry-unavailable"),
        ("toomanyrequests: You have reached your pull rate limit", "registry-unavailable"),
        ("received unexpected HTTP status: 500 Internal Server Error", "registry-unavailable"),
    ],
)
def test_what_a_registry_says_has_one_meaning(said: str, code: str) -> None:
    assert of_pull("image", said).code == code


def test_dockers_times_are_read_and_never_is_none() -> None:
    assert _moment("0001-01-01T00:00:00Z") is None
    found = _moment("2026-11-22T10:00:00.123456789Z")
    assert found is not None
    assert clock.rfc3339(found) == "2026-11-22T10:00:00.123456Z"
    assert _moment("nonsense") is None


def test_a_cancellation_wakes_a_wait_and_a_deadline_ends_it() -> None:
    interrupt = Interrupt()
    threading.Timer(0.05, interrupt.cancel, args=("timed-out",)).start()
    with pytest.raises(Cancelled, match="timed-out"):
        interrupt.wait(30)
    late = Interrupt()
    late.end_at(clock.monotonic() + 0.05)
    with pytest.raises(Conflict, match="timed-out"):
        late.wait(30)


class Late(Interrupt):
    """Its time is over as soon as somebody waits: `ends` says how."""

    def __init__(self, ends: Conflict) -> None:
        super().__init__()
        self._ends = ends

    def wait(self, seconds: float) -> None:
        raise self._ends


@pytest.mark.parametrize(
    ("ends", "code"), [(Conflict("timed-out", "Over."), "engine-unavailable"), (Cancelled("cancelled", "Stop."), "cancelled")]
)
def test_an_engine_that_is_away_when_the_time_is_over_is_the_reason(ends: Conflict, code: str) -> None:
    def ask() -> None:
        raise EngineAway("gone")

    with pytest.raises(Conflict) as told:
        patiently(Late(ends), ask)
    assert told.value.code == code


def test_undoing_is_stopped_by_nothing_but_the_end_of_the_process() -> None:
    parent = Interrupt()
    undisturbed = Undisturbed(parent)
    parent.cancel("cancelled")
    parent.end_at(0)
    undisturbed.wait(0.01)
    parent.stop()
    with pytest.raises(Stopping):
        undisturbed.wait(30)


def test_an_error_in_a_work_is_tried_again_and_places_do_not_wait_for_each_other(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal.db")
    done: list[tuple[str, int]] = []
    gate = threading.Event()

    def carry_out(work: Work, interrupt: Interrupt, age_seconds: float) -> None:
        if work.prefix == "slow":
            gate.wait(20)
        done.append((work.prefix, work.generation))
        journal.finish(work.id, outcome="succeeded", code=None, detail=None, finished="{}")

    workers = Workers(journal, carry_out)
    threads = [threading.Thread(target=workers.run, daemon=True) for _ in range(2)]
    for thread in threads:
        thread.start()
    for prefix, generation in (("slow", 1), ("slow", 2), ("quick", 1)):
        work = Work(id=clock.new_id(), kind=Kind.REMOVE, prefix=prefix, generation=generation)
        journal.accept(work)
        workers.add(work.id)
    eventually(lambda: done == [("quick", 1)], what="the other place")
    gate.set()
    eventually(lambda: done[1:] == [("slow", 1), ("slow", 2)], what="the slow place, in order")
    workers.stop()
    for thread in threads:
        thread.join(30)
        assert not thread.is_alive()
    journal.close()


def test_a_stuck_work_does_not_end_the_worker(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal.db")
    tried: list[UUID] = []

    def carry_out(work: Work, interrupt: Interrupt, age_seconds: float) -> None:
        tried.append(work.id)
        if work.prefix == "stuck":
            raise EngineAway("gone")
        journal.finish(work.id, outcome="succeeded", code=None, detail=None, finished="{}")

    workers = Workers(journal, carry_out)
    thread = threading.Thread(target=workers.run, daemon=True)
    thread.start()
    for prefix in ("stuck", "fine"):
        work = Work(id=clock.new_id(), kind=Kind.REMOVE, prefix=prefix, generation=1)
        journal.accept(work)
        workers.add(work.id)
    eventually(lambda: [work.prefix for work in journal.unfinished()] == ["stuck"], what="the end of the other")
    assert len(set(tried)) == 2
    workers.stop()
    thread.join(30)
    assert not thread.is_alive()
    journal.close()
