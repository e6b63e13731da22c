"""Who this node is: its keys, made here and never sent anywhere, and what the enrolment gave it."""

from __future__ import annotations

import base64
import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from uuid import UUID

from nacl.public import PrivateKey
from nacl.signing import SigningKey, VerifyKey

from kernel.errors import FieldError, Invalid
from kernel.signing import verify_key

_KEYS_FILE = "keys.json"
_NODE_FILE = "identity.json"


@dataclass(frozen=True)
class Keys:
    """The node's own: one signs its reports, the other opens what was sealed to it."""

    sign: SigningKey
    unseal: PrivateKey


@dataclass(frozen=True, kw_only=True)
class Node:
    """What the enrolment gave: names, the broker and its credentials, and the key that commands must be signed with."""

    node_id: UUID
    team_id: UUID
    broker_url: str
    broker_user: str
    broker_password: str
    verify_key: str
    base_url: str
    heartbeat_seconds: float = 10.0
    epoch: int = 0
    # Whose certificate the broker must show (PEM); without one, of those that this machine trusts.
    broker_authority: str | None = None

    @property
    def command_key(self) -> VerifyKey:
        return verify_key(self.verify_key)


def load_or_make_keys(directory: Path) -> Keys:
    """The keys in `directory`; made there, readable by the owner only, if there are none."""
    path = directory / _KEYS_FILE
    if not path.exists():
        made = {"sign": _text(bytes(SigningKey.generate())), "seal": _text(bytes(PrivateKey.generate()))}
        write_private(path, json.dumps(made))
    raw = json.loads(path.read_text())
    return Keys(SigningKey(base64.b64decode(raw["sign"])), PrivateKey(base64.b64decode(raw["seal"])))


def load_node(directory: Path) -> Node:
    """Raises Invalid `not-enrolled` when this machine has no enrolment."""
    path = directory / _NODE_FILE
    try:
        raw = json.loads(path.read_text())
    except FileNotFoundError as error:
        wrong = FieldError(str(path), "is missing: run the install line of the console, or `fairlead-agent enroll`")
        raise Invalid([wrong], code="not-enrolled", detail=f"{wrong.field} {wrong.message}") from error
    return Node(**(raw | {"node_id": UUID(raw["node_id"]), "team_id": UUID(raw["team_id"])}))


def save_node(directory: Path, node: Node) -> None:
    raw = asdict(node) | {"node_id": str(node.node_id), "team_id": str(node.team_id)}
    write_private(directory / _NODE_FILE, json.dumps(raw, indent=1))


def write_private(path: Path, text: str, *, mode: int = 0o600, is_durable: bool = True) -> None:
    """Write a file in one step, so that a reader sees the old text or the new one, never a part."""
    beside = path.with_name(f".{path.name}.new")
    beside.unlink(missing_ok=True)
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
        file.flush()
        if is_durable:
            os.fsync(file.fileno())
    beside.rename(path)


def _text(raw: bytes) -> str:
    return base64.b64encode(raw).decode()
