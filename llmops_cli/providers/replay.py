"""Answers that were recorded elsewhere, read from a JSONL file of the project.

Outputs made by another system can be scored, and a fork's pull request can be judged without a
secret. A record is found by the id of its case or by the rendered messages; a missing record is
`NO_RECORD`, never a live call. Beside the text, in the same object, a record may have what else is
known of the answer (`answer_fields`). Anything else in it is ignored and is in no key.

Invariants: a record is named by the digest of what it says about one answer, not by its place in
the file, so moving lines changes no key; every line is checked before the first answer is given;
memory does not grow with the file, whose index is a temporary SQLite database that spills to disk
by itself; a replayed answer has no latency, because it was not called in this run.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import BinaryIO, NamedTuple, Self, TypeAlias

from llmops_cli.core.digest import Json, NotCanonical, digest
from llmops_cli.core.errors import Location, Refused
from llmops_cli.core.ports import PluginContext, Record
from llmops_cli.core.prompt import Model, Request
from llmops_cli.core.redact import without_surrogates
from llmops_cli.core.result import Brief, Completion, Failure, FailureKind
from llmops_cli.providers.application.answer_fields import BESIDE, Malformed, completion_of
from llmops_cli.providers.http.responses import at

Answer: TypeAlias = Mapping[str, Json]
"""`text`, and those of `BESIDE` that the record has."""

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_SCHEMA = """
PRAGMA journal_mode = OFF;
PRAGMA cache_size = -32768;
CREATE TABLE record (
    key TEXT PRIMARY KEY, line INTEGER, start INTEGER, identity TEXT, brief TEXT);
"""
_ENCODE = json.JSONEncoder(separators=(",", ":")).encode
_DECODE = json.JSONDecoder().decode


@asynccontextmanager
async def open_replay(model: Model, context: PluginContext) -> AsyncIterator[Recorded]:
    """Open the records of `model`. Raises as `Recorded` does."""
    with Recorded(model, context.root) as records:
        records.index_identities()
        yield records


class Recorded:
    """The records of one model of llmops.yaml. Use as a context manager, or close it.

    `root` is the project's folder. Raises `Refused`, with file and line, for a file outside the
    project and for what would make an answer doubtful: a line that is no JSON object, an id that
    is missing or stands twice, a malformed answer. A record whose text is null or absent is none.

    `enter` makes of a recorded answer what a call would have given; without it only `identity`
    and `complete` are there.
    """

    def __init__(
        self, model: Model, root: Path, enter: Callable[[Completion], Completion] | None = None
    ) -> None:
        self._enter = enter
        self._by = _option(model, "by", "case")
        if self._by not in {"case", "request"}:
            raise Refused(f"model {model.name!r}: by is {self._by!r}, not 'case' or 'request'")
        self._id = _option(model, "id", "id" if self._by == "case" else "messages")
        self._field = _option(model, "field", "text")
        self._path = _option(model, "file", None)
        self._file = _open(root, self._path)
        self._index = sqlite3.connect("")
        try:
            self._index.executescript(_SCHEMA)
            self._read_all()
        except BaseException:
            self.close()
            raise

    def find(self, case: str, request: Request) -> Record | None:
        """Return the record that answers `case`; None if none does."""
        key = case
        if self._by == "request":
            key = _digest([message.plain() for message in request.messages], "messages")
        query = "SELECT rowid, identity FROM record WHERE key = ?"
        row = self._index.execute(query, (key,)).fetchone()
        return None if row is None else Record(*row)

    def identity(self, case: str, request: Request) -> str | None:
        """Return the digest of the record that answers `case`; None if none does."""
        record = self.find(case, request)
        return None if record is None else record.identity

    def briefs(self, places: Iterable[int]) -> list[Brief]:
        """Return what a verdict needs of the answers at `places`."""
        query = "SELECT brief FROM record WHERE rowid = ?"
        rows = (self._index.execute(query, (place,)).fetchone() for place in places)
        return [Brief(*_DECODE(brief)) for (brief,) in rows]

    def completion(self, place: int) -> Completion:
        """Return the whole answer at `place`. Raises `Refused` if the file has changed."""
        assert self._enter is not None
        query = "SELECT start, brief FROM record WHERE rowid = ?"
        start, brief = self._index.execute(query, (place,)).fetchone()
        answer = self._answer_at(start)
        completion = None if answer is None else self._enter(completion_of(answer))
        if completion is None or completion.digest != Brief(*_DECODE(brief)).digest:
            raise Refused(
                f"{self._path} changed while it was being read",
                hint="run the same command again",
            )
        return completion

    def index_identities(self) -> None:
        """Make answers quick to find by their identity, for `complete`."""
        self._index.execute("CREATE INDEX by_identity ON record (identity)")

    async def complete(self, request: Request) -> Completion | Failure:
        """Return the recorded answer that `request.identity` names."""
        query = "SELECT start FROM record WHERE identity = ?"
        row = self._index.execute(query, (request.identity,)).fetchone()
        if row is None:
            return self._no_record("holds no answer for this case")
        answer = self._answer_at(row[0])
        if answer is None or _digest(answer, "record") != request.identity:
            return self._no_record("changed while it was being read")
        return completion_of(answer)

    def close(self) -> None:
        """Close the file and its index."""
        self._file.close()
        self._index.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    def _read_all(self) -> None:
        """Check every line, and index those that answer."""
        last: _Row | None = None

        def rows() -> Iterator[_Row]:
            nonlocal last
            start = 0
            for number, line in enumerate(self._file, start=1):
                if line.strip() and (last := self._row(line, number, start)) is not None:
                    yield last
                start += len(line)

        try:
            self._index.executemany("INSERT INTO record VALUES (?, ?, ?, ?, ?)", rows())
        except sqlite3.IntegrityError as error:
            assert last is not None
            query = "SELECT line FROM record WHERE key = ?"
            (first,) = self._index.execute(query, (last.key,)).fetchone()
            raise Refused(
                f"{Location(path=self._path, line=last.line)}: a second record for the {self._by} "
                f"of line {first}",
                hint="keep one record of each: which of two answers is meant cannot be known",
            ) from error

    def _row(self, line: bytes, number: int, start: int) -> _Row | None:
        """Return the index's row of one line; None if the line has no answer."""
        try:
            record = parse_record(line)
            key = self._key(record)
            answer = answer_in(record, self._field)
            if answer is None:
                return None
            brief = _ENCODE(self._enter(completion_of(answer)).brief) if self._enter else None
            return _Row(key, number, start, _digest(answer, "record"), brief)
        except Malformed as error:
            raise Refused(f"{Location(path=self._path, line=number)}: {error}") from error

    def _key(self, record: Json) -> str:
        """Return what finds `record`. Raises `Malformed` if it has no such thing."""
        value = at(record, *self._id.split("."))
        if self._by == "case" and isinstance(value, (str, int)):
            return without_surrogates(str(value))
        if self._by == "request" and isinstance(value, list):
            return _digest(value, "messages")
        raise Malformed(f"no {self._id} that finds this record")

    def _answer_at(self, start: int) -> Answer | None:
        self._file.seek(start)
        try:
            return answer_in(parse_record(self._file.readline()), self._field)
        except Malformed:
            return None

    def _no_record(self, why: str) -> Failure:
        return Failure(kind=FailureKind.NO_RECORD, message=f"{self._path} {why}")


class _Row(NamedTuple):
    """One record in the index."""

    key: str
    line: int
    start: int
    identity: str
    brief: str | None


def parse_record(line: bytes) -> Mapping[str, Json]:
    """Return the record on one line of a file. Raises `Malformed` for anything but an object."""
    try:
        record = json.loads(line.removeprefix(_BYTE_ORDER_MARK))
    except (ValueError, RecursionError) as error:
        raise Malformed(f"not JSON: {error}") from error
    if not isinstance(record, dict):
        raise Malformed("not a JSON object")
    return record


def answer_in(record: Mapping[str, Json], field: str) -> Answer | None:
    """Return the answer whose text is at the dotted path `field`; None if there is no text.

    Raises `Malformed` if the text is not one, or what is beside it makes no sense.
    """
    text = at(record, *field.split("."))
    if text is None:
        return None
    if not isinstance(text, str):
        raise Malformed(f"{field} is not a text")
    fields = at(record, *field.split(".")[:-1])
    assert isinstance(fields, Mapping)
    beside = {name: fields[name] for name in BESIDE if fields.get(name) is not None}
    answer: Answer = {"text": without_surrogates(text), **beside}
    if beside:
        completion_of(answer)
    return answer


def _digest(value: Json, what: str) -> str:
    """Return the digest of an answer or of messages. Raises `Malformed` for what has none."""
    try:
        return digest(f"llmops/{what}/v1", value)
    except NotCanonical as error:
        raise Malformed(str(error)) from error


def _option(model: Model, name: str, default: str | None) -> str:
    value = model.options.get(name, default)
    if isinstance(value, str) and value:
        return value
    raise Refused(f"model {model.name!r}: replay needs the option {name}, a text")


def _open(root: Path, file: str) -> BinaryIO:
    folder = root.resolve()
    path = (folder / file).resolve()
    if not path.is_relative_to(folder):
        raise Refused(f"the records {file!r} are outside the project")
    if not path.is_file():
        raise Refused(
            f"there are no records at {file!r}", hint="the path is relative to llmops.yaml"
        )
    return path.open("rb")
