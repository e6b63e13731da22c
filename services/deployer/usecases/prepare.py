"""What plan and start have in common: the rules that stop a start, and the stack that it would bring."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy.orm import Session

from kernel.contracts.spec import StackSpec
from kernel.db import Database
from kernel.errors import Conflict, FairleadError, FieldError, Invalid
from kernel.principal import Principal
from services.deployer.domain.observed import Observed, observed_of
from services.deployer.domain.plan import Plan, make_plan
from services.deployer.domain.resolve import (
    InstanceConfig,
    Problem,
    Resolved,
    Wish,
    clashes,
    host_of,
    init_images,
    is_exact,
    only,
    refuse,
    reseal,
    resolve,
)
from services.deployer.domain.rules import Protected, blocked_by_protection, is_startable
from services.deployer.domain.states import NodeStatus, Status, VersionType
from services.deployer.models import Attempt, Deployment, Node
from services.deployer.store.attempts import attempt_of, live_at, load_stack, standing_stack
from services.deployer.store.deployments import (
    config_of,
    find_deployment,
    instance_names,
    instances_of,
    reconcile_instances,
    stored_secrets,
)
from services.deployer.store.places import node_of, status_at
from services.deployer.usecases.announce import title
from services.deployer.usecases.catalog import Catalog, Pin, PinRequest

_REACHABLE = (NodeStatus.CONNECTED, NodeStatus.OUTDATED)
_INITS = "init_containers"
_FROZEN = (Status.OBSOLETE, Status.DOWNGRADED, Status.FAILED)


@dataclass(frozen=True, kw_only=True)
class StartOptions:
    """How a start is wished for."""

    plan_fingerprint: str | None = None
    instances: tuple[UUID, ...] | None = None
    timeout_seconds: int = 900
    wait_for_node_seconds: int = 0
    ignore_protection: bool = False
    force_recreate: bool = False


@dataclass(frozen=True)
class Prepared:
    """A stack that may be started, and what starting it would do."""

    stack: StackSpec
    plan: Plan
    frozen: bool


def is_reachable(status: NodeStatus) -> bool:
    """Does the node's agent answer now?"""
    return status in _REACHABLE


def is_frozen(deployment: Deployment) -> bool:
    """Does a start bring back exactly what ran? (An incremental one that has been successful: a rollback or a roll-forward.)"""
    once_ran = deployment.version_type == VersionType.INCREMENTAL and deployment.successful_attempt_id is not None
    return once_ran and deployment.status in _FROZEN


def pin_request(session: Session, deployment: Deployment, node: Node, options: StartOptions | None = None) -> PinRequest:
    """Raises Conflict `node-not-connected` for a node that has never had keys."""
    if node.seal_key is None:
        raise Conflict("node-not-connected", f"The node {node.name} was never connected. Enrol it first.")
    return PinRequest(
        deployment_id=deployment.id,
        version_id=deployment.version_id,
        node_id=node.id,
        seal_key=node.seal_key,
        bundle_ids=tuple(deployment.config_bundle_ids),
        revision=deployment.revision,
        resolve=not is_frozen(deployment),
        hosts=_hosts(session, deployment, options),
        has_inits=_INITS in deployment.config or instance_names(session, deployment.id, _INITS),
    )


def _hosts(session: Session, deployment: Deployment, options: StartOptions | None) -> tuple[str, ...]:
    """The registries of containers that come from a frozen specification."""
    stacks = []
    if is_frozen(deployment) and deployment.successful_attempt_id:
        frozen = attempt_of(session, deployment.successful_attempt_id)
        stacks.append(load_stack(frozen.spec) if frozen else None)
    if options is not None and options.instances is not None:
        stacks.append(standing_stack(session, deployment.node_id, deployment.prefix))
    containers = [one for stack in stacks if stack for one in stack.containers]
    hosts = {one.registry for one in containers if one.registry}
    return tuple(sorted(hosts | {host_of(image) for image in init_images(containers) if is_exact(image)}))


def protected_by_others(others: Sequence[Deployment], deployment: Deployment) -> list[Protected]:
    """The protected deployments among `others`, as the rule sees them."""
    return [Protected(one.version_id == deployment.version_id, title(one)) for one in others if one.protected and one.id != deployment.id]


def blockers(
    session: Session,
    deployment: Deployment,
    node: Node,
    others: Sequence[Deployment],
    options: StartOptions,
    *,
    role: str | None,
    at: datetime,
) -> list[FairleadError]:
    """Everything in the state of things that stops a start now."""
    found: list[FairleadError | None] = [_live(session, deployment)]
    kind = VersionType(deployment.version_type)
    if found == [None] and not is_startable(kind, Status(deployment.status)):
        found.append(Conflict("deployment-not-startable", f"A deployment of this type that is {deployment.status} cannot be started."))
    protected = protected_by_others(others, deployment)
    found.append(blocked_by_protection(kind, protected, override=options.ignore_protection, role=role))
    found.append(_away(node, status_at(node, at), options.wait_for_node_seconds))
    return [one for one in found if one is not None]


def _live(session: Session, deployment: Deployment) -> Conflict | None:
    live = live_at(session, deployment.node_id, deployment.prefix)
    return None if live is None else attempt_live(live)


def attempt_live(live: Attempt) -> Conflict:
    """The answer to a second start at a place."""
    return Conflict(
        "attempt-live",
        "An attempt is being worked on at this place. Wait for its end, or cancel it.",
        facts={"deployment_id": str(live.deployment_id), "attempt": live.number},
    )


def _away(node: Node, status: NodeStatus, wait_seconds: int) -> Conflict | None:
    if status is NodeStatus.REVOKED:
        return Conflict("node-revoked", f"The node {node.name} was revoked.")
    if node.seal_key is None or (not is_reachable(status) and not wait_seconds):
        detail = f"The node {node.name} is {status.value}. Bring it back, or start with wait_for_node_seconds."
        return Conflict("node-not-connected", detail, facts={"node_status": status.value})
    return None


def refuse_blocked(found: Sequence[FairleadError]) -> None:
    """Raises the first, naming all the others in its `errors`."""
    if not found:
        return
    first = found[0]
    if len(found) > 1:
        first.facts["errors"] = [{"field": one.code, "message": one.detail} for one in found]
    raise first


def prepare(session: Session, deployment: Deployment, node: Node, pin: Pin, options: StartOptions) -> Prepared:
    """The stack and its plan. The deployment is locked. Raises Invalid with every problem at once."""
    instances = reconcile_instances(session, deployment, pin.version.images)
    chosen = _chosen(options, {one.id for one in instances})
    wish = _wish(session, deployment, node, pin, [config_of(one) for one in instances])
    frozen = attempt_of(session, deployment.successful_attempt_id) if is_frozen(deployment) and deployment.successful_attempt_id else None
    resolved = resolve(wish, pin.images) if frozen is None else _as_it_was(frozen, wish)
    if chosen is not None:
        resolved = only(chosen, resolved, standing_stack(session, deployment.node_id, deployment.prefix))
    seen = observed_of(node.containers)
    problems = [*resolved.problems, *clashes(resolved.stack, seen, prefix=deployment.prefix)]
    if not resolved.stack and not problems:
        problems.append(Problem("version-has-no-images", "version_id", "has no images: add one, then start"))
    refuse(problems)
    stack = StackSpec(deployment.project_name, deployment.version_name, resolved.stack)
    return Prepared(stack, make_plan(stack, at_place(seen, deployment), force_recreate=options.force_recreate), frozen is not None)


def _wish(session: Session, deployment: Deployment, node: Node, pin: Pin, instances: Sequence[InstanceConfig]) -> Wish:
    return Wish(
        project=pin.version.project_name,
        version=pin.version.name,
        prefix=deployment.prefix,
        node=node.name,
        seal_key=node.seal_key,
        bundles=pin.bundles,
        config=deployment.config,
        instances=instances,
        secrets=stored_secrets(session, deployment.id),
        digests=pin.digests,
    )


def with_digests(db: Database, catalog: Catalog, who: Principal, wanted: PinRequest, pin: Pin, *, hold: bool) -> Pin:
    """The pin with the images of init containers, whoever's configuration names them, by digest. What is frozen has them so already."""
    theirs = [*(one.config for one in pin.images), *(one.config for one in pin.bundles)]
    if not wanted.resolve or not (wanted.has_inits or any(_INITS in config for config in theirs)):
        return pin
    with db.team(who.team) as session:
        deployment = find_deployment(session, wanted.deployment_id)
        configs = {one.image_id: config_of(one) for one in instances_of(session, [deployment.id])[deployment.id]}
        # An image that has just been added to the version has no instance yet, which says nothing.
        instances = [configs.get(one.image_id, InstanceConfig(one.image_id, one.image_id, {})) for one in pin.images]
        stack = resolve(_wish(session, deployment, node_of(session, wanted.node_id), pin, instances), pin.images).stack
    names = [image for image in init_images(stack) if not is_exact(image)]
    # Between two transactions: no lock waits for the internet.
    return catalog.with_digests(who, wanted, pin, names, hold=hold) if names else pin


def at_place(seen: Sequence[Observed], deployment: Deployment) -> list[Observed]:
    """What was seen at a deployment's place."""
    return [one for one in seen if one.prefix == deployment.prefix]


def _as_it_was(frozen: Attempt, wish: Wish) -> Resolved:
    return reseal(load_stack(frozen.spec).containers, wish.secrets, sealed_to=frozen.seal_key, seal_key=wish.seal_key)


def _chosen(options: StartOptions, known: set[UUID]) -> frozenset[UUID] | None:
    if options.instances is None:
        return None
    wrong = [
        FieldError(f"instances.{place}", "is no instance of this deployment")
        for place, one in enumerate(options.instances)
        if one not in known
    ]
    if wrong:
        raise Invalid(wrong)
    return frozenset(options.instances)
