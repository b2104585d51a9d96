"""A SQLite file that survives what happens to files: damage, a full disk, a folder without rights.

Everything is done inside `reading` or `writing`, which run an action in one transaction. Where the
file turns out to be damaged, it is moved aside, a new one is begun and the action is done once
more; where the disk refuses, that is `Unmeasured`. What a reader must know stands in `notes`.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import TypeAlias, TypeVar

from llmops_cli.core.errors import Unmeasured
from llmops_cli.stores.database import NotWritable, is_damaged, move_aside, opened, prepared

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
