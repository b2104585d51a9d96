"""The local store of everything that was ever answered and scored, so that nothing is paid twice.

SQLite in write-ahead mode, one file under `.llmops/store/`. Its promises:

- Completions are on disk when `put_completions` returns: they survive kill -9 (and, with
  `durable`, a power cut). Scores can be made again from completions without a call, so they are
  written in groups: with the next completion, after 500, before one is read and on closing.
- Nothing that was answered is replaced. Where a key is drawn anew (an old baseline, a second
  process), the later answer takes the key and the earlier one stays as a further trial; one that is
  dated a day after it was made is of a clock that ran ahead, and not later. Only a completion that
  is known by its digest alone gives way to one with a text.
- Every row carries a checksum over its key and value. A damaged row is a miss: it is set aside
  and told in `notes`, never served. A damaged file is moved beside itself and a new one begun.
- Several processes may use one store; a store of a newer llmops is refused, an older migrated.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import datetime, timedelta
from pathlib import Path
from typing import TypeAlias, TypeVar

from llmops_cli.core.errors import Unmeasured
from llmops_cli.core.ports import ScoreKey, TrialKey
from llmops_cli.core.result import Brief, Completion, Purpose, Score
from llmops_cli.stores.codec import (
    BadRecord,
    brief_bytes,
    brief_of,
    checksum,
    completion_of,
    completion_record,
    from_bytes,
    score_of,
    score_record,
    to_bytes,
)
from llmops_cli.stores.database import FILE_NAME, Columns, GuardedDatabase, Row

__all__ = ["FILE_NAME", "ResultsStore", "open_results"]

GROUP = 500
"""Scores that wait at most before they are written."""

FAST_CLOCK = timedelta(days=1)
"""No two processes take so long between making an answer and writing it."""

_PUT_COMPLETION = """
    INSERT INTO completions (request, purpose, n, origin, whole, value, checksum,
                             brief, brief_checksum)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE
    SET origin = excluded.origin, whole = 1, value = excluded.value, checksum = excluded.checksum,
        brief = excluded.brief, brief_checksum = excluded.brief_checksum
    WHERE completions.whole = 0 AND excluded.whole = 1"""
_GET_BRIEF = (
    "SELECT brief, brief_checksum FROM completions WHERE request = ? AND purpose = ? AND n = ?"
)
_GET_COMPLETION = (
    "SELECT value, checksum FROM completions WHERE request = ? AND purpose = ? AND n = ?"
)
_DROP_COMPLETION = "DELETE FROM completions WHERE request = ? AND purpose = ? AND n = ?"
_FROM_ORIGIN = (
    "SELECT n FROM completions WHERE request = ? AND purpose = ? AND origin = ? ORDER BY n"
)
_NEXT_N = "SELECT coalesce(max(n) + 1, 0) FROM completions WHERE request = ? AND purpose = ?"
_PUT_SCORE = "INSERT OR REPLACE INTO scores VALUES (?, ?, ?, ?, ?)"
_TAKE_SCORE = "INSERT OR IGNORE INTO scores VALUES (?, ?, ?, ?, ?)"
_GET_SCORE = "SELECT value, checksum FROM scores WHERE scorer = ? AND facts = ? AND output = ?"
_DROP_SCORE = "DELETE FROM scores WHERE scorer = ? AND facts = ? AND output = ?"

_QUARANTINE = "INSERT INTO quarantine VALUES (?, ?, ?)"

_Damaged: TypeAlias = tuple[str, Columns, bytes]
"""The statement that drops the row, its key and the value that was found."""
T = TypeVar("T")


@contextmanager
def open_results(folder: Path | None, *, durable: bool = False) -> Iterator[ResultsStore]:
    """The store in `folder` (created if missing); None: a private one that is gone on closing.

    `durable` waits for the disk at every write, against power cuts. A folder that cannot be
    written gives a private store and a note. Raises `Refused` for a store of a newer llmops and
    `Unmeasured` where the disk refuses.
    """
    store = ResultsStore(folder, durable=durable)
    try:
        yield store
        store.flush()
    except BaseException:
        with suppress(Unmeasured):
            store.flush()
        raise
    finally:
        store.close()


class ResultsStore:
    """A `core.ports.Results` over one SQLite file. Belongs to the thread that opened it."""

    def __init__(self, folder: Path | None, *, durable: bool = False) -> None:
        self._db = GuardedDatabase(folder, durable=durable)
        self._waiting: dict[ScoreKey, Columns] = {}
        self._damaged: list[_Damaged] = []
        self._damaged_rows = 0

    @property
    def damaged(self) -> int:
        """Damaged rows that were met so far."""
        return self._damaged_rows + len(self._damaged)

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader of the run must know about this store: damage and fallbacks."""
        notes = list(self._db.notes)
        if self._damaged_rows:
            rows = "1 row" if self._damaged_rows == 1 else f"{self._damaged_rows} rows"
            notes.append(f"{rows} of {self._db.path} were damaged: set aside and measured anew")
        if self._db.gone:
            notes.append(f"{self._db.path} was taken away during this run, which is not kept")
        return tuple(notes)

    def completions(self, keys: Iterable[TrialKey]) -> Mapping[TrialKey, Completion]:
        """Those of `keys` that are held, each with `latency` None."""
        wanted = [(key, _trial_columns(key)) for key in keys]

        def read() -> dict[TrialKey, Completion]:
            found = ((key, self._held(columns)) for key, columns in wanted)
            return {key: completion for key, completion in found if completion is not None}

        return self._read(read)

    def briefs(self, keys: Iterable[TrialKey]) -> Mapping[TrialKey, Brief]:
        """Those of `keys` that are held, without their texts."""
        wanted = [(key, _trial_columns(key)) for key in keys]

        def read() -> dict[TrialKey, Brief]:
            found = ((key, self._brief(columns)) for key, columns in wanted)
            return {key: brief for key, brief in found if brief is not None}

        return self._read(read)

    def scores(self, keys: Iterable[ScoreKey]) -> Mapping[ScoreKey, Score]:
        """Those of `keys` that are held."""
        wanted = [(key, _score_columns(key)) for key in keys]

        def read() -> dict[ScoreKey, Score]:
            found = (
                (key, self._found(_GET_SCORE, _DROP_SCORE, columns, _score))
                for key, columns in wanted
            )
            return {key: score for key, score in found if score is not None}

        if any(key in self._waiting for key, _ in wanted):
            self.flush()
        return self._read(read)

    def put_completions(self, completions: Iterable[tuple[TrialKey, Completion]]) -> None:
        """Keep `completions`; on return they are on disk, or none is where this raises."""
        rows = [(*each, _completion_row(*each)) for each in completions]

        def put() -> None:
            for key, completion, row in rows:
                self._put(key, completion, row)

        self._write(put)

    def put_score(self, key: ScoreKey, score: Score) -> None:
        """Keep `score` in place of an earlier one; it is on disk with the next group."""
        self._waiting[key] = _score_row(key, score)
        if len(self._waiting) >= GROUP:
            self.flush()

    def flush(self) -> None:
        """Write the scores that wait."""
        if self._waiting:
            self._write(lambda: None)

    def ingest(
        self,
        source: str,
        completions: Iterable[tuple[TrialKey, Completion]],
        scores: Iterable[tuple[ScoreKey, Score]],
    ) -> bool:
        """Take over what evidence or a run file holds; False where `source` was taken before.

        `source` is the digest of the whole piece. A completion that differs from the one under
        its key is a further trial and gets the next free n; an equal one collapses.
        """
        trials, marks = tuple(completions), [_score_row(*each) for each in scores]
        marker = (_blob(source),)

        def take() -> bool:
            if self._db.execute("SELECT 1 FROM ingested WHERE source = ?", marker).fetchone():
                return False
            for key, completion in trials:
                self._pool(key, completion)
            self._db.executemany(_TAKE_SCORE, marks)
            self._db.execute("INSERT INTO ingested VALUES (?)", marker)
            return True

        return self._write(take)

    def further(
        self, requests: Iterable[str], purpose: Purpose, *, beyond: int
    ) -> Mapping[str, tuple[int, ...]]:
        """The numbers, from `beyond` on, of the trials that are held of each of `requests`."""
        query = "SELECT n FROM completions WHERE request = ? AND purpose = ? AND n >= ? ORDER BY n"

        def read() -> dict[str, tuple[int, ...]]:
            found = {}
            for request in requests:
                rows = self._db.execute(query, (_blob(request), purpose, beyond)).fetchall()
                if rows:
                    found[request] = tuple(n for (n,) in rows)
            return found

        return self._read(read)

    def has_taken(self, source: str) -> bool:
        """Whether `source` was ingested before."""
        row = "SELECT 1 FROM ingested WHERE source = ?"
        return self._read(lambda: self._db.execute(row, (_blob(source),)).fetchone() is not None)

    def close(self) -> None:
        """Release the file. What waits is lost unless flushed: `open_results` flushes."""
        self._db.close()

    def _put(self, key: TrialKey, completion: Completion, row: Row) -> None:
        """Put `row`, which is `completion`, under its key; an earlier answer makes room."""
        earlier = self._held_or_swept(_trial_columns(key))
        if earlier is None or earlier.text is None or not _is_later(completion, earlier):
            self._db.execute(_PUT_COMPLETION, row)
            return
        self._db.execute(_DROP_COMPLETION, _trial_columns(key))
        self._db.execute(_PUT_COMPLETION, row)
        self._add_trial(key, earlier)

    def _pool(self, key: TrialKey, completion: Completion) -> None:
        """Put `completion` under its key, or under the next free n where another one is there."""
        request, purpose, n = _trial_columns(key)
        same_origin = self._db.execute(_FROM_ORIGIN, (request, purpose, n)).fetchall()
        for (held_n,) in same_origin:
            held = self._held_or_swept((request, purpose, held_n))
            if held is not None and held.digest == completion.digest:
                place = TrialKey(key.request, key.purpose, held_n)
                self._db.execute(_PUT_COMPLETION, _completion_row(place, completion, key.n))
                return
        if self._held_or_swept((request, purpose, n)) is None:
            self._db.execute(_PUT_COMPLETION, _completion_row(key, completion))
        else:
            self._add_trial(key, completion)

    def _add_trial(self, key: TrialKey, completion: Completion) -> None:
        """Put `completion` as a further trial of the request of `key`."""
        request, purpose, origin = _trial_columns(key)
        (n,) = self._db.execute(_NEXT_N, (request, purpose)).fetchone()
        place = TrialKey(key.request, key.purpose, n)
        self._db.execute(_PUT_COMPLETION, _completion_row(place, completion, origin))

    def _held_or_swept(self, columns: Columns) -> Completion | None:
        """The completion at `columns`; a damaged one makes room. Inside a writing transaction."""
        held = self._held(columns)
        self._sweep()
        return held

    def _held(self, columns: Columns) -> Completion | None:
        return self._found(_GET_COMPLETION, _DROP_COMPLETION, columns, _completion)

    def _brief(self, columns: Columns) -> Brief | None:
        """What a verdict needs of the completion at `columns`; of an old row, from its value."""
        row = self._db.execute(_GET_BRIEF, columns).fetchone()
        if row is None:
            return None
        content, check = row
        if isinstance(content, bytes) and check == checksum(columns, content):
            with suppress(BadRecord):
                return brief_of(content)
        held = self._held(columns)
        return None if held is None else held.brief

    def _found(
        self, get: str, drop: str, columns: Columns, parse: Callable[[bytes], T]
    ) -> T | None:
        """What stands at `columns`; a row that is not what was written counts as missing."""
        row = self._db.execute(get, columns).fetchone()
        if row is None:
            return None
        value, check = row
        if isinstance(value, bytes) and check == checksum(columns, value):
            with suppress(BadRecord):
                return parse(value)
        self._damaged.append((drop, columns, value))
        return None

    def _sweep(self) -> None:
        """Set aside the damaged rows that were met; inside a writing transaction."""
        for drop, columns, value in self._damaged:
            self._db.execute(_QUARANTINE, (drop, repr(columns), value))
            self._db.execute(drop, columns)
        self._damaged_rows += len(self._damaged)
        self._damaged.clear()

    def _read(self, read: Callable[[], T]) -> T:
        found = self._db.reading(read)
        if self._damaged:
            self._write(self._sweep)
        return found

    def _write(self, write: Callable[[], T]) -> T:
        """Do `write` in one transaction, with the scores that wait."""

        def once() -> T:
            self._db.executemany(_PUT_SCORE, self._waiting.values())
            return write()

        result = self._db.writing(once)
        self._waiting.clear()
        return result


def _completion(value: bytes) -> Completion:
    return completion_of(from_bytes(value))


def _score(value: bytes) -> Score:
    return score_of(from_bytes(value))


def _is_later(made: Completion, held: Completion) -> bool:
    """Whether the answer that was just made is later than the one that is held."""
    if made.at is None or held.at is None or made.at >= held.at:
        return (made.at or "") > (held.at or "")
    try:
        ahead = datetime.fromisoformat(held.at) - datetime.fromisoformat(made.at)
    except (TypeError, ValueError):  # taken over from somewhere, with no time that is one
        return True
    return ahead > FAST_CLOCK


def _blob(digest: str) -> bytes:
    return bytes.fromhex(digest.removeprefix("sha256:"))


def _trial_columns(key: TrialKey) -> tuple[bytes, str, int]:
    return _blob(key.request), key.purpose, key.n


def _score_columns(key: ScoreKey) -> tuple[bytes, bytes, bytes]:
    return _blob(key.scorer), _blob(key.facts), _blob(key.output)


def _completion_row(key: TrialKey, completion: Completion, origin: int | None = None) -> Row:
    columns = _trial_columns(key)
    value, brief = to_bytes(completion_record(completion)), brief_bytes(completion)
    whole = int(completion.text is not None)
    return (
        *columns,
        key.n if origin is None else origin,
        whole,
        value,
        checksum(columns, value),
        brief,
        None if brief is None else checksum(columns, brief),
    )


def _score_row(key: ScoreKey, score: Score) -> Columns:
    columns = _score_columns(key)
    value = to_bytes(score_record(score))
    return (*columns, value, checksum(columns, value))
