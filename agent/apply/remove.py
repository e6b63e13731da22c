"""Clearing a place: everything of ours at a prefix goes, and the answer says what is still there if not all of it went."""

from __future__ import annotations

from dataclasses import dataclass, field

import structlog

from agent import containers
from agent.apply.context import Parts, patiently
from agent.docker import NotThere
from agent.interrupt import Interrupt, Undisturbed
from agent.journal import Work
from agent.messages.reports import Cause, shorten
from agent.outcomes import DEFECTS, removed_text
from agent.plan import Seen
from agent.secrets import directory_of, remove_directory
from kernel.contracts.agent import PlaceRemoved
from kernel.contracts.deployer import RemovePlace
from kernel.contracts.envelope import Envelope
from kernel.contracts.spec import LABEL_NODE, LABEL_PREFIX
from kernel.errors import FairleadError

log = structlog.get_logger(__name__)


@dataclass
class _Cleared:
    """What went, and what did not: (code, why)."""

    containers: list[str] = field(default_factory=list)
    volumes: list[str] = field(default_factory=list)
    problems: list[tuple[str, str]] = field(default_factory=list)


def remove_place(parts: Parts, work: Work, command: Envelope, order: RemovePlace, interrupt: Interrupt) -> None:
    """Clear the place and answer. What could not be removed ends the work too: whoever ordered it asks again. Raises Stopping."""
    cleared = _Cleared()
    try:
        _clear(parts, work, order, Undisturbed(interrupt), cleared)
    except FairleadError as error:
        cleared.problems.append((error.code, error.detail))
    except DEFECTS as error:
        log.exception("a defect of the agent ends the removal", prefix=work.prefix)
        cleared.problems.append(("internal-error", f"The agent met a defect of its own ({type(error).__name__}): see its log."))
    _answer(parts, work, command, cleared)


def _clear(parts: Parts, work: Work, order: RemovePlace, interrupt: Interrupt, cleared: _Cleared) -> None:
    node = str(parts.node.node_id)
    ours = [one for one in patiently(interrupt, parts.engine.containers) if one.belongs_to(node, work.prefix)]
    log.info("place is removed", prefix=work.prefix, containers=len(ours))
    for one, problem in zip(ours, parts.crew.each(lambda one: _remove(parts, one, interrupt), ours), strict=True):
        if problem is None:
            cleared.containers.append(one.name)
            directory = directory_of(parts.secrets_path, prefix=work.prefix, container=one.container, generation=one.generation)
            remove_directory(directory)
        else:
            cleared.problems.append(problem)
    _remove_network(parts, order, interrupt)
    if order.remove_volumes:
        _remove_volumes(parts, order, interrupt, cleared)


def _remove(parts: Parts, one: Seen, interrupt: Interrupt) -> tuple[str, str] | None:
    """Returns what is wrong, if anything."""
    engine = parts.engine
    try:
        found = patiently(interrupt, engine.inspect, one.id)
        patiently(interrupt, engine.stop, one.id, found.stop_seconds)
        patiently(interrupt, engine.remove, one.id)
    except NotThere:
        return None
    except FairleadError as error:
        return error.code, f"{one.name} could not be removed: {error.detail}"
    return None


def _remove_network(parts: Parts, order: RemovePlace, interrupt: Interrupt) -> None:
    """The place's own; one that a stranger's container has joined stays for it."""
    own = containers.place_network(order.prefix)
    marks = patiently(interrupt, parts.engine.network_labels, own)
    if marks is not None and marks.get(LABEL_NODE) == str(parts.node.node_id):
        patiently(interrupt, parts.engine.remove_network, own)


def _remove_volumes(parts: Parts, order: RemovePlace, interrupt: Interrupt, cleared: _Cleared) -> None:
    engine = parts.engine
    for name in patiently(interrupt, engine.volumes, f"{LABEL_PREFIX}={order.prefix}"):
        found = patiently(interrupt, engine.volume_labels, name)
        if found is None or found.get(LABEL_NODE) != str(parts.node.node_id):
            continue
        if patiently(interrupt, engine.remove_volume, name):
            cleared.volumes.append(name)
        else:
            cleared.problems.append(("volume-in-use", f"The volume {name} is in use and stays."))


def _answer(parts: Parts, work: Work, command: Envelope, cleared: _Cleared) -> None:
    """The end, saved together with its report."""
    code = cleared.problems[0][0] if cleared.problems else None
    detail = shorten("; ".join(why for _, why in cleared.problems)) if cleared.problems else None
    outcome = "failed" if cleared.problems else "succeeded"
    data = PlaceRemoved(
        prefix=work.prefix,
        generation=work.generation,
        outcome=outcome,
        code=code,
        detail=detail,
        containers=cleared.containers[:1000],
        volumes=cleared.volumes[:1000],
    )
    told = parts.reports.make(data, subject=work.prefix, cause=Cause.of(command))
    parts.journal.finish(work.id, outcome=outcome, code=code, detail=detail, finished=removed_text(data), reports=parts.reports.take(told))
    parts.reports.wake.set()
    log.info("place was removed", prefix=work.prefix, outcome=outcome, code=code, detail=detail)
