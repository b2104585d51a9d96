"""Opening the SQLite file of the results store: format, migrations, and what the disk may refuse.

The header's application id says whose file it is and `user_version` which format it has. An older
format is brought forward step by step, a newer one refused: never reset in silence.
"""

from __future__ import annotations

import sqlite3
import time
from errno import EACCES, EPERM, EROFS
from pathlib import Path

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
