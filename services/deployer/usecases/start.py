"""Starting a deployment: pin its version, then make the attempt, the command and the event in one transaction."""

from __future__ import annotations

from datetime import timedelta
from uuid import UUID

import structlog
from nacl.signing import SigningKey
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from kernel import clock
from kernel.db import Database, violated
from kernel.errors import Conflict, FairleadError
from kernel.principal import Principal
from services.deployer.domain.states import EventKind, Status
from services.deployer.models import Attempt, Deployment, Node, Place
from services.deployer.store.attempts import dump_stack, live_of
from services.deployer.store.deployments import find_deployment
from services.deployer.store.events import NewEvent, append_events
from services.deployer.store.places import (
    database_now,
    deployments_at,
    lock_deployments_at,
    lock_place,
    node_of,
    raise_generation,
    status_at,
)
from services.deployer.usecases.announce import announce, facts_of
from services.deployer.usecases.catalog import Catalog, Pin, PinRequest
from services.deployer.usecases.prepare import (
    Prepared,
    StartOptions,
    blockers,
    is_reachable,
    pin_request,
    prepare,
    refuse_blocked,
    with_digests,
)
from services.deployer.usecases.send import send_apply

log = structlog.get_logger(__name__)


def start(db: Database, catalog: Catalog, signing_key: SigningKey, who: Principal, deployment_id: UUID, options: StartOptions) -> Attempt:
    """Start the deployment. Raises Conflict, Forbidden or Invalid, each naming everything that is in the way."""
    with db.team(who.team) as session:
        wanted = _look(session, who, deployment_id, options)
    pin = catalog.pin(who, wanted, hold=True)
    try:
        pin = with_digests(db, catalog, who, wanted, pin, hold=True)
        with db.team(who.team) as session:
            return _begin(session, signing_key, who, wanted, pin, options)
    except (FairleadError, IntegrityError) as error:
        _release(db, catalog, who, wanted)
        if isinstance(error, IntegrityError) and violated(error) == "uq_attempts_live":
            raise Conflict("attempt-live", "An attempt is being worked on at this place.") from error
        raise


def _look(session: Session, who: Principal, deployment_id: UUID, options: StartOptions) -> PinRequest:
    """Refuse at once what cannot be started, before anybody else is asked."""
    deployment = find_deployment(session, deployment_id)
    node = node_of(session, deployment.node_id)
    others = deployments_at(session, deployment.node_id, deployment.prefix)
    _refuse(session, deployment, node, others, options, who)
    return pin_request(session, deployment, node, options)


def _refuse(session: Session, deployment: Deployment, node: Node, others: list[Deployment], options: StartOptions, who: Principal) -> None:
    role = who.role.value if who.role else None
    refuse_blocked(blockers(session, deployment, node, others, options, role=role, at=database_now(session)))


def _begin(session: Session, signing_key: SigningKey, who: Principal, wanted: PinRequest, pin: Pin, options: StartOptions) -> Attempt:
    """Everything again under locks (node, place, deployments), for the world may have moved while the catalog was asked."""
    node = node_of(session, wanted.node_id, share=True)
    known = find_deployment(session, wanted.deployment_id)
    place = lock_place(session, team_id=who.team, node_id=known.node_id, prefix=known.prefix)
    others = lock_deployments_at(session, place.node_id, place.prefix)
    deployment = find_deployment(session, wanted.deployment_id, lock=True)
    _refuse(session, deployment, node, others, options, who)
    if (deployment.revision, deployment.node_id, node.seal_key) != (wanted.revision, wanted.node_id, wanted.seal_key):
        raise Conflict("deployment-changed", "The deployment was changed while it was being started. Look at it, then start it again.")
    deployment.project_name, deployment.version_name = pin.version.project_name, pin.version.name
    prepared = prepare(session, deployment, node, pin, options)
    if options.plan_fingerprint is not None and options.plan_fingerprint != prepared.plan.fingerprint:
        detail = "What runs on the node, or what would be deployed, has changed since the plan was made. Plan again."
        raise Conflict("plan-stale", detail, facts={"fingerprint": prepared.plan.fingerprint})
    return _make(session, signing_key, who, deployment, node, place, pin, prepared, options)


def _make(
    session: Session,
    signing_key: SigningKey,
    who: Principal,
    deployment: Deployment,
    node: Node,
    place: Place,
    pin: Pin,
    prepared: Prepared,
    options: StartOptions,
) -> Attempt:
    """The attempt, the place's next generation, the deployment's status, the event and the signed command."""
    at = clock.now()
    before = {"status": deployment.status}
    deployment.attempt_count += 1
    attempt = Attempt(
        id=clock.new_id(),
        team_id=who.team,
        deployment_id=deployment.id,
        number=deployment.attempt_count,
        node_id=node.id,
        prefix=deployment.prefix,
        generation=raise_generation(session, place),
        spec=dump_stack(prepared.stack),
        credentials=pin.credentials,
        seal_key=node.seal_key,
        options=_kept_options(options, prepared, who),
        started_by=who.actor,
        started_by_name=who.name,
        started_at=at,
        deadline_at=at + timedelta(seconds=options.wait_for_node_seconds or options.timeout_seconds),
        containers=[],
        seconds={},
    )
    session.add(attempt)
    deployment.last_attempt_id, deployment.status, deployment.updated_at = attempt.id, Status.IN_PROGRESS.value, at
    deployment.revision += 1
    session.flush()
    waits = not is_reachable(status_at(node, database_now(session)))
    text = f"attempt {attempt.number} waits for the node" if waits else f"attempt {attempt.number} was started"
    event = NewEvent(kind=EventKind.STATUS, at=at, attempt=attempt.number, message=text, data={"status": Status.IN_PROGRESS.value})
    append_events(session, deployment.id, [event])
    after = {"status": deployment.status, "attempt": attempt.number, "generation": attempt.generation} | attempt.options
    announce(session, "started", deployment, facts_of(who), before=before, after=after, attempt=attempt)
    if not waits:
        send_apply(session, attempt, node, signing_key, at=at)
    session.flush()
    return attempt


def _kept_options(options: StartOptions, prepared: Prepared, who: Principal) -> dict[str, object]:
    return {
        "timeout_seconds": options.timeout_seconds,
        "wait_for_node_seconds": options.wait_for_node_seconds,
        "force_recreate": options.force_recreate,
        "ignore_protection": options.ignore_protection,
        "instances": None if options.instances is None else [str(one) for one in options.instances],
        "frozen": prepared.frozen,
        "correlation": who.correlation,
    }


def _release(db: Database, catalog: Catalog, who: Principal, wanted: PinRequest) -> None:
    """Give the pin back, unless a quicker start of the same deployment now needs it."""
    with db.team(who.team) as session:
        if live_of(session, wanted.deployment_id) is not None:
            return
    error = catalog.release(who, wanted)
    if error is not None:
        log.warning("pin could not be given back, it will lapse", deployment=str(wanted.deployment_id), error=error.code)
