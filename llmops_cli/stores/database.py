"""Opening the SQLite file of the results store: format, migrations, and what the disk may refuse.

The header's application id says whose file it is and `user_version` which format it has. An older
format is brought forward step by step, a newer one refused: never reset in silence.

A SQLite file that survives what happens to files: damage, a full disk, a folder without rights.

Everything is done inside `reading` or `writing`, which run an action in one transaction. Where the
file turns out to be damaged, it is moved aside, a new one is begun and the action is done once
more; where the disk refuses, that is `Unmeasured`. What a reader must know stands in `notes`.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from errno import EACCES, EPERM, EROFS
from pathlib import Path
from typing import TypeAlias, TypeVar

from llmops_cli.core.errors import Refused, Unmeasured

APPLICATION = 0x6C6C6D6F  # "llmo" in ASCII
BUSY_SECONDS = 30.0

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
)
"""Step i brings a store of format i to format i + 1."""

_DAMAGE = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_SCHEMA})
_READ_ONLY = frozenset({sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM, sqlite3.SQLITE_CANTOPEN})


class NotWritable(Exception):
    """The store's place can only be read. Its text is the note for the reader of the run."""


class Foreign(sqlite3.DatabaseError):
    """A SQLite file that is not a results store, or lacks its tables."""


def prepared(folder: Path) -> Path:
    """`folder`, made if missing and kept out of git by a .gitignore of its own.

    Raises `NotWritable` where it cannot be written, `Unmeasured` for other trouble of the disk.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        ignore = folder / ".gitignore"
        if not ignore.exists():
            ignore.write_text("*\n", encoding="utf-8")
    except OSError as error:
        if error.errno in {EACCES, EPERM, EROFS}:
            raise NotWritable(_kept_for_this_run_only(folder)) from error
        raise Unmeasured(
            f"cannot make the results store {folder}: {error.strerror}",
            hint="free disk space, or remove what is in its place",
        ) from error
    return folder


def opened(
    path: Path | None, *, durable: bool = False
) -> tuple[sqlite3.Connection, tuple[str, ...]]:
    """A connection to the store at `path` in this version's format, and notes for the reader.

    None: a private database on the temporary disk. Raises `NotWritable`, `Refused` (a newer
    format) and `sqlite3.DatabaseError` (damage, disk trouble).
    """
    database = sqlite3.connect(
        "" if path is None else path, timeout=BUSY_SECONDS, isolation_level=None
    )
    try:
        notes = _configured(database, path, durable=durable)
        _migrate(database, path)
    except sqlite3.DatabaseError as error:
        database.close()
        if path is not None and _code(error) in _READ_ONLY:
            raise NotWritable(_kept_for_this_run_only(path)) from error
        raise
    except BaseException:
        database.close()
        raise
    return database, notes


def is_damaged(error: Exception) -> bool:
    """Whether `error` says that the file's content is broken, not that the disk refused."""
    lacking = str(error).startswith(("no such table", "no such column"))
    return isinstance(error, Foreign) or lacking or _code(error) in _DAMAGE


def move_aside(path: Path, *, only_inode: int | None) -> Path | None:
    """Rename a damaged database to a free name beside it; None where it is no longer there.

    `only_inode` protects a new file that another process has put in its place meanwhile.
    """
    if not path.exists() or (only_inode is not None and path.stat().st_ino != only_inode):
        return None
    number = 1
    while (aside := path.with_name(f"{path.name}.damaged-{number}")).exists():
        number += 1
    for suffix in ("-wal", "-shm", ""):
        part = path.with_name(path.name + suffix)
        if part.exists():
            part.rename(aside.with_name(aside.name + suffix))
    return aside


def _configured(
    database: sqlite3.Connection, path: Path | None, *, durable: bool
) -> tuple[str, ...]:
    if path is None:
        database.execute("PRAGMA synchronous = OFF")
        return ()
    mode = _write_ahead(database)
    database.execute(f"PRAGMA synchronous = {'FULL' if durable or mode != 'wal' else 'NORMAL'}")
    if mode == "wal":
        return ()
    note = (
        f"the disk under {path} has no write-ahead logging (a network share?): "
        "the store is slower there, and one process at a time can write"
    )
    return (note,)


def _write_ahead(database: sqlite3.Connection) -> str:
    """Switch to write-ahead mode; SQLite does not wait for others here, so this does."""
    deadline = time.monotonic() + BUSY_SECONDS
    while True:
        try:
            return str(database.execute("PRAGMA journal_mode = WAL").fetchone()[0])
        except sqlite3.OperationalError as error:
            if _code(error) != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
            time.sleep(0.01)


def _migrate(database: sqlite3.Connection, path: Path | None) -> None:
    if _format(database) == len(MIGRATIONS):
        _known(database)
        return
    database.execute("BEGIN IMMEDIATE")
    current = _format(database)  # another process may have been first
    if current > len(MIGRATIONS):
        raise Refused(
            f"{path} was written by a newer llmops (format {current}, this one knows "
            f"{len(MIGRATIONS)})",
            hint=f"upgrade llmops, or move {path} away: what it holds is then measured again",
        )
    if current:
        _known(database)
    elif database.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
        raise Foreign("a database, but not a results store")
    for step in MIGRATIONS[current:]:
        for statement in step:
            database.execute(statement)
    database.execute(f"PRAGMA application_id = {APPLICATION}")
    database.execute(f"PRAGMA user_version = {len(MIGRATIONS)}")
    database.execute("COMMIT")


def _known(database: sqlite3.Connection) -> None:
    if database.execute("PRAGMA application_id").fetchone()[0] != APPLICATION:
        raise Foreign("a database, but not a results store")


def _format(database: sqlite3.Connection) -> int:
    return int(database.execute("PRAGMA user_version").fetchone()[0])


def _code(error: Exception) -> int | None:
    """The primary SQLite result code, whatever its extension."""
    code = getattr(error, "sqlite_errorcode", None)
    return None if code is None else int(code) & 0xFF


def _kept_for_this_run_only(place: Path) -> str:
    return f"{place} cannot be written: results are kept for this run only"


FILE_NAME = "results.sqlite3"

Columns: TypeAlias = tuple[bytes | str | int, ...]
Row: TypeAlias = tuple[bytes | str | int | None, ...]
T = TypeVar("T")


class GuardedDatabase:
    """The results database in `folder`; None: a private one on the temporary disk."""

    def __init__(self, folder: Path | None, *, durable: bool) -> None:
        self._durable = durable
        self._inode = 0
        self.notes: list[str] = []
        self.path: Path | None = None
        if folder is not None:
            try:
                self.path = prepared(folder) / FILE_NAME
            except NotWritable as trouble:
                self.notes.append(str(trouble))
        self._connection = self._opened()

    def execute(self, statement: str, columns: Row = ()) -> sqlite3.Cursor:
        """One statement, inside `reading` or `writing`."""
        return self._connection.execute(statement, columns)

    def executemany(self, statement: str, rows: Iterable[Row]) -> None:
        """One statement for many rows, inside `writing`."""
        self._connection.executemany(statement, rows)

    def reading(self, read: Callable[[], T]) -> T:
        """What `read` gives, in one transaction: it may run twice."""
        return self._guarded("BEGIN", read)

    def writing(self, write: Callable[[], T]) -> T:
        """What `write` gives, on disk wholly or not at all: it may run twice."""
        return self._guarded("BEGIN IMMEDIATE", write)

    @property
    def gone(self) -> bool:
        """Whether somebody took the file away while it was open: what is written goes with it."""
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

    def _guarded(self, begin: str, act: Callable[[], T]) -> T:
        try:
            return self._transaction(begin, act)
        except sqlite3.DatabaseError as error:
            if not is_damaged(error):
                raise self._trouble(error) from error
        self.close()
        self._set_aside()
        self._connection = self._opened()
        try:
            return self._transaction(begin, act)
        except sqlite3.Error as error:
            raise self._trouble(error) from error

    def _transaction(self, begin: str, act: Callable[[], T]) -> T:
        self._connection.execute(begin)
        try:
            result = act()
            self._connection.execute("COMMIT")
        except BaseException:
            with suppress(sqlite3.Error):
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
            raise
        return result

    def _opened(self) -> sqlite3.Connection:
        try:
            database, notes = opened(self.path, durable=self._durable)
        except NotWritable as trouble:
            self.notes.append(str(trouble))
            self.path = None
            database, notes = opened(None)
        except sqlite3.DatabaseError as error:
            if not is_damaged(error):
                raise self._trouble(error) from error
            self._set_aside()
            database, notes = opened(self.path, durable=self._durable)
        self.notes.extend(notes)
        if self.path is not None:
            self._inode = self.path.stat().st_ino
        return database

    def _set_aside(self) -> None:
        """Move the damaged file away, unless another process has already begun a new one."""
        if self.path is None:
            return
        moved = move_aside(self.path, only_inode=self._inode or None)
        if moved is not None:
            self.notes.append(
                f"{self.path} was damaged: moved to {moved.name}, and a new store begun; "
                "what it held is measured anew"
            )

    def _trouble(self, error: Exception) -> Unmeasured:
        return Unmeasured(
            f"cannot keep results in {self.path or 'a private temporary store'}: {error}",
            hint="free disk space or check the folder's permissions, then run the same command: "
            "what was stored is not measured again",
        )
