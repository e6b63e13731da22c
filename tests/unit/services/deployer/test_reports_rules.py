"""What reports mean: epochs, hellos, refusals, expiry."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from kernel import clock
from services.deployer.domain.reports import (
    APPLY,
    CANCEL,
    Expiry,
    Freshness,
    KnownPlace,
    LiveAttempt,
    Reaction,
    answer_hello,
    expiry_of,
    greet,
    react_to_refusal,
    weigh,
)

A, B = clock.new_id(), clock.new_id()


def test_a_report_counts_in_the_present_epoch_only() -> None:
    assert weigh(3, 2) is Freshness.STALE
    assert weigh(3, None) is Freshness.STALE
    assert weigh(3, 3) is Freshness.CURRENT
    assert weigh(3, 4) is Freshness.AHEAD


def test_a_new_process_gets_an_epoch_above_all_that_were_known() -> None:
    assert greet(epoch=3, boot_id=A, hello_epoch=3, hello_boot_id=B).epoch == 4
    assert greet(epoch=3, boot_id=None, hello_epoch=None, hello_boot_id=B).epoch == 4
    restored = greet(epoch=3, boot_id=A, hello_epoch=9, hello_boot_id=B)
    assert (restored.epoch, restored.is_new_process) == (10, True)


def test_the_same_process_keeps_its_epoch() -> None:
    assert greet(epoch=3, boot_id=A, hello_epoch=3, hello_boot_id=A).epoch == 3
    assert not greet(epoch=3, boot_id=A, hello_epoch=2, hello_boot_id=A).is_new_process


def test_an_attempt_that_the_agent_does_not_know_is_sent_again() -> None:
    live = [LiveAttempt(A, "shop", 5)]
    for places in ([], [KnownPlace("shop", 4, B, "succeeded")], [KnownPlace("other", 9, B)]):
        assert answer_hello(live, places, {"shop": 5, "other": 9}).send == (A,)


def test_an_attempt_that_the_agent_works_on_is_left_alone() -> None:
    answer = answer_hello([LiveAttempt(A, "shop", 5)], [KnownPlace("shop", 5, A)], {"shop": 5})
    assert (answer.send, answer.cancel, answer.settle, answer.superseded) == ((), (), (), ())


def test_a_lost_outcome_is_taken_from_the_hello() -> None:
    place = KnownPlace("shop", 5, A, "failed", "health-failed")
    assert answer_hello([LiveAttempt(A, "shop", 5)], [place], {"shop": 5}).settle == (place,)


def test_a_cancel_is_told_again_whether_the_attempt_is_known_or_not() -> None:
    live = [LiveAttempt(A, "shop", 5, is_cancel_requested=True)]
    for places in ([], [KnownPlace("shop", 5, A)]):
        answer = answer_hello(live, places, {"shop": 5})
        assert (answer.cancel, answer.send) == ((A,), ())


def test_a_database_set_back_in_time_learns_from_the_agent() -> None:
    answer = answer_hello([LiveAttempt(A, "shop", 5)], [KnownPlace("shop", 7, B, "succeeded")], {"shop": 5})
    assert answer.superseded == (A,)
    assert answer.generations == {"shop": 7}


@given(
    st.lists(st.tuples(st.sampled_from("abc"), st.integers(1, 9), st.booleans()), unique_by=lambda one: one[0]),
    st.lists(
        st.tuples(st.sampled_from("abc"), st.integers(1, 9), st.sampled_from([None, "succeeded", "failed"])), unique_by=lambda one: one[0]
    ),
)
def test_every_live_attempt_gets_at_most_one_answer(live: list[tuple[str, int, bool]], places: list[tuple[str, int, str | None]]) -> None:
    attempts = [LiveAttempt(clock.new_id(), prefix, generation, cancel) for prefix, generation, cancel in live]
    known = [KnownPlace(prefix, generation, B, outcome) for prefix, generation, outcome in places]
    answer = answer_hello(attempts, known, {prefix: generation for prefix, generation, _ in live})
    answered = [*answer.send, *answer.cancel, *answer.superseded]
    assert len(answered) == len(set(answered))
    assert set(answered) == {attempt.id for attempt in attempts}


def test_a_refusal_ends_a_live_attempt_unless_a_fresh_copy_helps() -> None:
    assert react_to_refusal(APPLY, "policy-denied", is_live=True) is Reaction.SETTLE
    assert react_to_refusal(APPLY, "superseded", is_live=True) is Reaction.SETTLE
    assert react_to_refusal(APPLY, "policy-denied", is_live=False) is Reaction.NOTE
    for code in ("stale-epoch", "expired"):
        assert react_to_refusal(APPLY, code, is_live=True) is Reaction.SEND_AGAIN
        assert react_to_refusal(CANCEL, code, is_live=True) is Reaction.SEND_AGAIN
    assert react_to_refusal(CANCEL, "superseded", is_live=True) is Reaction.NOTE
    assert react_to_refusal("deployer.node.welcome.v1", "stale-epoch", is_live=True) is Reaction.NOTE


def test_an_attempt_expires_by_what_it_waited_for() -> None:
    assert expiry_of(is_past_deadline=True, is_sent=True, is_cancel_overdue=False) is Expiry.TIMED_OUT
    assert expiry_of(is_past_deadline=True, is_sent=False, is_cancel_overdue=False) is Expiry.NODE_UNREACHABLE
    assert expiry_of(is_past_deadline=False, is_sent=True, is_cancel_overdue=True) is Expiry.CANCEL_ABANDONED
    assert expiry_of(is_past_deadline=False, is_sent=True, is_cancel_overdue=False) is None
