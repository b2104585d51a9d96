"""Numbers that the processes of one machine change together: how fast they may call a model.

One small SQLite file beside the results store, opened when the first rate per minute is set. It
holds moments on the machine's monotonic clock, so no jump of the wall clock stalls or floods a
model; a restart of the machine, which begins that clock anew, forgets them. Where the file cannot
be kept, each process keeps its own pace: a run never fails for it.
"""

from __future__ import annotations

import math
import sqlite3
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from llmops_cli.core.errors import Unmeasured
from llmops_cli.stores.database import NotWritable, prepared

FILE_NAME = "pace.sqlite3"
BUSY_SECONDS = 5.0
SAME_BOOT = 60.0
"""Seconds by which the moment of the machine's start may seem to move: clocks are corrected."""

_SETUP = (
    "PRAGMA synchronous = OFF",
    "BEGIN IMMEDIATE",
    "CREATE TABLE IF NOT EXISTS cells (name TEXT PRIMARY KEY, number REAL, boot REAL)",
    "COMMIT",
)
_GET = "SELECT number FROM cells WHERE name = ? AND abs(boot - ?) < ?"
_PUT = "INSERT OR REPLACE INTO cells VALUES (?, ?, ?)"


class FileCounters:
    """Cells by name in `folder`, shared by every process that opens them there."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._database: sqlite3.Connection | None = None

    def __call__(self, name: str) -> FileCounter:
        """The cell of `name`, a `core.ports.Cell`."""
        return FileCounter(self, name)

    def close(self) -> None:
        """Release the file."""
        if self._database is not None:
            self._database.close()
            self._database = None

    def change(self, name: str, step: Callable[[float], float]) -> float:
        """Put `step(number)` in the place of the number called `name`; the number there was."""
        if self._database is None:
            self._database = self._opened()
        try:
            return _changed(self._database, name, step)
        except sqlite3.Error:
            self.close()
            self._database = _own()
            return _changed(self._database, name, step)

    def _opened(self) -> sqlite3.Connection:
        try:
            return _connected(str(prepared(self._folder) / FILE_NAME))
        except (sqlite3.Error, NotWritable, Unmeasured):
            return _own()


class FileCounter:
    """One number of `SharedCells`."""

    __slots__ = ("_cells", "_name")

    def __init__(self, cells: FileCounters, name: str) -> None:
        self._cells = cells
        self._name = name

    def now(self) -> float:
        """Seconds on the clock that all processes of this machine share."""
        return time.monotonic()

    def change(self, step: Callable[[float], float]) -> float:
        """Put `step(number)` in its place, undivided; the number there was, at first -inf."""
        return self._cells.change(self._name, step)


def _own() -> sqlite3.Connection:
    return _connected(":memory:")


def _connected(where: str) -> sqlite3.Connection:
    database = sqlite3.connect(where, timeout=BUSY_SECONDS, isolation_level=None)
    try:
        for statement in _SETUP:
            database.execute(statement)
    except sqlite3.Error:
        database.close()
        raise
    return database


def _changed(database: sqlite3.Connection, name: str, step: Callable[[float], float]) -> float:
    boot = time.time() - time.monotonic()
    database.execute("BEGIN IMMEDIATE")
    try:
        row = database.execute(_GET, (name, boot, SAME_BOOT)).fetchone()
        before = -math.inf if row is None else float(row[0])
        database.execute(_PUT, (name, step(before), boot))
        database.execute("COMMIT")
    except BaseException:
        with suppress(sqlite3.Error):
            database.execute("ROLLBACK")
        raise
    return before
