"""The end of an attempt: its outcome, its deployment's status, and what a success does to the others at the place."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, is_dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy.orm import Session

from kernel.contracts.envelope import Envelope
from services.deployer.domain.rules import Ran, Standing, after_success
from services.deployer.domain.states import EventKind, Outcome, Status, VersionType
from services.deployer.models import Attempt, Deployment, Place
from services.deployer.store.attempts import attempt_of
from services.deployer.store.events import NewEvent, append_events
from services.deployer.store.places import lock_deployments_at, lock_place
from services.deployer.usecases.announce import announce, facts_of_cause
from services.deployer.usecases.removals import after_attempt

_VERBS = {Status.SUCCESSFUL: "succeeded", Status.FAILED: "failed", Status.OBSOLETE: "obsoleted", Status.DOWNGRADED: "downgraded"}
_TEXTS = {Status.OBSOLETE: "replaced by another deployment", Status.DOWNGRADED: "an older version was brought back"}


def settle(
    session: Session,
    attempt_id: UUID,
    *,
    outcome: str,
    code: str | None = None,
    detail: str | None = None,
    restored: bool | None = True,
    containers: Sequence[object] = (),
    seconds: Mapping[str, float] | None = None,
    at: datetime,
    cause: Envelope | None,
) -> bool:
    """Finish a live attempt, or correct a timed-out one that succeeded after all; in the caller's transaction.

    `restored`: does what ran before run again? None where that is not known. False, and nothing changes, for an attempt that is
    unknown or finished already, or whose success something newer has overwritten. Locks: place, attempt, deployments.
    """
    known = attempt_of(session, attempt_id)
    if known is None:
        return False
    place = lock_place(session, team_id=known.team_id, node_id=known.node_id, prefix=known.prefix)
    attempt = attempt_of(session, attempt_id, lock=True)
    if attempt is None:
        return False
    corrects = _may_correct(attempt, place, outcome)
    if attempt.outcome is not None and not corrects:
        if attempt.outcome == Outcome.TIMED_OUT:
            after_attempt(session, place, attempt, outcome)
        return False
    at_place = lock_deployments_at(session, attempt.node_id, attempt.prefix)
    deployment = next((one for one in at_place if one.id == attempt.deployment_id), None)
    if deployment is None:
        return False  # it was moved to another place meanwhile
    is_last = deployment.last_attempt_id == attempt.id
    if not is_last and not corrects:
        return False
    attempt.outcome = Outcome(outcome).value
    attempt.code, attempt.detail, attempt.restored, attempt.finished_at = code, detail, restored, at
    attempt.containers = [_plain(one) for one in containers]
    attempt.seconds = dict(seconds or {})
    if is_last:
        _finish(session, deployment, attempt, at=at, cause=cause, corrects=corrects)
    else:
        _correct_older(session, deployment, attempt, at=at, cause=cause)
    if attempt.outcome == Outcome.SUCCEEDED:
        place.taken_generation = max(place.taken_generation, attempt.generation)
        _overrule(session, deployment, [one for one in at_place if one is not deployment], at=at, cause=cause, attempt=attempt)
    after_attempt(session, place, attempt, outcome)
    session.flush()
    return True


def _may_correct(attempt: Attempt, place: Place, outcome: str) -> bool:
    """A late success counts unless something newer has taken the place: then it has run, but does so no longer.

    A newer attempt that failed, was cancelled or refused has left the place as it was before, so it is this one that runs. One that
    is being worked on has not taken the place yet, and turns this one obsolete when it does, as if the word had come in time. Of one
    that has timed out nothing is known; should it have succeeded, its own late word does the same.
    """
    late = attempt.outcome == Outcome.TIMED_OUT and outcome == Outcome.SUCCEEDED
    return late and attempt.generation > place.taken_generation


def _correct_older(session: Session, deployment: Deployment, attempt: Attempt, *, at: datetime, cause: Envelope | None) -> None:
    """A late success below a newer attempt of the same deployment: the status is the newer one's, what runs is this one's."""
    deployment.successful_attempt_id = attempt.id
    deployment.revision += 1
    deployment.updated_at = at
    session.flush()
    text = f"attempt {attempt.number} has succeeded after all"
    data = {"outcome": attempt.outcome, "corrects": True}
    append_events(session, deployment.id, [NewEvent(kind=EventKind.STATUS, at=at, attempt=attempt.number, message=text, data=data)])
    facts = facts_of_cause(cause, deployment, attempt)
    before = after = {"status": deployment.status}
    announce(session, "corrected", deployment, facts, before=before, after=after | data, attempt=attempt, reason=text)


def _finish(session: Session, deployment: Deployment, attempt: Attempt, *, at: datetime, cause: Envelope | None, corrects: bool) -> None:
    succeeded = attempt.outcome == Outcome.SUCCEEDED
    if succeeded:
        deployment.successful_attempt_id = attempt.id
    text = attempt.detail or ("all containers are up" if succeeded else f"{attempt.outcome}: {attempt.code or 'no reason was given'}")
    data = {"outcome": attempt.outcome, "code": attempt.code, "restored": attempt.restored, "corrects": corrects}
    _turn(
        session,
        deployment,
        Status.SUCCESSFUL if succeeded else Status.FAILED,
        verb="corrected" if corrects else None,
        attempt=attempt,
        own=True,
        text=text,
        data=data,
        at=at,
        cause=cause,
    )


def _overrule(
    session: Session, winner: Deployment, others: Sequence[Deployment], *, at: datetime, cause: Envelope | None, attempt: Attempt
) -> None:
    x = Ran(winner.project_id, VersionType(winner.version_type), winner.version_seq)
    standing = {one.id: Standing(one.project_id, VersionType(one.version_type), one.version_seq, Status(one.status)) for one in others}
    after = after_success(x, standing)
    for other in others:
        if after[other.id] != other.status:
            status = after[other.id]
            data = {"by": str(winner.id), "by_version": winner.version_name}
            _turn(session, other, status, attempt=attempt, own=False, text=_TEXTS[status], data=data, at=at, cause=cause)


def _turn(
    session: Session,
    deployment: Deployment,
    status: Status,
    *,
    attempt: Attempt,
    own: bool,
    text: str,
    data: dict[str, Any],  # open JSON of an event
    at: datetime,
    cause: Envelope | None,
    verb: str | None = None,
) -> None:
    """Give a deployment its new status, with the entry in its history and the event. `own`: by its own attempt."""
    before = {"status": deployment.status}
    deployment.status = status.value
    deployment.revision += 1
    deployment.updated_at = at
    session.flush()
    number = attempt.number if own else None
    event = NewEvent(kind=EventKind.STATUS, at=at, attempt=number, message=text, data={"status": status.value} | data)
    append_events(session, deployment.id, [event])
    announce(
        session,
        verb or _VERBS[status],
        deployment,
        facts_of_cause(cause, deployment, attempt),
        before=before,
        after={"status": status.value} | data,
        attempt=attempt if own else None,
        reason=text[:2048],
    )


def _plain(one: object) -> dict[str, Any]:
    """A container's outcome as JSON; Any: it is kept as it was reported."""
    if is_dataclass(one) and not isinstance(one, type):
        return asdict(one)
    plain: dict[str, Any] = dict(one)  # type: ignore[call-overload]  # a mapping, as reports decode to
    return plain
