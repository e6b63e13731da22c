"""Encryption at rest: what is sealed opens only in its own place, and keys can be replaced."""

from __future__ import annotations

import base64
import os
from pathlib import Path

import pytest

from kernel.errors import Invalid
from kernel.keyring import KeyRing, Undecipherable

OLD, NEW = os.urandom(32), os.urandom(32)


def test_what_was_encrypted_is_read_back_and_never_looks_the_same_twice() -> None:
    ring = KeyRing({"a": OLD})
    texts = {ring.encrypt(b"hunter2", "registry:1") for _ in range(5)}
    assert len(texts) == 5
    assert {ring.decrypt(text, "registry:1") for text in texts} == {b"hunter2"}
    assert all("hunter2" not in text for text in texts)


def test_a_text_moved_to_another_place_does_not_open() -> None:
    ring = KeyRing({"a": OLD})
    text = ring.encrypt(b"x", "registry:1")
    with pytest.raises(Undecipherable):
        ring.decrypt(text, "registry:2")


@pytest.mark.parametrize(
    "change",
    [lambda t: t[:-4] + ("AAAA" if t[-4:] != "AAAA" else "BBBB"), lambda t: t.replace(".a.", ".b."), lambda t: "", lambda t: t[:20]],
)
def test_a_changed_text_does_not_open(change) -> None:  # type: ignore[no-untyped-def]  # a lambda of the table above
    ring = KeyRing({"a": OLD, "b": NEW})
    text = ring.encrypt(b"x" * 40, "registry:1")
    with pytest.raises(Undecipherable):
        ring.decrypt(change(text), "registry:1")


def test_after_a_rotation_old_texts_open_and_new_ones_use_the_new_key() -> None:
    old = KeyRing({"a": OLD}).encrypt(b"x", "c")
    ring = KeyRing({"b": NEW, "a": OLD})
    assert ring.decrypt(old, "c") == b"x"
    assert not ring.is_current(old)
    assert ring.is_current(ring.encrypt(b"x", "c"))
    with pytest.raises(Undecipherable):
        KeyRing({"b": NEW}).decrypt(old, "c")


def test_a_file_holds_one_key_a_line_and_the_first_encrypts(tmp_path: Path) -> None:
    file = tmp_path / "ring"
    file.write_text(f"# ring\nnew:{base64.b64encode(NEW).decode()}\n\nold:{base64.b64encode(OLD).decode()}\n")
    assert KeyRing.load(file).current == "new"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a:short",
        "a:" + base64.b64encode(bytes(32)).decode(),
        "a:" + base64.b64encode(b"x" * 32).decode(),
        "a:AAAA",
        "changeme",
    ],
)
def test_a_ring_that_is_empty_short_or_a_placeholder_is_refused(tmp_path: Path, text: str) -> None:
    file = tmp_path / "ring"
    file.write_text(text)
    with pytest.raises(Invalid) as refused:
        KeyRing.load(file)
    assert refused.value.code == "settings-invalid"


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(Invalid, match="nowhere"):
        KeyRing.load(tmp_path / "nowhere")
