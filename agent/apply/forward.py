"""Forward: from a command to new containers that are made, with their images, networks, volumes and files."""

from __future__ import annotations

import errno
from collections.abc import Iterable
from dataclasses import replace

from agent import containers, images, policy
from agent.apply.context import Attempt, Memory
from agent.docker import Inspected, InUse, NotThere
from agent.outcomes import Refused
from agent.plan import Change, Old, Plan, Seen, Wanted, check_stack, make_plan
from agent.secrets import archive, directory_of, open_credentials, open_secrets, write_for
from kernel import clock
from kernel.contracts.config import Config, parse_config
from kernel.contracts.spec import LABEL_ATTEMPT, LABEL_CONTAINER, LABEL_NODE, LABEL_PREFIX, LABEL_TEAM, ContainerSpec
from kernel.errors import Conflict, Invalid


def check_order(attempt: Attempt) -> None:
    """Everything that can be refused without touching anything. Raises Refused."""
    try:
        attempt.specs = tuple(
            replace(spec, config=parse_config(spec.config, field=f"stack.containers.{index}.config", strict=False))
            for index, spec in enumerate(attempt.order.stack.containers)
        )
        check_stack(attempt.specs)
    except Invalid as error:
        detail = "; ".join(f"{one.field}: {one.message}" for one in error.errors)
        raise Refused("command-invalid", f"The command's stack is wrong: {detail}") from error
    parts = attempt.parts
    attempt.host_paths = policy.check(parts.policy(), attempt.specs, own_paths=[str(parts.directory)])
    for spec in attempt.specs:
        attempt.opened[spec.name] = open_secrets(spec, parts.keys, parts.node)
    open_credentials(attempt.order.credentials, parts.keys, parts.node)


def prepare(attempt: Attempt) -> None:
    """Look, get the images, plan, and remember what is there: the last moment at which nothing has been touched."""
    seen = attempt.patiently(attempt.parts.engine.containers)
    plan = _plan(attempt, seen)
    if _pull(attempt, plan):
        seen = attempt.patiently(attempt.parts.engine.containers)
        plan = _plan(attempt, seen)
    memory = attempt.patiently(_remember, attempt, plan, seen)
    reports = attempt.parts.reports
    attempt.parts.journal.prepare(attempt.work.id, memory.to_text(), reports.take())
    attempt.memory = memory
    attempt.names = {old.id: old.name for old in plan.old}


def take_up(attempt: Attempt) -> None:
    """After a restart: what this attempt has made already. What was made and never started may lack parts: it goes."""
    attempt.memory = Memory.from_text(attempt.work.memory or "")
    seen = attempt.patiently(attempt.parts.engine.containers)
    attempt.names = {one.id: one.name for one in seen}
    for one in own(attempt, seen):
        if one.state == "created":
            attempt.patiently(attempt.parts.engine.remove, one.id)
        elif one.is_init:
            attempt.init_ids[one.container] = one.id
        else:
            attempt.ids[one.container] = one.id
            attempt.started.add(one.container)
    _pull(attempt, attempt.plan)


def own(attempt: Attempt, seen: Iterable[Seen]) -> list[Seen]:
    """What this attempt has made."""
    node, prefix = str(attempt.parts.node.node_id), attempt.order.prefix
    return [one for one in seen if one.belongs_to(node, prefix) and one.attempt == str(attempt.order.attempt_id)]


def _plan(attempt: Attempt, seen: list[Seen]) -> Plan:
    engine = attempt.parts.engine
    wanted = []
    for spec in attempt.specs:
        # A digest says what the image is; what a mere tag means is known on the node only.
        image_id = None if spec.digest else attempt.patiently(engine.image_id, spec.image)
        wanted.append(Wanted(spec=spec, image_id=image_id))
    return make_plan(
        seen,
        wanted,
        node_id=str(attempt.parts.node.node_id),
        prefix=attempt.order.prefix,
        generation=attempt.work.generation,
        force_recreate=attempt.order.force_recreate,
    )


def _pull(attempt: Attempt, plan: Plan) -> bool:
    """Get the images of what is to be made. True when that took a while, so that the engine is to be looked at again."""
    began = clock.monotonic()
    parts = attempt.parts
    credentials = open_credentials(attempt.order.credentials, parts.keys, parts.node)
    needed: dict[str, images.Needed] = {}
    for change in plan.changes:
        spec = attempt.by_name[change.container]
        is_local = spec.digest is None and spec.registry is None
        for image, local in [(spec.image, is_local), *((init["image"], False) for init in _inits(spec))]:
            found = images.login_for(image, credentials)
            needed.setdefault(image, images.Needed(image, found, is_local=local))
    asked: list[str] = []

    def tell(image: str, share: float, said: str) -> None:
        asked.append(image)
        attempt.tell("pulling", message=f"{image}: {said}", progress=share)

    attempt.patiently(images.ensure, parts.engine, needed.values(), attempt.interrupt, tell)
    if asked:
        attempt.tell("pulled", progress=1.0)
    attempt.clocked("pull", began)
    return bool(asked)


def _inits(spec: ContainerSpec) -> list[Config]:
    return spec.config.get("init_containers") or []


def _remember(attempt: Attempt, plan: Plan, seen: list[Seen]) -> Memory:
    engine = attempt.parts.engine
    changed = [attempt.by_name[change.container] for change in plan.changes]
    joined = {name for spec in changed for name in containers.networks(spec.config, attempt.order.prefix)}
    known = {name for one in seen for name in one.networks}
    volumes = {containers.volume_name(attempt.order.prefix, name) for spec in changed for name in containers.named_volumes(spec.config)}
    old = attempt.parts.crew.each(lambda one: _look_closely(attempt, one), plan.old)
    return Memory(
        plan=replace(plan, old=tuple(one for one in old if one is not None)),
        networks=tuple(sorted(name for name in joined - known if engine.network_labels(name) is None)),
        volumes=tuple(sorted(name for name in volumes if engine.volume_labels(name) is None)),
    )


def _look_closely(attempt: Attempt, old: Old) -> Old | None:
    try:
        found: Inspected = attempt.parts.engine.inspect(old.id)
    except NotThere:
        return None
    return replace(old, restart_policy=found.restart_policy, stop_seconds=found.stop_seconds)


def create_all(attempt: Attempt) -> None:
    """Make networks, volumes and every new container that is not there yet. Nothing of what runs is disturbed."""
    began = clock.monotonic()
    memory = attempt.memory
    assert memory is not None
    engine, origin = attempt.parts.engine, attempt.origin
    marks = {LABEL_NODE: str(origin.node_id), LABEL_TEAM: str(origin.team_id), LABEL_PREFIX: origin.prefix}
    marks |= {LABEL_ATTEMPT: str(origin.attempt_id)}
    for name in memory.networks:
        attempt.patiently(engine.create_network, name, marks)
    for name in memory.volumes:
        attempt.patiently(engine.create_volume, name, marks)
    missing = [change for change in memory.plan.changes if change.container not in attempt.ids]
    attempt.parts.crew.each(lambda change: _create(attempt, change), missing)
    attempt.clocked("create", began)


def _create(attempt: Attempt, change: Change) -> None:
    parts, spec = attempt.parts, attempt.by_name[change.container]
    body = containers.create_arguments(spec, attempt.origin, local_of(attempt, spec))
    made = attempt.patiently(create_named, attempt, change.working_name, body)
    for network in containers.networks(spec.config, attempt.order.prefix)[1:]:
        aliases = [spec.name, f"{attempt.order.prefix}-{spec.name}"]
        attempt.patiently(parts.engine.connect, made, network, aliases)
    packed = archive(spec.config)
    if packed is not None:
        attempt.patiently(parts.engine.put_files, made, packed)
    with attempt.lock:
        attempt.ids[change.container] = made
        attempt.names[made] = change.working_name
    attempt.tell("created", change.container, change.reason)


def local_of(attempt: Attempt, spec: ContainerSpec) -> containers.Local:
    """The container's secrets and files on this node, written, and what the owner's policy adds."""
    directory = directory_of(
        attempt.parts.secrets_path, prefix=attempt.order.prefix, container=spec.name, generation=attempt.work.generation
    )
    try:
        local = write_for(directory, spec, attempt.opened[spec.name])
    except OSError as error:
        code = "disk-full" if error.errno in (errno.ENOSPC, errno.EDQUOT) else "files-not-written"
        raise Conflict(code, f"The secrets and files of {spec.name} cannot be written on the node: {error.strerror}.") from error
    return replace(local, host_paths=attempt.host_paths, ceilings=attempt.parts.policy().ceilings)


def create_named(attempt: Attempt, name: str, body: containers.Arguments) -> str:
    """Create a container. One that we made before we lost the answer is made anew; anybody else's is `name-taken`."""
    engine = attempt.parts.engine
    try:
        return engine.create(name, body)
    except InUse as error:
        try:
            holder = engine.inspect(name)
        except NotThere:
            return engine.create(name, body)
        if holder.labels.get(LABEL_ATTEMPT) != str(attempt.order.attempt_id) or not holder.labels.get(LABEL_CONTAINER):
            raise Conflict("name-taken", f"A container called {name} is there that this attempt did not make.") from error
        engine.remove(holder.id)
        return engine.create(name, body)
