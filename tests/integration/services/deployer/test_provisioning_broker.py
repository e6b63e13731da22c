"""Nodes on a real broker: what reconciliation repairs, and a broker that is killed and loses all its data."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest
from pika.exceptions import AMQPError

from deploy.native import definitions, ports
from deploy.native.rabbitmq import Node, RabbitServer
from kernel import clock
from kernel.contracts.agent import Heartbeat, Hello
from kernel.errors import Unavailable
from kernel.messaging import topology
from services.deployer.provisioning import NodeAccess, Provisioner, compare
from services.deployer.usecases.reconcile import Reconciler, reconcile
from tests.fixtures.agents import TestAgent
from tests.fixtures.deployer import TestDeployer, make_deployer
from tests.fixtures.servers import Servers, TestBroker, TestDatabase
from tests.fixtures.waiting import eventually


@pytest.fixture
def deployer(database: Callable[[str], TestDatabase], broker: TestBroker, tmp_path: Path) -> Iterator[TestDeployer]:
    made = make_deployer(database("deployer"), broker, tmp_path)
    yield made
    made.db.close()


@pytest.fixture
def provisioner(broker: TestBroker) -> Provisioner:
    return Provisioner(broker.management_url, broker.agent_broker_url)


def test_reconciliation_repairs_what_lacks_and_removes_what_nobody_knows(deployer: TestDeployer, provisioner: Provisioner) -> None:
    first, second = deployer.new_agent("one"), deployer.new_agent("two")
    provisioner.remove(first.node_id, 1)
    provisioner.cut(second.node_id, 1)
    stranger = NodeAccess(clock.new_id(), 1, "c29tZWhhc2g=")
    provisioner.ensure([stranger])
    repair = reconcile(deployer.db, provisioner)
    assert repair is not None
    assert {access.node_id for access in repair.missing} == {first.node_id, second.node_id}
    assert repair.users == (stranger.user,)
    for agent in (first, second):
        assert agent.commands() == []
        agent.say("heartbeat", Heartbeat(boot_id=agent.boot_id))
    again = reconcile(deployer.db, provisioner)
    assert again is not None
    assert not again.is_needed


def test_a_revoked_node_is_not_brought_back(deployer: TestDeployer, provisioner: Provisioner) -> None:
    agent = deployer.new_agent()
    deployer.call("POST", f"/nodes/{agent.node_id}/revoke")
    reconcile(deployer.db, provisioner)
    state = provisioner.survey()
    assert agent.username not in state.password_hashes
    assert topology.commands_queue(agent.node_id) not in state.queues


def test_only_one_worker_reconciles_at_a_time(deployer: TestDeployer, provisioner: Provisioner) -> None:
    from services.deployer.store.nodes import try_lock_reconciliation

    with deployer.db.system() as session:
        assert try_lock_reconciliation(session)
        assert reconcile(deployer.db, provisioner) is None


def test_many_nodes_are_provisioned_in_few_calls(provisioner: Provisioner) -> None:
    nodes = [NodeAccess(clock.new_id(), 1, "c29tZWhhc2g=") for _ in range(100)]
    provisioner.ensure(nodes)
    assert not compare(nodes, provisioner.survey()).is_needed
    provisioner.remove_strays(compare([], provisioner.survey()))
    assert not compare([], provisioner.survey()).is_needed


def test_a_management_api_that_is_away_is_tried_again_soon(deployer: TestDeployer, broker: TestBroker) -> None:
    reconciler = Reconciler(deployer.db, Provisioner("http://u:secret@127.0.0.1:9", broker.agent_broker_url))
    for _ in range(2):
        with pytest.raises(Unavailable) as caught:
            reconciler.tick()
        assert "secret" not in str(caught.value)


@pytest.fixture
def private_broker(servers: Servers) -> Iterator[tuple[RabbitServer, TestBroker]]:
    """A RabbitMQ node of this test's own, which may be killed and robbed of its data."""
    with tempfile.TemporaryDirectory(prefix="fairlead-test-rabbit-", ignore_cleanup_errors=True) as directory:
        Path(directory).chmod(0o755)
        free = [ports.free_port() for _ in range(3)]
        passwords = {user: servers.passwords[user] for user in (*definitions.SERVICES, definitions.PROVISIONER)}
        server = RabbitServer(
            Node(Path(directory) / "node", free[0], free[1], free[2], log_level="warning"),
            definitions.render_for_services(passwords),
            user=definitions.PROVISIONER,
            password=passwords[definitions.PROVISIONER],
        )
        try:
            server.start()
            mine = Servers(servers.postgres_port, servers.postgres_password, free[0], free[1], servers.passwords)
            yield server, TestBroker(mine, topology.CORE, topology.AGENTS)
        finally:
            server.kill()


def test_a_killed_and_wiped_broker_gets_everything_back(
    database: Callable[[str], TestDatabase], private_broker: tuple[RabbitServer, TestBroker], tmp_path: Path
) -> None:
    server, broker = private_broker
    deployer = make_deployer(database("deployer"), broker, tmp_path)
    agents = [deployer.new_agent("one"), deployer.new_agent("two")]
    attempt = deployer.live_attempt(agents[0].node_id)
    with deployer.worker():
        for agent in agents:
            say_hello(agent)
            eventually(partial(is_welcomed, agent))
        server.kill()
        shutil.rmtree(server.node.directory / "data")
        server.start()
        for agent in agents:
            eventually(partial(is_let_in, agent))
            say_hello(agent)
        commands = eventually(agents[0].commands)
        commands += eventually(lambda: [] if len(commands) > 1 else agents[0].commands()) if len(commands) < 2 else []
        assert [command.type for command in commands] == ["deployer.node.welcome.v1", "deployer.deployment.apply.v1"]
        assert commands[1].data.attempt_id == attempt.id  # type: ignore[attr-defined]  # of an apply
        assert all(command.epoch == 1 for command in commands)
    for agent in agents:
        agent.close()
    deployer.db.close()


def say_hello(agent: TestAgent) -> None:
    agent.close()
    agent.say("hello", Hello(boot_id=agent.boot_id, version="0.1.0"))


def is_welcomed(agent: TestAgent) -> bool:
    return "deployer.node.welcome.v1" in [command.type for command in agent.commands()]


def is_let_in(agent: TestAgent) -> bool:
    try:
        agent.commands()
    except (AMQPError, OSError):
        return False
    return True
