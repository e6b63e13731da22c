"""The worker as a real process: it runs its parts, ends by a signal, and dies when a part dies."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import requests

from deploy.native.ports import free_port
from kernel.errors import Unavailable
from kernel.worker import Timer
from tests.fixtures.waiting import eventually

ROOT = Path(__file__).resolve().parents[3]
_PROGRAM = """
import sys, threading
from kernel.errors import Unavailable
from kernel.worker import Timer, run

class Idle:
    def __init__(self): self.over = threading.Event()
    def run(self): print("running", flush=True); self.over.wait(); print("ended well", flush=True)
    def stop(self): self.over.set()

class Dies:
    def run(self): raise ZeroDivisionError("a defect")
    def stop(self): pass

class Leaves(Dies):
    def run(self): return

kinds = {"idle": Idle, "dies": Dies, "leaves": Leaves}
port = int(sys.argv[1]) or None
sys.exit(run([kinds[name]() for name in sys.argv[2:]], metrics_port=port))
"""


def start(*parts: str, port: int = 0) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", _PROGRAM, str(port), *parts]
    return subprocess.Popen(command, cwd=ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_every_part_in_order(number: signal.Signals) -> None:
    worker = start("idle", "idle")
    assert worker.stdout is not None
    while "running" not in worker.stdout.readline():
        assert worker.poll() is None
    worker.send_signal(number)
    told, _ = worker.communicate(timeout=60)
    assert worker.returncode == 0
    assert told.count("ended well") == 2


@pytest.mark.parametrize("part", ["dies", "leaves"])
def test_a_part_that_ends_by_itself_ends_the_process_so_that_it_is_started_anew(part: str) -> None:
    worker = start("idle", part)
    told, _ = worker.communicate(timeout=60)
    assert worker.returncode == 1
    assert "ended well" in told, "the others are asked to stop"


def test_metrics_are_told_on_loopback_only() -> None:
    port = free_port()
    worker = start("idle", port=port)
    try:
        answer = eventually(lambda: _get(port))
        assert "python_info" in answer
        table = Path(f"/proc/{worker.pid}/net/tcp").read_text()
        listening = re.findall(rf"([0-9A-F]{{8}}):{port:04X} 00000000:0000 0A", table)
        assert listening == ["0100007F"]
    finally:
        worker.terminate()
        worker.communicate(timeout=60)


def _get(port: int) -> str:
    try:
        return requests.get(f"http://127.0.0.1:{port}/metrics", timeout=2).text
    except requests.RequestException:
        return ""


class Counter:
    """An action that counts its calls and fails as told."""

    def __init__(self, *failures: Exception) -> None:
        self.calls = 0
        self._failures = list(failures)

    def __call__(self) -> None:
        self.calls += 1
        if self._failures:
            raise self._failures.pop(0)


def test_a_timer_works_at_once_then_after_its_time_and_when_it_is_woken() -> None:
    action = Counter()
    timer = Timer("test", 3600, action)
    thread = threading.Thread(target=timer.run)
    thread.start()
    eventually(lambda: action.calls == 1)
    timer.wake()
    eventually(lambda: action.calls == 2)
    timer.stop()
    thread.join(30)
    assert not thread.is_alive()
    assert action.calls == 2


def test_a_timer_goes_on_after_what_it_needs_was_away() -> None:
    action = Counter(Unavailable("The database did not answer."), Unavailable("Still not."))
    timer = Timer("test", 0.01, action)
    thread = threading.Thread(target=timer.run)
    thread.start()
    eventually(lambda: action.calls >= 4)
    timer.stop()
    thread.join(30)
    assert not thread.is_alive()


def test_a_defect_ends_a_timer() -> None:
    with pytest.raises(KeyError):
        Timer("test", 0.01, Counter(KeyError("a defect"))).run()
