"""What the agent knows across its own death: works, places and outgoing reports, in SQLite on the node."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any
from uuid import UUID

from kernel import clock
from kernel.errors import Unavailable

_SCHEMA = """
CREATE TABLE IF NOT EXISTS facts (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS places (prefix TEXT PRIMARY KEY, generation INTEGER NOT NULL, attempt_id TEXT) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS works (
  number INTEGER PRIMARY KEY AUTOINCREMENT,
  id TEXT NOT NULL UNIQUE,
  kind TEXT NOT NULL,
  prefix TEXT NOT NULL,
  generation INTEGER NOT NULL,
  body BLOB,
  received_at REAL NOT NULL,
  phase TEXT NOT NULL,
  cancel TEXT,
  memory TEXT,
  outcome TEXT,
  code TEXT,
  detail TEXT,
  finished TEXT,
  finished_at REAL
);
CREATE INDEX IF NOT EXISTS works_unfinished ON works (number) WHERE phase <> 'finished';
CREATE TABLE IF NOT EXISTS reports (
  sequence INTEGER PRIMARY KEY,
  id TEXT NOT NULL,
  kind TEXT NOT NULL,
  body BLOB NOT NULL,
  confirmed_at REAL
);
CREATE INDEX IF NOT EXISTS reports_pending ON reports (sequence) WHERE confirmed_at IS NULL;
"""
_SEQUENCE_BLOCK = 1000
# A confirmed report is kept this long, for a broker that loses what it had.
KEPT_REPORT_SECONDS = 3600.0
KEPT_WORK_SECONDS = 30 * 86_400.0
_MOST_PROGRESS = 2000
# Reports of which only the outcome matters later: they go when they are confirmed.
PASSING = ("agent.deployment.progressed", "agent.containers.observed")


class Phase(StrEnum):
    """How far a work is. Before COMMITTED everything can be undone; from there on it only goes forward."""

    ACCEPTED = "accepted"
    PREPARED = "prepared"
    COMMITTED = "committed"
    UNDOING = "undoing"
    FINISHED = "finished"


class Kind(StrEnum):
    APPLY = "apply"
    REMOVE = "remove"


@dataclass(frozen=True, kw_only=True)
class Work:
    """A command that takes time: an attempt (its id) or the removal of a place (the command's id)."""

    id: UUID
    kind: Kind
    prefix: str
    generation: int
    body: bytes = b""
    received_at: float = 0.0  # seconds since 1970
    phase: Phase = Phase.ACCEPTED
    cancel: str | None = None
    memory: str | None = None
    outcome: str | None = None
    code: str | None = None
    detail: str | None = None
    finished: str | None = None


@dataclass(frozen=True, kw_only=True)
class Place:
    """The highest generation seen at a prefix, and the attempt that was accepted last."""

    prefix: str
    generation: int
    attempt_id: UUID | None = None


@dataclass(frozen=True, kw_only=True)
class Report:
    """A signed report on its way out."""

    sequence: int
    id: str
    kind: str  # the message's name without version
    body: bytes


_COLUMNS = (
    "id", "kind", "prefix", "generation", "body", "received_at", "phase", "cancel", "memory", "outcome", "code", "detail", "finished",
)  # fmt: skip
# Built of the names above only.
_SELECT = f"SELECT {', '.join(_COLUMNS)} FROM works"  # noqa: S608
_INSERT = f"INSERT INTO works ({', '.join(_COLUMNS)}, finished_at) VALUES ({', '.join('?' * (len(_COLUMNS) + 1))})"  # noqa: S608


def _work(row: Sequence[Any]) -> Work:  # Any: SQLite gives untyped columns
    values = dict(zip(_COLUMNS, row, strict=True))
    values |= {"id": UUID(values["id"]), "kind": Kind(values["kind"]), "phase": Phase(values["phase"]), "body": values["body"] or b""}
    return Work(**values)


class Journal:
    """One file, one connection behind a lock. What is written durably has reached the disk when the call returns."""

    def __init__(self, path: Path) -> None:
        self._lock = threading.RLock()
        self._db = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=10)
        self._db.execute("PRAGMA journal_mode=WAL")
        self._db.executescript(_SCHEMA)

    def close(self) -> None:
        with self._lock:
            self._db.close()

    @contextmanager
    def _transaction(self, *, durable: bool = True) -> Iterator[sqlite3.Connection]:
        with self._lock:
            # Without FULL a commit is safe against our own death, not against a power cut: enough for what only passes.
            try:
                self._db.execute(f"PRAGMA synchronous={'FULL' if durable else 'NORMAL'}")
                self._db.execute("BEGIN IMMEDIATE")
                yield self._db
                self._db.execute("COMMIT")
            except sqlite3.OperationalError as error:
                raise Unavailable(f"The agent's journal cannot be written: {error}", code="journal-unavailable") from error
            finally:
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")

    # -- facts ------------------------------------------------------------------------------------

    def _fact(self, name: str, default: int) -> int:
        row = self._db.execute("SELECT value FROM facts WHERE name = ?", (name,)).fetchone()
        return int(row[0]) if row else default

    def epoch(self) -> int:
        """The epoch that the last welcome gave, 0 before the first."""
        with self._lock:
            return self._fact("epoch", 0)

    def set_epoch(self, epoch: int) -> None:
        with self._transaction() as db:
            db.execute("INSERT OR REPLACE INTO facts VALUES ('epoch', ?)", (str(epoch),))

    def reserve_sequences(self) -> range:
        """A block of numbers that no other call has given or will give."""
        with self._transaction() as db:
            first = self._fact("sequence", 1)
            db.execute("INSERT OR REPLACE INTO facts VALUES ('sequence', ?)", (str(first + _SEQUENCE_BLOCK),))
        return range(first, first + _SEQUENCE_BLOCK)

    # -- places -----------------------------------------------------------------------------------

    def place(self, prefix: str) -> Place | None:
        with self._lock:
            row = self._db.execute("SELECT prefix, generation, attempt_id FROM places WHERE prefix = ?", (prefix,)).fetchone()
        return Place(prefix=row[0], generation=row[1], attempt_id=UUID(row[2]) if row[2] else None) if row else None

    def places(self) -> list[tuple[Place, Work | None]]:
        """Every place with the attempt that was accepted last."""
        with self._lock:
            rows = self._db.execute("SELECT prefix, generation, attempt_id FROM places ORDER BY prefix").fetchall()
            found = []
            for prefix, generation, attempt in rows:
                place = Place(prefix=prefix, generation=generation, attempt_id=UUID(attempt) if attempt else None)
                found.append((place, self.work(place.attempt_id) if place.attempt_id else None))
            return found

    def raise_generation(self, prefix: str, generation: int) -> None:
        """Remember that only `generation` and newer ones may act at the place."""
        with self._transaction() as db:
            self._raise(db, prefix, generation)

    @staticmethod
    def _raise(db: sqlite3.Connection, prefix: str, generation: int) -> None:
        db.execute(
            "INSERT INTO places (prefix, generation) VALUES (?, ?) "
            "ON CONFLICT (prefix) DO UPDATE SET generation = max(generation, excluded.generation)",
            (prefix, generation),
        )

    # -- works ------------------------------------------------------------------------------------

    def work(self, work_id: UUID) -> Work | None:
        with self._lock:
            row = self._db.execute(f"{_SELECT} WHERE id = ?", (str(work_id),)).fetchone()
        return _work(row) if row else None

    def removal(self, prefix: str, generation: int) -> Work | None:
        """The newest order of `generation` to clear the place."""
        with self._lock:
            row = self._db.execute(
                f"{_SELECT} WHERE prefix = ? AND generation = ? AND kind = 'remove' ORDER BY number DESC LIMIT 1", (prefix, generation)
            ).fetchone()
        return _work(row) if row else None

    def accept(self, work: Work) -> list[UUID]:
        """Take a work on. Older unfinished attempts at its place are told to give way: their ids are returned."""
        with self._transaction() as db:
            self._raise(db, work.prefix, work.generation)
            if work.kind is Kind.APPLY:
                db.execute("UPDATE places SET attempt_id = ? WHERE prefix = ?", (str(work.id), work.prefix))
            rows = db.execute(
                "UPDATE works SET cancel = 'superseded' WHERE prefix = ? AND kind = 'apply' AND phase IN ('accepted', 'prepared') "
                "AND cancel IS NULL RETURNING id",
                (work.prefix,),
            ).fetchall()
            self._insert(db, work)
        return [UUID(row[0]) for row in rows]

    def record_refused(self, work: Work, reports: Iterable[Report] = ()) -> None:
        """Remember a command that was refused at the door, so that its copy gets the same answer."""
        with self._transaction() as db:
            self._insert(db, work)
            self._put(db, reports)

    @staticmethod
    def _insert(db: sqlite3.Connection, work: Work) -> None:
        finished_at = clock.now().timestamp() if work.phase is Phase.FINISHED else None
        db.execute(
            _INSERT,
            (
                str(work.id), work.kind, work.prefix, work.generation, work.body, work.received_at, work.phase, work.cancel,
                work.memory, work.outcome, work.code, work.detail, work.finished, finished_at,
            ),
        )  # fmt: skip

    def unfinished(self) -> list[Work]:
        """What is to be done, oldest first."""
        with self._lock:
            rows = self._db.execute(f"{_SELECT} WHERE phase <> 'finished' ORDER BY number").fetchall()
        return [_work(row) for row in rows]

    def working_on(self) -> list[UUID]:
        """The unfinished attempts."""
        with self._lock:
            rows = self._db.execute("SELECT id FROM works WHERE phase <> 'finished' AND kind = 'apply' ORDER BY number").fetchall()
        return [UUID(row[0]) for row in rows]

    def prepare(self, work_id: UUID, memory: str, reports: Iterable[Report] = ()) -> None:
        """Remember what was there, before anything is touched."""
        with self._transaction() as db:
            db.execute("UPDATE works SET phase = 'prepared', memory = ? WHERE id = ?", (memory, str(work_id)))
            self._put(db, reports)

    def commit(self, work_id: UUID, reports: Iterable[Report] = ()) -> bool:
        """Pass the point of no return. False when the work was told to stop before."""
        with self._transaction() as db:
            done = db.execute("UPDATE works SET phase = 'committed' WHERE id = ? AND cancel IS NULL", (str(work_id),))
            self._put(db, reports)
            return done.rowcount == 1

    def begin_undo(self, work_id: UUID, *, outcome: str, code: str, detail: str, reports: Iterable[Report] = ()) -> None:
        """Turn back, and remember why."""
        with self._transaction() as db:
            db.execute(
                "UPDATE works SET phase = 'undoing', outcome = ?, code = ?, detail = ? WHERE id = ?", (outcome, code, detail, str(work_id))
            )
            self._put(db, reports)

    def finish(
        self, work_id: UUID, *, outcome: str, code: str | None, detail: str | None, finished: str, reports: Iterable[Report] = ()
    ) -> None:
        """The end: the outcome and the report of it are saved together. The command, with its sealed secrets, goes."""
        with self._transaction() as db:
            db.execute(
                "UPDATE works SET phase = 'finished', outcome = ?, code = ?, detail = ?, finished = ?, finished_at = ?, "
                "body = NULL, memory = NULL WHERE id = ?",
                (outcome, code, detail, finished, clock.now().timestamp(), str(work_id)),
            )
            self._put(db, reports)

    def cancel(self, work_id: UUID, *, prefix: str, generation: int, reason: str) -> Work | None:
        """Raise the fence and tell the work to stop, if it is not past its commit point. Returns the work as it now is."""
        with self._transaction() as db:
            self._raise(db, prefix, generation)
            db.execute(
                "UPDATE works SET cancel = ? WHERE id = ? AND cancel IS NULL AND phase IN ('accepted', 'prepared')", (reason, str(work_id))
            )
        return self.work(work_id)

    # -- reports ----------------------------------------------------------------------------------

    @staticmethod
    def _put(db: sqlite3.Connection, reports: Iterable[Report]) -> None:
        rows = [(report.sequence, report.id, report.kind, report.body) for report in reports]
        db.executemany("INSERT INTO reports (sequence, id, kind, body) VALUES (?, ?, ?, ?)", rows)

    def put_reports(self, reports: Collection[Report]) -> None:
        """Queue reports. A newer look at the containers takes the place of one that waits; progress is bounded."""
        kinds = {report.kind for report in reports}
        with self._transaction(durable=not kinds <= set(PASSING)) as db:
            if "agent.containers.observed" in kinds:
                db.execute("DELETE FROM reports WHERE kind = 'agent.containers.observed' AND confirmed_at IS NULL")
            self._put(db, reports)
            db.execute(
                "DELETE FROM reports WHERE kind = 'agent.deployment.progressed' AND sequence <= (SELECT max(sequence) FROM reports) - ?",
                (_MOST_PROGRESS,),
            )

    def pending(self, limit: int = 100) -> list[Report]:
        """Reports that no broker has confirmed, in order."""
        with self._lock:
            rows = self._db.execute(
                "SELECT sequence, id, kind, body FROM reports WHERE confirmed_at IS NULL ORDER BY sequence LIMIT ?", (limit,)
            ).fetchall()
        return [Report(sequence=row[0], id=row[1], kind=row[2], body=row[3]) for row in rows]

    def confirm(self, sequences: Collection[int]) -> None:
        """The broker has them. Told a second time after a power cut, it drops them by their id."""
        now = clock.now().timestamp()
        with self._transaction(durable=False) as db:
            for sequence in sequences:
                db.execute("UPDATE reports SET confirmed_at = ? WHERE sequence = ?", (now, sequence))
            db.execute("DELETE FROM reports WHERE confirmed_at IS NOT NULL AND kind IN (?, ?)", PASSING)

    def send_again(self) -> int:
        """Queue again what was confirmed within the last hour: the broker seems to have lost it. Returns how many."""
        with self._transaction() as db:
            return db.execute("UPDATE reports SET confirmed_at = NULL WHERE confirmed_at IS NOT NULL").rowcount

    def prune(self) -> None:
        """Forget what is older than anybody asks for."""
        now = clock.now().timestamp()
        with self._transaction(durable=False) as db:
            db.execute("DELETE FROM reports WHERE confirmed_at < ?", (now - KEPT_REPORT_SECONDS,))
            db.execute(
                "DELETE FROM works WHERE finished_at < ? AND id NOT IN (SELECT attempt_id FROM places WHERE attempt_id IS NOT NULL)",
                (now - KEPT_WORK_SECONDS,),
            )
