"""Secrets and files of containers: opened with the node's key, written where only root and the container can read."""

from __future__ import annotations

import io
import json
import os
import re
import shutil
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from agent.containers import Local
from agent.identity import Keys, Node
from agent.outcomes import Refused
from kernel import clock
from kernel.contracts.config import ENVIRONMENT_NAME_PATTERN, Config
from kernel.contracts.spec import ContainerSpec
from kernel.errors import Forbidden
from kernel.signing import is_writable, open_sealed

_NAME = re.compile(rf"(?:{ENVIRONMENT_NAME_PATTERN})\Z")
_SHORTEST_HIDDEN = 4
HIDDEN = "[hidden]"


@dataclass(frozen=True)
class Opened:
    """The secrets of one container, in the clear: they never leave this process but for their container."""

    environment: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)

    def __repr__(self) -> str:
        return f"Opened({len(self.environment)} variables, {len(self.files)} files)"


def open_secrets(spec: ContainerSpec, keys: Keys, node: Node) -> Opened:
    """Raises Refused `secret-unreadable`, `secret-swapped`, `secret-missing` or `command-invalid`."""
    environment: dict[str, str] = {}
    files: dict[str, str] = {}
    for name, secret in spec.secrets.items():
        if not _NAME.match(name):
            raise Refused("command-invalid", f"{spec.name} has a secret whose name is not a variable's.")
        try:
            value = open_sealed(keys.unseal, secret.sealed, team=str(node.team_id), node=str(node.node_id), name=name)
        except Forbidden as error:
            raise Refused(error.code, f"{spec.name}: {error.detail}") from error
        (files if secret.as_ == "file" else environment)[name] = value
    wanted = spec.config.get("secrets") or {}
    missing = [name for name, rule in wanted.items() if rule and rule.get("required") and name not in spec.secrets]
    if missing:
        raise Refused("secret-missing", f"{spec.name} needs secrets that the command does not carry: {', '.join(sorted(missing))}.")
    return Opened(environment, files)


def open_credentials(sealed: Mapping[str, str], keys: Keys, node: Node) -> dict[str, dict[str, str]]:
    """`host` or `host/path` to user name and password. Raises Refused."""
    opened = {}
    for key, box in sealed.items():
        try:
            text = open_sealed(keys.unseal, box, team=str(node.team_id), node=str(node.node_id), name=f"registry:{key}")
            raw = json.loads(text)
            login = {"username": str(raw["username"]), "password": str(raw["password"])}
        except Forbidden as error:
            raise Refused(error.code, f"credentials for {key}: {error.detail}") from error
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise Refused("secret-unreadable", f"The credentials for {key} are not a user name and a password.") from error
        if not all(map(is_writable, login.values())):
            raise Refused("secret-unreadable", f"The credentials for {key} hold half a character.")
        opened[key.lower()] = login
    return opened


def redact(text: str, opened: Sequence[Opened]) -> str:
    """`text` without any secret's value, nor any line of one that has several."""
    values = {value for one in opened for value in (*one.environment.values(), *one.files.values())}
    pieces = values | {line.strip() for value in values for line in value.splitlines()}
    for piece in sorted(pieces, key=len, reverse=True):
        if len(piece) >= _SHORTEST_HIDDEN:
            text = text.replace(piece, HIDDEN)
    return text


def directory_of(root: Path, *, prefix: str, container: str, generation: int) -> Path:
    """Where the files of one container of one generation lie."""
    return root / f"{prefix}-{container}.g{generation}"


def write_for(directory: Path, spec: ContainerSpec, opened: Opened) -> Local:
    """Write what is mounted into the container; returns where it lies. Done twice, the second counts."""
    files = spec.config.get("files") or [] if spec.config.get("read_only_root") else []
    if not opened.files and not files:
        return Local(environment=opened.environment)
    remove_directory(directory)
    directory.parent.mkdir(mode=0o700, exist_ok=True)
    owner = _owner(spec.config)
    for name, value in opened.files.items():
        _write(directory / "secrets" / name, value, 0o400, owner)
    for index, file in enumerate(files):
        _write(directory / "files" / str(index), file["content"], int(file["mode"], 8), None)
    return Local(
        environment=opened.environment,
        secrets_directory=str(directory / "secrets") if opened.files else None,
        files_directory=str(directory / "files") if files else None,
    )


def remove_directory(directory: Path) -> None:
    """Nothing happens if it is gone."""
    shutil.rmtree(directory, ignore_errors=True)


def _write(path: Path, content: str, mode: int, owner: tuple[int, int] | None) -> None:
    # The way down is open to whoever is in the container; on the host the root directory is closed to all but root.
    path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(content)
    if owner is not None and os.geteuid() == 0:
        os.chown(path, *owner)
    path.chmod(mode)


def _owner(config: Config) -> tuple[int, int] | None:
    """The numeric user that the container runs as: without being the owner it could not read its secrets."""
    user, _, group = str(config.get("user") or "").partition(":")
    if not user.isdecimal():
        return None
    return int(user), int(group) if group.isdecimal() else int(user)


def archive(config: Config) -> bytes | None:
    """The configuration's files as a tar for the container's root; None when there are none, or they are mounted."""
    files = config.get("files") or []
    if not files or config.get("read_only_root"):
        return None
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for file in files:
            content = file["content"].encode()
            entry = tarfile.TarInfo(os.path.normpath(file["path"]).lstrip("/"))
            entry.size, entry.mode, entry.mtime = len(content), int(file["mode"], 8), int(clock.now().timestamp())
            tar.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()
