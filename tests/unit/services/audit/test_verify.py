"""The offline verifier, on files."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from nacl.signing import SigningKey

from kernel import signing
from services.audit import chain, exports, verify
from services.audit.domain import Checkpoint, Tail
from tests.unit.services.audit.samples import AT, TEAM, documents


def write(path: Path, found: list[chain.Document]) -> Path:
    path.write_text("".join(exports.ndjson(found)), encoding="utf-8")
    return path


def test_a_true_export_verifies_with_its_checkpoints(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found, key = documents(30), SigningKey.generate()
    blank = Checkpoint(team_id=TEAM, sequence=0, number=0, hash="", at=AT, previous="", key="")
    signed = chain.checkpoint_document(chain.next_checkpoint(None, Tail(20, found[19]["hash"]), blank, key))
    (tmp_path / "checkpoints.json").write_text(json.dumps({"items": [signed], "next_cursor": None}))
    arguments = [
        str(write(tmp_path / "export.ndjson", found)),
        str(tmp_path / "checkpoints.json"),
        "--key",
        signing.to_text(key.verify_key),
    ]
    assert verify.main(arguments) == 0
    assert json.loads(capsys.readouterr().out) == {
        "valid": True, "entries": 30, "first": 1, "last": 30, "checkpoints": 1, "broken_at": None, "reason": None,
    }  # fmt: skip


def test_a_changed_export_fails_and_says_where(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = documents(10)
    found[6]["reason"] = "another story"
    assert verify.main([str(write(tmp_path / "export.ndjson", found))]) == 1
    assert json.loads(capsys.readouterr().out)["broken_at"] == 7


def test_checkpoints_of_an_unknown_key_are_refused(tmp_path: Path) -> None:
    found, key = documents(3), SigningKey.generate()
    blank = Checkpoint(team_id=TEAM, sequence=0, number=0, hash="", at=AT, previous="", key="")
    signed = chain.checkpoint_document(chain.next_checkpoint(None, Tail(3, found[2]["hash"]), blank, SigningKey.generate()))
    (tmp_path / "checkpoints.json").write_text(json.dumps([signed]))
    finding = verify.verify_files(write(tmp_path / "x", found), tmp_path / "checkpoints.json", signing.to_text(key.verify_key))
    assert (finding.valid, finding.reason) == (False, "checkpoint-key-unknown")


def test_a_part_of_a_chain_verifies_by_itself(tmp_path: Path) -> None:
    finding = verify.verify_files(write(tmp_path / "x", documents(10)[4:8]), None, None)
    assert (finding.valid, finding.first, finding.last) == (True, 5, 8)


def test_what_is_no_export_cannot_be_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "x").write_text("not json\n")
    assert verify.main([str(tmp_path / "x")]) == 2
    assert "cannot be read" in capsys.readouterr().err


def test_a_cell_is_never_run_as_a_formula() -> None:
    found = documents(1)
    found[0]["reason"] = "=cmd()"
    assert "'=cmd()" in "".join(exports.as_csv(found))
