"""One work from beginning to end: an attempt or the removal of a place, fresh or found in the journal."""

from __future__ import annotations

import structlog

from agent.apply import finish
from agent.apply.context import Attempt, Memory, Parts
from agent.apply.forward import check_order, create_all, prepare, take_up
from agent.apply.remove import remove_place
from agent.apply.start import start_all
from agent.apply.undo import undo
from agent.interrupt import Interrupt
from agent.journal import Kind, Phase, Work
from agent.outcomes import DEFECTS, Cancelled, Refused
from kernel import clock, telemetry
from kernel.contracts.deployer import ApplyDeployment, RemovePlace
from kernel.contracts.envelope import Envelope, decode
from kernel.errors import Conflict, FairleadError

log = structlog.get_logger(__name__)


def carry_out(parts: Parts, work: Work, interrupt: Interrupt, *, age_seconds: float) -> None:
    """Do it; when this returns, it is finished. `age_seconds` is how long ago the command came. Raises Stopping."""
    command = decode(work.body)
    token = telemetry.correlation.set(command.correlation)
    try:
        if work.kind is Kind.REMOVE:
            assert isinstance(command.data, RemovePlace)
            remove_place(parts, work, command, command.data, interrupt)
        else:
            _carry_out_attempt(parts, work, command, interrupt, age_seconds)
    finally:
        telemetry.correlation.reset(token)


def _carry_out_attempt(parts: Parts, work: Work, command: Envelope, interrupt: Interrupt, age_seconds: float) -> None:
    assert isinstance(command.data, ApplyDeployment)
    attempt = Attempt(
        parts=parts,
        work=work,
        command=command,
        order=command.data,
        interrupt=interrupt,
        specs=command.data.stack.containers,
        is_resumed=work.phase is not Phase.ACCEPTED,
    )
    log.info("attempt begins", attempt=str(work.id), prefix=work.prefix, generation=work.generation, phase=work.phase)
    began = clock.monotonic()
    interrupt.end_at(began + attempt.order.timeout_seconds - age_seconds)
    if work.cancel is not None:
        interrupt.cancel(work.cancel)
    if work.memory is not None:
        attempt.memory = Memory.from_text(work.memory)
    if work.phase is Phase.UNDOING:
        _undo(attempt, work.outcome or "failed", work.code or "failed", work.detail or "")
        return
    if work.phase is not Phase.COMMITTED and not _may_commit(attempt, age_seconds):
        return
    finish.tidy(attempt)
    attempt.clocked("total", began)
    finish.succeed(attempt)
    log.info("attempt succeeded", attempt=str(work.id), seconds=attempt.seconds)


def _may_commit(attempt: Attempt, age_seconds: float) -> bool:
    """Go to the commit point; False when the attempt has ended otherwise."""
    try:
        _go_forward(attempt, age_seconds)
    except Refused as error:
        if attempt.memory is not None:
            _turn_back(attempt, error)
            return False
        log.warning("attempt refused", attempt=str(attempt.work.id), code=error.code)
        finish.finish(attempt, outcome="refused", code=error.code, detail=error.detail, is_refusal=True)
        return False
    except FairleadError as error:
        _turn_back(attempt, error)
        return False
    except DEFECTS as error:
        log.exception("a defect of the agent ends the attempt", attempt=str(attempt.work.id))
        _turn_back(attempt, Conflict("internal-error", f"The agent met a defect of its own ({type(error).__name__}): see its log."))
        return False
    return True


def _go_forward(attempt: Attempt, age_seconds: float) -> None:
    phase, ttl = attempt.work.phase, attempt.command.ttl_seconds
    if phase is Phase.ACCEPTED and ttl is not None and age_seconds > ttl:
        raise Refused("expired", f"The command was good for {ttl} s and is {age_seconds:.0f} s old.")
    attempt.interrupt.check()
    check_order(attempt)
    if phase is Phase.ACCEPTED:
        prepare(attempt)
    else:
        take_up(attempt)
    create_all(attempt)
    start_all(attempt)
    finish.switch(attempt)
    finish.commit(attempt)


def _turn_back(attempt: Attempt, error: FairleadError) -> None:
    outcome = "cancelled" if isinstance(error, Cancelled) else "failed"
    detail = attempt.hide(error.detail)
    log.warning("attempt turns back", attempt=str(attempt.work.id), outcome=outcome, code=error.code)
    if attempt.memory is not None:
        reports = attempt.parts.reports
        attempt.parts.journal.begin_undo(attempt.work.id, outcome=outcome, code=error.code, detail=detail, reports=reports.take())
    _undo(attempt, outcome, error.code, detail)


def _undo(attempt: Attempt, outcome: str, code: str, detail: str) -> None:
    began = clock.monotonic()
    restored, wrong = undo(attempt)
    attempt.clocked("undo", began)
    if wrong:
        detail = f"{detail}\nWhat ran before is not all back: {wrong}"
    finish.finish(attempt, outcome=outcome, code=code, detail=detail, restored=restored)
    log.info("attempt undone", attempt=str(attempt.work.id), outcome=outcome, code=code, restored=restored)
