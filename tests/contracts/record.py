"""Records what messages look like: `python -m tests.contracts.record` after a message was added or an optional field grew.

It refuses what needs a new version. `--before-release` records anything, and is for types that no released version sends.
"""

from __future__ import annotations

import hashlib
import json
import sys
from typing import Any

from kernel.contracts.spec import canonical
from tests.contracts import catalogue, index, shapes

Record = dict[str, dict[str, Any]]  # type -> {"sha256", "minimal", "fields"}. Any: JSON


def present() -> Record:
    """What the code and the samples say now."""
    record: Record = {}
    for full, schema in catalogue.message_types().items():
        shape = shapes.shape_of(schema)
        minimal = hashlib.sha256(canonical(catalogue.read(full, "minimal"))).hexdigest()
        record[full] = {"sha256": shapes.fingerprint(shape), "minimal": minimal, "fields": shape}
    return record


def recorded() -> Record:
    """What was recorded."""
    if not catalogue.FINGERPRINTS.exists():
        return {}
    record: Record = json.loads(catalogue.FINGERPRINTS.read_text(encoding="utf-8"))
    return record


def refusals(before: Record, after: Record) -> list[str]:
    """Why `after` may not replace `before`."""
    wrong = [f"{full}: a message that was sent once must stay readable" for full in before if full not in after]
    for full in before.keys() & after.keys():
        wrong += [f"{full}: {reason}; make a new version" for reason in shapes.breaks(before[full]["fields"], after[full]["fields"])]
        if before[full]["minimal"] != after[full]["minimal"]:
            wrong.append(f"{full}: its minimal.json was edited; old messages look like it for ever")
    return sorted(wrong)


def main(arguments: list[str]) -> int:
    """Record the present, or say why not."""
    after = present()
    wrong = [] if "--before-release" in arguments else refusals(recorded(), after)
    if wrong:
        sys.stderr.write("\n".join(wrong) + "\n")
        return 1
    catalogue.FINGERPRINTS.write_text(json.dumps(after, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    index.write()
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
