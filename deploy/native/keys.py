"""Passwords and keys of a native stack: made once, kept in files that only their reader may open."""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from deploy.native.definitions import PROVISIONER
from deploy.native.definitions import SERVICES as BROKER_USERS
from deploy.native.layout import Layout
from deploy.native.postgres import Role
from deploy.native.processes import write_file
from kernel import clock

DATABASES = ("identity", "catalog", "deployer", "audit")
KEY_RINGS = ("identity", "catalog")
SIGNERS = {"deployer": "command-signing.key", "audit": "checkpoint-signing.key"}


@dataclass(frozen=True)
class Keys:
    """Every password of a stack, and where its key files lie."""

    postgres: str
    roles: Mapping[str, Role]
    broker: Mapping[str, str]
    registry: str
    key_rings: Mapping[str, Path]
    signing_keys: Mapping[str, Path]

    @property
    def provisioner(self) -> str:
        """The password of the broker's administrator."""
        return self.broker[PROVISIONER]


def _wanted() -> tuple[str, ...]:
    databases = [f"database.{name}" for service in DATABASES for name in (service, f"{service}_owner")]
    brokers = [f"broker.{name}" for name in (*BROKER_USERS, PROVISIONER)]
    return ("database.postgres", *databases, *brokers, "registry.fairlead")


def load_or_make(layout: Layout) -> Keys:
    """The keys of this stack; those that are missing are made, those that are there stay."""
    passwords = _passwords(layout.secrets / "passwords.json")
    rings = {name: _key_file(layout, f"{name}-encryption-keys", f"{clock.now():%Y%m}:{_random_key()}") for name in KEY_RINGS}
    signers = {name: _key_file(layout, file, _random_key()) for name, file in SIGNERS.items()}
    roles = {name: Role(name, passwords[f"database.{name}"], passwords[f"database.{name}_owner"]) for name in DATABASES}
    broker = {name: passwords[f"broker.{name}"] for name in (*BROKER_USERS, PROVISIONER)}
    return Keys(
        postgres=passwords["database.postgres"],
        roles=roles,
        broker=broker,
        registry=passwords["registry.fairlead"],
        key_rings=rings,
        signing_keys=signers,
    )


def _passwords(path: Path) -> dict[str, str]:
    known: dict[str, str] = json.loads(path.read_text()) if path.exists() else {}
    missing = [name for name in _wanted() if name not in known]
    if missing:
        known |= {name: clock.random_token() for name in missing}
        write_file(path, json.dumps(known, indent=1, sort_keys=True) + "\n", mode=0o600)
    return known


def _random_key() -> str:
    return base64.b64encode(os.urandom(32)).decode()


def _key_file(layout: Layout, name: str, text: str) -> Path:
    path = layout.secrets / name
    if not path.exists():
        write_file(path, text + "\n", account=layout.account, mode=0o600)
    return path
