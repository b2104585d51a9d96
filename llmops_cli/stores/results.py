"""The local store of everything that was ever answered and scored, so that nothing is paid twice.

SQLite in write-ahead mode, one file under `.llmops/store/`. Its promises:

- A completion is on disk when `put_completion` returns: it survives kill -9 (and, with
  `durable`, a power cut). Scores can be made again from completions without a call, so they are
  written in groups: with the next completion, after 500 of them, before a read and on closing.
- Nothing that was answered is replaced. Where a key is drawn anew (an old baseline, a second
  process), the later answer takes the key and the earlier one stays as a further draw. Only a
  completion that is known by its digest alone gives way to one with a text.
- Every row carries a checksum over its key and value. A damaged row is a miss: it is set aside
  and told in `notes`, never served. A damaged file is moved beside itself and a new one begun.
- Several processes may use one store; a store of a newer llmops is refused, an older migrated.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TypeVar

from llmops_cli.core.errors import Unmeasured
from llmops_cli.core.ports import DrawKey, ScoreKey
from llmops_cli.core.result import Completion, Purpose, Score
from llmops_cli.stores.database import NotWritable, is_damaged, move_aside, opened, prepared
from llmops_cli.stores.records import (
    BadRecord,
    checksum,
    completion_of,
    completion_record,
    from_bytes,
    score_of,
    score_record,
    to_bytes,
)

FILE_NAME = "results.sqlite3"
GROUP = 500
"""Scores that wait at most before they are written."""

_PUT_COMPLETION = """
    INSERT INTO completions VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE
    SET origin = excluded.origin, whole = 1, value = excluded.value, checksum = excluded.checksum
    WHERE completions.whole = 0 AND excluded.whole = 1"""
_GET_COMPLETION = (
    "SELECT value, checksum FROM completions WHERE request = ? AND purpose = ? AND n = ?"
)
_DROP_COMPLETION = "DELETE FROM completions WHERE request = ? AND purpose = ? AND n = ?"
_FROM_ORIGIN = (
    "SELECT n FROM completions WHERE request = ? AND purpose = ? AND origin = ? ORDER BY n"
)
_NEXT_N = "SELECT coalesce(max(n) + 1, 0) FROM completions WHERE request = ? AND purpose = ?"
_PUT_SCORE = "INSERT OR IGNORE INTO scores VALUES (?, ?, ?, ?, ?)"
_GET_SCORE = "SELECT value, checksum FROM scores WHERE scorer = ? AND facts = ? AND output = ?"
_DROP_SCORE = "DELETE FROM scores WHERE scorer = ? AND facts = ? AND output = ?"

_Columns = tuple[bytes | str | int, ...]
_Damaged = tuple[str, _Columns, bytes]
"""The statement that drops the row, its key and the value that was found."""
_Result = TypeVar("_Result")


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
        self._durable = durable
        self._notes: list[str] = []
        self._damaged_rows = 0
        self._waiting: list[_Columns] = []
        self._inode = 0
        self._path: Path | None = None
        if folder is not None:
            try:
                self._path = prepared(folder) / FILE_NAME
            except NotWritable as trouble:
                self._notes.append(str(trouble))
        self._db = self._opened()

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader of the run must know about this store: damage and fallbacks."""
        if not self._damaged_rows:
            return tuple(self._notes)
        rows = "1 row" if self._damaged_rows == 1 else f"{self._damaged_rows} rows"
        return (*self._notes, f"{rows} of {self._path} were damaged: set aside and measured anew")

    def completions(self, keys: Iterable[DrawKey]) -> Mapping[DrawKey, Completion]:
        """Those of `keys` that are held, each with `latency` None."""

        def read(damaged: list[_Damaged]) -> dict[DrawKey, Completion]:
            found = {}
            for key in wanted:
                columns = _draw_columns(key)
                value = self._intact(_GET_COMPLETION, _DROP_COMPLETION, columns, damaged)
                if value is not None:
                    found[key] = completion_of(from_bytes(value))
            return found

        wanted = tuple(keys)
        return self._read(read)

    def scores(self, keys: Iterable[ScoreKey]) -> Mapping[ScoreKey, Score]:
        """Those of `keys` that are held."""

        def read(damaged: list[_Damaged]) -> dict[ScoreKey, Score]:
            found = {}
            for key in wanted:
                value = self._intact(_GET_SCORE, _DROP_SCORE, _score_columns(key), damaged)
                if value is not None:
                    found[key] = score_of(from_bytes(value))
            return found

        self.flush()
        wanted = tuple(keys)
        return self._read(read)

    def put_completion(self, key: DrawKey, completion: Completion) -> None:
        """Keep `completion`; on return it is on disk."""

        def put() -> None:
            earlier = self._held(_draw_columns(key))
            if earlier is None or earlier.text is None or not _is_later(completion, earlier):
                self._db.execute(_PUT_COMPLETION, row)
                return
            self._db.execute(_DROP_COMPLETION, _draw_columns(key))
            self._db.execute(_PUT_COMPLETION, row)
            self._add_draw(key, earlier)

        row = _completion_row(key, completion)
        self._write(put)

    def put_score(self, key: ScoreKey, score: Score) -> None:
        """Keep `score`; it is on disk with the next group."""
        self._waiting.append(_score_row(key, score))
        if len(self._waiting) >= GROUP:
            self.flush()

    def flush(self) -> None:
        """Write the scores that wait."""
        if self._waiting:
            self._write(lambda: None)

    def ingest(
        self,
        source: str,
        completions: Iterable[tuple[DrawKey, Completion]],
        scores: Iterable[tuple[ScoreKey, Score]],
    ) -> bool:
        """Take over what evidence or a run file holds; False where `source` was taken before.

        `source` is the digest of the whole piece. A completion that differs from the one under
        its key is a further draw and gets the next free n; an equal one collapses.
        """
        draws, marks = tuple(completions), [_score_row(*each) for each in scores]
        marker = (_blob(source),)

        def take() -> bool:
            if self._db.execute("SELECT 1 FROM ingested WHERE source = ?", marker).fetchone():
                return False
            for key, completion in draws:
                self._pool(key, completion)
            self._db.executemany(_PUT_SCORE, marks)
            self._db.execute("INSERT INTO ingested VALUES (?)", marker)
            return True

        return self._write(take)

    def further(
        self, requests: Iterable[str], purpose: Purpose, *, beyond: int
    ) -> Mapping[str, tuple[int, ...]]:
        """The numbers, from `beyond` on, of the draws that are held of each of `requests`."""
        query = "SELECT n FROM completions WHERE request = ? AND purpose = ? AND n >= ? ORDER BY n"

        def read(_: list[_Damaged]) -> dict[str, tuple[int, ...]]:
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
        return self._read(lambda _: self._db.execute(row, (_blob(source),)).fetchone() is not None)

    def close(self) -> None:
        """Release the file. What waits is lost unless flushed: `open_results` flushes."""
        with suppress(sqlite3.Error):
            self._db.close()

    def _pool(self, key: DrawKey, completion: Completion) -> None:
        """Put `completion` under its key, or under the next free n where another one is there."""
        request, purpose, n = _draw_columns(key)
        same_origin = self._db.execute(_FROM_ORIGIN, (request, purpose, n)).fetchall()
        for (held_n,) in same_origin:
            held = self._held((request, purpose, held_n))
            if held is not None and held.digest == completion.digest:
                place = DrawKey(key.request, key.purpose, held_n)
                self._db.execute(_PUT_COMPLETION, _completion_row(place, completion, key.n))
                return
        if self._held((request, purpose, n)) is None:
            self._db.execute(_PUT_COMPLETION, _completion_row(key, completion))
        else:
            self._add_draw(key, completion)

    def _add_draw(self, key: DrawKey, completion: Completion) -> None:
        """Put `completion` as a further draw of the request of `key`."""
        request, purpose, origin = _draw_columns(key)
        (n,) = self._db.execute(_NEXT_N, (request, purpose)).fetchone()
        place = DrawKey(key.request, key.purpose, n)
        self._db.execute(_PUT_COMPLETION, _completion_row(place, completion, origin))

    def _held(self, columns: _Columns) -> Completion | None:
        """The completion at `columns`, inside a writing transaction; a damaged one is put away."""
        damaged: list[_Damaged] = []
        value = self._intact(_GET_COMPLETION, _DROP_COMPLETION, columns, damaged)
        self._quarantine(damaged)
        return None if value is None else completion_of(from_bytes(value))

    def _intact(
        self, get: str, drop: str, columns: _Columns, damaged: list[_Damaged]
    ) -> bytes | None:
        row = self._db.execute(get, columns).fetchone()
        if row is None:
            return None
        value, check = row
        if isinstance(value, bytes) and check == checksum(columns, value):
            return value
        damaged.append((drop, columns, value))
        return None

    def _read(self, read: Callable[[list[_Damaged]], _Result]) -> _Result:
        damaged: list[_Damaged] = []

        def once() -> _Result:
            damaged.clear()
            self._db.execute("BEGIN")
            try:
                return read(damaged)
            finally:
                self._end("COMMIT")

        found = self._guarded(once)
        if damaged:
            self._write(lambda: self._quarantine(damaged))
        return found

    def _quarantine(self, damaged: list[_Damaged]) -> None:
        self._damaged_rows += len(damaged)
        for drop, columns, value in damaged:
            self._db.execute(
                "INSERT INTO quarantine VALUES (?, ?, ?)", (drop, repr(columns), value)
            )
            self._db.execute(drop, columns)

    def _write(self, write: Callable[[], _Result]) -> _Result:
        """Run `write` in one transaction, with the scores that wait."""

        def once() -> _Result:
            self._db.execute("BEGIN IMMEDIATE")
            try:
                self._db.executemany(_PUT_SCORE, self._waiting)
                result = write()
                self._db.execute("COMMIT")
            except BaseException:
                self._end("ROLLBACK")
                raise
            return result

        result = self._guarded(once)
        self._waiting.clear()
        return result

    def _end(self, how: str) -> None:
        with suppress(sqlite3.Error):
            if self._db.in_transaction:
                self._db.execute(how)

    def _guarded(self, act: Callable[[], _Result]) -> _Result:
        """Do `act`; on a damaged file do it once more, on a new one."""
        try:
            return act()
        except (sqlite3.DatabaseError, BadRecord) as error:
            if not is_damaged(error):
                raise self._trouble(error) from error
        self.close()
        self._set_aside()
        self._db = self._opened()
        try:
            return act()
        except sqlite3.Error as error:
            raise self._trouble(error) from error

    def _opened(self) -> sqlite3.Connection:
        try:
            database, notes = opened(self._path, durable=self._durable)
        except NotWritable as trouble:
            self._notes.append(str(trouble))
            self._path = None
            database, notes = opened(None)
        except sqlite3.DatabaseError as error:
            if not is_damaged(error):
                raise self._trouble(error) from error
            self._set_aside()
            database, notes = opened(self._path, durable=self._durable)
        self._notes.extend(notes)
        if self._path is not None:
            self._inode = self._path.stat().st_ino
        return database

    def _set_aside(self) -> None:
        """Move the damaged file away, unless another process has already begun a new one."""
        if self._path is None:
            return
        moved = move_aside(self._path, only_inode=self._inode or None)
        if moved is not None:
            self._notes.append(
                f"{self._path} was damaged: moved to {moved.name}, and a new store begun; "
                "what it held is measured anew"
            )

    def _trouble(self, error: Exception) -> Unmeasured:
        return Unmeasured(
            f"cannot keep results in {self._path or 'a private temporary store'}: {error}",
            hint="free disk space or check the folder's permissions, then run the same command: "
            "what was stored is not measured again",
        )


def _is_later(one: Completion, other: Completion) -> bool:
    return (one.at or "") > (other.at or "")


def _blob(digest: str) -> bytes:
    return bytes.fromhex(digest.removeprefix("sha256:"))


def _draw_columns(key: DrawKey) -> tuple[bytes, str, int]:
    return _blob(key.request), key.purpose, key.n


def _score_columns(key: ScoreKey) -> tuple[bytes, bytes, bytes]:
    return _blob(key.scorer), _blob(key.facts), _blob(key.output)


def _completion_row(key: DrawKey, completion: Completion, origin: int | None = None) -> _Columns:
    columns = _draw_columns(key)
    value = to_bytes(completion_record(completion))
    whole = int(completion.text is not None)
    return (
        *columns,
        key.n if origin is None else origin,
        whole,
        value,
        checksum(columns, value),
    )


def _score_row(key: ScoreKey, score: Score) -> _Columns:
    columns = _score_columns(key)
    value = to_bytes(score_record(score))
    return (*columns, value, checksum(columns, value))
