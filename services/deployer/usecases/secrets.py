"""Secrets of a deployment: sealed to its node as they arrive, and never seen again."""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy.orm import Session

from kernel import clock, signing
from kernel.contracts.envelope import Envelope
from kernel.contracts.recorded import Recorded
from kernel.contracts.spec import canonical
from kernel.db import Database
from kernel.errors import Conflict, FieldError, Invalid, NotFound
from kernel.outbox import put_event
from kernel.principal import Principal
from services.deployer.domain.merge import merge
from services.deployer.domain.states import Status, VersionType
from services.deployer.models import Deployment, Node, Secret
from services.deployer.store.deployments import delete_secrets, find_deployment, instances_of, secrets_of
from services.deployer.store.places import node_of
from services.deployer.usecases.announce import facts_of, title
from services.deployer.usecases.catalog import Catalog, Pin, PinRequest
from services.deployer.usecases.prepare import pin_request

Check = Callable[[object], None]  # compares If-Match with the present revision

SEAL_OVERHEAD_BYTES = 48
MOST_SECRETS = 512


@dataclass(frozen=True, kw_only=True)
class NewSecret:
    """A value in plain, or sealed by the client already: exactly one of the two."""

    value: str | None = None
    sealed: str | None = None

    def __repr__(self) -> str:
        return "NewSecret(…)"


@dataclass(frozen=True, kw_only=True)
class SecretView:
    """A secret's name, whether it is set and usable on the present node, and which instances ask for it."""

    name: str
    is_set: bool
    usable: bool
    required: bool
    instances: tuple[str, ...] = ()
    set_at: datetime | None = None
    set_by: str | None = None


@dataclass(frozen=True)
class SecretsView:
    """All secrets, and the node's public key to seal others to."""

    items: tuple[SecretView, ...]
    seal_key: str | None
    node_id: UUID
    team_id: UUID
    # Another one whenever a secret was set or taken away, or the node has another key.
    revision: str


def read_secrets(db: Database, catalog: Catalog, who: Principal, deployment_id: UUID) -> SecretsView:
    """What is asked for by the images and what is set; never a value."""
    with db.team(who.team) as session:
        deployment = find_deployment(session, deployment_id)
        node = node_of(session, deployment.node_id)
        wanted = pin_request(session, deployment, node) if node.seal_key else None
    pin = _pin(catalog, who, wanted) if wanted else None
    with db.team(who.team) as session:
        return _view(session, find_deployment(session, deployment_id), node, pin)


def set_secrets(
    db: Database, catalog: Catalog, who: Principal, deployment_id: UUID, secrets: Mapping[str, NewSecret | None], check: Check
) -> SecretsView:
    """Set the named ones (None takes one away), the others stay.

    Raises Conflict for a node without keys, Invalid, PreconditionFailed.
    """
    with db.team(who.team) as session:
        # Node, then deployment, as everybody locks them.
        node = node_of(session, find_deployment(session, deployment_id).node_id, share=True)
        deployment = find_deployment(session, deployment_id, lock=True)
        check(_revision(secrets_of(session, deployment.id), node))
        if deployment.node_id != node.id:
            raise Conflict("deployment-changed", "The deployment was moved to another node at this moment. Set its secrets again.")
        if node.seal_key is None:
            raise Conflict("node-not-enrolled", f"The node {node.name} has no key yet. Enrol it, then set secrets.")
        rows = _sealed(who, deployment, node, node.seal_key, secrets)
        delete_secrets(session, deployment.id, list(secrets))
        session.add_all(rows)
        if deployment.version_type == VersionType.INCREMENTAL and deployment.status == Status.FAILED:
            # What was changed is no rollback any more: the next start resolves everything anew.
            deployment.successful_attempt_id = None
        session.flush()
        if len(secrets_of(session, deployment.id)) > MOST_SECRETS:
            raise Conflict("too-many-secrets", f"A deployment may have {MOST_SECRETS} secrets. Take away those that are not used.")
        _announce(session, who, deployment, secrets)
    return read_secrets(db, catalog, who, deployment_id)


def _pin(catalog: Catalog, who: Principal, wanted: PinRequest) -> Pin | None:
    try:
        return catalog.pin(who, wanted, hold=False)
    except NotFound:
        return None


def _sealed(who: Principal, deployment: Deployment, node: Node, seal_key: str, secrets: Mapping[str, NewSecret | None]) -> list[Secret]:
    key = signing.seal_key(seal_key)
    at = clock.now()
    rows, wrong = [], []
    for name, new in secrets.items():
        if new is None:
            continue
        if (new.value is None) == (new.sealed is None):
            wrong.append(FieldError(name, "needs exactly one of value and sealed"))
            continue
        if new.sealed is not None and not _is_box(new.sealed):
            wrong.append(FieldError(f"{name}.sealed", "is not a sealed box in base64"))
            continue
        sealed = new.sealed or signing.seal(key, team=str(who.team), node=str(node.id), name=name, value=new.value or "")
        rows.append(
            Secret(deployment_id=deployment.id, name=name, team_id=who.team, sealed=sealed, seal_key=seal_key, set_at=at, set_by=who.actor)
        )
    if wrong:
        raise Invalid(wrong)
    return rows


def _is_box(text: str) -> bool:
    try:
        return len(base64.b64decode(text, validate=True)) > SEAL_OVERHEAD_BYTES
    except (binascii.Error, ValueError):
        return False


def _announce(session: Session, who: Principal, deployment: Deployment, secrets: Mapping[str, NewSecret | None]) -> None:
    """Names only: values and boxes stay out of every event."""
    after = {
        "set": sorted(name for name, new in secrets.items() if new is not None),
        "removed": sorted(name for name, new in secrets.items() if new is None),
    }
    data = Recorded(resource_type="deployment", resource_id=str(deployment.id), resource_name=title(deployment)[:512], after=after)
    put_event(
        session,
        "deployer",
        Envelope(type="deployer.secrets.set.v1", source="deployer", subject=str(deployment.id), data=data, **facts_of(who)),
    )


def _view(session: Session, deployment: Deployment, node: Node, pin: Pin | None) -> SecretsView:
    stored = {one.name: one for one in secrets_of(session, deployment.id)}
    asked = _asked_for(session, deployment, pin)
    items = [
        SecretView(
            name=name,
            is_set=name in stored,
            usable=name in stored and stored[name].seal_key == node.seal_key,
            required=any(required for _, required in asked.get(name, ())),
            instances=tuple(image for image, _ in asked.get(name, ())),
            set_at=stored[name].set_at if name in stored else None,
            set_by=stored[name].set_by if name in stored else None,
        )
        for name in sorted(stored.keys() | asked.keys())
    ]
    return SecretsView(tuple(items), node.seal_key, node.id, deployment.team_id, _revision(list(stored.values()), node))


def _revision(stored: Sequence[Secret], node: Node) -> str:
    """A digest of what is set. No box is like another, so a value that is set anew is another revision."""
    state = [[one.name, one.sealed] for one in sorted(stored, key=lambda one: one.name)]
    return hashlib.sha256(canonical([node.seal_key, state])).hexdigest()[:32]


def _asked_for(session: Session, deployment: Deployment, pin: Pin | None) -> dict[str, list[tuple[str, bool]]]:
    """Secret name -> (image name, is it required), from the effective configurations."""
    asked: dict[str, list[tuple[str, bool]]] = {}
    configs = {one.image_id: one.config for one in instances_of(session, [deployment.id])[deployment.id]}
    for image in pin.images if pin else ():
        merged = merge(image.config, [one.config for one in pin.bundles] if pin else (), deployment.config, configs.get(image.image_id))
        for name, said in merged.get("secrets", {}).items():
            asked.setdefault(name, []).append((image.name, bool(said.get("required", True))))
    return asked
