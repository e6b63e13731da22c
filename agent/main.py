"""The agent's process: the parts put together, their threads watched, signals obeyed."""

from __future__ import annotations

import argparse
import fcntl
import json
import os
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO

import structlog

from agent.apply.context import Parts
from agent.apply.work import carry_out
from agent.crew import Crew
from agent.docker import Engine
from agent.heartbeat import Heartbeat, facts
from agent.identity import load_node, load_or_make_keys
from agent.interrupt import Interrupt
from agent.journal import Journal, Work
from agent.link import Link
from agent.messages import Commands, Reports
from agent.messages.reports import VERSION
from agent.observe import Observer
from agent.policy import read_policy
from agent.settings import Settings, read_settings
from agent.workers import Workers
from kernel import clock, telemetry
from kernel.contracts.spec import LABEL_NODE
from kernel.errors import Conflict, FairleadError

log = structlog.get_logger(__name__)

_TICK_SECONDS = 0.5
_LEAVE_SECONDS = 10.0


class Core:
    """Everything but the broker: commands go in by `commands`, reports come out by the journal."""

    def __init__(self, settings: Settings, *, engine: Engine | None = None) -> None:
        self.settings = settings
        self.node = load_node(settings.directory)
        keys = load_or_make_keys(settings.directory)
        self.journal = Journal(settings.journal_path)
        self.reports = Reports(self.node, keys, self.journal, boot_id=clock.new_id())
        self.engine = engine or Engine(settings.docker_address)
        self.crew = Crew()
        self.parts = Parts(
            node=self.node,
            keys=keys,
            engine=self.engine,
            journal=self.journal,
            reports=self.reports,
            crew=self.crew,
            policy=lambda: read_policy(settings.policy_path),
            directory=settings.directory,
        )
        self.workers = Workers(self.journal, self._carry_out)
        self.commands = Commands(self.node, self.journal, self.reports, on_work=self.workers.add, on_cancel=self.workers.cancel)
        self.observer = Observer(self.engine, self.node, self.reports)

    def _carry_out(self, work: Work, interrupt: Interrupt, age_seconds: float) -> None:
        carry_out(self.parts, work, interrupt, age_seconds=age_seconds)
        self.observer.look_soon()

    def close(self) -> None:
        self.crew.close()
        self.engine.close()
        self.journal.close()


class Agent:
    """The core with its threads and its link to the broker. `run` returns the exit status."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._stopping = threading.Event()
        self._link = Link(core.node, core.journal, core.reports, core.commands)
        self._heartbeat = Heartbeat(core.node, core.reports, self._link, core.commands, state_path=core.settings.state_path)
        core.observer.on_look = self._note_engine
        core.reports.facts = lambda: facts(core.engine)
        self._threads = [
            self._thread("receiver", self._link.receive),
            self._thread("sender", self._link.send),
            self._thread("events", core.observer.follow),
            self._thread("observer", core.observer.run),
            *(self._thread(f"worker-{number}", core.workers.run) for number in range(max(1, core.settings.workers))),
        ]

    @staticmethod
    def _thread(name: str, life: Callable[[], None]) -> threading.Thread:
        return threading.Thread(target=life, name=name, daemon=True)

    def _note_engine(self, engine: str) -> None:
        self._heartbeat.engine = engine

    def stop(self) -> None:
        """Ask `run` to return."""
        self._stopping.set()

    def run(self) -> int:
        """Until stopped, or until a thread has died: then the supervisor starts the process anew."""
        log.info("agent starts", node=str(self._core.node.node_id), version=VERSION, boot_id=str(self._core.reports.boot_id))
        for thread in self._threads:
            thread.start()
        every = self._core.settings.heartbeat_seconds or self._core.node.heartbeat_seconds
        beat_at = clock.monotonic()
        status = 0
        while not self._stopping.wait(_TICK_SECONDS):
            dead = [thread.name for thread in self._threads if not thread.is_alive()]
            if dead:
                log.error("a thread has died, the agent ends", threads=dead)
                status = 1
                break
            if clock.monotonic() - beat_at >= every:
                beat_at = clock.monotonic()
                self._heartbeat.beat()
            self._heartbeat.write_state()
        self._leave()
        return status

    def _leave(self) -> None:
        core = self._core
        for stop in (core.workers.stop, core.observer.stop, self._link.stop):
            stop()
        deadline = clock.monotonic() + _LEAVE_SECONDS
        for thread in self._threads:
            thread.join(max(0.0, deadline - clock.monotonic()))
        self._core.settings.state_path.unlink(missing_ok=True)
        log.info("agent ends", still_running=[thread.name for thread in self._threads if thread.is_alive()])


def _lock(directory: Path) -> IO[str]:
    """Two agents on one directory would work against each other. The lock goes with the process."""
    file = (directory / "agent.lock").open("w")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        raise Conflict("already-running", f"Another agent works in {directory}.") from error
    return file


def _run(settings: Settings) -> int:
    lock = _lock(settings.directory)
    agent = Agent(Core(settings))
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda _number, _frame: agent.stop())
    threading.excepthook = lambda died: log.error(
        "a thread died", thread=died.thread.name if died.thread else "?", exc_info=(died.exc_type, died.exc_value, died.exc_traceback)
    )
    status = agent.run()
    lock.close()
    return status


def _enroll(settings: Settings, base_url: str) -> int:
    from agent.enroll import enroll  # imported here: the running agent has no use for it

    token = os.environ.get("FAIRLEAD_AGENT_TOKEN", "")
    node = enroll(settings.directory, base_url, token, Engine(settings.docker_address))
    sys.stdout.write(f"{node.node_id}\n")
    return 0


def _remove_containers(settings: Settings) -> int:
    """For uninstalling: everything that this node runs for Fairlead goes, but for its data."""
    engine, label = Engine(settings.docker_address), f"{LABEL_NODE}={load_node(settings.directory).node_id}"
    for one in engine.containers(label):
        engine.remove(one.id)
    for network in engine.networks(label):
        engine.remove_network(network)
    return 0


def _status(settings: Settings) -> int:
    """0 when the agent is connected, 1 when it is not, 3 when it does not run."""
    try:
        state = json.loads(settings.state_path.read_text())
        age = (clock.now() - clock.parse_rfc3339(state["at"])).total_seconds()
    except (OSError, ValueError, KeyError):
        sys.stdout.write("not running\n")
        return 3
    if age > 30:
        sys.stdout.write(f"not running: it wrote its state {age:.0f} s ago\n")
        return 3
    connected = "connected" if state["connected"] else "refused by the broker" if state["refused"] else "not connected"
    sys.stdout.write(f"{connected}, engine {state['engine']}, node {state['node_id']}, version {state['version']}, pid {state['pid']}\n")
    return 0 if state["connected"] else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="fairlead-agent", description="Carries out Fairlead's deployments on this machine.")
    orders = parser.add_subparsers(dest="order")
    orders.add_parser("run", help="run in the foreground (the default)")
    orders.add_parser("status", help="say whether the agent is connected")
    enroll = orders.add_parser("enroll", help="enrol this machine; the one-time token is read from FAIRLEAD_AGENT_TOKEN")
    enroll.add_argument("base_url", help="the address of the control plane")
    orders.add_parser("remove-containers", help="remove every container that Fairlead made here; volumes stay")
    orders.add_parser("check-policy", help="read policy.toml and say what is wrong with it")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """The `fairlead-agent` command."""
    asked = _parser().parse_args(arguments)
    try:
        settings = read_settings(os.environ)
        telemetry.configure_logging("agent", form=settings.log_format, level=settings.log_level)
        if asked.order == "enroll":
            return _enroll(settings, asked.base_url)
        if asked.order == "status":
            return _status(settings)
        if asked.order == "remove-containers":
            return _remove_containers(settings)
        if asked.order == "check-policy":
            sys.stdout.write(f"{read_policy(settings.policy_path)}\n")
            return 0
        return _run(settings)
    except FairleadError as error:
        sys.stderr.write(f"fairlead-agent: {error.detail}\n")
        return 2


if __name__ == "__main__":
    # Threads that still wait for the engine must not hold up the end.
    code = main()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
