"""What the audit service hears: every event of the services, and the signed reports of agents."""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any
from uuid import UUID

import structlog
from nacl.signing import VerifyKey
from sqlalchemy.exc import DBAPIError

from kernel import clock, signing, telemetry
from kernel.contracts import agent, envelope, identity
from kernel.contracts import catalog as _catalog  # noqa: F401 - registers the catalog's messages
from kernel.contracts.deployer import NodeEnrolled
from kernel.contracts.envelope import Envelope
from kernel.contracts.recorded import Recorded
from kernel.db import Database
from kernel.errors import FairleadError, FieldError, Forbidden, Invalid, Unavailable
from kernel.messaging import topology
from kernel.messaging.consumer import Delivery, Received
from services.audit import store, usecases
from services.audit.domain import NO_TEAM, Fact

log = structlog.get_logger(__name__)

# An event whose type is newer than this program is recorded all the same, read as what every event says alike.
_ANY_EVENT = f"{identity.NAMES[0]}.v1"
_COMMON = ("resource_type", "resource_id", "resource_name", "outcome", "before", "after", "reason")
_MOST_NODES = 10_000


def read_event(delivery: Delivery) -> Envelope:
    """The envelope of an event, of a known type or not. Raises Invalid, or Forbidden when it tells of another sender."""
    document = envelope.peek(delivery.body)
    try:
        read = envelope.from_document(document)
    except envelope.UnknownType:
        known = envelope.from_document({**document, "type": _ANY_EVENT})
        read = Envelope(**{**vars(known), "type": str(document["type"])})
    sender, dot, _ = delivery.exchange.partition(".")
    # The broker lets a sender write to its own exchange only; a body that tells of another is a lie.
    if dot and not read.type.startswith(f"{sender}."):
        raise Forbidden(f"{sender} may not tell of {read.type}.", code="sender-wrong")
    return read


class ReportReader:
    """Reads agents' reports: the broker says which node sent it, the signature says that it was the node itself."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self._keys: dict[UUID, tuple[float, list[tuple[UUID, VerifyKey]]]] = {}

    def __call__(self, delivery: Delivery) -> Envelope:
        """The envelope, its team from our own books. Raises Forbidden, Invalid, or Unavailable for a node not known yet."""
        node_id = topology.node_of_user(delivery.user_id)
        if node_id is None:
            raise Forbidden("The report does not come from an agent's broker user.", code="sender-unknown")
        if delivery.exchange not in ("", topology.reports_exchange(node_id)):
            raise Forbidden("The report came through another node's exchange.", code="sender-wrong")
        team_id = self._verify(node_id, delivery.body)
        read = envelope.decode(delivery.body)
        if read.node != node_id or not read.type.startswith("agent."):
            raise Forbidden("The report names another node or sender.", code="sender-wrong")
        return Envelope(**{**vars(read), "team": team_id})

    def _verify(self, node_id: UUID, body: bytes) -> UUID:
        found_at, keys = self._keys.get(node_id, (float("-inf"), []))
        for team_id, key in keys:
            if _is_signed(key, body):
                return team_id
        if clock.monotonic() - found_at < 1.0:
            raise _unsigned(keys)
        keys = self._find_keys(node_id)
        for team_id, key in keys:
            if _is_signed(key, body):
                return team_id
        raise _unsigned(keys)

    def _find_keys(self, node_id: UUID) -> list[tuple[UUID, VerifyKey]]:
        with self._db.system() as session:
            keys = [(team_id, signing.verify_key(text)) for team_id, text in store.find_node_keys(session, node_id)]
        if len(self._keys) >= _MOST_NODES:
            self._keys.clear()
        self._keys[node_id] = (clock.monotonic(), keys)
        return keys


def _is_signed(key: VerifyKey, body: bytes) -> bool:
    try:
        signing.verify_body(key, body)
    except Forbidden as error:
        if error.code == "signature-missing":
            raise
        return False
    return True


def _unsigned(keys: Sequence[object]) -> FairleadError:
    if not keys:
        return Unavailable("The node's enrolment has not arrived here yet.", code="node-unknown")
    return Forbidden("The signature fits none of the node's keys.", code="signature-wrong")


def fact_of_event(received: Received) -> Fact:
    """What an event says, for the log. Raises Invalid."""
    told = received.envelope
    raw = _clean(json.loads(received.delivery.body).get("data") or {})
    said = told.data
    if not isinstance(said, Recorded):
        raise Invalid([FieldError("data", "does not say what was done to what")], code="message-invalid", detail="not a recorded event")
    return Fact(
        **_from_envelope(told),
        resource_type=said.resource_type,
        resource_id=_text(said.resource_id),
        resource_name=_text(said.resource_name),
        outcome=said.outcome,
        before=raw.get("before"),
        after=raw.get("after"),
        reason=_text(said.reason) if said.reason is not None else None,
        data={name: value for name, value in raw.items() if name not in _COMMON},
    )


def fact_of_report(received: Received) -> Fact | None:
    """What a report says, for the log; None for a pulse."""
    told = received.envelope
    if told.name in agent.PULSES:  # acknowledged without an entry
        return None
    raw = _clean(json.loads(received.delivery.body).get("data") or {})
    report = told.data
    common = _from_envelope(told) | {"data": raw}
    if isinstance(report, agent.DeploymentProgressed | agent.DeploymentFinished):
        finished = isinstance(report, agent.DeploymentFinished)
        reason = _text(f"{report.code or ''} {report.detail or ''}".strip()) if isinstance(report, agent.DeploymentFinished) else ""
        return Fact(
            **common,
            resource_type="deployment",
            resource_id=str(report.deployment_id),
            resource_name=_text(report.prefix),
            after={"outcome": raw.get("outcome")} if finished else None,
            reason=reason or None,
        )
    if isinstance(report, agent.PlaceRemoved):
        return Fact(
            **common,
            resource_type="place",
            resource_id=_text(f"{told.node}/{report.prefix}"),
            resource_name=_text(report.prefix),
            after={"outcome": report.outcome},
            reason=_text(f"{report.code or ''} {report.detail or ''}".strip()) or None,
        )
    if isinstance(report, agent.CommandRefused):
        return Fact(
            **common,
            resource_type="command",
            resource_id=_text(report.command_id),
            resource_name=_text(report.command_type),
            outcome="refused",
            reason=_text(f"{report.code}: {report.detail}"),
        )
    return Fact(**common, resource_type="node", resource_id=str(told.node))


def _from_envelope(told: Envelope) -> dict[str, Any]:  # Any: fields of Fact
    kind, _, identity_ = told.actor.partition(":")
    is_agent = told.type.startswith("agent.")
    return {
        "id": told.id,
        "team_id": told.team or NO_TEAM,
        "at": told.time,
        "action": _text(told.name),
        # An agent speaks for its node, whatever it says of itself.
        "actor_kind": "node" if is_agent else _text(kind),
        "actor_id": str(told.node) if is_agent else _text(identity_),
        "actor_name": _text(told.actorname) if told.actorname is not None else None,
        "address": _text(told.address) if told.address is not None else None,
        "correlation": _text(told.correlation) if told.correlation is not None else None,
        "source": _text(told.source),
    }


def _text(text: str) -> str:
    """Text that a database and UTF-8 can hold: without NUL, without half characters, without what looks like a token."""
    whole = text.replace("\0", "\N{REPLACEMENT CHARACTER}").encode("utf-8", "replace").decode()
    return str(telemetry.redact(whole))


def _clean(value: Any, key: str = "") -> Any:  # Any: JSON
    """JSON that can be kept for good: secrets hidden, text and numbers that cannot be stored replaced. Raises RecursionError."""
    if isinstance(value, dict):
        return {_text(str(name)): _clean(inner, str(name)) for name, inner in value.items()}
    if isinstance(value, list):
        return [_clean(inner) for inner in value]
    if isinstance(value, str):
        return telemetry.redact(_text(value), key)
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value


def keys_of(received: Received) -> list[usecases.NodeKey]:
    """The key that an enrolment tells of."""
    told, said = received.envelope, received.envelope.data
    if not isinstance(said, NodeEnrolled) or told.team is None:
        return []
    if len(base64.b64decode(said.verify_key)) != 32:
        raise Invalid([FieldError("data.verify_key", "is not 32 bytes")], code="message-invalid", detail="not a key")
    return [(said.node_id, told.team, said.verify_key)]


class Recorder:
    """Records a batch in one transaction. One that cannot be recorded fails alone."""

    def __init__(self, db: Database, to_fact: Callable[[Received], Fact | None]) -> None:
        self._db = db
        self._to_fact = to_fact

    def __call__(self, batch: Sequence[Received]) -> Mapping[int, Exception]:
        """The errors by index. Raises Unavailable when the database is away."""
        errors: dict[int, Exception] = {}
        facts: dict[int, tuple[Fact, list[usecases.NodeKey]]] = {}
        for index, received in enumerate(batch):
            try:
                fact = self._to_fact(received)
                if fact is not None:
                    facts[index] = (fact, keys_of(received))
            except (FairleadError, ValueError, TypeError, LookupError, RecursionError) as error:
                errors[index] = error
        return errors | self._record(facts)

    def _record(self, facts: dict[int, tuple[Fact, list[usecases.NodeKey]]]) -> dict[int, Exception]:
        if not facts:
            return {}
        try:
            usecases.record(self._db, [fact for fact, _ in facts.values()], [key for _, keys in facts.values() for key in keys])
        except (DBAPIError, ValueError, RecursionError) as error:
            if len(facts) == 1:
                return dict.fromkeys(facts, error)
            log.warning("batch could not be recorded, going one by one", error=repr(error)[:300])
        else:
            return {}
        return {number: error for index, one in facts.items() for number, error in self._record({index: one}).items()}
