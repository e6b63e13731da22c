"""The journal: what it says after the process that wrote it has died."""

from __future__ import annotations

from pathlib import Path
from uuid import UUID

from agent.journal import Journal, Kind, Phase, Report, Work
from kernel import clock


def work(prefix: str = "p", generation: int = 1, **changes: object) -> Work:
    values: dict[str, object] = {"id": clock.new_id(), "kind": Kind.APPLY, "prefix": prefix, "generation": generation, "body": b"{}"}
    return Work(**(values | changes))  # type: ignore[arg-type]  # the fields of a work


def report(sequence: int, kind: str = "agent.deployment.finished") -> Report:
    return Report(sequence=sequence, id=str(sequence), kind=kind, body=b"{}")


def opened(tmp_path: Path) -> Journal:
    return Journal(tmp_path / "journal.db")


def test_an_accepted_work_is_found_by_the_next_process(tmp_path: Path) -> None:
    one = work()
    opened(tmp_path).accept(one)
    journal = opened(tmp_path)
    assert journal.unfinished() == [one]
    place = journal.place("p")
    assert place is not None
    assert (place.generation, place.attempt_id) == (1, one.id)


def test_phases_follow_each_other_and_the_end_forgets_the_command(tmp_path: Path) -> None:
    journal, one = opened(tmp_path), work()
    journal.accept(one)
    journal.prepare(one.id, "memory")
    found = journal.work(one.id)
    assert found is not None
    assert (found.phase, found.memory) == (Phase.PREPARED, "memory")
    assert journal.commit(one.id)
    journal.finish(one.id, outcome="succeeded", code=None, detail=None, finished="{}", reports=[report(1)])
    found = journal.work(one.id)
    assert found is not None
    assert (found.phase, found.body, found.memory, found.outcome) == (Phase.FINISHED, b"", None, "succeeded")
    assert journal.unfinished() == []
    assert [one.sequence for one in journal.pending()] == [1]


def test_a_cancellation_before_the_commit_point_wins_and_after_it_comes_too_late(tmp_path: Path) -> None:
    journal, early, late = opened(tmp_path), work("early"), work("late")
    for one in (early, late):
        journal.accept(one)
        journal.prepare(one.id, "{}")
    journal.cancel(early.id, prefix="early", generation=2, reason="timed-out")
    assert not journal.commit(early.id)
    assert journal.commit(late.id)
    found = journal.cancel(late.id, prefix="late", generation=2, reason="cancelled")
    assert found is not None
    assert (found.phase, found.cancel) == (Phase.COMMITTED, None)


def test_a_cancellation_raises_the_fence_even_for_the_unknown(tmp_path: Path) -> None:
    journal = opened(tmp_path)
    assert journal.cancel(UUID(int=5), prefix="p", generation=9, reason="cancelled") is None
    place = journal.place("p")
    assert place is not None
    assert (place.generation, place.attempt_id) == (9, None)


def test_a_newer_work_tells_older_attempts_at_its_place_to_stop(tmp_path: Path) -> None:
    journal, older, elsewhere, committed = opened(tmp_path), work(), work("q"), work("p")
    for one in (older, elsewhere):
        journal.accept(one)
    assert journal.accept(committed) == [older.id]
    journal.commit(committed.id)
    newer = work(generation=3)
    assert journal.accept(newer) == []
    found = journal.work(older.id)
    assert found is not None
    assert found.cancel == "superseded"


def test_a_generation_never_falls(tmp_path: Path) -> None:
    journal = opened(tmp_path)
    journal.raise_generation("p", 5)
    journal.raise_generation("p", 3)
    place = journal.place("p")
    assert place is not None
    assert place.generation == 5


def test_no_two_processes_give_the_same_sequence(tmp_path: Path) -> None:
    first, second = opened(tmp_path).reserve_sequences(), opened(tmp_path).reserve_sequences()
    assert first.stop <= second.start
    assert first.start == 1


def test_reports_stay_until_they_are_confirmed_and_can_be_sent_again(tmp_path: Path) -> None:
    journal = opened(tmp_path)
    journal.put_reports([report(1), report(2, "agent.deployment.progressed"), report(3, "agent.containers.observed")])
    assert [one.sequence for one in opened(tmp_path).pending()] == [1, 2, 3]
    journal.confirm([1, 2, 3])
    assert journal.pending() == []
    # Only what tells an outcome is kept for a broker that loses it.
    assert journal.send_again() == 1
    assert [one.sequence for one in journal.pending()] == [1]


def test_only_the_newest_look_at_the_containers_waits(tmp_path: Path) -> None:
    journal = opened(tmp_path)
    for sequence in (1, 2, 3):
        journal.put_reports([report(sequence, "agent.containers.observed")])
    assert [one.sequence for one in journal.pending()] == [3]


def test_progress_is_bounded_while_no_broker_takes_it(tmp_path: Path) -> None:
    journal = opened(tmp_path)
    journal.put_reports([report(1)])
    journal.put_reports([report(sequence, "agent.deployment.progressed") for sequence in range(2, 3000)])
    pending = journal.pending(10_000)
    assert len(pending) <= 2001
    assert pending[0].kind == "agent.deployment.finished"


def test_pruning_keeps_what_a_hello_needs(tmp_path: Path) -> None:
    journal, one = opened(tmp_path), work()
    journal.accept(one)
    journal.finish(one.id, outcome="succeeded", code=None, detail=None, finished="{}")
    journal.prune()
    [(place, last)] = journal.places()
    assert (place.attempt_id, last and last.outcome) == (one.id, "succeeded")


def test_the_epoch_outlives_the_process(tmp_path: Path) -> None:
    journal = opened(tmp_path)
    assert journal.epoch() == 0
    journal.set_epoch(4)
    assert opened(tmp_path).epoch() == 4
