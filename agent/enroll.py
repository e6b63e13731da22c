"""Enrolment: a one-time token and this node's public keys against a name, a broker user and the deployer's key."""

from __future__ import annotations

import os
import ssl
from pathlib import Path
from typing import Any
from uuid import UUID

import requests

from agent.docker import Engine
from agent.heartbeat import facts
from agent.identity import Keys, Node, load_node, load_or_make_keys, save_node
from agent.messages.reports import VERSION
from kernel import clock
from kernel.errors import Forbidden, Invalid, Unavailable
from kernel.signing import to_text, verify_key

_PATH = "/api/v1/agent/enroll"
_TIMEOUT_SECONDS = (5, 20)
_LONGEST_ANSWER_BYTES = 64 * 1024


def enroll(directory: Path, base_url: str, token: str, engine: Engine) -> Node:
    """Enrol this machine and save what comes back. Raises Forbidden, Invalid or Unavailable; then nothing has changed."""
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    keys = load_or_make_keys(directory)
    node = _node_of(_ask(base_url.rstrip("/"), token, keys, engine), base_url.rstrip("/"))
    _set_aside_journal(directory, node)
    save_node(directory, node)
    return node


def _ask(base_url: str, token: str, keys: Keys, engine: Engine) -> Any:  # Any: JSON, checked by the caller
    body = {
        "verify_key": to_text(keys.sign.verify_key),
        "seal_key": to_text(keys.unseal.public_key),
        "agent_version": VERSION,
        "boot_id": str(clock.new_id()),
        "facts": facts(engine),
    }
    url = f"{base_url}{_PATH}"
    try:
        answer = requests.post(
            url, json=body, headers={"Authorization": f"Bearer {token}"}, timeout=_TIMEOUT_SECONDS, allow_redirects=False
        )
        raw = answer.json() if len(answer.content) <= _LONGEST_ANSWER_BYTES else {}
    except ValueError as error:
        raise Unavailable(f"{url} did not answer in JSON.", code="enrollment-unavailable") from error
    except requests.RequestException as error:
        raise Unavailable(f"{url} cannot be reached: {type(error).__name__}.", code="enrollment-unavailable") from error
    if answer.status_code == 200:
        return raw
    said = str(raw.get("detail") or raw.get("title") or "") if isinstance(raw, dict) else ""
    if answer.status_code in (401, 403, 404, 409, 410):
        raise Forbidden(f"The enrolment was refused: {said or answer.status_code}. Ask for a new install line.", code="enrollment-refused")
    raise Unavailable(f"{url} answered {answer.status_code}: {said}", code="enrollment-unavailable")


def _node_of(raw: Any, base_url: str) -> Node:  # Any: JSON
    try:
        broker = raw["broker"]
        node = Node(
            node_id=UUID(raw["node_id"]),
            team_id=UUID(raw["team_id"]),
            broker_url=str(broker["url"]),
            broker_user=str(broker["username"]),
            broker_password=str(broker["password"]),
            verify_key=str(raw["verify_key"]),
            base_url=base_url,
            heartbeat_seconds=float(raw.get("heartbeat_seconds") or 10),
            epoch=int(raw.get("epoch") or 0),
            broker_authority=str(broker["authority"]) if broker.get("authority") else None,
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise Invalid([], code="enrollment-invalid", detail=f"The answer to the enrolment is wrong: {error!r}") from error
    verify_key(node.verify_key)
    _check_authority(node.broker_authority)
    return node


def _check_authority(authority: str | None) -> None:
    """What could not be trusted later would keep the agent from starting at all."""
    try:
        ssl.create_default_context(cadata=authority)
    except (ssl.SSLError, ValueError) as error:
        detail = "The answer to the enrolment names an authority of the broker that is no certificate in PEM."
        raise Invalid([], code="enrollment-invalid", detail=detail) from error


def _set_aside_journal(directory: Path, node: Node) -> None:
    """Another node's journal says nothing about this one's places."""
    try:
        before = load_node(directory)
    except Invalid:
        return
    if before.node_id == node.node_id:
        return
    for name in ("journal.db", "journal.db-wal", "journal.db-shm"):
        path = directory / name
        if path.exists():
            os.replace(path, directory / f"{before.node_id}.{name}")
