"""Signatures hold for exact bytes; boxes open for one node, team and name only."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from nacl.public import PrivateKey
from nacl.signing import SigningKey

from kernel import signing
from kernel.errors import FairleadError, Forbidden, Invalid

KEY = SigningKey(bytes(range(32)))
SEALING = PrivateKey(bytes(range(32, 64)))
BODY = json.dumps({"type": "deployer.place.remove.v1", "data": {"prefix": "shop"}}, separators=(",", ":")).encode()
JSON_OBJECTS = st.dictionaries(
    st.text(max_size=8), st.text(max_size=20) | st.integers() | st.booleans() | st.none(), min_size=1, max_size=6
)


@given(JSON_OBJECTS)
def test_what_was_signed_is_read_back_to_the_byte(document: dict[str, object]) -> None:
    unsigned = json.dumps(document, separators=(",", ":"), ensure_ascii=False).encode("utf-8", "replace")
    signed = signing.sign_body(KEY, unsigned)
    assert signing.verify_body(KEY.verify_key, signed) == unsigned
    whole = json.loads(signed)
    assert whole.pop("signature")
    assert whole == json.loads(unsigned) or "signature" in document


@given(st.data())
def test_a_change_of_any_byte_is_refused(data: st.DataObject) -> None:
    signed = signing.sign_body(KEY, BODY)
    position = data.draw(st.integers(0, len(signed) - 1))
    byte = data.draw(st.integers(0, 255))
    assume(signed[position] != byte)
    with pytest.raises(Forbidden) as refused:
        signing.verify_body(KEY.verify_key, signed[:position] + bytes([byte]) + signed[position + 1 :])
    assert refused.value.code in ("signature-missing", "signature-wrong")


@given(st.binary(max_size=400))
def test_rubbish_is_refused_and_never_breaks(body: bytes) -> None:
    with pytest.raises(Forbidden):
        signing.verify_body(KEY.verify_key, body)


@given(st.integers(0, 200))
def test_a_shortened_message_is_refused(length: int) -> None:
    signed = signing.sign_body(KEY, BODY)
    assume(length < len(signed))
    with pytest.raises(Forbidden):
        signing.verify_body(KEY.verify_key, signed[:length])


def test_bytes_added_behind_are_refused() -> None:
    with pytest.raises(Forbidden):
        signing.verify_body(KEY.verify_key, signing.sign_body(KEY, BODY) + b" ")


def test_a_message_without_a_signature_says_so() -> None:
    with pytest.raises(Forbidden) as refused:
        signing.verify_body(KEY.verify_key, BODY)
    assert refused.value.code == "signature-missing"


def test_another_key_is_refused() -> None:
    with pytest.raises(Forbidden) as refused:
        signing.verify_body(SigningKey.generate().verify_key, signing.sign_body(KEY, BODY))
    assert refused.value.code == "signature-wrong"


def test_a_signature_in_the_middle_does_not_count() -> None:
    inside = signing.sign_body(KEY, BODY)[:-1] + b',"more":1}'
    with pytest.raises(Forbidden):
        signing.verify_body(KEY.verify_key, inside)


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=200))
def test_a_secret_opens_on_its_node(value: str) -> None:
    box = signing.seal(SEALING.public_key, team="t", node="n", name="TOKEN", value=value)
    assert signing.open_sealed(SEALING, box, team="t", node="n", name="TOKEN") == value


@pytest.mark.parametrize("place", [("x", "n", "TOKEN"), ("t", "x", "TOKEN"), ("t", "n", "OTHER")])
def test_a_box_for_another_team_node_or_name_is_refused(place: tuple[str, str, str]) -> None:
    box = signing.seal(SEALING.public_key, team="t", node="n", name="TOKEN", value="hunter2")
    with pytest.raises(Forbidden) as refused:
        signing.open_sealed(SEALING, box, team=place[0], node=place[1], name=place[2])
    assert refused.value.code == "secret-swapped"
    assert "hunter2" not in str(refused.value)


@pytest.mark.parametrize("box", ["", "AAAA", "not base64!", base64.b64encode(bytes(100)).decode()])
def test_what_is_no_box_is_unreadable(box: str) -> None:
    with pytest.raises(Forbidden) as refused:
        signing.open_sealed(SEALING, box, team="t", node="n", name="TOKEN")
    assert refused.value.code == "secret-unreadable"


def test_another_nodes_key_does_not_open_a_box() -> None:
    box = signing.seal(SEALING.public_key, team="t", node="n", name="TOKEN", value="x")
    with pytest.raises(Forbidden) as refused:
        signing.open_sealed(PrivateKey.generate(), box, team="t", node="n", name="TOKEN")
    assert refused.value.code == "secret-unreadable"


def test_keys_are_read_as_they_were_written(tmp_path: Path) -> None:
    assert signing.verify_key(signing.to_text(KEY.verify_key)) == KEY.verify_key
    assert signing.seal_key(signing.to_text(SEALING.public_key)) == SEALING.public_key
    file = tmp_path / "seed"
    file.write_text(base64.b64encode(bytes(KEY)).decode() + "\n")
    assert signing.load_signing_key(file) == KEY


@pytest.mark.parametrize("text", ["", "AAAA", "ä", "!!", base64.b64encode(bytes(33)).decode()])
def test_a_key_that_is_none_is_invalid(text: str) -> None:
    for read in (signing.verify_key, signing.seal_key):
        with pytest.raises(Invalid):
            read(text)


@pytest.mark.parametrize("point", [bytes(32), b"\x01" + bytes(31)])
def test_a_key_that_nothing_can_be_sealed_to_is_invalid(point: bytes) -> None:
    with pytest.raises(Invalid):
        signing.seal_key(base64.b64encode(point).decode())


@pytest.mark.parametrize("content", ["", "AAAA", "not base64!"])
def test_a_seed_file_that_holds_no_seed_is_named(tmp_path: Path, content: str) -> None:
    file = tmp_path / "seed"
    file.write_text(content)
    with pytest.raises(FairleadError, match="seed"):
        signing.load_signing_key(file)


def test_a_missing_seed_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(FairleadError, match="nowhere"):
        signing.load_signing_key(tmp_path / "nowhere")
