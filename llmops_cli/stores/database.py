"""SQLite files in the store's folder: the results database, and counters that processes share.

Neither stops a run. The results database survives damage and a folder that cannot be written: its
header's application id says whose file it is and `user_version` which format it has; an older
format is migrated step by step, a newer one refused, a damaged file moved aside and a new one
started. A place that can only be read gives a private database for this run. What a reader of the
run must know about that is in `notes`.
"""

from __future__ import annotations

import math
import sqlite3
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from errno import EACCES, EPERM, EROFS
from functools import partial
from pathlib import Path
from typing import TypeAlias, TypeVar

from llmops_cli.core.errors import Refused, Unmeasured

FILE_NAME = "results.sqlite3"
APPLICATION = 0x6C6C6D6F  # "llmo" in ASCII
MIGRATIONS: tuple[tuple[str, ...], ...] = (
    (
        """CREATE TABLE completions (
            request BLOB NOT NULL, purpose TEXT NOT NULL, n INTEGER NOT NULL,
            origin INTEGER NOT NULL,  -- the n it had in the run that made it
            whole INTEGER NOT NULL,   -- 0: known by its digest only
            value BLOB NOT NULL, checksum BLOB NOT NULL,
            UNIQUE (request, purpose, n))""",
        """CREATE TABLE scores (
            scorer BLOB NOT NULL, facts BLOB NOT NULL, output BLOB NOT NULL,
            value BLOB NOT NULL, checksum BLOB NOT NULL,
            PRIMARY KEY (scorer, facts, output)) WITHOUT ROWID""",
        "CREATE TABLE ingested (source BLOB PRIMARY KEY) WITHOUT ROWID",
        "CREATE TABLE quarantine (kind TEXT NOT NULL, key TEXT NOT NULL, value BLOB)",
    ),
    (  # NULL in rows of format 1: what they would hold is read from `value`
        "ALTER TABLE completions ADD COLUMN brief BLOB",
        "ALTER TABLE completions ADD COLUMN brief_checksum BLOB",
    ),
    ("DROP TABLE quarantine",),
    (  # evidence is ingested once more, to name itself as the source of what it holds
        "ALTER TABLE completions ADD COLUMN source TEXT NOT NULL DEFAULT ''",
        "ALTER TABLE scores ADD COLUMN source TEXT NOT NULL DEFAULT ''",
        "DELETE FROM ingested",
    ),
)
"""Step i migrates a database of format i to format i + 1."""
BUSY_SECONDS = 30.0

COUNTERS_FILE = "pace.sqlite3"
SAME_BOOT = 60.0
"""Seconds by which the machine's start may seem to move: clocks are corrected."""

_DAMAGE = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_SCHEMA})
_ERRORS = (sqlite3.DatabaseError, UnicodeError)
"""What damage raises; the latter where SQLite's own message quotes a damaged name."""
_READ_ONLY = frozenset({sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM, sqlite3.SQLITE_CANTOPEN})

Columns: TypeAlias = tuple[bytes | str | int, ...]
Row: TypeAlias = tuple[bytes | str | int | None, ...]
T = TypeVar("T")


class NotWritable(Exception):
    """The place can only be read. Its text is a note for the reader of the run."""

    def __init__(self, place: Path) -> None:
        super().__init__(f"{place} cannot be written: results are kept for this run only")


class NotOurs(sqlite3.DatabaseError):
    """A SQLite file that another program wrote."""


class SelfHealingDatabase:
    """The results database in `folder`; None: a private one on the temporary disk.

    `durable` waits for the disk at every write, against power cuts.
    """

    def __init__(self, folder: Path | None, *, durable: bool) -> None:
        self.notes: list[str] = []
        self.path: Path | None = None
        self._durable = durable
        self._inode: int | None = None
        if folder is not None:
            try:
                self.path = _prepare_folder(folder) / FILE_NAME
            except NotWritable as error:
                self.notes.append(str(error))
        self._connection = self._connect()

    def execute(self, statement: str, columns: Row = ()) -> sqlite3.Cursor:
        """Execute one statement, inside `read` or `write`."""
        return self._connection.execute(statement, columns)

    def executemany(self, statement: str, rows: Iterable[Row]) -> None:
        """Execute one statement for many rows, inside `write`."""
        self._connection.executemany(statement, rows)

    def read(self, action: Callable[[], T]) -> T:
        """Return the result of `action`, run in one transaction. It may run twice."""
        return self._run("BEGIN", action)

    def write(self, action: Callable[[], T]) -> T:
        """Return the result of `action`, on disk completely or not at all. It may run twice."""
        return self._run("BEGIN IMMEDIATE", action)

    @property
    def removed(self) -> bool:
        """Whether the file was removed while it was open."""
        if self.path is None:
            return False
        try:
            return self.path.stat().st_ino != self._inode
        except OSError:
            return True

    def close(self) -> None:
        """Release the file."""
        with suppress(sqlite3.Error):
            self._connection.close()

    def _run(self, begin: str, action: Callable[[], T]) -> T:
        """Run `action` in a transaction; where the file is damaged, again in a new one."""
        try:
            with _transaction(self._connection, begin):
                return action()
        except _ERRORS as error:
            if not _is_damage(error):
                raise self._disk_error(error) from error
        self.close()
        self._move_aside()
        self._connection = self._connect()
        try:
            with _transaction(self._connection, begin):
                return action()
        except sqlite3.Error as error:
            raise self._disk_error(error) from error

    def _connect(self) -> sqlite3.Connection:
        """Open the file; move a damaged one aside; use a private one where it is read-only."""
        try:
            connection = self._open()
        except _ERRORS as error:
            if self.path is not None and _code(error) in _READ_ONLY:
                self.notes.append(str(NotWritable(self.path)))
                self.path = None
            elif _is_damage(error):
                self._move_aside()
            else:
                raise self._disk_error(error) from error
            connection = self._open()
        if self.path is not None:
            self._inode = self.path.stat().st_ino
        return connection

    def _open(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self.path or "", timeout=BUSY_SECONDS, isolation_level=None)
        # a damaged text does not match its checksum; it must not fail to be read
        connection.text_factory = partial(str, encoding="utf-8", errors="replace")
        try:
            synchronous = "OFF"
            if self.path is not None:
                wal = _enable_wal(connection)
                synchronous = "FULL" if self._durable or not wal else "NORMAL"
                if not wal:
                    self.notes.append(
                        f"the disk of {self.path} has no write-ahead logging (a network share?): "
                        "the store is slower, and one process at a time can write"
                    )
            connection.execute(f"PRAGMA synchronous = {synchronous}")
            _migrate(connection, self.path)
        except BaseException:
            connection.close()
            raise
        return connection

    def _move_aside(self) -> None:
        """Rename the damaged file, unless another process has started a new one in its place."""
        path = self.path
        if path is None or not path.exists():
            return
        if self._inode is not None and path.stat().st_ino != self._inode:
            return
        number = 1
        while (aside := path.with_name(f"{path.name}.damaged-{number}")).exists():
            number += 1
        for suffix in ("-wal", "-shm", ""):
            part = path.with_name(path.name + suffix)
            if part.exists():
                part.rename(aside.with_name(aside.name + suffix))
        self.notes.append(
            f"{path} was damaged: moved to {aside.name}, and a new store was started; "
            "what it held is measured again"
        )

    def _disk_error(self, error: Exception) -> Unmeasured:
        return Unmeasured(
            f"cannot store results in {self.path or 'a private temporary store'}: {error}",
            hint="free disk space or check the folder's permissions, then run the same command: "
            "what was stored is not measured again",
        )


def _prepare_folder(folder: Path) -> Path:
    """Create `folder` if it is missing, with a .gitignore of its own, and return it.

    Raises `NotWritable` if it cannot be written, `Unmeasured` for other errors of the disk.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        ignore = folder / ".gitignore"
        if not ignore.exists():
            ignore.write_text("*\n", encoding="utf-8")
    except OSError as error:
        if error.errno in {EACCES, EPERM, EROFS}:
            raise NotWritable(folder) from error
        raise Unmeasured(
            f"cannot create the results store {folder}: {error.strerror}",
            hint="free disk space, or remove what is in its place",
        ) from error
    return folder


@contextmanager
def _transaction(connection: sqlite3.Connection, begin: str) -> Iterator[None]:
    """Commit what the block does, or roll it back where it raises."""
    connection.execute(begin)
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        with suppress(sqlite3.Error):
            connection.execute("ROLLBACK")
        raise


def _enable_wal(connection: sqlite3.Connection) -> bool:
    """Switch to write-ahead mode and return whether the disk supports it."""
    deadline = time.monotonic() + BUSY_SECONDS
    while True:
        try:
            mode = connection.execute("PRAGMA journal_mode = WAL").fetchone()[0]
        except sqlite3.OperationalError as error:
            # SQLite's busy timeout does not apply to this statement
            if _code(error) != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
            time.sleep(0.01)
        else:
            return bool(mode == "wal")


def _migrate(connection: sqlite3.Connection, path: Path | None) -> None:
    """Bring the file to the current format. Raises `NotOurs`, and `Refused` for a newer one."""
    if _pragma(connection, "user_version") == len(MIGRATIONS):
        _require_ours(connection)
        return
    with _transaction(connection, "BEGIN IMMEDIATE"):
        current = _pragma(connection, "user_version")  # another process may have been first
        if current > len(MIGRATIONS):
            raise Refused(
                f"{path} was written by a newer llmops (format {current}, this one knows "
                f"{len(MIGRATIONS)})",
                hint=f"upgrade llmops, or move {path} away: what it holds is then measured again",
            )
        if current or connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
            _require_ours(connection)
        for statement in (statement for step in MIGRATIONS[current:] for statement in step):
            connection.execute(statement)
        connection.execute(f"PRAGMA application_id = {APPLICATION}")
        connection.execute(f"PRAGMA user_version = {len(MIGRATIONS)}")


def _require_ours(connection: sqlite3.Connection) -> None:
    if _pragma(connection, "application_id") != APPLICATION:
        raise NotOurs("a database, but not a results store")


def _pragma(connection: sqlite3.Connection, name: str) -> int:
    return int(connection.execute(f"PRAGMA {name}").fetchone()[0])


def _is_damage(error: Exception) -> bool:
    """Return whether the file's content is broken, rather than the disk refusing it."""
    missing = str(error).startswith(("no such table", "no such column"))
    return isinstance(error, (NotOurs, UnicodeError)) or missing or _code(error) in _DAMAGE


def _code(error: Exception) -> int | None:
    """Return the primary SQLite result code, whatever its extension."""
    code = getattr(error, "sqlite_errorcode", None)
    return None if code is None else int(code) & 0xFF


class FileCounters:
    """Numbers by name that all processes of one machine share: how fast they may call a model.

    One small SQLite file in `folder`, opened when the first number is changed. It holds times of
    the machine's monotonic clock, so no jump of the wall clock stalls or floods a model; a restart
    of the machine, which resets that clock, invalidates them. Where the file cannot be written,
    each process has its own numbers: a run never fails because of it.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._database: sqlite3.Connection | None = None

    def __call__(self, name: str) -> FileCounter:
        """Return the counter `name`."""
        return FileCounter(self, name)

    def close(self) -> None:
        """Release the file."""
        if self._database is not None:
            self._database.close()
            self._database = None

    def change(self, name: str, step: Callable[[float], float]) -> float:
        """Replace the number `name` by `step(number)`, atomically, and return the old one."""
        if self._database is None:
            try:
                self._database = _open_counters(str(_prepare_folder(self._folder) / COUNTERS_FILE))
            except (sqlite3.Error, NotWritable, Unmeasured):
                self._database = _open_counters(":memory:")
        try:
            return _change(self._database, name, step)
        except sqlite3.Error:
            self.close()
            self._database = _open_counters(":memory:")
            return _change(self._database, name, step)


@dataclass(frozen=True, slots=True)
class FileCounter:
    """One number of `FileCounters`, a `core.ports.SharedCounter`."""

    counters: FileCounters
    name: str

    def now(self) -> float:
        """Return seconds on the clock that all processes of this machine share."""
        return time.monotonic()

    def change(self, step: Callable[[float], float]) -> float:
        """Replace the number by `step(number)`, atomically, and return the old one, -inf first."""
        return self.counters.change(self.name, step)


def _open_counters(where: str) -> sqlite3.Connection:
    database = sqlite3.connect(where, timeout=5.0, isolation_level=None)
    try:
        database.execute("PRAGMA synchronous = OFF")
        with _transaction(database, "BEGIN IMMEDIATE"):
            database.execute(
                "CREATE TABLE IF NOT EXISTS cells (name TEXT PRIMARY KEY, number REAL, boot REAL)"
            )
    except sqlite3.Error:
        database.close()
        raise
    return database


def _change(database: sqlite3.Connection, name: str, step: Callable[[float], float]) -> float:
    boot = time.time() - time.monotonic()
    with _transaction(database, "BEGIN IMMEDIATE"):
        row = database.execute(
            "SELECT number FROM cells WHERE name = ? AND abs(boot - ?) < ?", (name, boot, SAME_BOOT)
        ).fetchone()
        before = -math.inf if row is None else float(row[0])
        new = (name, step(before), boot)
        database.execute("INSERT OR REPLACE INTO cells VALUES (?, ?, ?)", new)
    return before
