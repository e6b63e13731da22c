"""The events that tell of a deployment's changes."""

from __future__ import annotations

from typing import Any

from sqlalchemy.orm import Session

from kernel.contracts.deployer import DeploymentChanged
from kernel.contracts.envelope import Envelope
from kernel.outbox import put_event
from kernel.principal import Principal
from services.deployer.models import Attempt, Deployment

Json = dict[str, Any]  # what an event's before and after hold
Facts = dict[str, Any]  # the envelope's fields that say who did it


def title(deployment: Deployment) -> str:
    """As people know it: `shop 1.1.0 under shop`."""
    return f"{deployment.project_name} {deployment.version_name} under {deployment.prefix}"


def snapshot(deployment: Deployment) -> Json:
    """A deployment as the audit log keeps it; secrets are no part of it."""
    return {
        "status": deployment.status,
        "node_id": str(deployment.node_id),
        "prefix": deployment.prefix,
        "note": deployment.note,
        "protected": deployment.protected,
        "config": deployment.config,
        "config_bundle_ids": [str(one) for one in deployment.config_bundle_ids],
    }


def announce(
    session: Session,
    verb: str,
    deployment: Deployment,
    facts: Facts,
    *,
    before: Json | None = None,
    after: Json | None = None,
    attempt: Attempt | None = None,
    reason: str | None = None,
    status: str | None = None,
) -> None:
    """Put `deployer.deployment.<verb>` into the outbox. The deployment carries its new revision already."""
    data = DeploymentChanged(
        resource_type="deployment",
        resource_id=str(deployment.id),
        resource_name=title(deployment)[:512],
        before=before,
        after=after,
        reason=reason,
        deployment_id=deployment.id,
        version_id=deployment.version_id,
        project_id=deployment.project_id,
        node_id=deployment.node_id,
        prefix=deployment.prefix,
        status=status or deployment.status,
        revision=deployment.revision,
        attempt=attempt.number if attempt else None,
        attempt_outcome=attempt.outcome if attempt else None,
    )
    put_event(
        session,
        "deployer",
        Envelope(
            type=f"deployer.deployment.{verb}.v1",
            source="deployer",
            subject=str(deployment.id),
            data=data,
            **facts,
        ),
    )


def facts_of(who: Principal) -> Facts:
    """Who did it: somebody who asked over HTTP."""
    return who.envelope_facts()


def facts_of_cause(cause: Envelope | None, deployment: Deployment, attempt: Attempt | None = None) -> Facts:
    """Who did it: a report or an event, or (without one) the deployer's own clock. It belongs to what started the attempt."""
    started = attempt.options.get("correlation") if attempt else None
    return {
        "team": deployment.team_id,
        "actor": cause.actor if cause else "system:deployer",
        "actorname": cause.actorname if cause else "Fairlead",
        "correlation": started or (cause.correlation if cause else None),
        "causation": str(cause.id) if cause else None,
    }
