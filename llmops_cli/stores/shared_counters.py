"""Numbers that all processes of one machine share: how fast they may call a model.

One small SQLite file beside the results store, opened when the first rate per minute is set. It
holds times of the machine's monotonic clock, so no jump of the wall clock stalls or floods a
model; a restart of the machine, which resets that clock, invalidates them. Where the file cannot
be written, each process has its own numbers: a run never fails because of it.
"""

from __future__ import annotations

import math
import sqlite3
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from llmops_cli.core.errors import Unmeasured
from llmops_cli.stores.database import NotWritable, prepare_folder

FILE_NAME = "pace.sqlite3"
PRIVATE = ":memory:"
BUSY_SECONDS = 5.0
SAME_BOOT = 60.0
"""Seconds by which the machine's start may seem to move: clocks are corrected."""

_SETUP = (
    "PRAGMA synchronous = OFF",
    "BEGIN IMMEDIATE",
    "CREATE TABLE IF NOT EXISTS cells (name TEXT PRIMARY KEY, number REAL, boot REAL)",
    "COMMIT",
)
_GET = "SELECT number FROM cells WHERE name = ? AND abs(boot - ?) < ?"
_PUT = "INSERT OR REPLACE INTO cells VALUES (?, ?, ?)"


class FileCounters:
    """Counters by name in `folder`, shared by every process that opens them there."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._database: sqlite3.Connection | None = None

    def __call__(self, name: str) -> FileCounter:
        """Return the counter `name`, a `core.ports.SharedCounter`."""
        return FileCounter(self, name)

    def close(self) -> None:
        """Release the file."""
        if self._database is not None:
            self._database.close()
            self._database = None

    def change(self, name: str, step: Callable[[float], float]) -> float:
        """Replace the number `name` by `step(number)`, atomically, and return the old one."""
        if self._database is None:
            self._database = self._open()
        try:
            return _change(self._database, name, step)
        except sqlite3.Error:
            self.close()
            self._database = _connect(PRIVATE)
            return _change(self._database, name, step)

    def _open(self) -> sqlite3.Connection:
        try:
            return _connect(str(prepare_folder(self._folder) / FILE_NAME))
        except (sqlite3.Error, NotWritable, Unmeasured):
            return _connect(PRIVATE)


class FileCounter:
    """One number of `FileCounters`."""

    __slots__ = ("_counters", "_name")

    def __init__(self, counters: FileCounters, name: str) -> None:
        self._counters = counters
        self._name = name

    def now(self) -> float:
        """Return seconds on the clock that all processes of this machine share."""
        return time.monotonic()

    def change(self, step: Callable[[float], float]) -> float:
        """Replace the number by `step(number)`, atomically, and return the old one, -inf first."""
        return self._counters.change(self._name, step)


def _connect(where: str) -> sqlite3.Connection:
    database = sqlite3.connect(where, timeout=BUSY_SECONDS, isolation_level=None)
    try:
        for statement in _SETUP:
            database.execute(statement)
    except sqlite3.Error:
        database.close()
        raise
    return database


def _change(database: sqlite3.Connection, name: str, step: Callable[[float], float]) -> float:
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
