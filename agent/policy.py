"""What the node's owner allows: the last word, whatever the control plane says."""

from __future__ import annotations

import dataclasses
import fnmatch
import os
import posixpath
import tomllib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agent.containers import Ceilings
from agent.outcomes import Refused
from kernel.contracts.config import Config
from kernel.contracts.spec import ContainerSpec

_ENGINE_SOCKETS = ("/var/run/docker.sock", "/run/docker.sock", "/run/containerd/containerd.sock")
_DEFAULT_REGISTRY = "docker.io"
_MEBIBYTE = 1024 * 1024


@dataclass(frozen=True, kw_only=True)
class Policy:
    """The rules, each with its safe default. The names are those of `policy.toml` and of refusals."""

    privileged: bool = False
    host_mounts: tuple[str, ...] = ()
    allow_docker_socket: bool = False
    host_network: bool = False
    capabilities_add: tuple[str, ...] = ()
    logging_drivers: tuple[str, ...] = ("json-file", "local", "journald", "none")
    allowed_registries: tuple[str, ...] = ("*",)
    digest_required: bool = False
    max_memory_mb: int | None = None
    max_cpus: float | None = None
    max_pids: int | None = None

    @property
    def ceilings(self) -> Ceilings:
        """What a container without limits of its own gets."""
        memory = self.max_memory_mb * _MEBIBYTE if self.max_memory_mb else None
        return Ceilings(memory_bytes=memory, cpus=self.max_cpus, pids=self.max_pids)


def read_policy(path: Path) -> Policy:
    """The policy in a TOML file; the defaults where there is no file. Raises Refused: a broken policy allows nothing."""
    try:
        raw = tomllib.loads(path.read_text())
    except FileNotFoundError:
        return Policy()
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise Refused("policy-denied", f"policy-file: {path} cannot be read ({error}); nothing is allowed until it is mended") from error
    wrong = _wrong_entries(raw)
    if wrong:
        raise Refused("policy-denied", f"policy-file: {path}: {'; '.join(wrong)}; nothing is allowed until it is mended")
    values: dict[str, Any] = {name: tuple(value) if isinstance(value, list) else value for name, value in raw.items()}
    return Policy(**values)


# Any: what TOML gave.
_FORMS: dict[str, tuple[str, Callable[[Any], bool]]] = {
    "bool": ("true or false", lambda value: isinstance(value, bool)),
    "tuple[str, ...]": ("a list of texts", lambda value: isinstance(value, list) and all(isinstance(one, str) for one in value)),
    "int | None": ("a whole number", lambda value: isinstance(value, int) and not isinstance(value, bool) and value > 0),
    "float | None": ("a number", lambda value: isinstance(value, int | float) and not isinstance(value, bool) and value > 0),
}


def _wrong_entries(raw: dict[str, Any]) -> list[str]:  # Any: what TOML gave
    forms = {field.name: _FORMS[str(field.type)] for field in dataclasses.fields(Policy)}
    wrong = [f"{name} is not a rule" for name in raw if name not in forms]
    return wrong + [f"{name} must be {forms[name][0]}" for name, value in raw.items() if name in forms and not forms[name][1](value)]


def check(
    policy: Policy, specs: Sequence[ContainerSpec], *, own_paths: Iterable[str], resolve: Callable[[str], str] | None = None
) -> dict[str, str]:
    """The bind mounts' host paths with links resolved. Raises Refused naming every rule that is broken, and where.

    `own_paths` are the agent's own, which nobody may mount. `resolve` follows links (os.path.realpath on a node).
    """
    resolve = resolve or os.path.realpath
    broken: list[str] = []
    resolved: dict[str, str] = {}
    forbidden = [*own_paths] + ([] if policy.allow_docker_socket else [*_ENGINE_SOCKETS])
    guarded = sorted({*forbidden, *(resolve(path) for path in forbidden)})
    for spec in specs:
        broken += [f"{rule} ({spec.name}: {what})" for rule, what in _check_config(policy, spec.config)]
        broken += [f"{rule} ({spec.name}: {what})" for rule, what in _check_images(policy, spec)]
        for path in _host_paths(spec.config):
            resolved[path] = resolve(posixpath.normpath(path))
            rule = _check_mount(policy, resolved[path], guarded, resolve)
            if rule is not None:
                broken.append(f"{rule} ({spec.name}: {path})")
    if broken:
        raise Refused("policy-denied", f"This node's policy does not allow: {'; '.join(broken)}.")
    return resolved


def _check_config(policy: Policy, config: Config) -> list[tuple[str, str]]:
    broken: list[tuple[str, str]] = []
    if config.get("privileged") and not policy.privileged:
        broken.append(("privileged", "privileged"))
    joins_host = config.get("network_mode") == "host" or "host" in (config.get("networks") or [])
    if joins_host and not policy.host_network:
        broken.append(("host_network", "network_mode host"))
    allowed = {_plain(name) for name in policy.capabilities_add}
    for name in (config.get("capabilities") or {}).get("add") or []:
        if _plain(name) not in allowed:
            broken.append(("capabilities_add", name))
    # Others speak to addresses and read files of the host, which a container's options name.
    driver = (config.get("logging") or {}).get("driver")
    if driver is not None and driver not in policy.logging_drivers:
        broken.append(("logging_drivers", driver))
    wanted = config.get("resources") or {}
    ceilings = policy.ceilings
    limits = (
        ("max_memory_mb", wanted.get("memory_bytes"), ceilings.memory_bytes),
        ("max_cpus", wanted.get("cpus"), ceilings.cpus),
        ("max_pids", wanted.get("pids"), ceilings.pids),
    )
    broken += [(rule, str(value)) for rule, value, most in limits if value and most and value > most]
    return broken


def _plain(capability: str) -> str:
    return capability.upper().removeprefix("CAP_")


def _check_images(policy: Policy, spec: ContainerSpec) -> list[tuple[str, str]]:
    images = [spec.image, *(init["image"] for init in spec.config.get("init_containers") or [])]
    broken = []
    for image in images:
        host = registry_host(image)
        if not any(fnmatch.fnmatchcase(host, pattern.lower()) for pattern in policy.allowed_registries):
            broken.append(("allowed_registries", host))
        if policy.digest_required and "@sha256:" not in image:
            broken.append(("digest_required", image))
    return broken


def registry_host(image: str) -> str:
    """The host that an image's name points to, by Docker's rule; `docker.io` where it names none."""
    first, slash, _ = image.partition("/")
    # Newer engines take a first part with a capital for a host as well: a repository cannot have one.
    if slash and ("." in first or ":" in first or first == "localhost" or first != first.lower()):
        return first.lower()
    return _DEFAULT_REGISTRY


def _host_paths(config: Config) -> list[str]:
    mounts = list(config.get("volumes") or [])
    for init in config.get("init_containers") or []:
        mounts += init.get("volumes") or []
    return sorted({mount["host_path"] for mount in mounts if mount["type"] == "bind"})


def _check_mount(policy: Policy, path: str, guarded: Sequence[str], resolve: Callable[[str], str]) -> str | None:
    """The rule that forbids mounting `path` (normal, links resolved), or None."""
    for secret in guarded:
        # Mounting a directory gives everything below it.
        if _is_below(path, secret) or _is_below(secret, path):
            return "allow_docker_socket" if secret.endswith(".sock") else "host_mounts"
    if any(_is_below(path, resolve(posixpath.normpath(root))) for root in policy.host_mounts if root.startswith("/")):
        return None
    return "host_mounts"


def _is_below(path: str, root: str) -> bool:
    return path == root or root == "/" or path.startswith(root.rstrip("/") + "/")
