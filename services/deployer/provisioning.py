"""What a node needs on the broker, made and removed through RabbitMQ's management API."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, unquote, urlsplit
from uuid import UUID

import requests
from requests.adapters import HTTPAdapter

from kernel.errors import Unavailable
from kernel.messaging import topology

LIMITS: Mapping[str, int] = {"max-connections": 4, "max-channels": 8}
HASHING = "rabbit_password_hashing_sha256"
_TIMEOUT = (3.05, 15.0)
_CHUNK = 200  # nodes in one upload: about 250 KB
_NODE_THING = re.compile(r"node\.([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})\.(?:commands|reports|streams)\Z")

Json = Any  # the management API's own documents


@dataclass(frozen=True)
class NodeAccess:
    """How a node gets in: the number of its broker user, and the salted hash of that user's password."""

    node_id: UUID
    number: int
    password_hash: str

    @property
    def user(self) -> str:
        """The name of the broker user."""
        return topology.agent_user(self.node_id, self.number)


@dataclass(frozen=True)
class BrokerState:
    """What the broker has on the agents' virtual host, as one listing of each kind tells."""

    password_hashes: Mapping[str, str]
    permissions: Mapping[str, tuple[str, str, str]]
    limits: Mapping[str, Mapping[str, int]]
    exchanges: frozenset[str]
    queues: frozenset[str]
    bindings: frozenset[tuple[str, str, str]]


@dataclass(frozen=True)
class Repair:
    """What a reconciliation has to do: nodes that lack something, and things of nodes that nobody knows (any more)."""

    missing: tuple[NodeAccess, ...] = ()
    users: tuple[str, ...] = ()
    queues: tuple[str, ...] = ()
    exchanges: tuple[str, ...] = field(default=())

    @property
    def is_needed(self) -> bool:
        return bool(self.missing or self.users or self.queues or self.exchanges)


def password_hash(password: str, salt: bytes) -> str:
    """RabbitMQ's own form: base64 of 4 bytes of salt, then SHA-256 over salt and password."""
    return base64.b64encode(salt + hashlib.sha256(salt + password.encode()).digest()).decode()


def compare(wanted: Iterable[NodeAccess], state: BrokerState) -> Repair:
    """What differs between the nodes that the database wants and the broker. Only names that are ours are touched."""
    nodes = {access.node_id: access for access in wanted}
    users = {access.user for access in nodes.values()}
    return Repair(
        missing=tuple(access for access in nodes.values() if not _has_everything(access, state)),
        # Users are shared by all virtual hosts of a broker: those without rights on ours belong to somebody else.
        users=tuple(sorted(name for name in state.permissions if topology.node_of_user(name) and name not in users)),
        queues=tuple(sorted(name for name in state.queues if _is_stray(name, nodes))),
        exchanges=tuple(sorted(name for name in state.exchanges if _is_stray(name, nodes))),
    )


def _is_stray(name: str, nodes: Mapping[UUID, NodeAccess]) -> bool:
    found = _NODE_THING.match(name)
    return found is not None and UUID(found[1]) not in nodes


def _has_everything(access: NodeAccess, state: BrokerState) -> bool:
    things = topology.node_resources(access.node_id)
    rights = topology.node_permission(access.node_id)
    return (
        state.password_hashes.get(access.user) == access.password_hash
        and state.permissions.get(access.user) == (rights["configure"], rights["write"], rights["read"])
        and dict(state.limits.get(access.user, {})) == dict(LIMITS)
        and all(name in state.exchanges for name, _ in things.exchanges)
        and all(name in state.queues for name, _ in things.queues)
        and all(binding in state.bindings for binding in things.bindings)
    )


class Provisioner:
    """The management API of the broker. Raises Unavailable when it does not answer or refuses."""

    def __init__(self, management_url: str, agent_broker_url: str) -> None:
        """`agent_broker_url` names the agents' virtual host by its path, as it is handed to agents."""
        parts = urlsplit(management_url)
        self._base = f"{parts.scheme}://{parts.hostname}:{parts.port or 15672}{parts.path.rstrip('/')}"
        self._auth = (unquote(parts.username or ""), unquote(parts.password or ""))
        self.vhost = unquote(urlsplit(agent_broker_url).path.lstrip("/")) or topology.AGENTS

    def ensure(self, nodes: Sequence[NodeAccess]) -> None:
        """Give each node its exchanges, queue, bindings, user, limits and permission. Safe to repeat."""
        with self._session() as http:
            for start in range(0, len(nodes), _CHUNK):
                self._call(http, "POST", "/api/definitions", self._definitions(nodes[start : start + _CHUNK]))

    def cut(self, node_id: UUID, number: int) -> None:
        """Delete a node's user: whoever is connected with it loses the connection within half a second."""
        with self._session() as http:
            self._delete(http, "users", topology.agent_user(node_id, number))

    def remove(self, node_id: UUID, number: int) -> None:
        """Delete everything of a node, its user first."""
        things = topology.node_resources(node_id)
        with self._session() as http:
            self._delete(http, "users", topology.agent_user(node_id, number))
            for name, _ in things.queues:
                self._delete(http, "queues", self.vhost, name)
            for name, _ in things.exchanges:
                self._delete(http, "exchanges", self.vhost, name)

    def survey(self) -> BrokerState:
        """Everything that the broker has for nodes: one call for each kind of thing, however many nodes there are."""
        vhost = quote(self.vhost, safe="")
        with self._session() as http:
            users = self._call(http, "GET", "/api/users?columns=name,password_hash")
            permissions = self._call(http, "GET", f"/api/vhosts/{vhost}/permissions")
            limits = self._call(http, "GET", "/api/user-limits")
            exchanges = self._call(http, "GET", f"/api/exchanges/{vhost}?columns=name")
            queues = self._call(http, "GET", f"/api/queues/{vhost}?columns=name&disable_stats=true&enable_queue_totals=true")
            bindings = self._call(http, "GET", f"/api/bindings/{vhost}?columns=source,destination,routing_key")
        return BrokerState(
            password_hashes={str(user["name"]): str(user.get("password_hash", "")) for user in users},
            permissions={str(p["user"]): (str(p["configure"]), str(p["write"]), str(p["read"])) for p in permissions},
            limits={str(entry["user"]): dict(entry["value"]) for entry in limits},
            exchanges=frozenset(str(exchange["name"]) for exchange in exchanges),
            queues=frozenset(str(queue["name"]) for queue in queues),
            bindings=frozenset((str(b["source"]), str(b["destination"]), str(b["routing_key"])) for b in bindings),
        )

    def remove_strays(self, repair: Repair) -> None:
        """Delete what a comparison found to belong to no node."""
        with self._session() as http:
            for user in repair.users:
                self._delete(http, "users", user)
            for queue in repair.queues:
                self._delete(http, "queues", self.vhost, queue)
            for exchange in repair.exchanges:
                self._delete(http, "exchanges", self.vhost, exchange)

    def _definitions(self, nodes: Sequence[NodeAccess]) -> Json:
        document: dict[str, list[Json]] = {"exchanges": [], "queues": [], "bindings": [], "users": [], "permissions": []}
        here = {"vhost": self.vhost}
        for access in nodes:
            things = topology.node_resources(access.node_id)
            document["exchanges"] += [here | {"name": name} | body for name, body in things.exchanges]
            document["queues"] += [here | {"name": name} | body for name, body in things.queues]
            document["bindings"] += [
                here | {"source": source, "destination": queue, "destination_type": "queue", "routing_key": key, "arguments": {}}
                for source, queue, key in things.bindings
            ]
            credentials = {"password_hash": access.password_hash, "hashing_algorithm": HASHING}
            document["users"].append({"name": access.user, "tags": [], "limits": dict(LIMITS)} | credentials)
            document["permissions"].append(here | {"user": access.user} | topology.node_permission(access.node_id))
        return document

    def _session(self) -> requests.Session:
        session = requests.Session()
        session.trust_env = False
        session.auth = self._auth
        session.mount("http://", HTTPAdapter(pool_connections=1, pool_maxsize=1))
        return session

    def _delete(self, http: requests.Session, *path: str) -> None:
        self._call(http, "DELETE", "/api/" + "/".join(quote(part, safe="") for part in path), missing_is_fine=True)

    def _call(self, http: requests.Session, method: str, path: str, body: Json = None, *, missing_is_fine: bool = False) -> Json:
        what = f"{method} {path.partition('?')[0]}"
        try:
            answer = http.request(method, self._base + path, json=body, timeout=_TIMEOUT, allow_redirects=False)
            if missing_is_fine and answer.status_code == requests.codes.not_found:
                return None
            if not answer.ok:
                # RabbitMQ's reason names the thing that is missing or refused; it never repeats a password.
                raise Unavailable(f"RabbitMQ refused {what}: {answer.status_code} {answer.text[:300]}", code="broker-unavailable")
            return answer.json() if answer.content else None
        except requests.RequestException as error:
            raise Unavailable(f"RabbitMQ's management API does not answer {what}.", code="broker-unavailable") from error
