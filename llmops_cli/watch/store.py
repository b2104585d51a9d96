"""The calls of production, one file of columns per hour under `.llmops/traces/`.

`2026-11-30T14.npy` has a row of 76 bytes per call; texts (models, versions, errors) are numbers
in it, which `words.json` names. `2026-11-30T14.texts.jsonl.gz` has the messages of the calls that
may become cases: bad feedback, errors, the slowest, and a sample. A call is stored once, whichever
file it came from and however often. A file that has not changed is not read again.
"""

from __future__ import annotations

import fcntl
import gzip
import hashlib
import json
import math
import stat
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from llmops_cli.core.errors import IntegrityBroken, Refused
from llmops_cli.core.redact import Redactor
from llmops_cli.core.watch import SpanNames
from llmops_cli.stores.atomic import write_bytes
from llmops_cli.stores.registry_files import children, exists, open_file, read_record
from llmops_cli.watch.spans import Call, Counts, read_calls

HOUR = 3600
BATCH = 50_000
"""Calls in memory before they are written: about 30 MB."""
SAMPLE = 200
"""Calls an hour whose messages are kept besides the remarkable ones: those of the lowest ids, which
are hashes."""
REMARKABLE = 500
"""Calls an hour at most whose messages are kept because of what happened."""
SLOWEST = 20
LONGEST = 200
"""Characters of a text column."""
MOST_WORDS = 100_000
OTHER = "(other)"
"""What texts become after `MOST_WORDS`: an attribute that names something new in every call."""
NUMBERS = (
    "seconds", "first_token", "cost", "input_tokens", "cached_tokens", "output_tokens",
    "satisfied", "cache_hit",
)  # fmt: skip
TEXTS = ("error", "provider", "model", "version", "finish", "route")
ROW = np.dtype(
    [("id", "<u8"), ("time", "<f8"), *((name, "<f4") for name in NUMBERS)]
    + [(name, "<u4") for name in TEXTS]
)

T = TypeVar("T", list[str], dict[str, list[int]])
Table = NDArray[np.void]
"""Rows of `ROW`, by time."""


class TraceStore:
    """The calls of one project. Writers wait for each other; readers see whole files."""

    def __init__(self, root: Path, redact: Redactor) -> None:
        self.folder = root / ".llmops" / "traces"
        self._redact = redact
        self._words: dict[str, int] = {"": 0}

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Keep other writers out."""
        for name in (".gitignore", ".lock"):
            exists(self.folder / name)  # raises for a link: what it leads to would be overwritten
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / ".gitignore").write_text("*\n")
        with (self.folder / ".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            self._words = {word: at for at, word in enumerate(self.words())}
            yield

    def words(self) -> list[str]:
        """Return the texts by number."""
        return list(map(str, self._record("words.json", [""])))

    def add(self, files: Iterable[Path], names: SpanNames) -> tuple[int, Counts]:
        """Store the calls of `files` that are not stored; return how many, and what was read.

        Lines of a file that was read before and has not changed are counted as they were then.
        Raises `Refused` for a file that can't be read, `Unmeasured` if the disk refuses.
        """
        counts = Counts()
        added = 0
        with self.writing():
            known = self._read_files()
            for file in files:
                before = Counts(lines=counts.lines, unreadable=counts.unreadable)
                with _readable(file) as mark:
                    *same, lines, unreadable = known.get(str(file.resolve()), [0, 0])
                    if same == mark:
                        counts.lines += lines
                        counts.unreadable += unreadable
                        if unreadable:
                            counts.reasons.append(f"{file}: as it was read before")
                        continue
                    batch: list[Call] = []
                    for call in read_calls(file, names, counts):
                        batch.append(call)
                        if len(batch) >= BATCH:
                            added += self._put(batch)
                            batch.clear()
                added += self._put(batch)
                read = [counts.lines - before.lines, counts.unreadable - before.unreadable]
                known[str(file.resolve())] = [*mark, *read]
            write_bytes(self.folder / "read.json", json.dumps(known).encode())
        return added, counts

    def hours(self) -> list[int]:
        """Return the hours (since 1970) that have calls."""
        names = (file.stem for file in children(self.folder) if file.match("*T*.npy"))
        return sorted(
            int(datetime.fromisoformat(f"{n}:00+00:00").timestamp()) // HOUR for n in names
        )

    def read(self, since: int = 0, until: int = 1 << 40) -> Table:
        """Return the calls of the hours from `since` on and before `until`, by time."""
        parts = [self._hour(hour) for hour in self.hours() if since <= hour < until]
        table = np.concatenate(parts) if parts else np.empty(0, ROW)
        return table[np.argsort(table["time"], kind="stable")]

    def summary(self) -> list[tuple[str, int, int, str]]:
        """Return hour, calls, errors and versions of each hour."""
        words = self.words()
        rows = []
        for hour in self.hours():
            table = self._hour(hour)
            versions = ", ".join(words[code] for code in np.unique(table["version"]) if code)
            errors = int((table["error"] != 0).sum())
            rows.append((self._file(hour).stem, len(table), errors, versions))
        return rows

    def messages(self, since: int = 0) -> Iterator[dict[str, Any]]:
        """Yield the calls whose messages are kept, oldest hour first."""
        for hour in self.hours():
            if hour >= since:
                yield from self._texts(hour).values()

    def _read_files(self) -> dict[str, list[int]]:
        return self._record("read.json", {})

    def _record(self, name: str, default: T) -> T:
        file = self.folder / name
        try:
            record = json.loads(read_record(file)) if exists(file) else default
        except ValueError as error:
            raise _damaged(file, str(error)) from error
        if type(record) is not type(default):
            raise _damaged(file, f"it is no {type(default).__name__}")
        return record

    def _file(self, hour: int) -> Path:
        name = datetime.fromtimestamp(hour * HOUR, UTC).strftime("%Y-%m-%dT%H")
        return self.folder / f"{name}.npy"

    def _hour(self, hour: int) -> Table:
        file = self._file(hour)
        if not exists(file):
            return np.empty(0, ROW)
        try:
            with open_file(file) as opened:
                table: Table = np.load(opened, allow_pickle=False)
        except (ValueError, EOFError, OSError) as error:
            raise _damaged(file, str(error)) from error
        if table.dtype != ROW:
            raise _damaged(file, "it has other columns")
        return table

    def _texts(self, hour: int) -> dict[int, dict[str, Any]]:
        file = self._file(hour).with_suffix(".texts.jsonl.gz")
        if not exists(file):
            return {}
        try:
            lines = gzip.decompress(read_record(file)).splitlines()
            return {row["id"]: row for row in map(json.loads, lines)}
        except (ValueError, EOFError, OSError, zlib.error, KeyError) as error:
            raise _damaged(file, str(error)) from error

    def _put(self, calls: list[Call]) -> int:
        """Store calls; return how many were new."""
        by_hour: dict[int, list[Call]] = {}
        for call in calls:
            by_hour.setdefault(int(call.time // HOUR), []).append(call)
        before = len(self._words)
        rows = {hour: self._rows(group) for hour, group in by_hour.items()}
        if len(self._words) > before:  # before the rows that need them
            write_bytes(self.folder / "words.json", json.dumps(list(self._words)).encode())
        added = 0
        for hour, group in by_hour.items():
            stored = self._hour(hour)
            ids = rows[hour]["id"]
            _, first = np.unique(ids, return_index=True)
            fresh = np.sort(first[~np.isin(ids[first], stored["id"])])
            if not len(fresh):
                continue
            added += len(fresh)
            table = np.concatenate([stored, rows[hour][fresh]])
            self._put_texts(hour, [(int(ids[at]), group[at]) for at in fresh], table)
            _save(self._file(hour), table)
        return added

    def _rows(self, calls: list[Call]) -> Table:
        table = np.empty(len(calls), ROW)
        table["id"] = [_id(call) for call in calls]
        table["time"] = [call.time for call in calls]
        for name in NUMBERS:
            table[name] = [getattr(call, name) for call in calls]
        for name in TEXTS:
            table[name] = [self._word(getattr(call, name)) for call in calls]
        return table

    def _word(self, text: str) -> int:
        number = self._words.get(text)
        if number is None:
            text = self._redact(text)[:LONGEST]
            if len(self._words) >= MOST_WORDS:
                text = OTHER
            number = self._words.setdefault(text, len(self._words))
        return number

    def _put_texts(self, hour: int, calls: list[tuple[int, Call]], table: Table) -> None:
        """Keep the messages of those among `calls` that are remarkable or in the sample."""
        if not any(call.input or call.output for _, call in calls):
            return
        kept = self._texts(hour)
        slow = np.nan_to_num(table["seconds"], nan=-1.0)
        slowest = set(map(int, table["id"][np.argsort(slow)[-SLOWEST:]]))
        for id_, call in calls:
            if call.input or call.output:
                kept[id_] = {
                    "id": id_,
                    "trace": call.trace[:64],
                    "span": call.span[:64],
                    "time": call.time,
                    "seconds": _json(call.seconds),
                    "satisfied": _json(call.satisfied),
                    "error": self._redact(call.error)[:LONGEST],
                    "version": self._redact(call.version)[:LONGEST],
                    "inputs": self._redact(call.inputs),
                    "input": self._redact(call.input),
                    "output": self._redact(call.output),
                }
        sample = set(sorted(kept)[:SAMPLE]) | slowest
        remarkable = [
            id_
            for id_, row in kept.items()
            if row["error"] or (row["satisfied"] is not None and row["satisfied"] < 0.5)
        ]
        keep = sample | set(remarkable[:REMARKABLE])
        lines = (json.dumps(row) for id_, row in sorted(kept.items()) if id_ in keep)
        content = gzip.compress("\n".join(lines).encode(), compresslevel=3, mtime=0)
        write_bytes(self._file(hour).with_suffix(".texts.jsonl.gz"), content)


@contextmanager
def _readable(file: Path) -> Iterator[list[int]]:
    """Yield what changes when `file` does. Raises `Refused` if it can't be read, then or later."""
    try:
        state = file.stat()
        if not stat.S_ISREG(state.st_mode):  # a pipe would be waited for
            raise Refused(f"cannot read {file}: it is not a file")
        yield [state.st_size, state.st_mtime_ns]
    except (OSError, EOFError, zlib.error) as error:  # a file that was cut off, say
        raise Refused(f"cannot read {file}: {error}") from error


def _save(file: Path, table: Table) -> None:
    with file.with_suffix(".new").open("wb") as stream:  # a lost hour is read again from its source
        np.save(stream, table)
    file.with_suffix(".new").replace(file)


def _id(call: Call) -> int:
    name = f"{call.trace}/{call.span}".encode()
    return int.from_bytes(hashlib.blake2b(name, digest_size=8).digest(), "little")


def _json(number: float) -> float | None:
    return None if math.isnan(number) else number


def _damaged(file: Path, why: str) -> IntegrityBroken:
    hint = f"delete {file.parent} and add the trace files again"
    return IntegrityBroken(f"not a file of traces: {why}", where=str(file), hint=hint)
