"""What the catalog listens to: teams that come and go, deployments that change."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any
from uuid import UUID

from sqlalchemy.orm import Session

import kernel.contracts.identity
from kernel.contracts.deployer import DEPLOYMENT_EVENTS, DeploymentChanged
from kernel.contracts.envelope import Envelope
from kernel.contracts.recorded import Recorded
from kernel.errors import FieldError, Invalid
from kernel.messaging.consumer import Received
from services.catalog.store.deployments import KnownDeployment
from services.catalog.usecases import teams

QUEUE = "catalog.inbox"


def on_team_created(session: Session, received: Received) -> None:
    teams.welcome_team(session, _facts(received.envelope), _team(received.envelope))


def on_team_deleted(session: Session, received: Received) -> None:
    teams.forget_team(session, _team(received.envelope))


def on_deployment(session: Session, received: Received) -> None:
    envelope = received.envelope
    data = envelope.data
    if not isinstance(data, DeploymentChanged) or envelope.team is None:
        raise Invalid([FieldError("team", "is missing")], code="message-invalid")
    known = KnownDeployment(
        deployment_id=data.deployment_id,
        team_id=envelope.team,
        version_id=data.version_id,
        project_id=data.project_id,
        status=data.status,
        revision=data.revision,
        config_bundle_ids=_bundle_ids(data.after),
    )
    teams.record_deployment(session, known)
    if envelope.name == "deployer.deployment.started":
        teams.firm_pin(session, known, envelope.time)


# What is read must be known: importing a sender's contracts registers its messages.
_CONTRACTS = (kernel.contracts.identity,)

HANDLERS: Mapping[str, Callable[[Session, Received], None]] = {
    "identity.team.created.v1": on_team_created,
    "identity.team.deleted.v1": on_team_deleted,
    **{f"{name}.v1": on_deployment for name in DEPLOYMENT_EVENTS},
}


def _team(envelope: Envelope) -> UUID:
    """The team that a team's event is about: its subject, whether or not the envelope names it as well."""
    if isinstance(envelope.data, Recorded):
        try:
            return UUID(envelope.data.resource_id)
        except ValueError as error:
            raise Invalid([FieldError("data.resource_id", "is not a team's id")], code="message-invalid") from error
    raise Invalid([FieldError("data", "is not a team's event")], code="message-invalid")


def _facts(envelope: Envelope) -> dict[str, Any]:
    """Who it was done for. Any: spread into Envelope(**…)."""
    return {
        "team": _team(envelope),
        "actor": envelope.actor,
        "actorname": envelope.actorname,
        "correlation": envelope.correlation,
        "causation": str(envelope.id),
    }


def _bundle_ids(after: Mapping[str, Any] | None) -> list[UUID] | None:
    """The bundles that a deployment uses, where the event says so."""
    listed = (after or {}).get("config_bundle_ids")
    if not isinstance(listed, list):
        return None
    try:
        return [UUID(str(one)) for one in listed]
    except ValueError:
        return None
