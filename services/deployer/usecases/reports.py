"""What a batch of agents' reports changes, in one transaction: each node, place and attempt is read and written once."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any
from uuid import UUID

import structlog
from nacl.signing import SigningKey
from sqlalchemy.orm import Session

from kernel import clock
from kernel.contracts.agent import (
    CommandRefused,
    ContainersObserved,
    DeploymentFinished,
    DeploymentProgressed,
    Heartbeat,
    Hello,
    PlaceRemoved,
)
from kernel.contracts.envelope import Envelope, Message
from kernel.outbox import put_event
from services.deployer.domain import nodes as node_rules
from services.deployer.domain import reports as rules
from services.deployer.domain.removals import REMOVE
from services.deployer.domain.reports import Freshness, Reaction
from services.deployer.domain.states import EventKind
from services.deployer.models import Attempt, Node
from services.deployer.store import nodes as node_store
from services.deployer.store import places
from services.deployer.store import reports as store
from services.deployer.store.attempts import attempt_of
from services.deployer.store.events import NewEvent
from services.deployer.store.reports import AttemptMark, NodeMark
from services.deployer.usecases import removals
from services.deployer.usecases.duplicates import note_foreign_heartbeat
from services.deployer.usecases.hello import answer_hello, ask_for_hello, cause_of, facts_of_node, send_welcome
from services.deployer.usecases.nodes import node_event
from services.deployer.usecases.observe import observe
from services.deployer.usecases.send import send_apply, send_cancel, send_waiting
from services.deployer.usecases.settle import settle

log = structlog.get_logger(__name__)

_LONGEST_LOG_LINE = 4000
# A live attempt is refused so by a node that has obeyed generations that we do not know: its hello tells them.
_BEHIND = frozenset({"superseded", "generation-conflict"})


def apply_reports(session: Session, reports: Sequence[Envelope], signing_key: SigningKey) -> None:
    """Apply verified reports in their order. Raises Forbidden `node-revoked` when one is of a node that may not speak."""
    marks = store.lock_marks(session, {report.node for report in reports if report.node is not None})
    for mark in marks.values():
        node_rules.refuse_revoked(is_revoked=mark.is_revoked)
    attempts = store.attempt_marks(session, {found for report in reports if (found := _attempt_id(report.data)) is not None})
    # Everybody locks nodes, then places, then deployments: so nobody ever waits for somebody who waits for him.
    ended = {known.id for report in reports if (known := attempts.get(_ended(report.data))) is not None}
    greeting = {report.node for report in reports if report.node is not None and isinstance(report.data, Hello)}
    told_anew = {mark.id for mark in marks.values() if mark.id in greeting or _was_away(mark)}
    cleared_at = told_anew | {report.node for report in reports if report.node is not None and _is_about_removal(report.data)}
    store.lock_places_of(session, ended | store.live_ids(session, told_anew), cleared_at=cleared_at)
    batch = _Batch(session, marks, attempts, signing_key)
    for report in reports:
        batch.take(report)
    batch.finish()


def _attempt_id(data: Message) -> UUID | None:
    if isinstance(data, DeploymentProgressed | DeploymentFinished | CommandRefused):
        return data.attempt_id
    return None


def _ended(data: Message) -> UUID:
    """The attempt that a report may end; the nil id, which nothing has, for all others."""
    return (_attempt_id(data) if isinstance(data, DeploymentFinished | CommandRefused) else None) or UUID(int=0)


def _is_about_removal(data: Message) -> bool:
    return isinstance(data, PlaceRemoved) or (isinstance(data, CommandRefused) and data.command_type == REMOVE)


def _was_away(mark: NodeMark) -> bool:
    return mark.silent_seconds is None or mark.silent_seconds > node_rules.SILENT_AFTER_SECONDS


class _Batch:
    """Gathers what can be written together, and writes it before anything that must come after it."""

    def __init__(
        self, session: Session, marks: Mapping[UUID, NodeMark], attempts: Mapping[UUID, AttemptMark], signing_key: SigningKey
    ) -> None:
        self._session = session
        self._marks = marks
        self._attempts = attempts
        self._key = signing_key
        self._at = clock.now()
        self._history: dict[UUID, list[NewEvent]] = {}
        self._observed: dict[UUID, Envelope] = {}
        self._takers: dict[type[Message], Callable[[NodeMark, Envelope, Any], None]] = {  # Any: the data that fits the type
            Heartbeat: self._heartbeat,
            ContainersObserved: self._containers,
            DeploymentProgressed: self._progressed,
            DeploymentFinished: self._finished,
            PlaceRemoved: self._removed,
            CommandRefused: self._refused,
        }

    def take(self, report: Envelope) -> None:
        mark = self._marks.get(report.node) if report.node is not None else None
        if mark is None:
            return  # the node was deleted after the signature was checked
        if isinstance(report.data, Hello):
            answer_hello(self._session, mark, report, self._key, at=self._at)
            self._hear(mark, report)
            return
        freshness = rules.weigh(mark.epoch, report.epoch)
        if freshness is Freshness.AHEAD:
            mark.epoch = report.epoch or 0  # our database is an older copy: the agent knows better
            ask_for_hello(self._session, mark, report, self._key)
        if freshness is Freshness.STALE:
            self._stale(mark, report)
            return
        self._hear(mark, report)
        taker = self._takers.get(type(report.data))
        if taker is not None:
            taker(mark, report, report.data)

    def finish(self) -> None:
        """Write what was gathered."""
        self._write_history()
        heard = [mark for mark in self._marks.values() if mark.is_heard]
        store.save_heard(self._session, heard)
        observe(self._session, [(self._marks[node_id], self._observed[node_id]) for node_id in sorted(self._observed)], at=self._at)
        back = {mark.id for mark in heard if _was_away(mark)}
        for node_id in sorted(node_store.not_connected(self._session, back)):
            self._welcome_back(self._marks[node_id])

    @staticmethod
    def _hear(mark: NodeMark, report: Envelope) -> None:
        mark.is_heard = True
        mark.last_sequence = max(mark.last_sequence, report.sequence or 0)

    def _stale(self, mark: NodeMark, report: Envelope) -> None:
        """Another process, or one that has not heard its welcome yet: nothing that it says changes a state."""
        data = report.data
        if isinstance(data, Heartbeat) and data.boot_id == mark.boot_id:
            send_welcome(self._session, mark, report, self._key)
        elif isinstance(data, Heartbeat):
            note_foreign_heartbeat(self._session, mark, report, data, at=self._at)
        elif isinstance(data, PlaceRemoved):
            self._removed_of_older(mark, report, data)
        elif isinstance(data, DeploymentProgressed):
            self._progressed(mark, report, data)  # a line in the history is no state
        elif isinstance(data, DeploymentFinished) and (known := self._of_node(mark, data.attempt_id)) is not None and known.is_live:
            # Welcomed and asked again, the node's true process answers with the outcome that it has kept, in the present epoch;
            # without the welcome it might answer in the old one for ever.
            if mark.boot_id is not None:
                send_welcome(self._session, mark, report, self._key)
            self._send_again(mark, data.attempt_id)
        else:
            log.info("report of an older epoch", node=str(mark.id), type=report.type, epoch=report.epoch)

    def _heartbeat(self, mark: NodeMark, _report: Envelope, data: Heartbeat) -> None:
        mark.engine = data.engine

    def _containers(self, mark: NodeMark, report: Envelope, data: ContainersObserved) -> None:
        if (report.sequence or 0) > mark.observed_sequence:
            mark.observed_sequence = report.sequence or 0
            mark.engine = data.engine
            self._observed[mark.id] = report

    def _progressed(self, mark: NodeMark, report: Envelope, data: DeploymentProgressed) -> None:
        known = self._of_node(mark, data.attempt_id)
        if known is None:
            return
        kind = EventKind.LOG if data.step == "log" else EventKind.STEP
        facts: dict[str, Any] = {"step": data.step, "told_at": clock.rfc3339(report.time)}
        if data.progress is not None:
            facts["progress"] = data.progress
        message = data.message[:_LONGEST_LOG_LINE]
        event = NewEvent(kind=kind, at=self._at, message=message, attempt=known.number, container=data.container, data=facts)
        self._history.setdefault(known.deployment_id, []).append(event)

    def _finished(self, mark: NodeMark, report: Envelope, data: DeploymentFinished) -> None:
        if self._of_node(mark, data.attempt_id) is None:
            return
        self._write_history()
        settle(
            self._session,
            data.attempt_id,
            outcome=data.outcome,
            code=data.code,
            detail=data.detail,
            restored=data.restored,
            containers=data.containers,
            seconds=data.seconds,
            at=self._at,
            cause=cause_of(mark, report),
        )

    def _removed(self, mark: NodeMark, report: Envelope, data: PlaceRemoved) -> None:
        removals.take_answer(self._session, places.node_of(self._session, mark.id), data, cause=cause_of(mark, report))

    def _removed_of_older(self, mark: NodeMark, report: Envelope, data: PlaceRemoved) -> None:
        """As with the end of an attempt: welcomed and asked again, the node's true process answers in the present epoch."""
        if mark.boot_id is not None and removals.is_wanted(self._session, mark.id, data):
            send_welcome(self._session, mark, report, self._key)
            removals.send_wanted(self._session, self._node_now(mark), self._key, cause=cause_of(mark, report), prefix=data.prefix)

    def _removal_refused(self, mark: NodeMark, report: Envelope, data: CommandRefused) -> None:
        node, cause = self._node_now(mark), cause_of(mark, report)
        if removals.take_refusal(self._session, node, data.prefix or "", data.code, data.detail, self._key, cause=cause):
            ask_for_hello(self._session, mark, report, self._key)

    def _node_now(self, mark: NodeMark) -> Node:
        """The node's row with what this batch knows of it: commands carry its present epoch."""
        if mark.is_heard:
            store.save_heard(self._session, [mark])
        return places.node_of(self._session, mark.id)

    def _refused(self, mark: NodeMark, report: Envelope, data: CommandRefused) -> None:
        if data.command_type == REMOVE:
            self._removal_refused(mark, report, data)
            return
        known = self._of_node(mark, data.attempt_id)
        if known is None:
            log.warning("command refused", node=str(mark.id), command=data.command_type, code=data.code, detail=data.detail)
            return
        facts = {"step": "refused", "command": data.command_type, "code": data.code}
        event = NewEvent(kind=EventKind.STEP, at=self._at, message=data.detail, attempt=known.number, data=facts)
        self._history.setdefault(known.deployment_id, []).append(event)
        reaction = rules.react_to_refusal(data.command_type, data.code, is_live=known.is_live)
        if reaction is Reaction.SEND_AGAIN:
            self._send_again(mark, known.id, cancel=data.command_type == rules.CANCEL)
        elif reaction is Reaction.SETTLE:
            self._write_history()
            if data.code in _BEHIND:
                ask_for_hello(self._session, mark, report, self._key)
            cause = cause_of(mark, report)
            settle(self._session, known.id, outcome="refused", code=data.code, detail=data.detail, at=self._at, cause=cause)

    def _of_node(self, mark: NodeMark, attempt_id: UUID | None) -> AttemptMark | None:
        """The attempt, if it is this node's: no node may speak of another's."""
        known = self._attempts.get(attempt_id) if attempt_id is not None else None
        return known if known is not None and known.node_id == mark.id else None

    def _send_again(self, mark: NodeMark, attempt_id: UUID, *, cancel: bool = False) -> None:
        attempt: Attempt | None = attempt_of(self._session, attempt_id)
        if attempt is None or attempt.outcome is not None:
            return
        store.save_heard(self._session, [mark])  # the command carries the node's present epoch
        node: Node = places.node_of(self._session, mark.id)
        if cancel:
            send_cancel(self._session, attempt, node, self._key)
        else:
            send_apply(self._session, attempt, node, self._key, at=self._at)

    def _write_history(self) -> None:
        store.append_histories(self._session, self._history)
        self._history.clear()

    def _welcome_back(self, mark: NodeMark) -> None:
        node = places.node_of(self._session, mark.id)
        node_store.append_event(self._session, node, "connected", self._at, {"epoch": node.epoch})
        connected = node_event("connected", node, facts_of_node(mark), after={"epoch": node.epoch})
        put_event(self._session, "deployer", connected)
        send_waiting(self._session, node, self._key, at=self._at)
        removals.send_wanted(self._session, node, self._key, cause=connected)
