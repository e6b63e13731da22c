"""Starting: group by group, the old out of the way where it must be, and each gate passed before the next group."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from agent import containers, probes
from agent.apply.context import Attempt
from agent.apply.forward import create_named, local_of
from agent.docker import Inspected, NotThere
from agent.outcomes import Unhealthy
from agent.plan import Change, is_gated
from agent.probes import Judgement, Probe, Verdict
from kernel import clock
from kernel.contracts.config import Config
from kernel.contracts.spec import ContainerSpec
from kernel.errors import FairleadError

_FIRST_LOOK_SECONDS = 0.05
_LONGEST_LOOK_SECONDS = 0.5
# A container that Docker would start again after the switch may end this often before it has failed: it may only have
# been quicker than what it needs. `no` and a job get no second try.
_MOST_RESTARTS = 2
_LOG_LINES = 20


def start_all(attempt: Attempt) -> None:
    """Start every group; at the end all containers of the stack must be up and stable together. Raises Unhealthy."""
    began = clock.monotonic()
    changes = {change.container: change for change in attempt.plan.changes}
    watches = {name: _Watch(attempt, attempt.by_name[name], is_new=True) for name in changes}
    for group in attempt.plan.groups:
        attempt.interrupt.check()
        attempt.parts.crew.each(lambda name: _start(attempt, changes[name]), group)
        for name in group:
            watches[name].began()
            if is_gated(attempt.by_name[name].config):
                _wait(attempt, [watches[name]], stable=False)
                attempt.tell("healthy", name)
    attempt.clocked("start", began)
    began = clock.monotonic()
    kept = [_Watch(attempt, attempt.by_name[one.container], is_new=False, container_id=one.id) for one in attempt.plan.kept]
    _wait(attempt, [*watches.values(), *kept], stable=True)
    attempt.clocked("healthy", began)


def _start(attempt: Attempt, change: Change) -> None:
    engine, container_id = attempt.parts.engine, attempt.ids[change.container]
    for old in attempt.plan.old:
        if old.id in change.stop_first:
            attempt.tell("stopping", old.container, "the new one needs its host port")
            attempt.patiently(engine.stop, old.id, old.stop_seconds)
    spec = attempt.by_name[change.container]
    if change.container not in attempt.started:
        _run_inits(attempt, spec)
    elif probes.expected_state(spec.config)["state"] == "exited":
        return  # a job that was begun before the agent died is not begun twice
    attempt.patiently(engine.start, container_id)
    attempt.tell("started", change.container)


def _run_inits(attempt: Attempt, spec: ContainerSpec) -> None:
    """Run the init containers, one after the other, each to its successful end."""
    engine = attempt.parts.engine
    for init in spec.config.get("init_containers") or []:
        name = f"{spec.name}-{init['name']}"
        container_id = attempt.init_ids.get(name) or _create_init(attempt, spec, init, name)
        if not attempt.patiently(engine.inspect, container_id).has_ended:
            attempt.patiently(engine.start, container_id)
        attempt.tell("started", name)
        found = _wait_for_end(attempt, container_id)
        if found.exit_code != 0:
            detail = f"The init container {name} {probes.ending(found)}.{_log_of(attempt, container_id)}"
            raise Unhealthy("init-failed", detail, container_id=container_id)


def _create_init(attempt: Attempt, spec: ContainerSpec, init: Config, name: str) -> str:
    body = containers.init_arguments(spec, init, attempt.origin, local_of_init(attempt, spec))
    working_name = f"{attempt.order.prefix}-{name}.g{attempt.work.generation}"
    made = attempt.patiently(create_named, attempt, working_name, body)
    with attempt.lock:
        attempt.init_ids[name] = made
    return made


def local_of_init(attempt: Attempt, spec: ContainerSpec) -> containers.Local:
    """An init container gets the main one's secrets; its files were written with the main one."""
    local = local_of(attempt, spec)
    return containers.Local(
        environment=local.environment,
        secrets_directory=local.secrets_directory,
        host_paths=local.host_paths,
        ceilings=local.ceilings,
    )


def _wait_for_end(attempt: Attempt, container_id: str) -> Inspected:
    delay = _FIRST_LOOK_SECONDS
    while True:
        found = attempt.patiently(attempt.parts.engine.inspect, container_id)
        if found.has_ended:
            return found
        attempt.interrupt.wait(delay)
        delay = min(delay * 1.5, _LONGEST_LOOK_SECONDS)


def _wait(attempt: Attempt, watches: Sequence[_Watch], *, stable: bool) -> None:
    """Look again and again until all are ready, and have been so for their time if `stable`. Raises Unhealthy."""
    delay = _FIRST_LOOK_SECONDS
    while True:
        attempt.parts.crew.each(lambda watch: watch.look(), watches)
        if all(watch.is_ready and (not stable or watch.has_been_ready()) for watch in watches):
            return
        attempt.interrupt.wait(delay)
        delay = min(delay * 1.5, _LONGEST_LOOK_SECONDS)


@dataclass(frozen=True)
class _Run:
    """One run of a container: another start or restart makes another run."""

    started_at: str
    restart_count: int


class _Watch:
    """One container at the gate."""

    def __init__(self, attempt: Attempt, spec: ContainerSpec, *, is_new: bool, container_id: str | None = None) -> None:
        self._attempt = attempt
        self._spec = spec
        self._is_new = is_new
        self._id = container_id
        self._expected = probes.expected_state(spec.config)
        self._probe = Probe.of(spec.config) if is_new else None
        self._run: _Run | None = None
        self._restarts = 0
        self._looked_at = self._ready_since = 0.0
        self._began_at = clock.monotonic()
        self._start_again_at: float | None = None
        self.is_ready = False

    def began(self) -> None:
        self._began_at = clock.monotonic()

    @property
    def container_id(self) -> str:
        return self._id or self._attempt.ids[self._spec.name]

    def has_been_ready(self) -> bool:
        """Whether it was seen ready for as long as asked, from one look to another; what has run to its end stays so."""
        stable_seconds = self._expected["stable_seconds"] if self._is_new and self._expected["state"] != "exited" else 0
        return not stable_seconds or self._looked_at - self._ready_since >= stable_seconds

    def look(self) -> None:
        """One look. Raises Unhealthy when it has failed."""
        attempt = self._attempt
        self._looked_at = clock.monotonic()
        try:
            found = attempt.patiently(attempt.parts.engine.inspect, self.container_id)
        except NotThere as error:
            raise Unhealthy("exited", f"{self._spec.name} was removed by somebody.", container_id=self.container_id) from error
        attempt.checked[self._spec.name] = probes.has_check(self._spec.config, found)
        self._note_run(_Run(found.started_at, found.restart_count))
        probe = self._probe.look(probes.address_of(found)) if self._probe is not None and found.is_running else None
        self._follow(probes.judge(self._spec.config, found, probe))

    def _note_run(self, run: _Run) -> None:
        if self._run is not None and run != self._run:
            self._restarts += 1
            self.is_ready = False
            if self._restarts > _MOST_RESTARTS:
                self._fail("exited", "starts again and again")
        self._run = run

    def _follow(self, said: Judgement) -> None:
        if said.verdict is Verdict.READY:
            if not self.is_ready:
                self.is_ready, self._ready_since = True, clock.monotonic()
            return
        self.is_ready = False
        if said.verdict is Verdict.ENDED:
            self._start_again(said)
        elif said.verdict is Verdict.FAILED:
            self._fail("exited" if self._expected["state"] == "exited" else "unhealthy", said.detail)
        elif clock.monotonic() - self._began_at > self._expected["timeout_seconds"]:
            self._fail("unhealthy", f"{said.detail} after {self._expected['timeout_seconds']} s")

    def _start_again(self, said: Judgement) -> None:
        """Do what Docker will do after the switch, a few times: its own policy is `no` until then."""
        policy = containers.final_restart_policy(self._spec.config)
        if policy == "no" or not self._is_new or self._restarts >= _MOST_RESTARTS:
            self._fail("exited", said.detail)
        if self._start_again_at is None:
            self._start_again_at = clock.monotonic() + 0.5 * 2**self._restarts
        elif clock.monotonic() >= self._start_again_at:
            self._start_again_at = None
            self._attempt.tell("log", self._spec.name, f"{said.detail}; started again")
            self._attempt.patiently(self._attempt.parts.engine.start, self.container_id)

    def _fail(self, code: str, detail: str) -> None:
        said = f"{self._spec.name} {detail}.{_log_of(self._attempt, self.container_id)}"
        raise Unhealthy(code, said, container_id=self.container_id)


def _log_of(attempt: Attempt, container_id: str) -> str:
    """The last lines of a container's log, without secrets, to stand behind a sentence."""
    try:
        said = attempt.hide(attempt.parts.engine.last_lines(container_id, _LOG_LINES)).strip()
    except FairleadError:
        return ""
    return f" Its last lines:\n{said}" if said else ""
