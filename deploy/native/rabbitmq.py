"""A private RabbitMQ node: its own data, ports, cookie and users, and no epmd, so that nothing of it meets another node."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

from deploy.certificates import Certificates
from deploy.native.errors import StackError
from deploy.native.processes import (
    Command,
    Server,
    answers,
    make_directory,
    raise_open_file_limit,
    require_entry,
    service_account,
    write_file,
)
from kernel import clock

ACCOUNT = "rabbitmq"
SCRIPT = Path("/usr/lib/rabbitmq/bin/rabbitmq-server")  # the plain one: Debian's wrapper in /usr/sbin would log elsewhere
NODE = "fairlead@localhost"

# RabbitMQ 3.10 books three descriptors a quorum queue, and locks every client out in silence once they are gone.
OPEN_FILES_IN_PRODUCTION = 65_536
OPEN_FILES_AT_LEAST = 4_096

# What every Fairlead broker has; where this one listens is added.
SHARED = Path(__file__).parents[1] / "rabbitmq"
_OWN_CONFIG = """\
listeners.tcp.default = 127.0.0.1:{port}
management.tcp.ip = 127.0.0.1
management.tcp.port = {management_port}
load_definitions = {definitions}
log.console.level = {log_level}
"""
# For agents on other machines, who check the certificate; they show a password, not one of their own.
_TLS_CONFIG = """\
listeners.ssl.agents = {host}:{port}
ssl_options.cacertfile = {directory}/ca.crt
ssl_options.certfile = {directory}/server.crt
ssl_options.keyfile = {directory}/server.key
ssl_options.versions.1 = tlsv1.3
ssl_options.versions.2 = tlsv1.2
ssl_options.verify = verify_none
ssl_options.fail_if_no_peer_cert = false
"""
# Two schedulers that sleep when idle: the node shares a small machine with the work that it manages.
_VM = "+S 2:2 +SDio 4 +sbwt none +sbwtdcpu none +sbwtdio none"


@dataclass(frozen=True)
class TlsListener:
    """Where agents on other machines come in, and what is shown to them."""

    host: str
    port: int
    certificates: Certificates


@dataclass(frozen=True)
class Node:
    """Where a node lives, on which ports of loopback it listens, and where for agents elsewhere."""

    directory: Path
    port: int
    management_port: int
    distribution_port: int
    log_level: str = "info"
    tls: TlsListener | None = None

    @property
    def definitions(self) -> Path:
        """What is loaded at each start."""
        return self.directory / "definitions.json"

    def url(self, user: str, password: str, vhost: str) -> str:
        """The AMQP address of a user in a virtual host."""
        return f"amqp://{user}:{password}@127.0.0.1:{self.port}/{vhost}"

    def management_url(self, user: str, password: str) -> str:
        """The address of the management API."""
        return f"http://{user}:{password}@127.0.0.1:{self.management_port}"


def open_file_warning(limit: int) -> str | None:
    """What to tell about a limit of open files: nothing when it is fine. Raises StackError when the node could not work."""
    if limit < OPEN_FILES_AT_LEAST:
        raise StackError(
            "rabbitmq",
            f"may open {limit} files only: a few hundred queues would lock every client out without a word. "
            f"Raise the hard limit to {OPEN_FILES_IN_PRODUCTION} (`ulimit -Hn`, LimitNOFILE=, or --ulimit nofile of a container)",
        )
    if limit < OPEN_FILES_IN_PRODUCTION:
        return f"may open {limit} files: fine for about {limit // 4} queues and connections; production wants {OPEN_FILES_IN_PRODUCTION}"
    return None


def prepare(node: Node, definitions: str) -> Command:
    """Writes the node's files and returns the command that runs it."""
    if not SCRIPT.exists():
        raise StackError("rabbitmq", "is not installed; run `make install`")
    account = service_account(ACCOUNT)
    require_entry(node.directory, account)
    make_directory(node.directory, account=account, mode=0o750)
    cookie = node.directory / ".erlang.cookie"
    if not cookie.exists():
        write_file(cookie, clock.random_token(), account=account, mode=0o400)
    write_file(node.definitions, definitions, account=account, mode=0o600)
    write_file(node.directory / "enabled_plugins", (SHARED / "enabled_plugins").read_text(), account=account)
    if node.tls is not None:
        _hand_over(node.tls.certificates, node.directory / "tls", account)
    write_file(node.directory / "rabbitmq.conf", _config(node), account=account)
    return Command(
        part="rabbitmq",
        arguments=(str(SCRIPT),),
        directory=node.directory,
        environment=_environment(node),
        account=account,
        stop_seconds=30,
    )


def _config(node: Node) -> str:
    own = _OWN_CONFIG.format(port=node.port, management_port=node.management_port, definitions=node.definitions, log_level=node.log_level)
    if node.tls is not None:
        own += _TLS_CONFIG.format(host=node.tls.host, port=node.tls.port, directory=node.directory / "tls")
    return (SHARED / "rabbitmq.conf").read_text() + own


def _hand_over(certificates: Certificates, directory: Path, account: str | None) -> None:
    """What the node reads; the authority's key is not among it."""
    make_directory(directory, account=account, mode=0o700)
    for path in (certificates.authority, certificates.server, certificates.server_key):
        write_file(directory / path.name, path.read_text(), account=account, mode=0o600)


def _environment(node: Node) -> Mapping[str, str]:
    home = str(node.directory)
    # With its name given to the virtual machine and a fixed port, the node finds itself without epmd and starts none.
    distribution = f"-sname {NODE} -start_epmd false -erl_epmd_port {node.distribution_port} -kernel inet_dist_use_interface {{127,0,0,1}}"
    return {
        "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
        "LANG": "C.UTF-8",
        "HOME": home,
        "RABBITMQ_NODENAME": NODE,
        "RABBITMQ_DIST_PORT": str(node.distribution_port),
        "RABBITMQ_MNESIA_BASE": f"{home}/data",
        "RABBITMQ_LOG_BASE": f"{home}/log",
        "RABBITMQ_LOGS": "-",
        "RABBITMQ_CONFIG_FILE": f"{home}/rabbitmq.conf",
        "RABBITMQ_ENABLED_PLUGINS_FILE": f"{home}/enabled_plugins",
        "RABBITMQ_CONF_ENV_FILE": "/dev/null",  # not the system's
        "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": f"{_VM} {distribution}",
        "ERL_CRASH_DUMP": f"{home}/erl_crash.dump",
        "ERL_CRASH_DUMP_SECONDS": "0",
        # The script then becomes the node instead of standing over it, so that signals and `kill -9` meet the node itself.
        "detached": "1",
    }


def is_ready(node: Node, user: str, password: str) -> bool:
    """Whether the node takes AMQP clients and its management API knows `user`."""
    if not answers(node.port):
        return False
    try:
        whoami = call(node, user, password, "GET", "/api/whoami")
    except (URLError, OSError):
        return False
    return isinstance(whoami, dict) and whoami.get("name") == user


def call(node: Node, user: str, password: str, method: str, path: str, body: object = None) -> object:
    """One request to the management API; the decoded answer, or None when it is empty.

    Raises urllib.error.HTTPError (with `code`) when the node refuses, URLError when it does not answer.
    """
    credentials = base64.b64encode(f"{user}:{password}".encode()).decode()
    request = Request(
        f"http://127.0.0.1:{node.management_port}{path}",
        data=None if body is None else json.dumps(body).encode(),
        method=method,
        headers={"Authorization": f"Basic {credentials}", "Content-Type": "application/json"},
    )
    with urlopen(request, timeout=10) as response:  # noqa: S310 - the scheme is fixed
        text = response.read()
    return json.loads(text) if text else None


class RabbitServer(Server):
    """A node that runs without a supervisor; tests use it."""

    def __init__(self, node: Node, definitions: str, *, user: str, password: str) -> None:
        raise_open_file_limit()
        self.node = node
        self.user = user
        self.password = password
        super().__init__(
            prepare(node, definitions),
            log=node.directory.with_name(f"{node.directory.name}.log"),
            is_ready=lambda: is_ready(node, user, password),
            start_seconds=90,
        )

    @property
    def management_url(self) -> str:
        """The management API with this server's administrator."""
        return self.node.management_url(self.user, self.password)

    def url(self, vhost: str, *, user: str | None = None, password: str | None = None) -> str:
        """The AMQP address of `user`, or of the administrator."""
        return self.node.url(user or self.user, password or self.password, vhost)

    def call(self, method: str, path: str, body: object = None) -> object:
        """One request to the management API as the administrator."""
        return call(self.node, self.user, self.password, method, path, body)


__all__ = ["HTTPError", "Node", "RabbitServer", "call", "is_ready", "open_file_warning", "prepare"]
