"""The stack as a whole: up, down, status, logs, migrate and reset."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.client import HTTPException
from pathlib import Path
from urllib.error import HTTPError, URLError
from urllib.request import urlopen

import psutil

from deploy.native import dockerd, keys, ports, postgres, programs, rabbitmq, registry, supervisor
from deploy.native.definitions import PROVISIONER
from deploy.native.errors import StackError
from deploy.native.layout import Layout
from deploy.native.processes import raise_open_file_limit, wait_until
from deploy.native.programs import Stack
from deploy.native.report import Report, table
from deploy.native.supervisor import SERVERS, SERVICES, Program, Supervisor
from kernel.messaging import parked

READY_SECONDS = 120
PATIENCE_SECONDS = 8  # with a program that ends again and again
AGENT_SECONDS = 120
GRACE_SECONDS = 2  # for what ends by itself when its server has ended


@contextmanager
def alone(layout: Layout) -> Iterator[None]:
    """One command at a time works on a stack; a second one is told so. Raises StackError."""
    layout.make()
    with layout.lock.open("a") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise StackError("stack", f"another command is working on {layout.run}; wait for it") from error
        yield


class Operator:
    """Carries out one command on one stack, and reports."""

    def __init__(self, layout: Layout, environ: Mapping[str, str], report: Report, *, patience_seconds: float = PATIENCE_SECONDS) -> None:
        self.layout = layout
        self.environ = environ
        self.report = report
        self.supervisor = Supervisor(layout)
        self._patience_seconds = patience_seconds

    # -- up ---------------------------------------------------------------------------------------------------------

    def up(self) -> Stack:
        """Everything runs and answers when this returns. What runs already is left alone."""
        with alone(self.layout):
            stack = self._prepare()
            with ThreadPoolExecutor(4) as pool:
                others = [
                    pool.submit(self._await_rabbitmq, stack),
                    pool.submit(self._await_registry, stack),
                    pool.submit(self._await_docker),
                ]
                self._await_postgres(stack)
                self._migrate(stack)
                everything = programs.services(stack)
                self.supervisor.start_programs(p.full_name for p in everything if not p.name.endswith("-worker"))
                for other in others:
                    other.result()
                self.supervisor.start_programs(p.full_name for p in everything if p.name.endswith("-worker"))
            self._await_gateway(stack, everything)
            self._control_agents("start")
            return stack

    def _prepare(self) -> Stack:
        """The stack as it runs, or one that was just started."""
        if self.supervisor.pid() is not None:
            stack = self._load()
            changed = supervisor.save(self.layout, self._programs(stack, with_docker=self._has_own_docker()))
            if not changed and not ports.are_moved(stack.ports, self.environ):
                return stack
            self.report.warn("the settings have changed since it was started; it is started anew")
            self._stop_everything()
        self._clear_leftovers()
        limit = raise_open_file_limit()
        warning = rabbitmq.open_file_warning(limit)
        if warning:
            self.report.warn(f"rabbitmq {warning}")
        choice = ports.choose(recorded=ports.load(self.layout.ports), environ=self.environ, number=self.layout.number)
        for note in choice.notes:
            self.report.warn(note)
        ports.save(self.layout.ports, choice.ports)
        stack = self._load()
        supervisor.save(self.layout, self._programs(stack, with_docker=programs.may_start_docker(self.environ)))
        self.supervisor.start()
        return stack

    def _load(self) -> Stack:
        return Stack(self.layout, ports.load(self.layout.ports), keys.load_or_make(self.layout), self.environ)

    def _programs(self, stack: Stack, *, with_docker: bool) -> list[Program]:
        return [*programs.servers(stack, with_docker=with_docker), *programs.services(stack)]

    def _has_own_docker(self) -> bool:
        return self.supervisor.state("docker") is not None

    def _await_postgres(self, stack: Stack) -> None:
        self.await_program("postgres", lambda: postgres.is_ready(stack.cluster))
        postgres.provision(stack.cluster, list(stack.keys.roles.values()))
        self.report.step("postgres is ready")

    def _await_rabbitmq(self, stack: Stack) -> None:
        self.await_program("rabbitmq", lambda: rabbitmq.is_ready(stack.node, PROVISIONER, stack.keys.provisioner))
        self.report.step("rabbitmq is ready")

    def _await_registry(self, stack: Stack) -> None:
        self.await_program("registry", lambda: registry.is_ready(stack.registry))
        self.report.step("registry is ready")

    def _await_docker(self) -> None:
        if self.environ.get("DOCKER_HOST"):
            self.report.step(f"docker is the engine at {self.environ['DOCKER_HOST']}")
            return
        if Supervisor(self.layout).state("docker") is None:
            known = dockerd.answers()
            (self.report.step if known else self.report.warn)(
                "docker is the engine of this machine" if known else "no Docker Engine runs, and only root may start one"
            )
            return
        self.await_program("docker", dockerd.answers)
        self.report.step("docker is ready")

    def await_program(self, program: str, check: Callable[[], bool]) -> None:
        """Waits for a program; gives up early, and shows its log, when it ends again and again."""
        control = Supervisor(self.layout)
        crashing_since: list[float] = []

        def checked() -> bool:
            if check():
                return True
            state = control.state(program)
            if state is not None and state.state in ("backoff", "fatal"):
                crashing_since.append(self.report.seconds)
                if crashing_since[-1] - crashing_since[0] > self._patience_seconds:
                    raise StackError(program, f"ends as soon as it starts {state.problem}".rstrip(), log=self.layout.log(program))
            return False

        wait_until(checked, seconds=READY_SECONDS, part=program, problem="does not answer", log=self.layout.log(program))

    def _migrate(self, stack: Stack) -> None:
        command = programs.migration(stack)
        log = self.layout.log("migrations")
        with log.open("ab") as stream:
            result = subprocess.run(
                list(command.arguments), cwd=command.directory, env=dict(command.environment), stdin=subprocess.DEVNULL,
                stdout=stream, stderr=stream, user=command.account, timeout=300, check=False,
            )  # fmt: skip
        if result.returncode != 0:
            raise StackError("migrations", f"ended with {result.returncode}", log=log)
        self.report.step("the databases have the newest shape")

    def _await_gateway(self, stack: Stack, everything: list[Program]) -> None:
        for program in everything:
            self.await_program(program.name, lambda name=program.name: self._runs(name))  # type: ignore[misc]  # mypy cannot infer a lambda with a default
        unready: list[str] = []

        def ready() -> bool:
            answer = readiness(stack.ports["gateway"])
            unready[:] = answer
            return not answer

        try:
            wait_until(ready, seconds=READY_SECONDS, part="gateway", problem="is not ready", log=self.layout.log("gateway"))
        except StackError as error:
            raise StackError("gateway", f"{error.problem}: {'; '.join(unready)}", log=error.log) from error
        self.report.step(f"fairlead is ready at {stack.public_url}")

    def _runs(self, program: str) -> bool:
        state = self.supervisor.state(program)
        return state is not None and state.state == "running"

    # -- down -------------------------------------------------------------------------------------------------------

    def down(self) -> None:
        """Nothing of the stack runs when this returns."""
        with alone(self.layout):
            self._control_agents("stop")
            self._stop_everything()
            self._clear_leftovers()
            self.report.step("nothing of it runs any more")

    def _control_agents(self, *words: str) -> None:
        """Tells every agent that was installed below the run directory; their own scripts run them, not our supervisor."""
        for control in agent_controls(self.layout):
            log = self.layout.log("agentctl")
            with log.open("ab") as stream:
                result = subprocess.run([control, *words], stdout=stream, stderr=stream, timeout=AGENT_SECONDS, check=False)
            if result.returncode != 0:
                raise StackError("agent", f"`{control} {' '.join(words)}` ended with {result.returncode}", log=log)
            self.report.step(f"the agent in {control.parents[1]}: {words[0]}")

    def _stop_everything(self) -> None:
        if self.supervisor.pid() is None or not self.supervisor.answers():
            return
        self.supervisor.stop_group(SERVICES)
        self.report.step("services are stopped")
        if self._has_own_docker():
            dockerd.let_go_of_containers(dockerd.Engine(self.layout.docker, self.layout.docker_exec))
        self.supervisor.stop_group(SERVERS)
        self.supervisor.shut_down()
        self.report.step("servers are stopped")

    def _clear_leftovers(self) -> None:
        """Ends what outlived a supervisor that was killed: politely first, then by force."""
        _gone, left = psutil.wait_procs(supervisor.marked_processes(self.layout), timeout=GRACE_SECONDS)
        if not left:
            return
        for process in left:
            _quietly(process.terminate)
        _gone, alive = psutil.wait_procs(left, timeout=20)
        for process in alive:
            _quietly(process.kill)
        _gone, alive = psutil.wait_procs(alive, timeout=10)
        if alive:
            raise StackError("stack", f"cannot end processes {', '.join(str(process.pid) for process in alive)}")
        self.report.warn(f"ended {len(left)} processes that an earlier stack had left")

    # -- the rest ---------------------------------------------------------------------------------------------------

    def status(self) -> int:
        """Prints the table. 0 when everything runs, else 3."""
        if self.supervisor.pid() is None:
            self.report.console.print("it does not run; start it with `make up`")
            return 3
        states = self.supervisor.states()
        extra = [("supervisord", self.supervisor.pid() or 0), *agent_processes(self.layout)]
        self.report.console.print(table(states, extra))
        recorded = ports.load(self.layout.ports)
        unready = readiness(recorded["gateway"])
        self.report.console.print(
            f"http://127.0.0.1:{recorded['gateway']} is {'ready' if not unready else 'not ready: ' + '; '.join(unready)}"
        )
        return 0 if all(state.state == "running" for state in states) and not unready else 3

    def logs(self, part: str | None) -> None:
        """Shows the logs as they grow; becomes `tail` and does not return."""
        files = sorted(self.layout.logs.glob(f"{part or '*'}.log"))
        if not files:
            known = ", ".join(path.stem for path in sorted(self.layout.logs.glob("*.log"))) or "none yet"
            raise StackError("logs", f"there is no log {part or ''}; there are: {known}")
        os.execvp("tail", ["tail", "-n", "40", "-F", *map(str, files)])  # noqa: S606 - becomes tail

    def parked(self, words: Sequence[str]) -> int:
        """Looks after parked messages, as the service whose queue it is."""
        stack = self._load()

        def url_of(queue: str) -> str:
            service, _, kind = queue.partition(".")
            return stack.broker_url(service, "agents" if kind == "reports" else "core")

        return parked.main(words, url_of)

    def migrate(self) -> None:
        """Brings the databases to the newest shape, whether the stack runs or not."""
        if self.supervisor.pid() is not None:
            self._migrate(self._load())
            return
        with alone(self.layout):
            choice = ports.choose(recorded=ports.load(self.layout.ports), environ=self.environ, number=self.layout.number)
            ports.save(self.layout.ports, choice.ports)
            stack = self._load()
            server = postgres.ClusterServer(stack.cluster, log=self.layout.log("postgres"))
            server.start()
            try:
                postgres.provision(stack.cluster, list(stack.keys.roles.values()))
                self._migrate(stack)
            finally:
                server.stop()

    def reset(self) -> None:
        """Down, and everything that the stack has written is removed. `.venv` stays."""
        nodes = agent_nodes(self.layout)
        self._control_agents("stop")
        for node in nodes if dockerd.answers() else ():
            removed = dockerd.remove_of_node(node)
            self.report.step(f"{len(removed)} containers, networks and volumes of node {node} are removed")
        self._control_agents("uninstall")
        self.down()
        for directory in (self.layout.docker, self.layout.docker_exec):
            dockerd.unmount_below(directory)
        for directory in {self.layout.state, self.layout.docker_exec, self.layout.run}:
            if directory.exists():
                shutil.rmtree(directory)
        self.report.step("all data is removed")


def _quietly(action: Callable[[], None]) -> None:
    try:
        action()
    except psutil.NoSuchProcess:
        return


def readiness(port: int) -> list[str]:
    """What is not ready, in words, as the gateway tells it; empty when everything is."""
    try:
        with urlopen(f"http://127.0.0.1:{port}/readyz", timeout=5):
            return []
    except HTTPError as error:
        return _reasons(error.read()) or [f"the gateway answers {error.code}"]
    except (URLError, OSError, HTTPException) as error:
        return [f"the gateway does not answer ({error})"]


def _reasons(body: bytes) -> list[str]:
    try:
        parts = json.loads(body).get("parts", {})
    except (ValueError, AttributeError):
        return []
    return [f"{name}: {part.get('reason', 'not ready')}" for name, part in parts.items() if not part.get("ready")]


def agent_controls(layout: Layout) -> list[Path]:
    """The control script of every agent that was installed below the run directory (`agent` by `make demo`)."""
    return sorted(layout.run.glob("agent*/bin/agentctl"))


def agent_processes(layout: Layout) -> list[tuple[str, int]]:
    """Those agents' processes, as (name, pid)."""
    found = []
    for process in psutil.process_iter(["cmdline"]):
        command = process.info["cmdline"] or []
        if "agent.main" in command and command[0].startswith(str(layout.agent)):
            found.append(("agent", process.pid))
    return found


def agent_nodes(layout: Layout) -> list[str]:
    """The ids of the nodes that this machine was enrolled as."""
    return [str(json.loads(path.read_text())["node_id"]) for path in sorted(layout.run.glob("agent*/data/identity.json"))]
