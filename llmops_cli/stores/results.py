"""The local store of every answer and score, so that nothing is paid for twice.

SQLite in write-ahead mode, one file in the store's folder (`core.store_folder`). Its promises:

- Completions are on disk when `put_completions` returns: they survive kill -9 (and, with
  `durable`, a power cut). Scores can be made again from completions without a call, so they are
  written in groups: with the next completion, after 500, before one is read and on closing.
- No answer is lost. Where a key is called again (an old baseline, a second process), the later
  answer takes the key and the earlier one stays as a further trial. An answer dated a day after it
  was made comes from a clock that ran ahead, and is not later. Only a completion that is known by
  its digest alone is replaced, by one with a text.
- Every row has a checksum over its key, source and value. A damaged row is a miss: it is removed
  and counted in `notes`, never returned. A damaged file is moved aside and a new one started.
- Every row names its source. One whose source doesn't count in this run (`stores.sources`) is a
  miss: it stays, and an answer that is made instead takes its key.
- Several processes may use one store; a store of a newer llmops is refused, an older one migrated.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Generic, NamedTuple, TypeVar

from llmops_cli.core.digest import InvalidRecord
from llmops_cli.core.errors import Unmeasured
from llmops_cli.core.ports import ScoreKey, TrialKey
from llmops_cli.core.result import Brief, Completion, Purpose, Score
from llmops_cli.stores.codec import (
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
from llmops_cli.stores.database import Columns, Row, SelfHealingDatabase
from llmops_cli.stores.sources import UNKNOWN, Sources, merged, of_evidence, of_run

GROUP = 500
"""Scores that wait at most before they are written."""
FAST_CLOCK = timedelta(days=1)
"""No two processes take this long between making an answer and writing it."""

_OF_TRIAL = "FROM completions WHERE request = ? AND purpose = ? AND n = ?"
_OF_SCORE = "FROM scores WHERE scorer = ? AND facts = ? AND output = ?"
_PUT_COMPLETION = "INSERT OR REPLACE INTO completions VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
_FROM_ORIGIN = (
    "SELECT n FROM completions WHERE request = ? AND purpose = ? AND origin = ? ORDER BY n"
)
_BEYOND = (
    "SELECT n, source FROM completions WHERE request = ? AND purpose = ? AND n >= ? ORDER BY n"
)
_NEXT_N = "SELECT coalesce(max(n) + 1, 0) FROM completions WHERE request = ? AND purpose = ?"
_PUT_SCORE = "INSERT OR REPLACE INTO scores VALUES (?, ?, ?, ?, ?, ?)"
_INGESTED = "SELECT 1 FROM ingested WHERE source = ?"

K = TypeVar("K")
T = TypeVar("T")


class _Sourced(NamedTuple, Generic[T]):
    """What a row holds, and its sources."""

    value: T
    source: str


@contextmanager
def open_results(
    folder: Path | None, *, durable: bool = False, sources: Sources | None = None
) -> Iterator[ResultsStore]:
    """Open the store in `folder` (created if missing); None: a private one, gone on closing.

    `sources` are those that count; None: any. `durable` waits for the disk at every write, against
    power cuts. A folder that cannot be written gives a private store and a note. Raises `Refused`
    for a store of a newer llmops and `Unmeasured` where the disk refuses.
    """
    store = ResultsStore(folder, durable=durable, sources=sources)
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
    """Completions and scores by key, in one SQLite file. What was put is there after a crash.

    Belongs to the thread that opened it.
    """

    def __init__(
        self, folder: Path | None, *, durable: bool = False, sources: Sources | None = None
    ) -> None:
        self.sources = sources or Sources()
        self._db = SelfHealingDatabase(folder, durable=durable)
        self._waiting: dict[ScoreKey, Columns] = {}
        self._damaged: dict[tuple[str, Row], None] = {}
        self._removed = 0

    @property
    def kept(self) -> bool:
        """Whether its results are there after this run."""
        return self._db.path is not None

    @property
    def damaged(self) -> int:
        """How many damaged rows were met so far."""
        return self._removed + len(self._damaged)

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader of the run must know about this store: damage and fallbacks."""
        notes = list(self._db.notes)
        if self._removed:
            rows = "1 row" if self._removed == 1 else f"{self._removed} rows"
            notes.append(f"{rows} of {self._db.path} were damaged: removed and measured again")
        if self._db.removed:
            notes.append(f"{self._db.path} was removed during this run, so its results are lost")
        return tuple(notes)

    def completions(self, keys: Iterable[TrialKey]) -> Mapping[TrialKey, Completion]:
        """Return those of `keys` that are stored, each with `latency` None."""
        return self._lookup(keys, lambda key: self._completion(_trial_columns(key)))

    def briefs(self, keys: Iterable[TrialKey]) -> Mapping[TrialKey, Brief]:
        """Return those of `keys` that are stored, without their texts."""
        return self._lookup(keys, lambda key: self._brief(_trial_columns(key)))

    def scores(self, keys: Iterable[ScoreKey]) -> Mapping[ScoreKey, Score]:
        """Return those of `keys` that are stored."""
        keys = list(keys)
        if any(key in self._waiting for key in keys):
            self.flush()

        def score(key: ScoreKey) -> Score | None:
            return self._counted(self._row(_OF_SCORE, _score_columns(key), score_of))

        return self._lookup(keys, score)

    def put_completions(
        self, completions: Iterable[tuple[TrialKey, Completion]], source: str = UNKNOWN
    ) -> None:
        """Store `completions`; on return they are on disk, or none is where this raises."""
        rows = [
            (key, completion, _completion_row(key, completion, source))
            for key, completion in completions
        ]

        def put() -> None:
            for key, completion, row in rows:
                self._put(key, completion, row)

        self._write(put)

    def put_score(self, key: ScoreKey, score: Score, source: str = UNKNOWN) -> None:
        """Store `score` in place of an earlier one; it is on disk with the next group."""
        self._waiting[key] = _score_row(key, score, source)
        if len(self._waiting) >= GROUP:
            self.flush()

    def flush(self) -> None:
        """Write the scores that wait."""
        if self._waiting:
            self._write(lambda: None)

    def ingest(
        self,
        digest: str,
        completions: Iterable[tuple[TrialKey, Completion]],
        scores: Iterable[tuple[ScoreKey, Score]],
        *,
        evidence: bool = False,
    ) -> bool:
        """Store what evidence or a run file holds; False if `digest` was ingested before.

        `digest` is that of the whole file. A completion that differs from the one under its key is
        a further trial and gets the next free n; an equal one collapses. Of `evidence`, what is
        stored only counts once it is accepted (`Sources.accept_evidence`).
        """
        trials, values = tuple(completions), tuple(scores)
        marker = (_blob(digest),)

        def source(request: str = "") -> str:
            return of_evidence(digest, request) if evidence else of_run(digest)

        def ingest() -> bool:
            if self._db.execute(_INGESTED, marker).fetchone():
                return False
            for key, completion in trials:
                self._pool(key, completion, source(key.request))
            for score_key, score in values:
                self._add_score(score_key, score, source())
            self._db.execute("INSERT INTO ingested VALUES (?)", marker)
            return True

        return self._write(ingest)

    def further(
        self, requests: Iterable[str], purpose: Purpose, *, beyond: int
    ) -> Mapping[str, tuple[int, ...]]:
        """Return the numbers, from `beyond` on, of the stored trials of each of `requests`."""

        def numbers(request: str) -> tuple[int, ...] | None:
            rows = self._db.execute(_BEYOND, (_blob(request), purpose, beyond)).fetchall()
            return tuple(n for n, source in rows if self.sources.count(str(source))) or None

        return self._lookup(requests, numbers)

    def has_ingested(self, source: str) -> bool:
        """Return whether `source` was ingested before."""
        marker = (_blob(source),)
        return self._db.read(lambda: self._db.execute(_INGESTED, marker).fetchone() is not None)

    def close(self) -> None:
        """Release the file. What waits is lost unless flushed: `open_results` flushes."""
        self._db.close()

    def _put(self, key: TrialKey, completion: Completion, row: Row) -> None:
        """Put `row`, which is `completion`, under its key; an earlier answer becomes a trial more.

        An answer that is not later than the stored one is dropped, if that one counts.
        """
        earlier = self._row(_OF_TRIAL, _trial_columns(key), completion_of)
        if earlier is None or earlier.value.text is None:
            if earlier is None or completion.text is not None:
                self._db.execute(_PUT_COMPLETION, row)
        elif not self.sources.count(earlier.source) or _is_later(completion, earlier.value):
            self._db.execute(_PUT_COMPLETION, row)
            self._add_trial(key, earlier.value, earlier.source)

    def _pool(self, key: TrialKey, completion: Completion, source: str) -> None:
        """Put `completion` under its key, or under the next free n where another one is there."""
        request, purpose, n = _trial_columns(key)
        same_origin = self._db.execute(_FROM_ORIGIN, (request, purpose, n)).fetchall()
        for (stored_n,) in same_origin:
            stored = self._row(_OF_TRIAL, (request, purpose, stored_n), completion_of)
            if stored is not None and stored.value.digest == completion.digest:
                # what a source that does not count says of cost and time is not believed
                better = stored.value.text is None or not self.sources.may_count(stored.source)
                taken = completion if better and completion.text is not None else stored.value
                same = TrialKey(key.request, key.purpose, stored_n)
                row = _completion_row(same, taken, merged(stored.source, source), key.n)
                self._db.execute(_PUT_COMPLETION, row)
                return
        earlier = self._row(_OF_TRIAL, (request, purpose, n), completion_of)
        if earlier is None:
            self._db.execute(_PUT_COMPLETION, _completion_row(key, completion, source))
        else:
            self._add_trial(key, completion, source)

    def _add_trial(self, key: TrialKey, completion: Completion, source: str) -> None:
        """Put `completion` as a further trial of the request of `key`."""
        request, purpose, origin = _trial_columns(key)
        (n,) = self._db.execute(_NEXT_N, (request, purpose)).fetchone()
        further = TrialKey(key.request, key.purpose, n)
        self._db.execute(_PUT_COMPLETION, _completion_row(further, completion, source, origin))

    def _add_score(self, key: ScoreKey, score: Score, source: str) -> None:
        """Put `score` unless there is one that counts; one of the same value has both sources."""
        stored = self._row(_OF_SCORE, _score_columns(key), score_of)
        if stored is not None and stored.value.value == score.value:
            row = _score_row(key, stored.value, merged(stored.source, source))
        elif stored is None or not self.sources.may_count(stored.source):
            row = _score_row(key, score, source)
        else:
            return
        self._db.execute(_PUT_SCORE, row)

    def _completion(self, columns: Columns) -> Completion | None:
        return self._counted(self._row(_OF_TRIAL, columns, completion_of))

    def _counted(self, row: _Sourced[T] | None) -> T | None:
        """Return the value of a row that counts."""
        return row.value if row is not None and self.sources.count(row.source) else None

    def _brief(self, columns: Columns) -> Brief | None:
        """Return the brief at `columns`; of a row without a valid one, from its value."""
        selected = f"SELECT brief, brief_checksum, source {_OF_TRIAL}"
        row = self._db.execute(selected, columns).fetchone()
        if row is None:
            return None
        content, check, source = row
        if isinstance(content, bytes) and check == _check(columns, source, content):
            with suppress(InvalidRecord):
                return brief_of(content) if self.sources.count(source) else None
        completion = self._completion(columns)
        return None if completion is None else completion.brief

    def _row(
        self, where: str, columns: Columns, parse: Callable[[dict[str, Any]], T]
    ) -> _Sourced[T] | None:
        """Return what is stored at `columns`; a damaged row counts as missing."""
        row = self._db.execute(f"SELECT value, checksum, source {where}", columns).fetchone()
        if row is None:
            return None
        value, check, source = row
        if isinstance(value, bytes) and check == _check(columns, source, value):
            with suppress(InvalidRecord):
                return _Sourced(parse(from_bytes(value, own=True)), source)
        # by its checksum too, so that a row that replaces it in this transaction stays
        self._damaged[f"DELETE {where} AND checksum IS ?", (*columns, check)] = None
        return None

    def _lookup(self, keys: Iterable[K], get: Callable[[K], T | None]) -> dict[K, T]:
        """Return `get(key)` for each of `keys` that is stored, from one transaction."""
        keys = list(keys)
        rows = self._db.read(lambda: [(key, get(key)) for key in keys])
        if self._damaged:
            self._write(lambda: None)
        return {key: value for key, value in rows if value is not None}

    def _write(self, write: Callable[[], T]) -> T:
        """Do `write` in one transaction, with the scores that wait; remove damaged rows."""

        def act() -> T:
            self._db.executemany(_PUT_SCORE, self._waiting.values())
            result = write()
            for statement, columns in self._damaged:
                self._db.execute(statement, columns)
            return result

        result = self._db.write(act)
        self._removed += len(self._damaged)
        self._damaged.clear()
        self._waiting.clear()
        return result


def _is_later(made: Completion, stored: Completion) -> bool:
    """Return whether the answer that was just made is later than the stored one."""
    if made.at is None or stored.at is None or made.at >= stored.at:
        return (made.at or "") > (stored.at or "")
    try:
        ahead = datetime.fromisoformat(stored.at) - datetime.fromisoformat(made.at)
    except (TypeError, ValueError):  # an imported answer whose time is none
        return True
    return ahead > FAST_CLOCK


def _blob(digest: str) -> bytes:
    return bytes.fromhex(digest.removeprefix("sha256:"))


def _trial_columns(key: TrialKey) -> tuple[bytes, str, int]:
    return _blob(key.request), key.purpose, key.n


def _score_columns(key: ScoreKey) -> tuple[bytes, bytes, bytes]:
    return _blob(key.scorer), _blob(key.facts), _blob(key.output)


def _check(columns: Columns, source: str, value: bytes) -> bytes:
    """Return the checksum of a row; rows of older formats have no source."""
    return checksum(columns if source == UNKNOWN else (*columns, source), value)


def _completion_row(
    key: TrialKey, completion: Completion, source: str, origin: int | None = None
) -> Row:
    columns = _trial_columns(key)
    value, brief = to_bytes(completion_record(completion)), brief_bytes(completion)
    return (
        *columns,
        key.n if origin is None else origin,
        int(completion.text is not None),
        value,
        _check(columns, source, value),
        brief,
        None if brief is None else _check(columns, source, brief),
        source,
    )


def _score_row(key: ScoreKey, score: Score, source: str) -> Columns:
    columns = _score_columns(key)
    value = to_bytes(score_record(score))
    return (*columns, value, _check(columns, source, value), source)
