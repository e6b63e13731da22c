"""From a version's images and everybody's configuration to the stack that a command carries, with every problem at once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from uuid import UUID

from kernel.contracts.catalog import EnvironmentRule, unmet_rules
from kernel.contracts.config import Config, parse_config
from kernel.contracts.spec import ContainerSpec, SealedSecret, StackSpec
from kernel.errors import FieldError, Invalid
from services.deployer.domain.merge import bundle_conflicts, merge, render
from services.deployer.domain.observed import Observed
from services.deployer.domain.ports import HostPort, host_ports


@dataclass(frozen=True)
class Problem:
    """One thing that stops a start: its code, where it is, what to do."""

    code: str
    field: str
    message: str


@dataclass(frozen=True)
class PinnedImage:
    """An image of the version as the catalog resolved it."""

    image_id: UUID
    position: int
    name: str
    image: str
    tag: str | None
    digest: str | None
    registry: str | None
    config: Config
    environment_rules: tuple[EnvironmentRule, ...] = ()


@dataclass(frozen=True)
class Bundle:
    """A set of configuration that many deployments share."""

    name: str
    config: Config


@dataclass(frozen=True)
class InstanceConfig:
    """What a deployment says of one image."""

    id: UUID
    image_id: UUID
    config: Config


@dataclass(frozen=True)
class StoredSecret:
    """A sealed value, and the node's key that it was sealed to."""

    sealed: str
    seal_key: str


@dataclass(frozen=True, kw_only=True)
class Wish:
    """Everything that a stack is made from, but the images."""

    project: str
    version: str
    prefix: str
    node: str
    seal_key: str | None
    bundles: Sequence[Bundle] = ()
    config: Config = field(default_factory=dict)
    instances: Sequence[InstanceConfig] = ()
    secrets: Mapping[str, StoredSecret] = field(default_factory=dict)
    # Images of init containers as they were written, and by digest.
    digests: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Resolved:
    """The stack, and what stops it. With problems the stack is only what could be made."""

    stack: tuple[ContainerSpec, ...]
    problems: tuple[Problem, ...]


def resolve(wish: Wish, images: Sequence[PinnedImage]) -> Resolved:
    """All containers of the version, in the order of its images."""
    instances = {one.image_id: one for one in wish.instances}
    made: list[ContainerSpec] = []
    problems: list[Problem] = []
    for image in sorted(images, key=lambda one: one.position):
        container, wrong = _container(wish, image, instances[image.image_id])
        problems += wrong
        if container is not None:
            made.append(container)
    return Resolved(tuple(made), tuple(dict.fromkeys(problems)))


def _container(wish: Wish, image: PinnedImage, instance: InstanceConfig) -> tuple[ContainerSpec | None, list[Problem]]:
    where = f"instances.{image.name}"
    layers = [bundle.config for bundle in wish.bundles]
    problems = [
        Problem(
            "config-bundle-conflict",
            f"{where}.config.{conflict.path}",
            "is said differently by the config bundles: decide it in the deployment or the instance",
        )
        for conflict in bundle_conflicts(layers, wish.config, instance.config)
    ]
    merged = merge(image.config, layers, wish.config, instance.config)
    words = {"version": wish.version, "prefix": wish.prefix, "node": wish.node}
    try:
        config = {key: value for key, value in parse_config(render(merged, words)).items() if value is not None}
    except Invalid as error:
        return None, problems + [Problem("config-invalid", f"{where}.{wrong.field}", wrong.message) for wrong in error.errors]
    if "init_containers" in config:
        config["init_containers"] = [one | {"image": wish.digests.get(one["image"], one["image"])} for one in config["init_containers"]]
    secrets, missing = _secrets(wish, config.pop("secrets", {}), image.name)
    missing += _unmet(where, image, config, secrets)
    name = config.pop("name", None) or image.name
    if config.get("network_mode") in ("host", "none") and config.get("networks"):
        problems.append(
            Problem(
                "config-invalid",
                f"{where}.config.networks",
                f"cannot be used with network_mode {config['network_mode']}",
            )
        )
    container = ContainerSpec(
        instance_id=instance.id,
        name=name,
        image=image.image,
        config=config,
        tag=image.tag,
        digest=image.digest,
        registry=image.registry,
        secrets=secrets,
    )
    return container, problems + missing


def init_images(stack: Iterable[ContainerSpec]) -> list[str]:
    """The images of all init containers, each once."""
    return list(dict.fromkeys(init["image"] for one in stack for init in one.config.get("init_containers") or ()))


def is_exact(image: str) -> bool:
    """Does its name say which image it is, whatever is pushed under the same tag?"""
    return "@sha256:" in image


def host_of(image: str) -> str:
    """The registry that an exact name was made for: it always stands there."""
    return image.partition("/")[0]


def _unmet(where: str, image: PinnedImage, config: Config, secrets: Iterable[str]) -> list[Problem]:
    """What the image's own labels want of its environment."""
    wrong = unmet_rules(image.environment_rules, config.get("environment") or {}, frozenset(secrets))
    return [Problem("image-requirement", f"{where}.config.environment.{name}", message) for name, message in wrong.items()]


def _secrets(wish: Wish, declared: Mapping[str, Mapping[str, object]], container: str) -> tuple[dict[str, SealedSecret], list[Problem]]:
    found: dict[str, SealedSecret] = {}
    problems: list[Problem] = []
    for name, said in declared.items():
        stored = wish.secrets.get(name)
        if stored is None:
            if said.get("required", True):
                problems.append(Problem("secret-missing", f"secrets.{name}", f"is required by {container} and not set"))
        elif stored.seal_key != wish.seal_key:
            problems.append(sealed_elsewhere(name))
        else:
            found[name] = SealedSecret(stored.sealed, str(said.get("as", "env")))
    return found, problems


def sealed_elsewhere(name: str) -> Problem:
    return Problem(
        "secret-sealed-to-another-key",
        f"secrets.{name}",
        "was sealed to another node or an older key of it: set it again",
    )


def reseal(
    frozen: Iterable[ContainerSpec], secrets: Mapping[str, StoredSecret], *, sealed_to: str | None, seal_key: str | None
) -> Resolved:
    """A frozen stack for a node whose key may have changed since: secrets that were set again take the old ones' place."""
    stack = tuple(frozen)
    if sealed_to == seal_key:
        return Resolved(stack, ())
    problems: list[Problem] = []
    made = []
    for container in stack:
        fresh = {}
        for name, old in container.secrets.items():
            stored = secrets.get(name)
            if stored is None or stored.seal_key != seal_key:
                problems.append(sealed_elsewhere(name))
            else:
                fresh[name] = replace(old, sealed=stored.sealed)
        made.append(replace(container, secrets=fresh))
    return Resolved(tuple(made), tuple(dict.fromkeys(problems)))


def only(chosen: frozenset[UUID], resolved: Resolved, current: StackSpec | None) -> Resolved:
    """The chosen instances as resolved, all others as they stand at the place now: `current` is what the last success put there."""
    standing = {one.name: one for one in (current.containers if current else ())}
    made = []
    for want in resolved.stack:
        old = standing.pop(want.name, None)
        if want.instance_id in chosen:
            made.append(want)
        elif old is not None:
            made.append(old)
    return Resolved((*made, *standing.values()), resolved.problems)


_MOST_CLASHES = 200  # more help nobody


def clashes(stack: Sequence[ContainerSpec], seen: Sequence[Observed], *, prefix: str) -> list[Problem]:
    """Names and ports of the host that two containers want, or that another place on the node holds."""
    problems: list[Problem] = []
    names: set[str] = set()
    # By number: a range may name thousands, and only those of one number can clash.
    taken: dict[int, list[tuple[str, HostPort]]] = {}
    elsewhere: dict[int, list[tuple[Observed, HostPort]]] = {}
    for one in seen:
        for held in one.ports if one.prefix != prefix and one.is_running else ():
            elsewhere.setdefault(held.port, []).append((one, held))
    for want in stack:
        where = f"instances.{want.name}"
        if want.name in names:
            problems.append(Problem("container-name-taken", f"{where}.config.name", "is the name of two containers in this stack"))
        names.add(want.name)
        for port in host_ports(want.config):
            if len(problems) >= _MOST_CLASHES:
                return problems
            holder = next((name for name, other in taken.get(port.port, ()) if port.clashes(other)), None)
            if holder is not None:
                problems.append(Problem("host-port-taken", f"{where}.config.ports", f"host port {port} is asked for by {holder} too"))
            other = next((one for one, held in elsewhere.get(port.port, ()) if port.clashes(held)), None)
            if other is not None:
                problems.append(
                    Problem(
                        "host-port-taken",
                        f"{where}.config.ports",
                        f"host port {port} is held by {other.name} under {other.prefix}",
                    )
                )
            taken.setdefault(port.port, []).append((want.name, port))
    return problems


def refuse(problems: Sequence[Problem]) -> None:
    """Raises Invalid naming every problem; with one kind of problem its code is the error's."""
    if not problems:
        return
    codes = list(dict.fromkeys(problem.code for problem in problems))
    raise Invalid(
        [FieldError(problem.field, problem.message) for problem in problems],
        code=codes[0] if len(codes) == 1 else "deployment-invalid",
        detail="The deployment cannot be started: " + "; ".join(f"{one.field} {one.message}" for one in problems[:5]) + ".",
        facts={"codes": codes},
    )
