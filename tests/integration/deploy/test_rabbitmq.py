"""A private RabbitMQ node with our definitions: what each user may do there, tried by that user."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from urllib.error import HTTPError

import pika
import psutil
import pytest
from pika.exceptions import ChannelClosedByBroker, ProbableAccessDeniedError, ProbableAuthenticationError

from deploy import certificates
from deploy.native import definitions, ports, rabbitmq
from deploy.native.errors import StackError
from deploy.native.rabbitmq import Node, RabbitServer, TlsListener
from kernel.contracts import identity  # noqa: F401 - registers the message that a test sends
from kernel.errors import Unavailable
from kernel.messaging.consumer import Consumer, Received
from kernel.messaging.publisher import Confirm, Outgoing, Publisher
from tests.fixtures.waiting import eventually

PASSWORDS = {name: f"{name}-password" for name in (*definitions.SERVICES, definitions.PROVISIONER)}
SHUT = "ACCESS_REFUSED"
SAMPLES = Path(__file__).resolve().parents[3] / "docs" / "messages"


@pytest.fixture(scope="module")
def server(open_module_directory: Path) -> Iterator[RabbitServer]:
    numbers = [ports.free_port() for _ in range(4)]
    listener = TlsListener("127.0.0.1", numbers[3], certificates.ensure(open_module_directory / "tls", ["localhost"]))
    node = Node(open_module_directory / "rabbitmq", numbers[0], numbers[1], numbers[2], log_level="warning", tls=listener)
    text = definitions.render_for_services(PASSWORDS)
    server = RabbitServer(node, text, user="provisioner", password=PASSWORDS["provisioner"])
    server.start()
    yield server
    server.stop()


def channel(server: RabbitServer, user: str, vhost: str) -> pika.adapters.blocking_connection.BlockingChannel:
    return pika.BlockingConnection(pika.URLParameters(server.url(vhost, user=user, password=PASSWORDS[user]))).channel()


def test_a_service_publishes_to_its_own_exchange(server: RabbitServer) -> None:
    opened = channel(server, "identity", "core")
    opened.confirm_delivery()
    opened.basic_publish("identity.events", "identity.team.created.v1", b"{}", mandatory=True)
    opened.connection.close()


@pytest.mark.parametrize(
    ("user", "vhost", "exchange", "key"),
    [
        ("identity", "core", "catalog.events", "catalog.version.changed.v1"),
        ("identity", "core", "identity.events", "deployer.deployment.succeeded.v1"),
        ("identity", "core", "", "audit.inbox"),
        ("catalog", "core", "deployer.events", "deployer.deployment.succeeded.v1"),
        ("gateway", "core", "identity.events", "identity.team.created.v1"),
        ("gateway", "agents", "commands", "some-node"),
        ("audit", "agents", "commands", "some-node"),
    ],
)
def test_a_service_cannot_speak_for_another(server: RabbitServer, user: str, vhost: str, exchange: str, key: str) -> None:
    opened = channel(server, user, vhost)
    opened.confirm_delivery()
    with pytest.raises(ChannelClosedByBroker, match=SHUT):
        opened.basic_publish(exchange, key, b"{}")
    opened.connection.close()


@pytest.mark.parametrize(
    ("user", "vhost", "queue"),
    [
        ("identity", "core", "audit.inbox"),
        ("catalog", "core", "deployer.inbox"),
        ("gateway", "core", "audit.inbox"),
        ("gateway", "agents", "deployer.reports"),
        ("audit", "agents", "deployer.reports"),
    ],
)
def test_a_service_cannot_read_what_is_meant_for_another(server: RabbitServer, user: str, vhost: str, queue: str) -> None:
    opened = channel(server, user, vhost)
    with pytest.raises(ChannelClosedByBroker, match=SHUT):
        opened.basic_get(queue)
    opened.connection.close()


@pytest.mark.parametrize(("user", "vhost"), [("identity", "agents"), ("catalog", "agents")])
def test_a_service_without_business_among_agents_does_not_get_in(server: RabbitServer, user: str, vhost: str) -> None:
    with pytest.raises(ProbableAccessDeniedError):
        channel(server, user, vhost)


@pytest.mark.parametrize("user", ["identity", "catalog", "deployer", "audit"])
def test_a_service_declares_no_queue_of_its_own_choice(server: RabbitServer, user: str) -> None:
    opened = channel(server, user, "core")
    with pytest.raises(ChannelClosedByBroker, match=SHUT):
        opened.queue_declare("queue-of-my-own")
    opened.connection.close()


def test_there_is_no_guest(server: RabbitServer) -> None:
    with pytest.raises(ProbableAuthenticationError):
        pika.BlockingConnection(pika.URLParameters(server.node.url("guest", "guest", "core")))


@pytest.mark.parametrize("user", definitions.SERVICES)
def test_no_service_enters_the_management_api(server: RabbitServer, user: str) -> None:
    with pytest.raises(HTTPError) as refused:
        rabbitmq.call(server.node, user, PASSWORDS[user], "GET", "/api/whoami")
    assert refused.value.code == 401


def names_of(processes: list[psutil.Process]) -> set[str]:
    """The node runs short programs now and then, to look at its disk: one may end while it is looked at."""
    found = set()
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            found.add(process.name())
    return found


def test_the_node_starts_no_port_mapper_and_listens_on_loopback_only(server: RabbitServer) -> None:
    assert server.pid is not None
    process = psutil.Process(server.pid)
    assert "epmd" not in names_of(process.children(recursive=True))
    listening = {c.laddr.ip for c in process.net_connections(kind="tcp") if c.status == psutil.CONN_LISTEN}
    assert listening == {"127.0.0.1"}


def test_a_killed_node_comes_back_with_its_topology(server: RabbitServer) -> None:
    server.kill()
    server.start()
    queues = server.call("GET", "/api/queues/core")
    assert isinstance(queues, list)
    assert "audit.inbox" in {queue["name"] for queue in queues}
    eventually(lambda: rabbitmq.is_ready(server.node, "provisioner", PASSWORDS["provisioner"]))


def test_definitions_are_what_the_node_was_given(server: RabbitServer) -> None:
    wanted = json.loads(server.node.definitions.read_text())
    held = server.call("GET", "/api/definitions")
    assert isinstance(held, dict)
    for kind in ("exchanges", "queues", "bindings", "policies", "permissions"):
        assert len(held[kind]) == len(wanted[kind]), kind


def test_too_few_files_are_refused_with_the_figure_and_few_are_warned_of() -> None:
    with pytest.raises(StackError, match="1024 files"):
        rabbitmq.open_file_warning(1024)
    assert "20000 files" in (rabbitmq.open_file_warning(20_000) or "")
    assert rabbitmq.open_file_warning(65_536) is None


def agents_url(server: RabbitServer, host: str = "localhost", *, scheme: str = "amqps", user: str = "audit") -> str:
    assert server.node.tls is not None
    return f"{scheme}://{user}:{PASSWORDS[user]}@{host}:{server.node.tls.port}/core"


def authority(server: RabbitServer) -> str:
    assert server.node.tls is not None
    return server.node.tls.certificates.authority.read_text()


def test_agents_speak_over_tls_to_the_broker_that_they_know(server: RabbitServer) -> None:
    seen: list[Received] = []

    def handle(batch: Sequence[Received]) -> dict[int, Exception]:
        seen.extend(batch)
        return {}

    url, known = agents_url(server, user="identity"), authority(server)
    consumer = Consumer(agents_url(server), "audit.inbox", handle, name="test", authority=known)
    publisher = Publisher(url, "test", authority=known)
    thread = threading.Thread(target=consumer.run)
    thread.start()
    try:
        body = (SAMPLES / "identity.team.changed" / "v1" / "full.json").read_bytes()
        said = publisher.publish([Outgoing("identity.events", "identity.team.changed.v1", body, "one")])
        assert said == [Confirm.CONFIRMED]
        eventually(lambda: len(seen) == 1)
    finally:
        consumer.stop()
        publisher.close()
        thread.join(20)


@pytest.mark.parametrize("case", ["no authority", "another authority", "another name", "no tls"])
def test_agents_refuse_a_broker_that_they_do_not_know(server: RabbitServer, tmp_path: Path, case: str) -> None:
    known: str | None = authority(server)
    url = agents_url(server)
    if case == "no authority":
        known = None
    elif case == "another authority":
        known = certificates.ensure(tmp_path, ["localhost"]).authority.read_text()
    elif case == "another name":
        url = agents_url(server, "127.0.0.1")
    else:
        url = agents_url(server, scheme="amqp")
    publisher = Publisher(url, "test", authority=known)
    with pytest.raises(Unavailable):
        publisher.connect()
    publisher.close()


def test_the_broker_does_not_hold_the_authoritys_key(server: RabbitServer) -> None:
    held = {path.name for path in (server.node.directory / "tls").iterdir()}
    assert held == {"ca.crt", "server.crt", "server.key"}
