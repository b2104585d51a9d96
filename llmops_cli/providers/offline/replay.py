"""What one recorded answer says, whichever system wrote it down.

Beside the text, in the same object, a record may hold what else is known of the answer (`said`).
Anything else in it is somebody else's business and in no key.

Answers that were recorded elsewhere, read from a JSONL file of the project.

Outputs made by another system can be judged, and a fork's pull request can be judged without a
secret. A record is found by the id of its case or by the rendered messages; a missing record is
`NO_RECORD`, never a live call.

Invariants: a record is named by the digest of what it says about one answer, not by its place in
the file, so moving lines changes no key; every line is checked before the first answer is given;
memory does not grow with the file, whose index is a temporary SQLite database that spills to disk
by itself; a replayed answer has no latency, because nothing was called just now.

A run reads what its prompts were answered (`core.ports.Records`); `open_replay` is the provider
for whoever asks for one answer at a time.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, NamedTuple, Self

from llmops_cli.core.digest import Json, NotCanonical, digest
from llmops_cli.core.errors import Location, Refused
from llmops_cli.core.ports import Record, World
from llmops_cli.core.prompt import Model, Request
from llmops_cli.core.result import Brief, Completion, Failure, FailureKind
from llmops_cli.providers.application.answer_fields import BESIDE, Malformed, completed


def parsed(line: bytes) -> Mapping[str, Json]:
    """The record on one line of a file. Raises `Malformed` for anything but a JSON object."""
    try:
        record = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise Malformed(f"not JSON: {error}") from error
    if not isinstance(record, dict):
        raise Malformed("not a JSON object")
    return record


def at_path(record: Json, path: str) -> Json:
    """What stands at a dotted `path` of `record`; None where there is nothing."""
    found = record
    for name in path.split("."):
        if not isinstance(found, Mapping):
            return None
        found = found.get(name)
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """One recorded answer: its text and what is recorded beside it."""

    said: Mapping[str, Json]
    """`text`, and those of `BESIDE` that the record has."""

    @property
    def identity(self) -> str:
        """The digest of all that is said. Raises `Malformed` for what has none."""
        try:
            return digest("llmops/record/v1", self.said)
        except NotCanonical as error:
            raise Malformed(str(error)) from error

    @classmethod
    def in_record(cls, record: Mapping[str, Json], field: str) -> Answer | None:
        """The answer whose text stands at the dotted path `field`; None where there is no text.

        Raises `Malformed` where the text is not one, or what stands beside it makes no sense.
        """
        *holders, _ = field.split(".")
        text = at_path(record, field)
        if text is None:
            return None
        if not isinstance(text, str):
            raise Malformed(f"{field} is not a text")
        holder = at_path(record, ".".join(holders)) if holders else record
        assert isinstance(holder, Mapping)
        beside = {name: holder[name] for name in BESIDE if holder.get(name) is not None}
        said: dict[str, Json] = {"text": carried(text), **beside}
        answer = cls(said=said)
        if beside:
            answer.completion()
        return answer

    def completion(self) -> Completion:
        """The answer as a call would have given it. Raises `Malformed`."""
        return completed(self.said)


def carried(text: str) -> str:
    """`text` with lone surrogates, which no digest and no file can carry, shown as U+FFFD."""
    if text.isascii():
        return text
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


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
async def open_replay(model: Model, world: World) -> AsyncIterator[Recorded]:
    """The records of `model`, readable while the context is open. Raises as `Recorded` does."""
    with Recorded(model, world.root) as records:
        records.index_identities()
        yield records


class Recorded:
    """The records behind one model of llmops.yaml: a context manager, or to be closed.

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
        self._layout = Layout.of(model)
        self._file = _opened(root, self._layout.file)
        self._index = sqlite3.connect("")
        try:
            self._index.executescript(_SCHEMA)
            self._read_all()
        except BaseException:
            self.close()
            raise

    def find(self, case: str, request: Request) -> Record | None:
        """The record that answers `case`; None where none does."""
        found = self._index.execute(
            "SELECT rowid, identity FROM record WHERE key = ?",
            (case if self._layout.by == "case" else _messages_key(request),),
        ).fetchone()
        return None if found is None else Record(*found)

    def identity(self, case: str, request: Request) -> str | None:
        """The digest of the record that answers `case`; None where none does."""
        found = self.find(case, request)
        return None if found is None else found.identity

    def briefs(self, places: Iterable[int]) -> list[Brief]:
        """What a verdict needs of the answers at `places`."""
        query = "SELECT brief FROM record WHERE rowid = ?"
        rows = (self._index.execute(query, (place,)).fetchone() for place in places)
        return [Brief(*_DECODE(brief)) for (brief,) in rows]

    def completion(self, place: int) -> Completion:
        """The whole answer at `place`. Raises `Refused` where it is no longer what it was."""
        assert self._enter is not None
        query = "SELECT start, brief FROM record WHERE rowid = ?"
        start, brief = self._index.execute(query, (place,)).fetchone()
        self._file.seek(start)
        answer = self._answer(self._file.readline())
        found = None if answer is None else self._enter(answer.completion())
        if found is None or found.digest != Brief(*_DECODE(brief)).digest:
            raise Refused(
                f"{self._layout.file} changed while it was being read",
                hint="run the same command again",
            )
        return found

    def index_identities(self) -> None:
        """Makes answers quick to find by their identity, for `complete`."""
        self._index.execute("CREATE INDEX by_identity ON record (identity)")

    async def complete(self, request: Request) -> Completion | Failure:
        """The recorded answer that `request.identity` names."""
        start = self._start(request.identity)
        if start is None:
            return self._no_record("holds no answer for this case")
        self._file.seek(start)
        answer = self._answer(self._file.readline())
        if answer is None or answer.identity != request.identity:
            return self._no_record("changed while it was being read")
        return answer.completion()

    def close(self) -> None:
        """Let go of the file and of its index."""
        self._file.close()
        self._index.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _read_all(self) -> None:
        """Check every line, index those that answer."""
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
            (first,) = self._index.execute(
                "SELECT line FROM record WHERE key = ?", (last.key,)
            ).fetchone()
            raise Refused(
                f"{self._at(last.line)}: a second record for the {self._layout.by} of line {first}",
                hint="keep one record of each: which of two answers is meant cannot be known",
            ) from error

    def _row(self, line: bytes, number: int, start: int) -> _Row | None:
        """The index's row of one line; None where the line holds no answer."""
        try:
            record = parsed(line.removeprefix(_BYTE_ORDER_MARK))
            key = self._layout.key(record)
            answer = Answer.in_record(record, self._layout.field)
            if answer is None:
                return None
            brief = _ENCODE(self._enter(answer.completion()).brief) if self._enter else None
            return _Row(key, number, start, answer.identity, brief)
        except Malformed as error:
            raise Refused(f"{self._at(number)}: {error}") from error

    def _at(self, number: int) -> Location:
        return Location(path=self._layout.file, line=number)

    def _start(self, identity: str | None) -> int | None:
        found = self._index.execute(
            "SELECT start FROM record WHERE identity = ?", (identity,)
        ).fetchone()
        return None if found is None else int(found[0])

    def _answer(self, line: bytes) -> Answer | None:
        try:
            record = parsed(line.removeprefix(_BYTE_ORDER_MARK))
            return Answer.in_record(record, self._layout.field)
        except Malformed:
            return None

    def _no_record(self, why: str) -> Failure:
        return Failure(kind=FailureKind.NO_RECORD, message=f"{self._layout.file} {why}")


class _Row(NamedTuple):
    """One record in the index."""

    key: str
    line: int
    start: int
    identity: str
    brief: str | None


class Layout(NamedTuple):
    """Where the records are and where in each what is to be found, as the options say."""

    file: str
    """As written in llmops.yaml: relative to the project."""
    field: str
    by: str
    """`case` or `request`."""
    id: str

    @classmethod
    def of(cls, model: Model) -> Layout:
        """The options of `model`. Raises `Refused` for one that is not a text or not known."""
        by = _option(model, "by", "case")
        if by not in {"case", "request"}:
            raise Refused(f"model {model.name!r}: by is {by!r}, not 'case' or 'request'")
        return cls(
            file=_option(model, "file", None),
            field=_option(model, "field", "text"),
            by=by,
            id=_option(model, "id", "id" if by == "case" else "messages"),
        )

    def key(self, record: Json) -> str:
        """What finds `record`. Raises `Malformed` where it has no such thing."""
        found = at_path(record, self.id)
        if self.by == "case" and isinstance(found, (str, int)):
            return carried(str(found))
        if self.by == "request" and isinstance(found, list):
            return _digest_of_messages(found)
        raise Malformed(f"no {self.id} that finds this record")


def _option(model: Model, name: str, default: str | None) -> str:
    value = model.options.get(name, default)
    if isinstance(value, str) and value:
        return value
    raise Refused(f"model {model.name!r}: replay needs the option {name}, a text")


def _opened(root: Path, file: str) -> BinaryIO:
    inside = root.resolve()
    path = (inside / file).resolve()
    if not path.is_relative_to(inside):
        raise Refused(f"the records {file!r} are outside the project")
    if not path.is_file():
        raise Refused(
            f"there are no records at {file!r}", hint="the path is relative to llmops.yaml"
        )
    return path.open("rb")


def _messages_key(request: Request) -> str:
    return _digest_of_messages([each.plain() for each in request.messages])


def _digest_of_messages(messages: Json) -> str:
    try:
        return digest("llmops/messages/v1", messages)
    except NotCanonical as error:
        raise Malformed(str(error)) from error
