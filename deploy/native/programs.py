"""Every program of the native stack: what it runs, and the settings and secrets that it needs and no others."""

from __future__ import annotations

import ipaddress
import os
import socket
import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from urllib.parse import urlsplit

from deploy import certificates
from deploy.certificates import Certificates
from deploy.native import definitions, dockerd, postgres, rabbitmq, registry
from deploy.native.definitions import PROVISIONER
from deploy.native.keys import DATABASES, Keys
from deploy.native.layout import Layout
from deploy.native.ports import FORCED_BY
from deploy.native.processes import Command, write_file
from deploy.native.rabbitmq import TlsListener
from deploy.native.supervisor import SERVERS, SERVICES, Program

SIGNING = ("deployer", "audit")
# Steer this script, or are made by it: not handed on from the caller's environment.
_OURS = {"FAIRLEAD_RUN_DIR", "FAIRLEAD_HOST", "FAIRLEAD_STACK", *FORCED_BY.values()}
_THREADS = {"gateway": "64"}  # each live event stream holds one


@dataclass(frozen=True)
class Stack:
    """All that the programs are made from."""

    layout: Layout
    ports: Mapping[str, int]
    keys: Keys
    environ: Mapping[str, str]

    @property
    def host(self) -> str:
        """Where the gateway listens; loopback unless FAIRLEAD_HOST says otherwise."""
        return self.environ.get("FAIRLEAD_HOST") or "127.0.0.1"

    @property
    def gateway_hosts(self) -> str:
        """Where the gateway listens: on loopback too, where this machine's own programs look for it."""
        return self.host if is_any(self.host) or not self.is_open_to_others else f"{self.host},127.0.0.1"

    @property
    def is_open_to_others(self) -> bool:
        """Whether other machines are to reach the gateway, and with it the broker."""
        return not is_loopback(self.host)

    @property
    def public_url(self) -> str:
        """What people type."""
        host = _written(self.host if not is_any(self.host) else socket.getfqdn())
        return self.environ.get("FAIRLEAD_PUBLIC_URL") or f"http://{host}:{self.ports['gateway']}"

    @property
    def public_host(self) -> str:
        """This machine's name or address as others know it."""
        return urlsplit(self.public_url).hostname or self.host

    @property
    def cluster(self) -> postgres.Cluster:
        return postgres.Cluster(self.layout.postgres, self.ports["postgres"], self.keys.postgres, {})

    @property
    def node(self) -> rabbitmq.Node:
        listener = TlsListener(self.host, self.ports["agents"], self.certificates) if self.is_open_to_others else None
        return rabbitmq.Node(
            self.layout.rabbitmq, self.ports["rabbitmq"], self.ports["management"], self.ports["distribution"], tls=listener
        )

    @property
    def certificates(self) -> Certificates:
        return Certificates(self.layout.certificates)

    @property
    def agent_broker_url(self) -> str:
        """The broker as agents reach it: over TLS, unless nobody but this machine may."""
        if self.environ.get("FAIRLEAD_AGENT_BROKER_URL"):
            return self.environ["FAIRLEAD_AGENT_BROKER_URL"]
        if self.is_open_to_others:
            return f"amqps://{_written(self.public_host)}:{self.ports['agents']}/agents"
        return f"amqp://127.0.0.1:{self.ports['rabbitmq']}/agents"

    @property
    def registry(self) -> registry.Registry:
        return registry.Registry(self.layout.registry, self.ports["registry"], self.keys.registry)

    @property
    def engine(self) -> dockerd.Engine:
        return dockerd.Engine(self.layout.docker, self.layout.docker_exec)

    def broker_url(self, service: str, vhost: str) -> str:
        """AMQP address of a service's user."""
        return self.node.url(service, self.keys.broker[service], vhost)

    def migration_environment(self) -> dict[str, str]:
        """What `python -m kernel.migrate services.identity …` needs for all four at once."""
        owners = self.keys.roles.values()
        return _python_environment(self) | {
            f"FAIRLEAD_{role.name.upper()}_MIGRATION_DATABASE_URL": self.cluster.url(role.owner, role.owner_password, role.name)
            for role in owners
        }


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches what listens there."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def is_any(host: str) -> bool:
    """Whether `host` stands for every address of this machine."""
    return host in ("0.0.0.0", "::")  # noqa: S104 - compared, not bound


def _written(host: str) -> str:
    """As a host stands in an address."""
    return f"[{host}]" if ":" in host else host


def servers(stack: Stack, *, with_docker: bool) -> list[Program]:
    """PostgreSQL, RabbitMQ, the registry and, when none runs, a Docker Engine. Makes what they need on the disk."""
    if stack.is_open_to_others:
        names = [stack.public_host, *([] if is_any(stack.host) else [stack.host])]
        made = certificates.ensure(stack.layout.certificates, list(dict.fromkeys(names)))
        write_file(stack.layout.broker_authority, made.authority.read_text(), account=stack.layout.account)
    commands = [
        postgres.prepare(stack.cluster),
        rabbitmq.prepare(stack.node, definitions.render_for_services(stack.keys.broker)),
        registry.prepare(stack.registry),
    ]
    if with_docker:
        commands.append(dockerd.prepare(stack.engine))
    return [Program(command, SERVERS, starts_itself=True) for command in commands]


def services(stack: Stack) -> list[Program]:
    """Fairlead's own processes: a web process and a worker for each service, and the gateway."""
    webs = [_web(stack, service, f"{service}-web") for service in DATABASES]
    workers = [_worker(stack, service) for service in DATABASES]
    return [Program(command, SERVICES, holds_secrets=True) for command in (*webs, _web(stack, "gateway", "gateway"), *workers)]


def _python_environment(stack: Stack) -> dict[str, str]:
    handed_on = {name: value for name, value in stack.environ.items() if name.startswith("FAIRLEAD_") and name not in _OURS}
    return {
        "PATH": "/usr/local/bin:/usr/bin:/bin",
        "LANG": "C.UTF-8",
        "HOME": "/nonexistent",
        "PYTHONUNBUFFERED": "1",
        "FAIRLEAD_ENVIRONMENT": "production",
        "FAIRLEAD_LOG_FORMAT": "json",
        **handed_on,
        "FAIRLEAD_PUBLIC_URL": stack.public_url,
        **{f"FAIRLEAD_{service.upper()}_URL": f"http://127.0.0.1:{stack.ports[service]}" for service in DATABASES},
    }


def _service_environment(stack: Stack, service: str, *, worker: bool) -> dict[str, str]:
    keys = stack.keys
    values = _python_environment(stack)
    if service in keys.roles:
        role = keys.roles[service]
        values["FAIRLEAD_DATABASE_URL"] = stack.cluster.url(role.name, role.password, role.name)
    if worker or service == "gateway":
        values["FAIRLEAD_BROKER_CORE_URL"] = stack.broker_url(service, "core")
    if service == "gateway" or (worker and service in ("deployer", "audit")):
        values["FAIRLEAD_BROKER_AGENTS_URL"] = stack.broker_url(service, "agents")
    if service == "deployer":
        values["FAIRLEAD_BROKER_MANAGEMENT_URL"] = stack.node.management_url(PROVISIONER, keys.provisioner)
        values["FAIRLEAD_AGENT_BROKER_URL"] = stack.agent_broker_url
        if stack.is_open_to_others and not stack.environ.get("FAIRLEAD_AGENT_BROKER_URL"):
            values["FAIRLEAD_AGENT_BROKER_AUTHORITY_FILE"] = str(stack.layout.broker_authority)
    if service in keys.key_rings:
        values["FAIRLEAD_ENCRYPTION_KEYS_FILE"] = str(keys.key_rings[service])
    if service in SIGNING:
        values["FAIRLEAD_SIGNING_KEY_FILE"] = str(keys.signing_keys[service])
    if service == "catalog":
        # The stack's own registry is on loopback, where URLs of users may otherwise not point.
        values.setdefault("FAIRLEAD_EGRESS_ALLOWED_NETWORKS", "127.0.0.0/8")
    return values


def _web(stack: Stack, service: str, name: str) -> Command:
    module = "gateway" if service == "gateway" else f"services.{service}"
    config = stack.layout.root / "deploy" / "gunicorn.conf.py"
    environment = _service_environment(stack, service, worker=False)
    environment |= {"PORT": str(stack.ports[service]), "HOST": stack.gateway_hosts if service == "gateway" else "127.0.0.1"}
    if service in _THREADS:
        environment["WEB_THREADS"] = _THREADS[service]
    return _python(stack, name, ("gunicorn", "-c", str(config), f"{module}.app:create_app()"), environment)


def _worker(stack: Stack, service: str) -> Command:
    environment = _service_environment(stack, service, worker=True)
    environment["FAIRLEAD_METRICS_PORT"] = str(stack.ports[f"{service}_metrics"])
    return _python(stack, f"{service}-worker", (f"services.{service}.worker",), environment)


def _python(stack: Stack, name: str, module: tuple[str, ...], environment: Mapping[str, str]) -> Command:
    return Command(
        part=name,
        arguments=(sys.executable, "-m", *module),
        directory=stack.layout.root,
        environment=environment,
        account=stack.layout.account,
        stop_seconds=15,
    )


def migration(stack: Stack) -> Command:
    """Brings all four databases to the newest shape."""
    names = tuple(f"services.{service}" for service in DATABASES)
    command = _python(stack, "migrations", ("kernel.migrate", *names), stack.migration_environment())
    return replace(command, environment={**command.environment, "PYTHONWARNINGS": "ignore"})


def may_start_docker(environ: Mapping[str, str]) -> bool:
    """Whether an engine of our own is wanted: none runs on the usual socket, and nobody named another."""
    return not environ.get("DOCKER_HOST") and not dockerd.answers() and os.geteuid() == 0
