"""RabbitMQ's definitions.json: the topology that the kernel declares as data, with users and the hashes of their passwords.

`python -m deploy.native.definitions` prints it for the passwords in FAIRLEAD_BROKER_PASSWORD_IDENTITY and so on.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import sys
from collections.abc import Iterable, Mapping
from typing import Any

SERVICES = ("identity", "catalog", "deployer", "audit", "gateway")
PROVISIONER = "provisioner"  # the deployer's user at the management API: makes and removes what a node needs

# Any: definitions.json is a loose document of RabbitMQ's; it is built and written here and read nowhere else.
Document = dict[str, Any]


def password_hash(password: str, *, salt: bytes | None = None) -> str:
    """RabbitMQ's own form: base64 of 4 bytes of salt, then SHA-256 over salt and password."""
    used = os.urandom(4) if salt is None else salt
    return base64.b64encode(used + hashlib.sha256(used + password.encode()).digest()).decode()


def user(name: str, password: str, tags: Iterable[str] = ()) -> Document:
    """A user as definitions.json wants it."""
    return {
        "name": name,
        "password_hash": password_hash(password),
        "hashing_algorithm": "rabbit_password_hashing_sha256",
        "tags": list(tags),
        "limits": {},
    }


def render(
    *,
    topology: Mapping[str, object],
    permissions: Iterable[Mapping[str, str]],
    topic_permissions: Iterable[Mapping[str, str]],
    passwords: Mapping[str, str],
) -> Document:
    """The whole document. `passwords` names every service's user and the provisioner; there is no other user, and no `guest`.

    The provisioner, an administrator, has all rights on each virtual host: the broker asks for them when it declares for a node.
    """
    document: Document = dict(topology)
    vhosts = [vhost["name"] for vhost in document["vhosts"]]
    document["users"] = [
        user(name, password, tags=["administrator"] if name == PROVISIONER else []) for name, password in sorted(passwords.items())
    ]
    everything = {"configure": ".*", "write": ".*", "read": ".*"}
    document["permissions"] = [
        *(dict(permission) for permission in permissions),
        *({"user": PROVISIONER, "vhost": vhost, **everything} for vhost in vhosts),
    ]
    document["topic_permissions"] = [dict(permission) for permission in topic_permissions]
    return document


def render_for_services(passwords: Mapping[str, str]) -> str:
    """definitions.json of Fairlead's own topology, as text."""
    from kernel.messaging import topology

    document = render(
        topology=topology.definitions(),
        permissions=topology.permissions(),
        topic_permissions=topology.topic_permissions(),
        passwords=passwords,
    )
    return json.dumps(document, indent=1, sort_keys=True)


def main() -> int:
    """Prints the definitions for the passwords of the environment; 1 when one is missing."""
    variables = {name: f"FAIRLEAD_BROKER_PASSWORD_{name.upper()}" for name in (*SERVICES, PROVISIONER)}
    missing = [variable for variable in variables.values() if not os.environ.get(variable)]
    if missing:
        sys.stderr.write(f"missing: {', '.join(missing)}\n")
        return 1
    sys.stdout.write(render_for_services({name: os.environ[variable] for name, variable in variables.items()}) + "\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
