"""A disk that takes nothing more: the agent lives on, and what it cannot do ends as a failure that changed nothing."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from agent.heartbeat import Heartbeat
from agent.link import Link
from kernel.errors import Unavailable
from tests.integration.agent.ground import Ground, spec


@contextmanager
def full(ground: Ground) -> Iterator[None]:
    """The journal takes nothing more: SQLite refuses every write, as on a full disk."""
    ground.core.journal._db.execute("PRAGMA query_only=ON")
    try:
        yield
    finally:
        ground.core.journal._db.execute("PRAGMA query_only=OFF")


def test_a_full_disk_ends_neither_the_observer_nor_the_heartbeat(ground: Ground) -> None:
    core = ground.core
    link = Link(core.node, core.journal, core.reports, core.commands)
    heartbeat = Heartbeat(core.node, core.reports, link, core.commands, state_path=ground.directory / "gone" / "state.json")
    ground.apply(spec("web", ground.image))
    with full(ground):
        with pytest.raises(Unavailable):
            core.reports.queue(core.reports.hello())
        for _ in range(1100):  # past the block of numbers that was reserved while there was room
            heartbeat.beat()
        heartbeat.write_state()
        core.observer.report()
    core.observer.report()
    assert ground.reports("agent.containers.observed")


def test_files_that_cannot_be_written_fail_the_attempt_and_nothing_else(ground: Ground) -> None:
    ground.apply(spec("web", ground.image))
    before = ground.running()
    (ground.directory / "secrets").write_text("in the way")
    sealed = {"KEY": ground.sealed("KEY", "value", as_="file")}
    finished = ground.apply(spec("web", ground.other_image, sealed=sealed))
    assert (finished.outcome, finished.code, finished.restored) == ("failed", "files-not-written", True)
    assert ground.running() == before
    assert ground.core.workers.is_idle()
