"""Agents' signed reports per second, from the queue into the tables of deployer and audit, one worker process of each."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, LiteralString

import pika
import psycopg

from bench.measure import Measure
from kernel import clock
from kernel.contracts.agent import ContainersObserved, DeploymentProgressed, Heartbeat, Hello, ObservedContainer
from kernel.db import plain_dsn
from kernel.messaging.topology import reports_exchange
from services.deployer.models import Attempt
from tests.fixtures import servers as fixture
from tests.fixtures.agents import TestAgent
from tests.fixtures.deployer import TestDeployer, make_deployer
from tests.fixtures.servers import Servers, TestBroker, TestDatabase

_REPORTS = 6000
_NODES = 20
_PREFETCH = 500
_QUEUE = "bench.reports"
_LONGEST_SECONDS = 120.0
_DURABLE = ("fsync", "synchronous_commit", "full_page_writes")


@dataclass(frozen=True)
class _World:
    deployer: TestDeployer
    databases: dict[str, TestDatabase]
    broker: TestBroker
    agents: Sequence[TestAgent]
    attempts: Sequence[Attempt]


def measure() -> list[Measure]:
    """Both workers are stopped (SIGSTOP) while the queues are filled, and then go on at once."""
    with _world() as world, _workers(world) as workers:
        _say_hello(world)
        expected = world.databases["deployer"], world.databases["audit"]
        before = [_done(database) for database in expected]
        for worker in workers:
            worker.send_signal(signal.SIGSTOP)
        told = _fill(world)
        goals = (before[0] + _REPORTS, before[1] + told)
        began = clock.monotonic()
        for worker in workers:
            worker.send_signal(signal.SIGCONT)
        deployer_seconds, audit_seconds = _wait(expected, goals, began)
        pika_rate = _REPORTS / _consume_plainly(world.broker)
    both = _REPORTS / max(deployer_seconds, audit_seconds)
    note = f"{_REPORTS} reports of {_NODES} nodes: 4 of 6 steps of a deployment, heartbeats, containers; fsync on; all on one machine"
    against = "pika: consume, acknowledge"
    return [
        Measure("reports into status and audit", both, "/s", against, pika_rate, "1,000/s", note),
        Measure(
            "of it, the deployer's worker", _REPORTS / deployer_seconds, "/s", against, pika_rate, "1,000/s", "while audit's works too"
        ),
        Measure(
            "of it, the audit worker", _REPORTS / audit_seconds, "/s", against, pika_rate, "1,000/s", f"{told} became entries of the chain"
        ),
    ]


@contextmanager
def _world() -> Iterator[_World]:
    running = fixture.running_servers()
    servers = next(running)
    databases = {service: fixture.make_database(servers, service) for service in ("deployer", "audit")}
    broker = fixture.make_broker(servers)
    with tempfile.TemporaryDirectory(prefix="fairlead-bench-") as directory:
        deployer = make_deployer(databases["deployer"], broker, Path(directory))
        _be_durable(servers, on=True)
        try:
            agents = [deployer.new_agent(f"node-{number}") for number in range(_NODES)]
            attempts = [deployer.live_attempt(agent.node_id) for agent in agents]
            _bind_plain_queue(broker, agents)
            yield _World(deployer, databases, broker, agents, attempts)
        finally:
            for connection in _connections.values():
                connection.close()
            _connections.clear()
            deployer.db.close()
            _be_durable(servers, on=False)
            fixture.drop_broker(broker)
            for database in databases.values():
                fixture.drop_database(servers, database)
            running.close()  # type: ignore[attr-defined]  # a generator


def _be_durable(servers: Servers, *, on: bool) -> None:
    """The servers of tests do not wait for the disk; a measurement should."""
    with servers.superuser() as connection:
        for name in _DURABLE:
            connection.execute(f"ALTER SYSTEM SET {name} = on" if on else f"ALTER SYSTEM RESET {name}")
        connection.execute("SELECT pg_reload_conf()")


def _bind_plain_queue(broker: TestBroker, agents: Sequence[TestAgent]) -> None:
    """A queue of the same kind that gets the same messages, for plain pika."""
    manage = broker.servers.manage
    manage("PUT", f"/api/queues/{broker.agents}/{_QUEUE}", {"durable": True, "arguments": {"x-queue-type": "quorum"}})
    for agent in agents:
        manage("POST", f"/api/bindings/{broker.agents}/e/{reports_exchange(agent.node_id)}/q/{_QUEUE}", {"routing_key": ""})


@contextmanager
def _workers(world: _World) -> Iterator[list[subprocess.Popen[bytes]]]:
    started = [
        subprocess.Popen([sys.executable, "-m", f"services.{service}.worker"], env=_environment(world, service))
        for service in ("deployer", "audit")
    ]
    try:
        yield started
    finally:
        for process in started:
            with suppress(ProcessLookupError):
                process.send_signal(signal.SIGCONT)
            process.terminate()
            process.wait(20)


def _environment(world: _World, service: str) -> dict[str, str]:
    settings = world.deployer.settings
    return {
        "PATH": os.environ["PATH"],
        "FAIRLEAD_ENVIRONMENT": "development",
        "FAIRLEAD_DATABASE_URL": world.databases[service].url,
        "FAIRLEAD_BROKER_CORE_URL": world.broker.core_url(service),
        "FAIRLEAD_BROKER_AGENTS_URL": world.broker.agents_url(service),
        "FAIRLEAD_BROKER_MANAGEMENT_URL": world.broker.management_url,
        "FAIRLEAD_AGENT_BROKER_URL": world.broker.agent_broker_url,
        "FAIRLEAD_IDENTITY_URL": settings.identity_url,
        "FAIRLEAD_CATALOG_URL": settings.catalog_url,
        "FAIRLEAD_PUBLIC_URL": settings.public_url,
        "FAIRLEAD_SIGNING_KEY_FILE": str(settings.signing_key_file),
        "FAIRLEAD_LOG_LEVEL": "error",
    }


def _say_hello(world: _World) -> None:
    """Both workers are there, and know the keys of all nodes."""
    for agent in world.agents:
        agent.say("hello", Hello(boot_id=agent.boot_id, version="0.1.0"))
    _until(lambda: world.deployer.rows("SELECT count(*) FROM nodes WHERE epoch = 1")[0][0] == _NODES, "deployer is not ready")
    _until(lambda: _hellos(world.databases["audit"]) == _NODES, "audit is not ready")
    for agent in world.agents:
        agent.epoch = 1


def _hellos(database: TestDatabase) -> int:
    return _count(database, "SELECT count(*) FROM entries WHERE action LIKE 'agent.hello%'")


def _done(database: TestDatabase) -> int:
    """How much is in the tables, committed: the deployer counts a node's reports by their numbers, and they come in order."""
    if database.service == "deployer":
        return _count(database, "SELECT coalesce(sum(last_sequence), 0) FROM nodes")
    return _count(database, "SELECT count(*) FROM entries WHERE action LIKE 'agent.%'")


_connections: dict[str, psycopg.Connection[Any]] = {}  # opening one costs more than the count itself


def _count(database: TestDatabase, query: LiteralString) -> int:
    connection = _connections.get(database.name)
    if connection is None:
        connection = _connections[database.name] = psycopg.connect(plain_dsn(database.migration_url), autocommit=True)
        connection.execute("SELECT set_config('app.scope', 'system', false)")
    row: Any = connection.execute(query).fetchone()
    return int(row[0])


def _fill(world: _World) -> int:
    """Publish all reports; returns how many of them the audit log keeps."""
    told = 0
    for index in range(0, _REPORTS, 6 * _NODES):
        for agent, attempt in zip(world.agents, world.attempts, strict=True):
            agent.publish(_six(agent, attempt, index))
            told += 4
    return told


def _six(agent: TestAgent, attempt: Attempt, index: int) -> list[bytes]:
    def step(name: str) -> bytes:
        data = DeploymentProgressed(
            deployment_id=attempt.deployment_id, attempt_id=attempt.id, prefix="shop", step=name, container="web", message=f"layer {index}"
        )
        return agent.report("deployment.progressed", data)

    seen = ObservedContainer(prefix="shop", name="web", container_id=str(index), image="web", state="running")
    return [
        step("pulling"),
        step("pulled"),
        agent.report("heartbeat", Heartbeat(boot_id=agent.boot_id)),
        agent.report("containers.observed", ContainersObserved(containers=[seen])),
        step("created"),
        step("started"),
    ]


def _wait(databases: Sequence[TestDatabase], goals: Sequence[int], began: float) -> list[float]:
    """The seconds that each took to reach its goal."""
    seconds: dict[int, float] = {}

    def look() -> bool:
        for index, (database, goal) in enumerate(zip(databases, goals, strict=True)):
            if index not in seconds and _done(database) >= goal:
                seconds[index] = clock.monotonic() - began
        return len(seconds) == len(databases)

    _until(look, "the reports were not all handled")
    return [seconds[index] for index in range(len(databases))]


def _until(check: Callable[[], bool], problem: str) -> None:
    deadline = clock.monotonic() + _LONGEST_SECONDS
    pause = threading.Event()
    while not check():
        if clock.monotonic() > deadline:
            raise TimeoutError(problem)
        pause.wait(0.1)


def _consume_plainly(broker: TestBroker) -> float:
    """The seconds that pika takes for the same messages, acknowledged in batches as ours are, and nothing else."""
    connection = pika.BlockingConnection(pika.URLParameters(broker.servers.amqp_url("provisioner", broker.agents)))
    channel = connection.channel()
    channel.basic_qos(prefetch_count=_PREFETCH)
    began = clock.monotonic()
    for number, (method, _, _) in enumerate(channel.consume(_QUEUE), start=1):
        if number % (_PREFETCH // 2) == 0:
            channel.basic_ack(method.delivery_tag, multiple=True)
        if number == _REPORTS + _NODES:
            channel.basic_ack(method.delivery_tag, multiple=True)
            break
    seconds = clock.monotonic() - began
    connection.close()
    return seconds
