"""Every exchange, queue, binding and permission, as data: rendered into the broker's definitions, provisioned per node."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

CORE = "core"
AGENTS = "agents"
VHOSTS: tuple[str, ...] = (CORE, AGENTS)

COMMANDS = "commands"
DEAD_LETTERS = "dead-letters"
COMMAND_LIFE_SECONDS = 900
# A crash between delivery and acknowledgement counts against it; what exceeds it is parked.
DELIVERY_LIMIT = 20
# A message that could not be handled yet waits this long before each further try; the last one repeats.
RETRY_DELAYS_SECONDS: tuple[int, ...] = (1, 5, 30, 300)
LONGEST_RETRIES = 24

EVENT_SENDERS: tuple[str, ...] = ("identity", "catalog", "deployer")

# queue -> ((exchange, key), …); reports' bindings are made when a node is provisioned.
CORE_QUEUES: Mapping[str, tuple[tuple[str, str], ...]] = {
    "audit.inbox": tuple((f"{sender}.events", "#") for sender in EVENT_SENDERS),
    "catalog.inbox": (("deployer.events", "deployer.deployment.#"), ("identity.events", "identity.team.#")),
    "deployer.inbox": (("catalog.events", "catalog.version.#"), ("identity.events", "identity.team.#")),
}
AGENT_QUEUES: tuple[str, ...] = ("deployer.reports", "audit.reports")


def events_exchange(sender: str) -> str:
    return f"{sender}.events"


def commands_queue(node_id: UUID) -> str:
    return f"node.{node_id}.commands"


def reports_exchange(node_id: UUID) -> str:
    return f"node.{node_id}.reports"


def streams_exchange(node_id: UUID) -> str:
    return f"node.{node_id}.streams"


def agent_user(node_id: UUID, number: int) -> str:
    """The broker user of a node; a new `number` at each change of credentials."""
    return f"agent-{node_id}-{number}"


_AGENT_USER = re.compile(r"agent-([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})-\d{1,9}\Z")


def node_of_user(user_id: str | None) -> UUID | None:
    """The node whose broker user this is, or None."""
    found = _AGENT_USER.match(user_id or "")
    return UUID(found[1]) if found else None


def parked_queue(queue: str) -> str:
    return f"{queue}.parked"


def retry_exchange(delay_seconds: int) -> str:
    return f"retry.{delay_seconds}s"


def retry_delay(attempts: int) -> int:
    """Seconds to wait before try number `attempts` + 1."""
    return RETRY_DELAYS_SECONDS[min(attempts, len(RETRY_DELAYS_SECONDS)) - 1]


def marker_queue(service: str) -> str:
    """A durable queue that only says 'this broker still has its data'; a missing one means that it was wiped."""
    return f"{service}.marker"


Definition = dict[str, Any]  # the broker's own JSON


def _exchange(vhost: str, name: str, kind: str) -> Definition:
    return {
        "name": name, "vhost": vhost, "type": kind, "durable": True, "auto_delete": False, "internal": False, "arguments": {},
    }  # fmt: skip


def _queue(vhost: str, name: str, arguments: Definition) -> Definition:
    return {"name": name, "vhost": vhost, "durable": True, "auto_delete": False, "arguments": arguments}


def _binding(vhost: str, source: str, queue: str, key: str) -> Definition:
    return {
        "source": source, "vhost": vhost, "destination": queue, "destination_type": "queue", "routing_key": key, "arguments": {},
    }  # fmt: skip


def _policy(vhost: str, name: str, pattern: str, definition: Definition) -> Definition:
    return {"vhost": vhost, "name": name, "pattern": pattern, "apply-to": "queues", "priority": 1, "definition": definition}


QUORUM: Definition = {"x-queue-type": "quorum"}
# RabbitMQ 4 drops a message that came back 20 times; a parked one comes back each time that somebody looks at it.
KEPT: Definition = {"x-delivery-limit": 1_000_000}


def _shared(vhost: str, queue: str) -> tuple[list[Definition], list[Definition]]:
    """A shared quorum queue with its parked queue and their binding."""
    letters = {"x-dead-letter-exchange": DEAD_LETTERS, "x-dead-letter-routing-key": queue}
    queues = [_queue(vhost, queue, QUORUM | letters), _queue(vhost, parked_queue(queue), QUORUM | KEPT)]
    return queues, [_binding(vhost, DEAD_LETTERS, parked_queue(queue), queue)]


def definitions() -> Definition:
    """The broker's definitions without users: vhosts, exchanges, queues, bindings, policies."""
    exchanges = [_exchange(CORE, events_exchange(sender), "topic") for sender in EVENT_SENDERS]
    exchanges.append(_exchange(AGENTS, COMMANDS, "direct"))
    queues: list[Definition] = []
    bindings: list[Definition] = []
    policies = [
        _policy(AGENTS, "commands-lapse", r"^node\..*\.commands$", {"message-ttl": COMMAND_LIFE_SECONDS * 1000, "max-length": 10_000})
    ]
    for vhost in VHOSTS:
        exchanges.append(_exchange(vhost, DEAD_LETTERS, "topic"))
        for delay in RETRY_DELAYS_SECONDS:
            name = retry_exchange(delay)
            exchanges.append(_exchange(vhost, name, "fanout"))
            # No dead-letter key: the message keeps the key that it was published with, which is the queue to go back to.
            queues.append(_queue(vhost, name, {"x-message-ttl": delay * 1000, "x-dead-letter-exchange": ""}))
            bindings.append(_binding(vhost, name, name, ""))
        policies.append(
            _policy(vhost, "delivery-limit", r"^(audit|catalog|deployer)\.(inbox|reports)$", {"delivery-limit": DELIVERY_LIMIT})
        )
    for vhost, names in ((CORE, tuple(CORE_QUEUES)), (AGENTS, AGENT_QUEUES)):
        for name in names:
            more_queues, more_bindings = _shared(vhost, name)
            queues += more_queues
            bindings += more_bindings
    for name, sources in CORE_QUEUES.items():
        bindings += [_binding(CORE, exchange, name, key) for exchange, key in sources]
    return {
        "vhosts": [{"name": vhost} for vhost in VHOSTS],
        "exchanges": exchanges, "queues": queues, "bindings": bindings, "policies": policies,
    }  # fmt: skip


_RETRY = rf"{DEAD_LETTERS}|retry\..*"


def _permission(user: str, vhost: str, *, configure: str = "", write: str = "", read: str = "") -> Definition:
    shut = {"configure": configure, "write": write, "read": read}
    return {"user": user, "vhost": vhost} | {verb: f"^({pattern})$" if pattern else "^$" for verb, pattern in shut.items()}


def permissions() -> list[Definition]:
    """What each service may do on each virtual host; nothing else is allowed."""
    live = r"gateway\.live\..*"
    return [
        _permission("identity", CORE, configure=r"identity\.marker", write=r"identity\.events"),
        _permission("catalog", CORE, configure=r"catalog\.marker", write=rf"catalog\.events|{_RETRY}", read=r"catalog\.inbox(\.parked)?"),
        _permission(
            "deployer", CORE, configure=r"deployer\.marker", write=rf"deployer\.events|{_RETRY}", read=r"deployer\.inbox(\.parked)?"
        ),
        _permission("deployer", AGENTS, configure=r"deployer\.marker", write=rf"{COMMANDS}|{_RETRY}", read=r"deployer\.reports(\.parked)?"),
        _permission("audit", CORE, write=_RETRY, read=r"audit\.inbox(\.parked)?"),
        _permission("audit", AGENTS, write=_RETRY, read=r"audit\.reports(\.parked)?"),
        _permission("gateway", CORE, configure=live, write=live, read=rf"{live}|({'|'.join(EVENT_SENDERS)})\.events"),
        _permission("gateway", AGENTS, configure=live, write=live, read=rf"{live}|node\..*\.streams"),
    ]


def topic_permissions() -> list[Definition]:
    """Each sender may use routing keys of its own only (a second fence behind the exchange permissions)."""
    return [
        {"user": sender, "vhost": CORE, "exchange": events_exchange(sender), "write": rf"^{sender}\.", "read": ".*"}
        for sender in EVENT_SENDERS
    ]


def node_permission(node_id: UUID) -> Definition:
    """An agent declares nothing, writes to its own exchanges and reads its own queue."""
    own = re.escape(f"node.{node_id}")
    return {"configure": "^$", "write": rf"^{own}\.(reports|streams)$", "read": rf"^{own}\.commands$"}


@dataclass(frozen=True)
class NodeResources:
    """What a node needs on the agents' virtual host, in the shape of the management API."""

    exchanges: tuple[tuple[str, Definition], ...]
    queues: tuple[tuple[str, Definition], ...]
    bindings: tuple[tuple[str, str, str], ...]  # (exchange, queue, key)


def node_resources(node_id: UUID) -> NodeResources:
    durable: Definition = {"durable": True, "auto_delete": False, "arguments": {}}
    reports = reports_exchange(node_id)
    return NodeResources(
        exchanges=((reports, durable | {"type": "fanout"}), (streams_exchange(node_id), durable | {"type": "topic"})),
        queues=((commands_queue(node_id), durable | {"arguments": {"x-single-active-consumer": True}}),),
        bindings=(
            (COMMANDS, commands_queue(node_id), str(node_id)),
            *((reports, queue, "") for queue in AGENT_QUEUES),
        ),
    )
