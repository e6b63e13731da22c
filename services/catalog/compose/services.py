"""One service of a Compose file as the configuration of a container."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from kernel.contracts.config import ENVIRONMENT_NAME_PATTERN
from services.catalog.compose import values
from services.catalog.compose.document import Json
from services.catalog.compose.interpolation import parse_env_file
from services.catalog.compose.mounts import Sources, read_mounts
from services.catalog.compose.values import Config

_CONDITIONS = {"none": "no", "on-failure": "on-failure", "any": "always"}
# These are read elsewhere, or say nothing that a deployment could keep or lose.
_READ_ELSEWHERE = {
    "image", "depends_on", "profiles", "extends", "volumes", "tmpfs", "configs", "env_file", "pull_policy", "scale", "expose", "x-fairlead",
    "attach", "develop", "links",
}  # fmt: skip


@dataclass
class Reader:
    """Reads one service; what it could not keep, or only in another shape, is noted with its path."""

    name: str
    service: Mapping[str, Json]
    sources: Sources
    variables: Mapping[str, str]
    networks: Mapping[str, Json]
    config: Config = field(default_factory=dict)
    changed: list[tuple[str, str]] = field(default_factory=list)
    skipped: list[tuple[str, str]] = field(default_factory=list)

    def path(self, key: str) -> str:
        return f"services.{self.name}.{key}"

    def read(self) -> Config:
        """The configuration, not yet checked by its schema. Raises Invalid."""
        for key, value in self.service.items():
            reader = _READERS.get(key)
            if reader is not None:
                if value is not None:
                    reader(self, value, self.path(key))
            elif not key.startswith("x-") and key not in _READ_ELSEWHERE:
                self.skipped.append((self.path(key), "has no counterpart in a deployment"))
        self._environment()
        mounts = read_mounts(self.service, self.name, self.sources)
        for key, entries in (("volumes", mounts.volumes), ("files", mounts.files)):
            if entries:
                self.config[key] = entries
        self.changed += mounts.changed
        self.skipped += mounts.skipped
        if self.service.get("scale") not in (None, 1):
            self.skipped.append((self.path("scale"), "a deployment runs one container of each image"))
        return self.config

    def _environment(self) -> None:
        found: dict[str, str | None] = {}
        for index, item in enumerate(values.items(self.service.get("env_file"))):
            where = self.path(f"env_file.{index}")
            wanted = item if isinstance(item, dict) else {"path": values.text(item)}
            file = values.text(wanted["path"])
            content = self.sources.file(file)
            if content is None:
                self.skipped.append((where, f"the content of {file} was not given with the import"))
                continue
            found |= parse_env_file(content, self.variables, path=file)
        found |= values.pairs(self.service.get("environment"))
        for name, value in found.items():
            known = self.variables.get(name) if value is None else value
            if known is None:
                self.skipped.append((self.path(f"environment.{name}"), "takes its value from the surroundings, where it has none"))
            else:
                self.config.setdefault("environment", {})[name] = known


Read = Callable[[Reader, Json, str], None]


def _copy(target: str, convert: Callable[[Json], Json]) -> Read:
    def read(reader: Reader, value: Json, _path: str) -> None:
        reader.config[target] = convert(value)

    return read


def _words(target: str) -> Read:
    def read(reader: Reader, value: Json, path: str) -> None:
        reader.config[target] = values.words(value, path)

    return read


def _ports(reader: Reader, value: Json, path: str) -> None:
    found, remarks = values.ports(value, path)
    reader.config |= found
    reader.changed += [(path, remark) for remark in remarks]


def _container_name(reader: Reader, value: Json, path: str) -> None:
    name = values.text(value)
    if name != reader.name:
        reader.changed.append((path, f"the container is called by its prefix and {reader.name}, not {name}"))


def _labels(reader: Reader, value: Json, path: str) -> None:
    labels = {name: text or "" for name, text in values.pairs(value).items()}
    for name in [name for name in labels if name.startswith("dev.fairlead.")]:
        del labels[name]
        reader.skipped.append((f"{path}.{name}", "dev.fairlead. marks what Fairlead made"))
    if labels:
        reader.config["labels"] = labels


def _networks(reader: Reader, value: Json, path: str) -> None:
    options = value if isinstance(value, dict) else {}
    names = list(options) or [values.text(item) for item in values.items(value)]
    for name, details in options.items():
        for option in values.mapping(details):
            reader.skipped.append((f"{path}.{name}.{option}", "has no counterpart in a deployment"))
    known = [_network_name(reader, name) for name in names if name != "default"]
    if known:
        reader.config["networks"] = known


def _network_name(reader: Reader, name: str) -> str:
    given = values.mapping(reader.networks.get(name)).get("name")
    return values.text(given) if given else name


def _network_mode(reader: Reader, value: Json, path: str) -> None:
    mode = values.text(value)
    if mode in ("bridge", "host", "none"):
        reader.config["network_mode"] = mode
    else:
        reader.skipped.append((path, f"{mode} has no counterpart: containers share no network namespace"))


def _restart(reader: Reader, value: Json, path: str) -> None:
    policy, colon, times = values.text(value).partition(":")
    reader.config["restart_policy"] = policy
    if colon:
        reader.changed.append((path, f"it restarts without the limit of {times} times"))


def _logging(reader: Reader, value: Json, path: str) -> None:
    options = values.mapping(value)
    settings = {name: text or "" for name, text in values.pairs(options.get("options")).items()}
    reader.config["logging"] = {"driver": values.text(options.get("driver") or "json-file"), "options": settings}


def _healthcheck(reader: Reader, value: Json, path: str) -> None:
    check = values.mapping(value)
    if values.truth(check.get("disable", False)):
        reader.config["healthcheck"] = {"test": ["NONE"]}
        return
    if check.get("test") is None:
        reader.skipped.append((path, "changes the image's own health check without saying how to test"))
        return
    raw = check["test"]
    test = ["CMD-SHELL", raw] if isinstance(raw, str) else values.words(raw, path)
    if not test or test[0] not in ("NONE", "CMD", "CMD-SHELL"):
        values.wrong(f"{path}.test", "must be a text, or a list that begins with NONE, CMD or CMD-SHELL")
    # Docker's own defaults, where the file says nothing.
    found: Config = {"test": test, "interval_seconds": 30.0, "timeout_seconds": 30.0, "retries": 3}
    for key, target in (("interval", "interval_seconds"), ("timeout", "timeout_seconds"), ("start_period", "start_period_seconds")):
        if check.get(key) is not None:
            found[target] = values.seconds(check[key])
    if check.get("retries") is not None:
        found["retries"] = values.whole(check["retries"])
    if "start_interval" in check:
        reader.skipped.append((f"{path}.start_interval", "has no counterpart in a deployment"))
    reader.config["healthcheck"] = found


def _deploy(reader: Reader, value: Json, path: str) -> None:
    deploy = values.mapping(value)
    resources = values.mapping(deploy.get("resources"))
    limits = values.mapping(resources.get("limits"))
    for key, limit in limits.items():
        reader_of = _LIMITS.get(key)
        if reader_of is None:
            reader.skipped.append((f"{path}.resources.limits.{key}", "has no counterpart in a deployment"))
        elif limit is not None:
            reader_of(reader, limit, f"{path}.resources.limits.{key}")
    if "reservations" in resources:
        reader.skipped.append((f"{path}.resources.reservations", "a node runs what is deployed to it and reserves nothing"))
    if "restart_policy" in deploy and "restart" not in reader.service:
        condition = values.text(values.mapping(deploy["restart_policy"]).get("condition", "any"))
        reader.config["restart_policy"] = _CONDITIONS.get(condition, "always")
    if deploy.get("replicas") not in (None, 1, "1"):
        reader.skipped.append((f"{path}.replicas", "a deployment runs one container of each image"))
    for key in set(deploy) - {"resources", "restart_policy", "replicas"}:
        if not key.startswith("x-"):
            reader.skipped.append((f"{path}.{key}", "has no counterpart in a deployment"))


def _limit(name: str, convert: Callable[[Json], Json]) -> Read:
    def read(reader: Reader, value: Json, _path: str) -> None:
        reader.config.setdefault("resources", {})[name] = convert(value)

    return read


_LIMITS: Mapping[str, Read] = {
    "cpus": _limit("cpus", values.number),
    "memory": _limit("memory_bytes", values.size_bytes),
    "pids": _limit("pids", values.whole),
}


def _capabilities(side: str) -> Read:
    def read(reader: Reader, value: Json, _path: str) -> None:
        names = [values.text(item).upper() for item in values.items(value)]
        reader.config.setdefault("capabilities", {})[side] = names

    return read


def _secrets(reader: Reader, value: Json, path: str) -> None:
    for index, item in enumerate(values.items(value)):
        where = f"{path}.{index}"
        wanted = item if isinstance(item, dict) else {"source": values.text(item)}
        source = values.text(wanted["source"])
        name = re.sub(r"[^A-Za-z0-9_]", "_", source)
        if not re.fullmatch(ENVIRONMENT_NAME_PATTERN, name):
            values.wrong(where, f"{source!r} cannot be the name of a secret")
        reader.config.setdefault("secrets", {})[name] = {"required": True, "as": "file"}
        reader.changed.append((where, f"set the secret {name} at the deployment; its value is no part of a version"))


def _grace(reader: Reader, value: Json, path: str) -> None:
    found = values.seconds(value)
    reader.config["stop_grace_seconds"] = math.ceil(found)
    if found != math.ceil(found):
        reader.changed.append((path, f"rounded up to {math.ceil(found)} s"))


def _build(reader: Reader, _value: Json, path: str) -> None:
    reader.skipped.append((path, "images are not built here: build and push it, then deploy"))


_READERS: Mapping[str, Read] = {
    "command": _words("command"),
    "entrypoint": _words("entrypoint"),
    "environment": lambda reader, value, path: None,
    "user": _copy("user", values.text),
    "working_dir": _copy("working_dir", values.text),
    "tty": _copy("tty", values.truth),
    "init": _copy("init", values.truth),
    "privileged": _copy("privileged", values.truth),
    "read_only": _copy("read_only_root", values.truth),
    "stop_signal": _copy("stop_signal", values.text),
    "stop_grace_period": _grace,
    "ports": _ports,
    "container_name": _container_name,
    "labels": _labels,
    "networks": _networks,
    "network_mode": _network_mode,
    "restart": _restart,
    "logging": _logging,
    "healthcheck": _healthcheck,
    "deploy": _deploy,
    "cpus": _LIMITS["cpus"],
    "mem_limit": _LIMITS["memory"],
    "pids_limit": _LIMITS["pids"],
    "cap_add": _capabilities("add"),
    "cap_drop": _capabilities("drop"),
    "secrets": _secrets,
    "build": _build,
}
