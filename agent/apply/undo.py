"""The way back: what the attempt made is removed, and what ran before runs again."""

from __future__ import annotations

from agent.apply.context import Attempt
from agent.apply.forward import own
from agent.docker import NotThere
from agent.interrupt import Undisturbed
from agent.plan import Old, Seen
from agent.secrets import directory_of, remove_directory
from kernel.errors import FairleadError

_BACK_UP_SECONDS = 1.0
_REMOVE_TRIES = 3
_REMOVE_AGAIN_SECONDS = 1.0


def undo(attempt: Attempt) -> tuple[bool, str]:
    """Every step back, from wherever it was. Returns whether what ran before runs again, and what is wrong if not."""
    attempt.interrupt = Undisturbed(attempt.interrupt)
    if attempt.memory is None:
        return True, ""
    attempt.tell("undoing")
    parts, memory = attempt.parts, attempt.memory
    seen = attempt.patiently(parts.engine.containers)
    problems = parts.crew.each(lambda one: _remove_new(attempt, one), own(attempt, seen))
    names = {one.id: one.name for one in seen}
    running = {one.id for one in seen if one.is_running}
    problems += parts.crew.each(lambda old: _bring_back(attempt, old, names, running), memory.plan.old)
    for name in memory.networks:
        attempt.patiently(parts.engine.remove_network, name)
    for name in memory.volumes:
        attempt.patiently(parts.engine.remove_volume, name)
    for change in memory.plan.changes:
        generation = attempt.work.generation
        remove_directory(directory_of(parts.secrets_path, prefix=attempt.order.prefix, container=change.container, generation=generation))
    attempt.tell("undone")
    wrong = "; ".join(problem for problem in problems if problem)
    return not wrong, wrong


def _remove_new(attempt: Attempt, one: Seen) -> str:
    """Returns what is wrong, if anything."""
    engine = attempt.parts.engine
    for tries_left in reversed(range(_REMOVE_TRIES)):
        try:
            if one.is_running and one.has_data:
                # What writes to a volume gets the time to end well; the rest must make room quickly.
                found = attempt.patiently(engine.inspect, one.id)
                attempt.patiently(engine.stop, one.id, found.stop_seconds)
            attempt.patiently(engine.remove, one.id)
        except NotThere:
            return ""
        except FairleadError as error:
            if not tries_left:
                return f"{one.name} could not be removed: {error.detail}"
            attempt.interrupt.wait(_REMOVE_AGAIN_SECONDS)
        else:
            return ""
    return ""


def _bring_back(attempt: Attempt, old: Old, names: dict[str, str], running: set[str]) -> str:
    """Name and state as before. Returns what is wrong, if anything."""
    engine = attempt.parts.engine
    try:
        if names.get(old.id, old.name) != old.name:
            attempt.patiently(engine.rename, old.id, old.name)
        if not old.was_running or old.id in running:
            return ""
        attempt.patiently(engine.start, old.id)
        attempt.interrupt.wait(_BACK_UP_SECONDS)
        found = attempt.patiently(engine.inspect, old.id)
    except FairleadError as error:
        return f"{old.name} could not be brought back: {error.detail}"
    return "" if found.is_running else f"{old.name} was started again and did not stay up"
