"""Verifies an export without any server: `python -m services.audit.verify export.ndjson [checkpoints.json --key KEY]`."""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
from collections.abc import Iterator
from pathlib import Path

from kernel import signing
from kernel.errors import Invalid
from services.audit import chain
from services.audit.domain import Finding, Tail


def verify_files(export: Path, checkpoints: Path | None, key: str | None) -> Finding:
    """The finding for an export. With checkpoints, `key` (base64) is the key that you know to be the service's. Raises Invalid, OSError."""
    signed: dict[int, str] = {}
    wrong: str | None = None
    if checkpoints is not None and key is not None:
        found = json.loads(checkpoints.read_text(encoding="utf-8"))
        items = found["items"] if isinstance(found, dict) else found
        signed, wrong = chain.signed_hashes(items, signing.verify_key(key))
        if items and not signed and wrong is None:
            wrong = "checkpoint-key-unknown"
    first = next(_documents(export), None)
    whole = first is None or first.get("number") == 1
    walk = chain.Walk(after=Tail(0, chain.GENESIS) if whole else None, expected=signed)
    for document in _documents(export):
        if not walk.take(document):
            break
    return chain.finish(walk, signed, wrong, whole=whole)


def _documents(path: Path) -> Iterator[chain.Document]:
    with path.open(encoding="utf-8") as lines:
        for line in lines:
            if line.strip():
                document = json.loads(line)
                yield document if isinstance(document, dict) else {}


def main(arguments: list[str]) -> int:
    """0 when the export is whole and true, 1 when it is not, 2 when it cannot be read."""
    parser = argparse.ArgumentParser(prog="python -m services.audit.verify", description=__doc__)
    parser.add_argument("export", type=Path, help="an NDJSON export without filters")
    parser.add_argument("checkpoints", type=Path, nargs="?", help="what GET …/audit/checkpoints answered, fetched before the export")
    parser.add_argument("--key", help="the verification key (base64) that signs checkpoints, from a source that you trust")
    given = parser.parse_args(arguments)
    if (given.checkpoints is None) != (given.key is None):
        parser.error("checkpoints and --key go together")
    try:
        finding = verify_files(given.export, given.checkpoints, given.key)
    except (OSError, ValueError, KeyError, TypeError, Invalid) as error:
        sys.stderr.write(f"cannot be read: {error}\n")
        return 2
    sys.stdout.write(json.dumps(dataclasses.asdict(finding)) + "\n")
    return 0 if finding.valid else 1


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
