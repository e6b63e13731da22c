"""The chain's rules, with values."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nacl.signing import SigningKey

from services.audit import chain
from services.audit.domain import Checkpoint, Tail
from tests.unit.services.audit.samples import AT, TEAM, documents, fact


def walked(found: list[chain.Document], expected: dict[int, str] | None = None) -> chain.Walk:
    walk = chain.Walk(after=Tail(0, chain.GENESIS), expected=expected)
    for document in found:
        walk.take(document)
    return walk


def test_an_untouched_chain_is_valid_from_its_export_alone() -> None:
    finding = walked(documents(20)).finding()
    assert (finding.valid, finding.entries, finding.first, finding.last) == (True, 20, 1, 20)


def test_an_empty_chain_is_valid() -> None:
    assert walked([]).finding().valid


@given(place=st.integers(0, 9), field=st.sampled_from(sorted(documents(1)[0])), data=st.data())
def test_any_change_to_any_field_of_any_entry_is_found_where_it_is(place: int, field: str, data: Any) -> None:
    found = documents(10)
    found[place] = copy.deepcopy(found[place])
    old = found[place][field]
    found[place][field] = data.draw(
        st.one_of(st.integers(-5, 10_000), st.text(), st.none(), st.booleans()).filter(lambda value: value != old)
    )
    walk = walked(found)
    assert walk.broken_at is not None
    assert walk.broken_at <= place + 2


@pytest.mark.parametrize("place", [0, 4, 9])
def test_a_removed_entry_is_found(place: int) -> None:
    found = documents(11)
    del found[place]
    finding = walked(found).finding()
    assert (finding.valid, finding.broken_at, finding.reason) == (False, place + 1, "entry-missing")


def test_two_entries_that_changed_places_are_found() -> None:
    found = documents(5)
    found[2], found[3] = found[3], found[2]
    assert walked(found).broken_at == 3


def test_a_rewritten_chain_with_right_hashes_differs_from_its_checkpoint() -> None:
    true, rewritten = documents(5), documents(5)
    assert walked(rewritten).finding().valid
    finding = walked(rewritten, expected={3: true[2]["hash"]}).finding()
    assert (finding.valid, finding.broken_at, finding.reason) == (False, 3, "checkpoint-differs")


def test_entries_that_were_signed_and_are_gone_are_missed() -> None:
    found = documents(5)
    expected = {5: found[4]["hash"]}
    finding = chain.finish(walked(found[:3], expected), expected, None, whole=True)
    assert (finding.valid, finding.broken_at, finding.reason) == (False, 4, "entries-missing-at-the-end")


def checkpoints(key: SigningKey, count: int) -> list[chain.Document]:
    made: list[Checkpoint] = []
    for number in range(1, count + 1):
        blank = Checkpoint(team_id=TEAM, sequence=0, number=0, hash="", at=AT, previous="", key="")
        made.append(chain.next_checkpoint(made[-1] if made else None, Tail(number * 10, f"{number:064x}"), blank, key))
    return [chain.checkpoint_document(one) for one in made]


def test_checkpoints_say_which_hash_a_number_had() -> None:
    key = SigningKey.generate()
    assert chain.signed_hashes(checkpoints(key, 3), key.verify_key) == ({10: f"{1:064x}", 20: f"{2:064x}", 30: f"{3:064x}"}, None)


def test_a_changed_checkpoint_is_refused() -> None:
    key = SigningKey.generate()
    found = checkpoints(key, 2)
    found[1]["hash"] = "f" * 64
    assert chain.signed_hashes(found, key.verify_key)[1] == "checkpoint-signature-wrong"


def test_a_removed_checkpoint_is_missed() -> None:
    key = SigningKey.generate()
    found = checkpoints(key, 3)
    del found[1]
    assert chain.signed_hashes(found, key.verify_key)[1] == "checkpoint-missing"


def test_a_checkpoint_of_another_key_proves_nothing() -> None:
    found = checkpoints(SigningKey.generate(), 2)
    assert chain.signed_hashes(found, SigningKey.generate().verify_key) == ({}, None)


def test_an_entry_with_a_number_that_json_cannot_hold_is_refused() -> None:
    with pytest.raises(ValueError, match="Out of range"):
        chain.append(None, [fact(after={"x": float("nan")})], AT)
