"""What to do at a place: containers seen on the engine and the wanted stack become ordered steps. Pure."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from kernel.contracts.config import Config
from kernel.contracts.spec import (
    LABEL_ATTEMPT,
    LABEL_CONTAINER,
    LABEL_GENERATION,
    LABEL_NODE,
    LABEL_PREFIX,
    LABEL_ROLE,
    LABEL_SPEC,
    ContainerSpec,
    spec_hash,
)
from kernel.errors import Conflict, FieldError, Invalid

_ANYWHERE = ("", "0.0.0.0", "::")  # noqa: S104  # compared with, never bound


@dataclass(frozen=True, order=True)
class HostPort:
    """A port of the host that a container takes; an empty `ip` means every address."""

    port: int
    protocol: str = "tcp"
    ip: str = ""

    def clashes(self, other: HostPort) -> bool:
        """Whether both cannot be taken at once."""
        if (self.port, self.protocol) != (other.port, other.protocol):
            return False
        return self.ip == other.ip or self.ip in _ANYWHERE or other.ip in _ANYWHERE


@dataclass(frozen=True, kw_only=True)
class Seen:
    """One container as the engine's list shows it."""

    id: str
    name: str
    state: str
    status: str = ""
    image: str = ""
    image_id: str = ""
    labels: Mapping[str, str] = dataclasses.field(default_factory=dict)
    host_ports: frozenset[HostPort] = frozenset()
    networks: frozenset[str] = frozenset()
    is_on_host_network: bool = False
    has_data: bool = False  # a writable volume or bind mount

    @property
    def is_running(self) -> bool:
        return self.state in ("running", "restarting", "paused")

    @property
    def is_sound(self) -> bool:
        """Running, and not found ill by its health check."""
        return self.state == "running" and "(unhealthy)" not in self.status

    @property
    def container(self) -> str:
        """The short name in its stack."""
        return self.labels.get(LABEL_CONTAINER, "")

    @property
    def attempt(self) -> str:
        return self.labels.get(LABEL_ATTEMPT, "")

    @property
    def is_init(self) -> bool:
        return self.labels.get(LABEL_ROLE) == "init"

    @property
    def generation(self) -> int:
        text = self.labels.get(LABEL_GENERATION, "")
        return int(text) if text.isdecimal() else 0

    def belongs_to(self, node_id: str, prefix: str | None = None) -> bool:
        """Whether it is ours, and at that place if one is given."""
        return self.labels.get(LABEL_NODE) == node_id and (prefix is None or self.labels.get(LABEL_PREFIX) == prefix)


@dataclass(frozen=True, kw_only=True)
class Old:
    """A container that stood at the place before the attempt and does not stay: what it takes to bring it back."""

    id: str
    name: str
    container: str
    was_running: bool
    aside: str  # the name that it gets while the new one takes its own
    generation: int = 0
    restart_policy: str = ""
    stop_seconds: int = 10


@dataclass(frozen=True, kw_only=True)
class Kept:
    """A container that is what is wanted already."""

    id: str
    container: str


@dataclass(frozen=True, kw_only=True)
class Change:
    """A container to make. `replaces` is the old one that holds its name; those in `stop_first` hold its ports."""

    container: str
    name: str
    working_name: str
    reason: str
    replaces: str | None = None
    stop_first: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Everything that an attempt does at its place; `groups` are the changes in the order of starting."""

    kept: tuple[Kept, ...]
    changes: tuple[Change, ...]
    old: tuple[Old, ...]
    groups: tuple[tuple[str, ...], ...]

    def to_json(self) -> dict[str, Any]:  # Any: JSON
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, raw: Mapping[str, Any]) -> Plan:
        return cls(
            kept=tuple(Kept(**one) for one in raw["kept"]),
            changes=tuple(Change(**(one | {"stop_first": tuple(one["stop_first"])})) for one in raw["changes"]),
            old=tuple(Old(**one) for one in raw["old"]),
            groups=tuple(tuple(group) for group in raw["groups"]),
        )


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """One container of the stack. `image_id` is what a local image without digest is now, if it is there."""

    spec: ContainerSpec
    image_id: str | None = None

    @property
    def name(self) -> str:
        return self.spec.name


def container_name(prefix: str, name: str) -> str:
    """The name on the engine of a container of a place."""
    return f"{prefix}-{name}"


def host_ports(config: Config) -> frozenset[HostPort]:
    """The ports of the host that a configuration publishes."""
    found = [
        HostPort(port["host_port"], port["protocol"], port.get("host_ip") or "")
        for port in config.get("ports") or []
        if port.get("host_port")
    ]
    for span in config.get("port_ranges") or []:
        ports = range(span["host"]["first"], span["host"]["last"] + 1)
        found += [HostPort(port, span["protocol"], span.get("host_ip") or "") for port in ports]
    return frozenset(found)


def is_gated(config: Config) -> bool:
    """Whether what comes after it in the stack waits for it."""
    expected = config.get("expected_state") or {}
    return bool(config.get("healthcheck") or config.get("init_containers") or expected.get("state") in ("healthy", "exited"))


def check_stack(specs: Sequence[ContainerSpec]) -> None:
    """Raises Invalid when the stack contradicts itself: two containers of one name, or for one port."""
    wrong: list[FieldError] = []
    taken: dict[int, list[tuple[str, HostPort]]] = {}  # by number: a range may name thousands
    names: set[str] = set()
    for index, spec in enumerate(specs):
        if spec.name in names:
            wrong.append(FieldError(f"stack.containers.{index}.name", f"{spec.name} is there twice"))
        names.add(spec.name)
        own = sorted(host_ports(spec.config))
        for port in own:
            holder = next((name for name, other in taken.get(port.port, ()) if port.clashes(other)), None)
            if holder is not None:
                wrong.append(FieldError(f"stack.containers.{index}.config.ports", f"{port.port}/{port.protocol} is {holder}'s too"))
        for port in own:
            taken.setdefault(port.port, []).append((spec.name, port))
    if wrong:
        raise Invalid(wrong, code="command-invalid", detail="; ".join(f"{one.field}: {one.message}" for one in wrong))


def make_plan(
    seen: Iterable[Seen], wanted: Sequence[Wanted], *, node_id: str, prefix: str, generation: int, force_recreate: bool = False
) -> Plan:
    """The steps to make the place run exactly `wanted`. Raises Conflict `name-taken` or `port-taken` for what is not ours."""
    everything = list(seen)
    ours = [one for one in everything if one.belongs_to(node_id, prefix)]
    by_name = {one.name: one for one in ours if not one.is_init}
    kept: dict[str, Seen] = {}
    reasons: dict[str, str] = {}
    for want in wanted:
        present = by_name.get(container_name(prefix, want.name))
        reason = "force-recreate" if present and force_recreate else why_replace(present, want)
        if present is not None and reason is None:
            kept[want.name] = present
        else:
            reasons[want.name] = reason or "missing"
    staying = {one.id for one in kept.values()}
    leaving = [one for one in ours if one.id not in staying]
    foreign = [one for one in everything if one.id not in staying and one not in leaving]
    names = {one.name for one in everything}
    changes = []
    for want in wanted:
        if want.name not in kept:
            _refuse_clash(want, foreign, [*kept.values()], prefix)
            changes.append(_change(want, leaving, names, prefix=prefix, generation=generation, reason=reasons[want.name]))
    return Plan(
        kept=tuple(Kept(id=one.id, container=name) for name, one in kept.items()),
        changes=tuple(changes),
        old=tuple(_old(one, names) for one in leaving),
        groups=_groups([want for want in wanted if want.name not in kept]),
    )


def why_replace(present: Seen | None, want: Wanted) -> str | None:
    """Why `present` cannot stay as `want`, or None when it can."""
    if present is None:
        return "missing"
    if present.labels.get(LABEL_SPEC) != spec_hash(want.spec):
        return "changed"
    if want.image_id is not None and present.image_id != want.image_id:
        return "image-changed"
    return None if present.is_sound else "not-running"


def _refuse_clash(want: Wanted, foreign: Sequence[Seen], kept: Sequence[Seen], prefix: str) -> None:
    name = container_name(prefix, want.name)
    for other in foreign:
        if other.name == name:
            raise Conflict("name-taken", f"A container called {name} is there that Fairlead did not make here. Remove or rename it.")
    for port in sorted(host_ports(want.spec.config)):
        for other in (*foreign, *kept):
            if other.is_running and any(port.clashes(taken) for taken in other.host_ports):
                raise Conflict(
                    "port-taken", f"Host port {port.port}/{port.protocol} for {want.name} is held by the container {other.name}."
                )


def _change(want: Wanted, leaving: Sequence[Seen], names: Collection[str], *, prefix: str, generation: int, reason: str) -> Change:
    name = container_name(prefix, want.name)
    replaced = next((one for one in leaving if one.name == name), None)
    beside = f"{name}.g{generation}"
    while beside in names:
        beside += "-"
    return Change(
        container=want.name,
        name=name,
        # Where nothing holds the name it is taken at once: there is nothing to switch.
        working_name=beside if replaced else name,
        reason=reason,
        replaces=replaced.id if replaced else None,
        stop_first=tuple(one.id for one in leaving if one.is_running and _must_yield(one, want)),
    )


def _must_yield(old: Seen, want: Wanted) -> bool:
    """Whether the old one must stop before the new one can start: both hold a port of the host."""
    ports = host_ports(want.spec.config)
    if want.spec.config.get("network_mode") == "host" and (old.is_on_host_network or old.host_ports):
        return True
    if old.is_on_host_network and ports:
        return True
    return any(port.clashes(taken) for port in ports for taken in old.host_ports)


def _old(one: Seen, names: Collection[str]) -> Old:
    aside = f"{one.name}.old"
    if aside in names:
        aside = f"{one.name}.old.{one.id[:12]}"
    return Old(id=one.id, name=one.name, container=one.container, was_running=one.is_running, aside=aside, generation=one.generation)


def _groups(wanted: Sequence[Wanted]) -> tuple[tuple[str, ...], ...]:
    """Neighbours that nothing waits for start together; one with a gate stands alone."""
    groups: list[list[str]] = []
    is_open = False
    for want in wanted:
        gated = is_gated(want.spec.config)
        if gated or not is_open:
            groups.append([want.name])
        else:
            groups[-1].append(want.name)
        is_open = not gated
    return tuple(tuple(group) for group in groups)
