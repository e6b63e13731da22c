"""The switch, the commit point, tidying up behind it, and the end that is saved and reported."""

from __future__ import annotations

from contextlib import suppress

from agent import containers
from agent.apply.context import Attempt
from agent.apply.forward import own
from agent.docker import InUse, NotThere
from agent.interrupt import Undisturbed
from agent.messages.reports import Cause, shorten
from agent.outcomes import Cancelled, to_text
from agent.plan import Change, Old
from agent.probes import has_check
from agent.secrets import directory_of, remove_directory
from kernel import clock
from kernel.contracts.agent import ContainerOutcome, DeploymentFinished
from kernel.errors import Conflict, FairleadError


def switch(attempt: Attempt) -> None:
    """Names and restart policies go to the new containers. All of it can still be undone."""
    began = clock.monotonic()
    attempt.parts.crew.each(lambda change: _switch(attempt, change), attempt.plan.changes)
    attempt.clocked("switch", began)


def _switch(attempt: Attempt, change: Change) -> None:
    engine, new_id = attempt.parts.engine, attempt.ids[change.container]
    replaced = next((old for old in attempt.plan.old if old.id == change.replaces), None)
    if replaced is not None and attempt.names.get(replaced.id) == replaced.name:
        with suppress(NotThere):  # somebody removed it meanwhile: its name is free
            attempt.patiently(engine.rename, replaced.id, replaced.aside)
    if attempt.names.get(new_id) != change.name:
        try:
            attempt.patiently(engine.rename, new_id, change.name)
        except InUse as error:
            if attempt.parts.engine.inspect(new_id).name != change.name:
                raise Conflict("name-taken", f"The name {change.name} was taken by another container.") from error
    policy = containers.final_restart_policy(attempt.by_name[change.container].config)
    if policy != "no":
        attempt.patiently(engine.set_restart_policy, new_id, policy)


def commit(attempt: Attempt) -> None:
    """From here on there is no way back. Raises Cancelled when a cancellation was quicker."""
    attempt.interrupt.check()
    attempt.tell("switched")
    if not attempt.parts.journal.commit(attempt.work.id, attempt.parts.reports.take()):
        work = attempt.parts.journal.work(attempt.work.id)
        reason = (work.cancel if work else None) or "cancelled"
        raise Cancelled(reason, f"The attempt was told to stop: {reason}.")


def tidy(attempt: Attempt) -> None:
    """Remove the old containers, what is no longer wanted, and the init containers. Only forward: faults are reported."""
    began = clock.monotonic()
    attempt.interrupt = Undisturbed(attempt.interrupt)
    inits = list(attempt.init_ids.values())
    if attempt.is_resumed:
        inits = _look_again(attempt)
    attempt.parts.crew.each(lambda old: _remove_old(attempt, old), attempt.plan.old)
    attempt.parts.crew.each(lambda container_id: _remove_init(attempt, container_id), inits)
    attempt.clocked("tidy", began)


def _look_again(attempt: Attempt) -> list[str]:
    """After a restart: the new containers, and what tells their health. Returns the init containers."""
    engine = attempt.parts.engine
    made = own(attempt, attempt.patiently(engine.containers))
    attempt.ids |= {one.container: one.id for one in made if not one.is_init}
    for name, container_id in attempt.ids.items():
        try:
            found = attempt.patiently(engine.inspect, container_id)
        except NotThere:
            continue
        attempt.checked[name] = has_check(attempt.by_name[name].config, found)
    return [one.id for one in made if one.is_init]


def _remove_old(attempt: Attempt, old: Old) -> None:
    engine = attempt.parts.engine
    try:
        if old.was_running:
            attempt.patiently(engine.stop, old.id, old.stop_seconds)
        attempt.patiently(engine.remove, old.id)
    except FairleadError as error:
        attempt.tell("log", old.container, f"The old container could not be removed: {error.detail}")
        return
    remove_directory(
        directory_of(attempt.parts.secrets_path, prefix=attempt.order.prefix, container=old.container, generation=old.generation)
    )
    attempt.tell("removed", old.container)


def _remove_init(attempt: Attempt, container_id: str) -> None:
    try:
        attempt.patiently(attempt.parts.engine.remove, container_id)
    except FairleadError as error:
        attempt.tell("log", message=f"An init container could not be removed: {error.detail}")


def succeed(attempt: Attempt) -> None:
    """Save and report success."""
    finish(attempt, outcome="succeeded", code=None, detail=None, outcomes=_outcomes(attempt))


def _outcomes(attempt: Attempt) -> list[ContainerOutcome]:
    checked = attempt.checked
    found = [
        ContainerOutcome(
            name=change.container,
            action="replaced" if change.replaces else "created",
            container_id=attempt.ids.get(change.container),
            health_checked=checked.get(change.container, False),
        )
        for change in attempt.plan.changes
    ]
    found += [
        ContainerOutcome(name=one.container, action="kept", container_id=one.id, health_checked=checked.get(one.container, False))
        for one in attempt.plan.kept
    ]
    replaced = {change.replaces for change in attempt.plan.changes}
    gone = [old for old in attempt.plan.old if old.id not in replaced]
    return found + [ContainerOutcome(name=old.container or old.name, action="removed", container_id=old.id) for old in gone]


def finish(
    attempt: Attempt,
    *,
    outcome: str,
    code: str | None,
    detail: str | None,
    restored: bool = True,
    outcomes: list[ContainerOutcome] | None = None,
    is_refusal: bool = False,
) -> None:
    """The end, saved together with its report."""
    detail = shorten(attempt.hide(detail)) if detail is not None else None
    data = DeploymentFinished(
        deployment_id=attempt.order.deployment_id,
        attempt_id=attempt.order.attempt_id,
        prefix=attempt.order.prefix,
        outcome=outcome,
        code=code,
        detail=detail,
        restored=restored,
        containers=outcomes or [],
        seconds=attempt.seconds,
    )
    reports = attempt.parts.reports
    prefix, attempt_id = attempt.order.prefix, attempt.order.attempt_id
    more = [reports.refused(attempt.command, code or "", detail or "", prefix=prefix, attempt_id=attempt_id)] if is_refusal else []
    ended = reports.make(data, subject=prefix, cause=Cause.of(attempt.command))
    attempt.parts.journal.finish(
        attempt.work.id, outcome=outcome, code=code, detail=detail, finished=to_text(data), reports=reports.take(*more, ended)
    )
    reports.wake.set()
