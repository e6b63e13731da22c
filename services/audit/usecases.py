"""What the audit log does: record, search, export, verify, and sign checkpoints."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from uuid import UUID

from nacl.signing import SigningKey, VerifyKey
from sqlalchemy.orm import Session

from kernel import clock
from kernel.db import Database
from kernel.http.paging import Page, decode_cursor, page_of
from kernel.principal import Principal
from services.audit import chain, store
from services.audit.domain import NO_TEAM, Checkpoint, Entry, Fact, Filters, Finding, Tail, is_checkpoint_due

# So many numbers of a chain are read at a time: each window is a short transaction, whatever the length of the whole.
_WINDOW = 2000
_ALL_CHECKPOINTS = 100_000

NodeKey = tuple[UUID, UUID, str]  # node, team, key


def record(db: Database, facts: Sequence[Fact], keys: Sequence[NodeKey] = ()) -> int:
    """Append the facts to their teams' chains in one transaction, each once; returns how many were new."""
    with db.system() as session:
        store.add_node_keys(session, keys)
        return _append(session, facts)


def _append(session: Session, facts: Sequence[Fact]) -> int:
    if not facts:
        return 0
    tails = store.lock_chains(session, {fact.team_id for fact in facts})
    known = store.known_ids(session, [(fact.team_id, fact.id) for fact in facts])
    fresh: dict[UUID, dict[UUID, Fact]] = {}
    for fact in facts:
        if (fact.team_id, fact.id) not in known:
            fresh.setdefault(fact.team_id, {}).setdefault(fact.id, fact)
    now = clock.now()
    entries: list[Entry] = []
    for team_id, own in fresh.items():
        entries += chain.append(tails.get(team_id), own.values(), now)
    store.add_entries(session, entries)
    return len(entries)


def record_refusal(db: Database, who: Principal, tried: str, code: str) -> None:
    """Record that somebody was refused at this very service."""
    fact = Fact(
        id=clock.new_id(),
        team_id=who.team_id or NO_TEAM,
        at=clock.now(),
        action="audit.request.refused",
        actor_kind=who.kind,
        actor_id=str(who.id),
        actor_name=who.name,
        address=who.address,
        resource_type="request",
        resource_id=tried[:256],
        resource_name=tried[:512],
        outcome="refused",
        reason=code,
        correlation=who.correlation,
        source="audit",
    )
    with db.system() as session:
        _append(session, [fact])


def search(db: Database, who: Principal, filters: Filters, *, cursor: str | None, limit: int) -> Page:
    """A page of the team's entries, newest first, as documents."""
    below = decode_cursor(cursor, int)
    with db.team(who.team) as session:
        found = store.find_newest(session, who.team, filters, below=below[0] if below else None, limit=limit + 1)
    return page_of([chain.document_of(entry) for entry in found], limit, lambda document: (document["number"],))


def export(db: Database, who: Principal, filters: Filters) -> Iterator[chain.Document]:
    """The team's entries that fit, oldest first, however many: those that were there when the export began."""
    for entry in _walk_windows(db, who.team, filters, after=0):
        yield chain.document_of(entry)


def _walk_windows(db: Database, team_id: UUID, filters: Filters, *, after: int, up_to: int | None = None) -> Iterator[Entry]:
    with db.team(team_id) as session:
        tail = store.find_tail(session, team_id)
    end = up_to if up_to is not None else (tail.number if tail else 0)
    while after < end:
        until = min(after + _WINDOW, end)
        with db.team(team_id) as session:
            found = store.find_window(session, team_id, filters, above=after, up_to=until)
        yield from found
        after = until


def verify(db: Database, who: Principal, filters: Filters, key: VerifyKey) -> Finding:
    """Recompute the team's chain (or all numbers that a time range spans) and compare it with the signed checkpoints."""
    whole = filters.start is None and filters.end is None
    with db.team(who.team) as session:
        checkpoints = [
            chain.checkpoint_document(one) for one in store.find_checkpoints(session, who.team, below=None, limit=_ALL_CHECKPOINTS)
        ]
        span = store.find_span(session, who.team, filters)
        before = store.find_tail_at(session, who.team, span[0] - 1) if span and span[0] > 1 and not whole else None
    expected, wrong = chain.signed_hashes(checkpoints, key)
    # A whole chain begins with entry 1; nothing stands before it.
    walk = chain.Walk(after=Tail(0, chain.GENESIS) if whole else before, expected=expected)
    if span is not None:
        after = 0 if whole else span[0] - 1
        for entry in _walk_windows(db, who.team, Filters(), after=after, up_to=span[1]):
            if not walk.take(chain.document_of(entry)):
                break
    return chain.finish(walk, expected, wrong, whole=whole)


def list_checkpoints(db: Database, who: Principal, *, cursor: str | None, limit: int) -> Page:
    """A page of the team's checkpoints, newest first, as documents."""
    below = decode_cursor(cursor, int)
    with db.team(who.team) as session:
        found = store.find_checkpoints(session, who.team, below=below[0] if below else None, limit=limit + 1)
    return page_of([chain.checkpoint_document(one) for one in found], limit, lambda document: (document["sequence"],))


def make_checkpoint(db: Database, who: Principal, key: SigningKey) -> chain.Document | None:
    """A checkpoint of the team's chain as it stands now; the last one again when nothing was added. None for an empty chain."""
    with db.team(who.team) as session:
        made = _make_checkpoint(session, who.team, key, only_due=False)
    return chain.checkpoint_document(made) if made else None


def make_due_checkpoints(db: Database, key: SigningKey) -> int:
    """An hourly checkpoint of every chain that has grown; returns how many were looked at."""
    with db.system() as session:
        teams: Iterable[UUID] = store.list_chains(session)
    looked_at = 0
    for team_id in teams:
        with db.system() as session:
            _make_checkpoint(session, team_id, key, only_due=True)
        looked_at += 1
    return looked_at


def _make_checkpoint(session: Session, team_id: UUID, key: SigningKey, *, only_due: bool) -> Checkpoint | None:
    last = store.find_last_checkpoint(session, team_id)
    now = clock.now()
    if only_due and not is_checkpoint_due(last, store.find_tail(session, team_id), now):
        return last
    tail = store.lock_chains(session, [team_id]).get(team_id)
    last = store.find_last_checkpoint(session, team_id)
    if tail is None or (last is not None and last.number == tail.number):
        return last
    blank = Checkpoint(team_id=team_id, sequence=0, number=0, hash="", at=now, previous="", key="")
    made = chain.next_checkpoint(last, tail, blank, key)
    store.add_checkpoint(session, made)
    return made
