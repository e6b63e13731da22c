"""The chain: how an entry is written down, what its hash covers, and how entries and checkpoints are verified from that alone."""

from __future__ import annotations

import base64
import binascii
import dataclasses
import hashlib
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from nacl.exceptions import BadSignatureError
from nacl.signing import SigningKey, VerifyKey

from kernel import clock, signing
from kernel.contracts.spec import canonical
from kernel.errors import Invalid
from services.audit.domain import Checkpoint, Entry, Fact, Finding, Tail

# What the first entry and the first checkpoint name as the one before them.
GENESIS = "0" * 64

Document = dict[str, Any]  # an entry or a checkpoint as JSON


def document_of(entry: Entry) -> Document:
    """An entry as the API shows it and an export holds it."""
    return {**_facts(entry), **_place(entry.number, entry.recorded_at, entry.prev_hash), "hash": entry.hash}


def _facts(fact: Fact) -> Document:
    return {
        "id": str(fact.id),
        "team_id": str(fact.team_id),
        "at": clock.rfc3339(fact.at),
        "action": fact.action,
        "actor": {"kind": fact.actor_kind, "id": fact.actor_id, "name": fact.actor_name},
        "address": fact.address,
        "resource": {"type": fact.resource_type, "id": fact.resource_id, "name": fact.resource_name},
        "outcome": fact.outcome,
        "before": fact.before,
        "after": fact.after,
        "reason": fact.reason,
        "correlation": fact.correlation,
        "source": fact.source,
        "data": fact.data,
    }


def _place(number: int, recorded_at: datetime, prev_hash: str) -> Document:
    return {"number": number, "recorded_at": clock.rfc3339(recorded_at), "prev_hash": prev_hash}


def hash_of(document: Document) -> str:
    """SHA-256 (hex) over the canonical JSON of everything in an exported entry but `hash` itself."""
    return hashlib.sha256(canonical({name: value for name, value in document.items() if name != "hash"})).hexdigest()


def append(tail: Tail | None, facts: Iterable[Fact], now: datetime) -> list[Entry]:
    """The facts as the next entries of the chain that ends in `tail`. Raises ValueError for what JSON cannot hold."""
    number, prev_hash = (tail.number, tail.hash) if tail else (0, GENESIS)
    entries = []
    for fact in facts:
        number += 1
        digest = hash_of(_facts(fact) | _place(number, now, prev_hash))
        own = {field.name: getattr(fact, field.name) for field in dataclasses.fields(Fact)}
        entries.append(Entry(**own, number=number, recorded_at=now, prev_hash=prev_hash, hash=digest))
        prev_hash = digest
    return entries


class Walk:
    """Walks entries in order and finds the first that does not fit. Begin at `after` when the walk is not from the start.

    `expected` maps numbers to the hashes that checkpoints have signed for them.
    """

    def __init__(self, after: Tail | None = None, expected: dict[int, str] | None = None) -> None:
        self._number = after.number if after else None
        self._hash = after.hash if after else None
        self._expected = expected or {}
        self.entries = 0
        self.first: int | None = None
        self.matched = 0
        self.broken_at: int | None = None
        self.reason: str | None = None

    @property
    def last(self) -> int | None:
        """The number of the last entry that fitted."""
        return self._number if self.entries else None

    def take(self, document: Document) -> bool:
        """Whether the next entry fits; once one did not, none does."""
        if self.broken_at is None:
            self.reason = self._fault(document)
            number = document.get("number")
            if self.reason is None and isinstance(number, int):
                self._number, self._hash = number, str(document["hash"])
                self.first = self.first or number
                self.entries += 1
                self.matched += number in self._expected
            else:
                self.broken_at = (self._number or 0) + 1 if self.reason == "entry-missing" or not isinstance(number, int) else number
        return self.broken_at is None

    def _fault(self, document: Document) -> str | None:
        number, prev_hash = document.get("number"), document.get("prev_hash")
        if not isinstance(number, int) or not isinstance(document.get("hash"), str):
            return "not-an-entry"
        expected_number = self._number + 1 if self._number is not None else number
        if number != expected_number:
            return "entry-missing" if number > expected_number else "entry-doubled"
        if number == 1 and prev_hash != GENESIS:
            return "chain-broken"
        if self._hash is not None and prev_hash != self._hash:
            return "chain-broken"
        if hash_of(document) != document["hash"]:
            return "entry-changed"
        if self._expected.get(number, document["hash"]) != document["hash"]:
            return "checkpoint-differs"
        return None

    def finding(self) -> Finding:
        """What was found so far."""
        return Finding(
            valid=self.broken_at is None,
            entries=self.entries,
            first=self.first,
            last=self.last,
            checkpoints=self.matched,
            broken_at=self.broken_at,
            reason=self.reason,
        )


def checkpoint_document(checkpoint: Checkpoint) -> Document:
    """A checkpoint as the API shows it; the signature covers the canonical JSON of everything else."""
    return {
        "version": 1,
        "team_id": str(checkpoint.team_id),
        "sequence": checkpoint.sequence,
        "number": checkpoint.number,
        "hash": checkpoint.hash,
        "at": clock.rfc3339(checkpoint.at),
        "previous": checkpoint.previous,
        "key": checkpoint.key,
        "signature": checkpoint.signature,
    }


def _signed_bytes(document: Document) -> bytes:
    return canonical({name: value for name, value in document.items() if name != "signature"})


def next_checkpoint(last: Checkpoint | None, tail: Tail, checkpoint: Checkpoint, key: SigningKey) -> Checkpoint:
    """`checkpoint` made the follower of `last` for the chain that ends in `tail`, and signed."""
    previous = hashlib.sha256(_signed_bytes(checkpoint_document(last))).hexdigest() if last else GENESIS
    unsigned = dataclasses.replace(
        checkpoint,
        sequence=last.sequence + 1 if last else 1,
        number=tail.number,
        hash=tail.hash,
        previous=previous,
        key=signing.to_text(key.verify_key),
    )
    signature = key.sign(_signed_bytes(checkpoint_document(unsigned))).signature
    return dataclasses.replace(unsigned, signature=base64.b64encode(signature).decode())


def signed_hashes(documents: Sequence[Document], key: VerifyKey) -> tuple[dict[int, str], str | None]:
    """What checkpoints say by entry number, and what is wrong with the first bad one. Those of another key say nothing."""
    hashes: dict[int, str] = {}
    before: Document | None = None
    for document in sorted(documents, key=lambda one: int(one.get("sequence") or 0)):
        if before is not None and document.get("sequence") == int(before["sequence"]) + 1:
            if document.get("previous") != hashlib.sha256(_signed_bytes(before)).hexdigest():
                return hashes, "checkpoint-chain-broken"
        elif before is not None:
            return hashes, "checkpoint-missing"
        before = document
        if document.get("key") != signing.to_text(key):
            continue
        if not _is_signed(document, key):
            return hashes, "checkpoint-signature-wrong"
        hashes[int(document["number"])] = str(document["hash"])
    return hashes, None


def _is_signed(document: Document, key: VerifyKey) -> bool:
    try:
        key.verify(_signed_bytes(document), base64.b64decode(str(document.get("signature")), validate=True))
    except (BadSignatureError, binascii.Error, ValueError, Invalid):
        return False
    return True


def finish(walk: Walk, expected: dict[int, str], wrong_checkpoint: str | None, *, whole: bool) -> Finding:
    """The walk's finding, with what checkpoints add: a bad one, and (of a whole chain) entries that were signed and are gone."""
    found = walk.finding()
    if not found.valid:
        return found
    if wrong_checkpoint is not None:
        return dataclasses.replace(found, valid=False, reason=wrong_checkpoint)
    furthest = max(expected, default=0)
    if whole and furthest > (found.last or 0):
        return dataclasses.replace(found, valid=False, broken_at=(found.last or 0) + 1, reason="entries-missing-at-the-end")
    return found
