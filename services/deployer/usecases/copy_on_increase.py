"""When a version with automatic copies is increased, its latest deployment at each place is prepared for the new version."""

from __future__ import annotations

from uuid import UUID

import structlog
from sqlalchemy.orm import Session

from kernel import clock
from kernel.contracts.catalog import VersionIncreased
from kernel.contracts.envelope import Envelope
from kernel.contracts.recorded import Recorded
from kernel.errors import Conflict, FairleadError, NotFound
from kernel.outbox import put_event
from services.deployer.domain import rules
from services.deployer.domain.states import Status, VersionType
from services.deployer.models import Deployment
from services.deployer.store.deployments import (
    VersionImage,
    existing_of_version,
    instances_of,
    latest_of_version_at_each_place,
)
from services.deployer.store.places import node_of
from services.deployer.usecases.announce import announce, facts_of_cause, snapshot, title
from services.deployer.usecases.deployments import fill, unique

log = structlog.get_logger(__name__)


def copy_on_increase(session: Session, envelope: Envelope) -> int:
    """Make the copies, in the caller's transaction; returns how many.

    A place that is taken already, also by a request at this very moment, is left alone and recorded as refused.
    """
    told = envelope.data
    if not isinstance(told, VersionIncreased) or not told.auto_copy or envelope.team is None:
        return 0
    made = 0
    for source in latest_of_version_at_each_place(session, told.parent_id):
        if source.team_id != envelope.team:
            continue
        try:
            # A savepoint: one copy that cannot be made takes no other with it.
            with unique(), session.begin_nested():
                _check(session, told, source)
                _copy(session, told, source, envelope)
            made += 1
        except (Conflict, NotFound) as error:
            _record_refused(session, told, source, envelope, error)
    return made


def _check(session: Session, told: VersionIncreased, source: Deployment) -> None:
    """Raises Conflict where the rules forbid the copy, NotFound where the node has gone."""
    node_of(session, source.node_id, keep=True)
    existing = existing_of_version(session, told.version_id)
    rules.check_creatable(VersionType.INCREMENTAL, existing, node=source.node_id, prefix=source.prefix)


def _record_refused(session: Session, told: VersionIncreased, source: Deployment, cause: Envelope, error: FairleadError) -> None:
    log.info("no copy for a new version", source=str(source.id), version=str(told.version_id), code=error.code)
    data = Recorded(
        resource_type="deployment",
        resource_id=str(source.id),
        resource_name=title(source)[:512],
        outcome="refused",
        after={"copy_for_version": told.version_name, "prefix": source.prefix, "node_id": str(source.node_id)},
        reason=error.code,
    )
    facts = facts_of_cause(cause, source)
    put_event(
        session, "deployer", Envelope(type="deployer.request.refused.v1", source="deployer", subject=str(source.id), data=data, **facts)
    )


def _copy(session: Session, told: VersionIncreased, source: Deployment, cause: Envelope) -> None:
    at = clock.now()
    made = Deployment(
        id=clock.new_id(),
        team_id=source.team_id,
        node_id=source.node_id,
        prefix=source.prefix,
        version_id=told.version_id,
        project_id=source.project_id,
        project_name=source.project_name,
        version_name=told.version_name,
        version_type=VersionType.INCREMENTAL.value,
        version_seq=told.version_seq,
        note=source.note,
        protected=False,
        status=Status.PREPARING.value,
        config=source.config,
        config_bundle_ids=list(source.config_bundle_ids),
        revision=1,
        event_count=0,
        attempt_count=0,
        created_at=at,
        updated_at=at,
        created_by=cause.actor,
    )
    session.add(made)
    session.flush()
    new_ids = {UUID(old): UUID(new) for old, new in (told.image_ids or {}).items()}
    copied = [one for one in instances_of(session, [source.id])[source.id] if one.image_id in new_ids]
    images = [VersionImage(new_ids[one.image_id], one.image_name, one.position) for one in copied]
    fill(session, source, made, images, {new_ids[one.image_id]: one.config for one in copied})
    session.flush()
    announce(session, "created", made, facts_of_cause(cause, made), after=snapshot(made), reason=f"version {told.version_name} was made")
