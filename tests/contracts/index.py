"""The index of messages, docs/messages/README.md: who sends and who reads what, from the topology itself."""

from __future__ import annotations

from kernel.contracts.recorded import Recorded
from kernel.messaging import topology
from tests.contracts import catalogue
from tests.contracts.catalogue import Kind

TARGET = catalogue.DOCUMENTS / "README.md"
_HEAD = """# Messages

Every message between the parts; `python -m tests.contracts.record` writes this page. Each is a CloudEvents 1.0 document in JSON.
A folder holds two samples: `minimal.json` has what is required, `full.json` has every field. They are documentation and test data at once.

- A reader ignores fields that it does not know. A writer is strict.
- An optional field with a default keeps the version. Anything removed, renamed, retyped or given a new meaning is a new version beside
  the old one. `fingerprints.json` records every shape, and a test fails when one changes without a version.
- A released `minimal.json` is never edited.
- Commands and reports are signed: the sender appends `,"signature":"<86 characters of base64url>"` as the last member, an Ed25519
  signature over the exact bytes before it was added. The samples show what is signed.
- `time` is the sender's, in UTC. `correlation` is the id of the request that began it all, `causation` the id of the message
  that led to this one.

"""
_TITLES = {
    Kind.EVENT: "Events (virtual host `core`, exchange `<sender>.events`, the type is the routing key)",
    Kind.COMMAND: "Commands (virtual host `agents`, exchange `commands`, the node's id is the routing key; signed)",
    Kind.REPORT: "Reports (virtual host `agents`, exchange `node.<node id>.reports`; signed)",
}


def readers(full: str, kind: Kind) -> list[str]:
    """Who gets a message of this type."""
    if kind is Kind.COMMAND:
        return ["agent"]
    if kind is Kind.REPORT:
        return sorted(queue.split(".")[0] for queue in topology.AGENT_QUEUES)
    sender = full.split(".")[0]
    found = {
        queue.split(".")[0]
        for queue, sources in topology.CORE_QUEUES.items()
        for exchange, pattern in sources
        if exchange == topology.events_exchange(sender) and matches(pattern, full)
    }
    return [*sorted(found), "gateway (live)"]


def matches(pattern: str, key: str) -> bool:
    """Does a topic binding match a routing key, as RabbitMQ sees it?"""
    return _match(pattern.split("."), key.split("."))


def _match(pattern: list[str], words: list[str]) -> bool:
    if not pattern:
        return not words
    if pattern[0] == "#":
        return _match(pattern[1:], words) or (bool(words) and _match(pattern, words[1:]))
    return bool(words) and pattern[0] in ("*", words[0]) and _match(pattern[1:], words[1:])


def text() -> str:
    """The whole page."""
    parts = [_HEAD]
    types = catalogue.message_types()
    for kind, title in _TITLES.items():
        parts.append(f"## {title}\n\n| type | sent by | read by | says |\n| --- | --- | --- | --- |\n")
        for full, schema in types.items():
            if catalogue.kind_of(full, schema) is kind:
                place = catalogue.folder(full).relative_to(catalogue.DOCUMENTS)
                about = "a change, or a refused try" if schema.kind is Recorded else (schema.kind.__doc__ or "").strip().splitlines()[0]
                parts.append(f"| [`{full}`]({place}) | {full.split('.')[0]} | {', '.join(readers(full, kind))} | {about} |\n")
        parts.append("\n")
    return "".join(parts).rstrip() + "\n"


def write() -> None:
    TARGET.write_text(text(), encoding="utf-8")
