"""Commands: only what the deployer signed, for this node, in this epoch, and nothing older than what is known."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from uuid import UUID

import structlog

from agent.identity import Node
from agent.journal import Journal, Kind, Phase, Report, Work
from agent.messages.reports import Cause, Reports
from agent.outcomes import finished_of, refused_data, removed_of, to_text
from kernel import clock
from kernel.contracts.agent import PlaceRemoved
from kernel.contracts.deployer import ApplyDeployment, CancelDeployment, RemovePlace, WelcomeNode
from kernel.contracts.envelope import Envelope, UnknownType, from_document, peek
from kernel.contracts.spec import PREFIX_PATTERN
from kernel.errors import FairleadError, Forbidden
from kernel.messaging.consumer import Delivery, Received
from kernel.signing import verify_body

log = structlog.get_logger(__name__)

_PREFIX = re.compile(rf"(?:{PREFIX_PATTERN})\Z")


class Commands:
    """Checks each command at the door, writes what takes time into the journal, and answers the rest at once."""

    def __init__(
        self,
        node: Node,
        journal: Journal,
        reports: Reports,
        *,
        on_work: Callable[[UUID], None],
        on_cancel: Callable[[UUID, str], None],
    ) -> None:
        self._node = node
        self._key = node.command_key
        self._journal = journal
        self._reports = reports
        self._on_work = on_work
        self._on_cancel = on_cancel
        self.on_outdone: Callable[[], None] = lambda: None  # somebody else counts as this node: it must say hello again
        self.welcomed = False

    # -- the message loop's side ---------------------------------------------------------------------

    def read(self, delivery: Delivery) -> Envelope:
        """The command in a delivery. What cannot be obeyed is answered here, and raises."""
        try:
            unsigned = verify_body(self._key, delivery.body)
        except Forbidden as error:
            log.warning("command refused", code=error.code, message_id=delivery.message_id)
            self._reports.queue(self._reports.refused(_unread(delivery), error.code, error.detail))
            raise
        document = peek(unsigned)
        try:
            return from_document(document)
        except FairleadError as error:
            code = "unsupported" if isinstance(error, UnknownType) else "command-invalid"
            self._refuse_unreadable(document, code, error.detail)
            raise

    def handle(self, batch: Sequence[Received]) -> Mapping[int, Exception]:
        """Take each command; an error of the journal is raised, so that the command stays at the broker."""
        for received in batch:
            self.take(received.envelope, received.delivery.body)
        return {}

    def take(self, command: Envelope, body: bytes) -> None:
        """Obey or refuse one verified command."""
        data = command.data
        prefix = getattr(data, "prefix", None)
        attempt = getattr(data, "attempt_id", None)
        if command.node != self._node.node_id:
            self._refuse(command, "wrong-node", f"The command is for the node {command.node}.", prefix, attempt)
        elif isinstance(data, WelcomeNode):
            self._welcome(command, data)
        elif (command.epoch or 0) < self._reports.epoch:
            detail = f"The command is of epoch {command.epoch}, this node is in {self._reports.epoch}."
            self._refuse(command, "stale-epoch", detail, prefix, attempt)
        elif isinstance(data, ApplyDeployment):
            self._apply(command, data, body)
        elif isinstance(data, CancelDeployment):
            self._cancel(command, data)
        elif isinstance(data, RemovePlace):
            self._remove(command, data, body)
        else:
            self._refuse(command, "unsupported", f"This agent does not know what to do with {command.type}.", prefix, attempt)

    # -- one a command --------------------------------------------------------------------------------

    def _welcome(self, command: Envelope, data: WelcomeNode) -> None:
        if data.boot_id != self._reports.boot_id:
            log.warning("a welcome for another process of this node", boot_id=str(data.boot_id))
            if self.welcomed and (command.epoch or 0) >= self._reports.epoch:
                # A former process's hello was read after ours, or the deployer has lost what it knew of us.
                self.on_outdone()
            return
        epoch = command.epoch or 0
        before, self._reports.epoch = self._reports.epoch, epoch
        self.welcomed = True
        if epoch == before:
            return
        self._journal.set_epoch(epoch)
        log.info("welcomed", epoch=epoch)
        # What was finished between the hello and now was reported under the old epoch, and counts for nothing there.
        again = [
            self._reports.make(finished_of(work), subject=work.prefix)
            for _, work in self._journal.places()
            if work is not None and work.finished is not None and work.id in self._reports.finished_here
        ]
        self._reports.queue(*again)

    def _apply(self, command: Envelope, data: ApplyDeployment, body: bytes) -> None:
        known = self._journal.work(data.attempt_id)
        generation = command.generation or 0
        place = self._journal.place(data.prefix)
        highest = place.generation if place else 0
        if known is not None:
            self._answer_again(command, known)
            if known.finished is not None and generation < highest:
                detail = f"Generation {generation} is older than {highest}, the last one at {data.prefix}."
                self._refuse(command, "superseded", detail, data.prefix, data.attempt_id)
            return
        work = Work(
            id=data.attempt_id, kind=Kind.APPLY, prefix=data.prefix, generation=generation, body=body, received_at=clock.now().timestamp()
        )
        if generation < highest:
            detail = f"Generation {generation} is older than {highest}, the last one at {data.prefix}."
            self._refuse_attempt(command, data, work, "superseded", detail)
        elif place is not None and generation == highest:
            detail = f"Generation {generation} at {data.prefix} belongs to another attempt or order."
            self._refuse_attempt(command, data, work, "generation-conflict", detail)
        else:
            self._accept(work)

    def _answer_again(self, command: Envelope, known: Work) -> None:
        """A copy of a command: its outcome is told again; without one the work is under way and will tell."""
        log.info("command received again", attempt=str(known.id), phase=known.phase)
        if known.finished is not None:
            self._reports.queue(self._reports.make(finished_of(known), subject=known.prefix, cause=Cause.of(command)))

    def _cancel(self, command: Envelope, data: CancelDeployment) -> None:
        fence = command.generation or 0
        known = self._journal.cancel(data.attempt_id, prefix=data.prefix, generation=fence, reason=data.reason)
        if known is None:
            work = Work(id=data.attempt_id, kind=Kind.APPLY, prefix=data.prefix, generation=fence, received_at=clock.now().timestamp())
            finished = refused_data(data, "superseded", "It was cancelled before it arrived.")
            self._record(
                work, self._reports.make(finished, subject=data.prefix, cause=Cause.of(command)), to_text(finished), finished.detail
            )
        elif known.finished is not None:
            self._answer_again(command, known)
        else:
            self._on_cancel(known.id, known.cancel or data.reason)

    def _remove(self, command: Envelope, data: RemovePlace, body: bytes) -> None:
        generation = command.generation or 0
        place = self._journal.place(data.prefix)
        last = self._journal.work(place.attempt_id) if place is not None and place.attempt_id is not None else None
        known = self._journal.work(command.id) or self._journal.removal(data.prefix, generation)
        if place is not None and generation < place.generation:
            detail = f"Generation {generation} is older than {place.generation}, the last one at {data.prefix}."
            self._refuse(command, "superseded", detail, data.prefix, None)
        elif last is not None and last.generation == generation:
            detail = f"Generation {generation} at {data.prefix} belongs to an attempt."
            self._refuse(command, "generation-conflict", detail, data.prefix, None)
        elif known is None or (known.outcome == "failed" and known.id != command.id):
            at = clock.now().timestamp()
            self._accept(Work(id=command.id, kind=Kind.REMOVE, prefix=data.prefix, generation=generation, body=body, received_at=at))
        elif known.phase is Phase.FINISHED:
            # Asked again because our answer was lost: nothing is done twice. What an older agent's journal kept has no answer in it.
            removed = removed_of(known) if known.finished else PlaceRemoved(prefix=data.prefix, generation=generation, outcome="succeeded")
            self._reports.queue(self._reports.make(removed, subject=data.prefix, cause=Cause.of(command)))

    def _accept(self, work: Work) -> None:
        for older in self._journal.accept(work):
            self._on_cancel(older, "superseded")
        log.info("command accepted", kind=work.kind, work=str(work.id), prefix=work.prefix, generation=work.generation)
        self._on_work(work.id)

    # -- refusals ------------------------------------------------------------------------------------

    def _refuse(self, command: Envelope, code: str, detail: str, prefix: str | None, attempt_id: UUID | None) -> None:
        log.warning("command refused", code=code, type=command.type, prefix=prefix)
        self._reports.queue(self._reports.refused(command, code, detail, prefix=prefix, attempt_id=attempt_id))

    def _refuse_attempt(self, command: Envelope, data: ApplyDeployment, work: Work, code: str, detail: str) -> None:
        log.warning("command refused", code=code, type=command.type, prefix=data.prefix)
        finished = refused_data(data, code, detail)
        told = self._reports.refused(command, code, detail, prefix=data.prefix, attempt_id=data.attempt_id)
        ended = self._reports.make(finished, subject=data.prefix, cause=Cause.of(command))
        self._record(work, ended, to_text(finished), detail, code=code, more=[told])

    def _record(
        self, work: Work, ended: Report, finished: str, detail: str | None, *, code: str = "superseded", more: Sequence[Report] = ()
    ) -> None:
        done = replace(work, phase=Phase.FINISHED, outcome="refused", code=code, detail=detail, finished=finished, body=b"")
        self._journal.record_refused(done, self._reports.take(*more, ended))
        self._reports.wake.set()

    def _refuse_unreadable(self, document: Mapping[str, object], code: str, detail: str) -> None:
        """A signed command that this agent cannot read: the attempt in it, if there is one, must still end."""
        command = _skeleton(document)
        data = document.get("data")
        raw = data if isinstance(data, dict) else {}
        attempt, deployment, prefix = _uuid(raw.get("attempt_id")), _uuid(raw.get("deployment_id")), raw.get("prefix")
        prefix = prefix if isinstance(prefix, str) and _PREFIX.match(prefix) else None
        log.warning("command refused", code=code, type=command.type, detail=detail)
        reports = [self._reports.refused(command, code, detail, prefix=prefix, attempt_id=attempt)]
        is_ours = command.node == self._node.node_id and (command.epoch or 0) >= self._reports.epoch
        is_apply = command.name == "deployer.deployment.apply"
        if is_ours and is_apply and attempt and deployment and prefix and self._journal.work(attempt) is None:
            stub = CancelDeployment(deployment_id=deployment, attempt_id=attempt, prefix=prefix)
            reports.append(self._reports.make(refused_data(stub, code, detail), subject=prefix, cause=Cause.of(command)))
        self._reports.queue(*reports)


def _unread(delivery: Delivery) -> Envelope:
    """An envelope for an answer to something that cannot be believed."""
    return Envelope(type="unknown", source="", data=WelcomeNode(boot_id=UUID(int=0)), id=_uuid(delivery.message_id) or UUID(int=0))


def _skeleton(document: Mapping[str, object]) -> Envelope:
    epoch = document.get("epoch")
    return Envelope(
        type=str(document.get("type"))[:256],
        source="",
        data=WelcomeNode(boot_id=UUID(int=0)),
        id=_uuid(document.get("id")) or UUID(int=0),
        node=_uuid(document.get("node")),
        epoch=epoch if isinstance(epoch, int) else None,
        correlation=str(document["correlation"]) if document.get("correlation") else None,
    )


def _uuid(raw: object) -> UUID | None:
    try:
        return UUID(str(raw))
    except ValueError:
        return None
