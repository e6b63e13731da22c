"""What a start would do at a place, from what the agent last saw there; and its fingerprint."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from kernel.contracts.spec import ContainerSpec, StackSpec, canonical, spec_hash
from services.deployer.domain.observed import Observed
from services.deployer.domain.ports import host_ports
from services.deployer.domain.states import Sync


@dataclass(frozen=True)
class Step:
    """What becomes of one container: create, replace, keep or remove. `reasons` say why it is replaced."""

    container: str
    action: str
    image: str | None
    reasons: tuple[str, ...] = ()
    downtime: bool = False


@dataclass(frozen=True)
class Plan:
    """All steps, whether any of them interrupts a container that runs, and what it was made from."""

    steps: tuple[Step, ...]
    fingerprint: str

    @property
    def downtime(self) -> bool:
        return any(step.downtime for step in self.steps)


def make_plan(stack: StackSpec, seen: Sequence[Observed], *, force_recreate: bool = False) -> Plan:
    """`seen` are the containers at the place."""
    by_name = {one.name: one for one in seen}
    steps = [_step(want, by_name.get(want.name), force_recreate) for want in stack.containers]
    wanted = {want.name for want in stack.containers}
    gone = [one for one in sorted(seen, key=lambda one: one.name) if one.name not in wanted]
    steps += [Step(one.name, "remove", one.image) for one in gone]
    return Plan(tuple(steps), fingerprint(stack, seen, force_recreate=force_recreate))


def fingerprint(stack: StackSpec, seen: Sequence[Observed], *, force_recreate: bool = False) -> str:
    """Changes when the wanted stack, or what is seen at the place, changes (64 hex characters)."""
    facts = {
        "wanted": [[want.name, spec_hash(want)] for want in stack.containers],
        "seen": sorted([one.name, one.container_id, one.spec or "", one.is_sound] for one in seen),
        "force_recreate": force_recreate,
    }
    return hashlib.sha256(canonical(facts)).hexdigest()


def _step(want: ContainerSpec, present: Observed | None, force_recreate: bool) -> Step:
    if present is None:
        return Step(want.name, "create", want.image)
    reasons = ("force-recreate",) if force_recreate else tuple(_why_replace(want, present))
    if not reasons:
        return Step(want.name, "keep", want.image)
    # With a port of the host the old one stops before the new one starts.
    interrupts = present.is_running and (bool(host_ports(want.config)) or want.config.get("network_mode") == "host")
    return Step(want.name, "replace", want.image, reasons, interrupts)


def _why_replace(want: ContainerSpec, present: Observed) -> list[str]:
    why = []
    if present.spec != spec_hash(want):
        why.append("image-changed" if want.digest and present.digest and want.digest != present.digest else "changed")
    if not present.is_sound:
        why.append("not-running" if present.state != "running" else "unhealthy")
    return why


@dataclass(frozen=True)
class Difference:
    """One field in which a container is not what the last success put there."""

    container: str
    field: str
    wanted: str | None
    observed: str | None


def differences(stack: StackSpec, seen: Sequence[Observed]) -> tuple[Difference, ...]:
    """What drifted at a place; empty when all is as it was put."""
    by_name = {one.name: one for one in seen}
    found: list[Difference] = []
    for want in stack.containers:
        found += _differs(want, by_name.pop(want.name, None))
    return (*found, *(Difference(name, "container", None, "present") for name in sorted(by_name)))


def _differs(want: ContainerSpec, present: Observed | None) -> list[Difference]:
    if present is None:
        return [Difference(want.name, "container", "present", None)]
    expected = want.config.get("expected_state") or {}
    found = []
    if present.spec != spec_hash(want):
        found.append(Difference(want.name, "spec", spec_hash(want), present.spec))
    if want.digest and present.digest and want.digest != present.digest:
        found.append(Difference(want.name, "digest", want.digest, present.digest))
    if expected.get("state") == "exited":
        code = expected.get("exit_code") or 0
        if present.state == "exited" and present.exit_code != code:
            found.append(Difference(want.name, "exit_code", str(code), str(present.exit_code)))
    elif present.state != "running":
        found.append(Difference(want.name, "state", "running", present.state))
    elif present.health == "unhealthy":
        found.append(Difference(want.name, "health", "healthy", "unhealthy"))
    return found


def sync_of(stack: StackSpec | None, seen: Sequence[Observed] | None) -> tuple[Sync, tuple[Difference, ...]]:
    """`seen` is None where nothing fresh is known of the node."""
    if stack is None or seen is None:
        return Sync.UNKNOWN, ()
    found = differences(stack, seen)
    return (Sync.DRIFTED if found else Sync.IN_SYNC), found
