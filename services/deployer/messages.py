"""What the deployer handles: agents' reports (verified here, in batches) and other services' events."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID

from nacl.signing import SigningKey, VerifyKey
from sqlalchemy.orm import Session

import kernel.contracts.agent
import kernel.contracts.catalog
import kernel.contracts.deployer
import kernel.contracts.identity
from kernel import clock, signing
from kernel.contracts import envelope
from kernel.contracts.envelope import Envelope
from kernel.db import Database
from kernel.errors import FairleadError, Forbidden, Unavailable
from kernel.inbox import InboxHandler, one_by_one
from kernel.messaging import topology
from kernel.messaging.consumer import Delivery, Received
from services.deployer.provisioning import Provisioner
from services.deployer.store import nodes as store
from services.deployer.usecases.copy_on_increase import copy_on_increase
from services.deployer.usecases.nodes import revoke_nodes_of_team
from services.deployer.usecases.reports import apply_reports

REPORTS = "deployer.reports"
EVENTS = "deployer.inbox"

HANDLED = (
    "agent.hello.v1",
    "agent.heartbeat.v1",
    "agent.containers.observed.v1",
    "agent.deployment.progressed.v1",
    "agent.deployment.finished.v1",
    "agent.place.removed.v1",
    "agent.command.refused.v1",
    "catalog.version.increased.v1",
    "identity.team.deleted.v1",
)
_CONTRACTS = (kernel.contracts.agent, kernel.contracts.catalog, kernel.contracts.deployer, kernel.contracts.identity)

_KEYS_FRESH_SECONDS = 30.0
_KEYS_SUSPECT_SECONDS = 1.0


def read_report(delivery: Delivery) -> Envelope:
    """The report in a delivery, not verified yet. Raises Forbidden when the broker knows another sender than the report names."""
    node_id = topology.node_of_user(delivery.user_id)
    if node_id is None:
        raise Forbidden("The report carries no agent's user, as the broker checks it.", code="sender-unknown")
    if delivery.exchange not in ("", topology.reports_exchange(node_id)):
        raise Forbidden("The report came through another node's exchange.", code="sender-wrong")
    # PostgreSQL holds no NUL, and a container's last words may have one; the signature is checked over the bytes as they came.
    report = envelope.decode(delivery.body.replace(rb"\u0000", rb"\ufffd"))
    if report.node != node_id:
        raise Forbidden("The report names another node than the one that sent it.", code="sender-wrong")
    if not report.type.startswith("agent."):
        raise Forbidden(f"An agent may not send {report.type}.", code="type-not-allowed")
    return report


@dataclass(frozen=True)
class _Known:
    key: VerifyKey
    read_at: float


class KeyCache:
    """The keys of nodes, from the database: read again when missing, old, or when a signature does not fit."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self._known: dict[UUID, _Known] = {}

    def load(self, ids: Collection[UUID], *, no_older_than: float = _KEYS_FRESH_SECONDS) -> None:
        """Have fresh keys of `ids`, by one query for those that are not. Raises Unavailable when the database is away."""
        now = clock.monotonic()
        wanted = [one for one in ids if one not in self._known or now - self._known[one].read_at > no_older_than]
        if not wanted:
            return
        with self._db.system() as session:
            found = store.verify_keys(session, wanted)
        for one in wanted:
            self._known.pop(one, None)
            if one in found:
                self._known[one] = _Known(signing.verify_key(found[one]), now)

    def key_of(self, node_id: UUID) -> VerifyKey:
        """Raises Unavailable for a node that is not known (yet)."""
        known = self._known.get(node_id)
        if known is None:
            raise Unavailable(f"The node {node_id} is not known here.", code="node-unknown")
        return known.key


class ReportsHandler:
    """Verifies each report of a batch with its node's key, and applies those that are true in one transaction."""

    def __init__(self, db: Database, signing_key: SigningKey) -> None:
        self._keys = KeyCache(db)
        pulses = kernel.contracts.agent.PULSES
        self._inbox = InboxHandler(db, REPORTS, lambda session, batch: self._apply(session, batch, signing_key), pulses=pulses)

    def __call__(self, batch: Sequence[Received]) -> Mapping[int, Exception]:
        self._keys.load({received.envelope.node for received in batch if received.envelope.node is not None})
        errors: dict[int, Exception] = {}
        verified: list[int] = []
        for index, received in enumerate(batch):
            try:
                self._verify(received)
                verified.append(index)
            except FairleadError as error:
                errors[index] = error
        if verified:
            failed = self._inbox([batch[index] for index in verified])
            errors |= {verified[place]: error for place, error in failed.items()}
        return errors

    def _verify(self, received: Received) -> None:
        node_id = received.envelope.node
        assert node_id is not None
        try:
            signing.verify_body(self._keys.key_of(node_id), received.delivery.body)
        except Forbidden:
            # The node may have enrolled anew, with another key.
            self._keys.load([node_id], no_older_than=_KEYS_SUSPECT_SECONDS)
            signing.verify_body(self._keys.key_of(node_id), received.delivery.body)

    @staticmethod
    def _apply(session: Session, batch: Sequence[Received], signing_key: SigningKey) -> None:
        apply_reports(session, [received.envelope for received in batch], signing_key)


def events_handler(db: Database, provisioner: Provisioner) -> InboxHandler:
    """What other services' events bring about here."""

    def on_version_increased(session: Session, received: Received) -> None:
        copy_on_increase(session, received.envelope)

    def on_team_deleted(session: Session, received: Received) -> None:
        event = received.envelope
        if event.team is not None:
            facts = {"team": event.team, "actor": event.actor, "actorname": event.actorname, "causation": str(event.id)}
            revoke_nodes_of_team(session, provisioner, event.team, facts)

    handlers: Mapping[str, Callable[[Session, Received], None]] = {
        "catalog.version.increased.v1": on_version_increased,
        "identity.team.deleted.v1": on_team_deleted,
    }
    return InboxHandler(db, EVENTS, one_by_one(handlers))
