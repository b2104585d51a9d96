"""Reads and writes a run as one file: cases, answers and scores, for CI caches, shards, reports.

JSON lines, gzipped where the name ends in `.gz`. The first line is the manifest, the last counts
the others; between them cases with their trials, completions and scores, each line with a
checksum. A reader counts a kind of line that it does not know and passes over it. The bytes follow
from the content alone: equal runs are equal files.

A completion's name is (request, purpose, n, output): merging files is the union of their lines,
so it may be done in any order and twice. Equal completions collapse; different ones under one
(request, purpose, n) all stay, and become further trials where a results store takes them over.
Of a case that several files hold, the one with the fewest failed trials stays.
"""

from __future__ import annotations

import gzip
import hashlib
import sqlite3
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Any, BinaryIO, TypeAlias, cast

from llmops_cli.core.digest import InvalidRecord, Json, from_plain, to_plain
from llmops_cli.core.errors import IntegrityBroken, Refused, Unmeasured
from llmops_cli.core.ports import ScoreKey, TrialKey
from llmops_cli.core.records import EvalsetFacts
from llmops_cli.core.result import CaseResult, Completion, Score
from llmops_cli.stores.atomic import Redact, write_stream
from llmops_cli.stores.codec import (
    case_of,
    case_record,
    completion_of,
    completion_record,
    from_bytes,
    score_of,
    score_record,
    to_bytes,
)

FORMAT = "llmops/run/v2"


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSide:
    """One target of a run on one evalset."""

    name: str
    """`support@working`, `support@v3`."""
    target: str
    """Digest."""
    model: str
    """`provider/model`."""
    version: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RunEvalset:
    """One prompt on one evalset: the compared targets, scorers and policy."""

    prompt: str
    environment: str
    facts: EvalsetFacts
    sides: Mapping[str, RunSide]
    """By role: `candidate`, `baseline`, `anchor v1`."""
    partial: str | None = None
    """Why only some cases were selected."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """The manifest of a run. Two runs can be merged if it is equal for each shared evalset."""

    llmops: str
    evalsets: tuple[RunEvalset, ...]
    report: Json = None
    """The run's `core.report.Report` as plain data; None if runs were merged."""
    format: str = FORMAT


Entry: TypeAlias = CaseResult | tuple[TrialKey, Completion] | tuple[ScoreKey, Score]
"""A case with its trials, without their texts; an answer; or a score."""

LONGEST = 128 << 20
"""The most bytes of a line: enough for an answer of 16 MB with every character escaped."""


def write_run(path: Path, manifest: Manifest, entries: Iterable[Entry], *, redact: Redact) -> None:
    """Write a run, in any order of `entries`, wholly or not at all; needs little memory.

    Raises `Unmeasured` if the disk refuses.
    """

    def fill(file: BinaryIO) -> None:
        with ExitStack() as stack:
            if path.suffix == ".gz":
                packed = gzip.GzipFile(filename="", mode="wb", fileobj=file, mtime=0)
                file = cast("BinaryIO", stack.enter_context(packed))
            evalsets = sorted(manifest.evalsets, key=lambda e: (e.prompt, e.facts.evalset))
            plain = to_plain(replace(manifest, evalsets=tuple(evalsets)))
            file.write(_line("manifest", cast("dict[str, Json]", plain), redact))
            count = 0
            for kind, value in stack.enter_context(closing(_sorted(entries))).execute(_IN_ORDER):
                file.write(_line(kind, from_bytes(value), redact))
                count += 1
            file.write(_line("end", {"lines": count}, redact))

    try:
        write_stream(path, fill)
    except sqlite3.Error as error:
        raise Unmeasured(
            f"cannot sort {path} on the temporary disk: {error}", hint="free disk space"
        ) from error


@dataclass(frozen=True, slots=True)
class RunFile:
    """A run file: its manifest, and its entries as often as they are read."""

    path: Path
    manifest: Manifest

    @property
    def digest(self) -> str:
        """Return the digest of the content, packed or not: it names the source in a store."""
        state = hashlib.sha256()
        with _opened(self.path) as file:
            while piece := file.read(1 << 20):
                state.update(piece)
        return f"sha256:{state.hexdigest()}"

    def entries(self) -> Iterator[Entry]:
        """Yield every entry, in the file's order.

        Raises `IntegrityBroken` at the first line that is not what was written.
        """
        for number, (kind, value) in enumerate(_lines(self.path), start=1):
            if kind in _READ:
                try:
                    yield _READ[kind](value)
                except (InvalidRecord, KeyError, TypeError) as error:
                    raise _broken(self.path, number, str(error)) from error

    def cases(self) -> Iterator[CaseResult]:
        """Yield the cases, in the file's order. Raises as `entries` does."""
        return (entry for entry in self.entries() if isinstance(entry, CaseResult))

    @contextmanager
    def indexed(self) -> Iterator[RunIndex]:
        """Index its entries on the temporary disk. Raises as `entries` does."""
        with closing(_sorted(self.entries())) as database:
            yield RunIndex(database)

    def results(
        self,
    ) -> tuple[list[tuple[TrialKey, Completion]], list[tuple[ScoreKey, Score]]]:
        """Return its completions and scores: `store.ingest(run.digest, *run.results())`."""
        completions: list[tuple[TrialKey, Completion]] = []
        scores: list[tuple[ScoreKey, Score]] = []
        for entry in self.entries():
            if isinstance(entry, CaseResult):
                continue
            key, content = entry
            if isinstance(key, TrialKey) and isinstance(content, Completion):
                completions.append((key, content))
            elif isinstance(key, ScoreKey) and isinstance(content, Score):
                scores.append((key, content))
        return completions, scores


@dataclass(frozen=True, slots=True)
class RunIndex:
    """The cases and answers of a run file by name, in little memory."""

    _database: sqlite3.Connection

    def cases(self, prompt: str, evalset: str) -> Iterator[CaseResult]:
        """Yield the cases of one evalset in its order, without texts."""
        return self._under(f"{prompt}\n{evalset}\n")

    def case(self, prompt: str, evalset: str, position: int) -> CaseResult:
        """Return the case at `position` of one evalset, without texts."""
        (case,) = self._under(f"{prompt}\n{evalset}\n{position:012}\n")
        return case

    def _under(self, start: str) -> Iterator[CaseResult]:
        rows = self._database.execute(_UNDER, ("case", start, start[:-1] + "\x0b"))
        return (case_of(from_bytes(value)) for (value,) in rows)

    def answer(self, output: str) -> Completion | None:
        """Return an answer by its output digest, with its text."""
        row = self._database.execute(_ANSWER, (output,)).fetchone()
        return None if row is None else _read_completion(from_bytes(row[0]))[1]


def open_run(path: Path) -> RunFile:
    """Open the run file at `path`. Raises `Refused` if it is none, or of a newer llmops."""
    kind, value = next(_lines(path))
    if kind != "manifest":
        raise _broken(path, 1, "it does not begin with a manifest")
    if value.get("format") != FORMAT:
        raise Refused(
            f"{path} is a run file of another llmops ({value.get('format')}, here: {FORMAT})",
            hint="upgrade llmops, or make the run again",
        )
    try:
        return RunFile(path, from_plain(Manifest, value, "manifest"))
    except InvalidRecord as error:
        raise _broken(path, 1, str(error)) from error


def merge(runs: Sequence[RunFile]) -> tuple[Manifest, Iterator[Entry]]:
    """Merge several runs into one, for `write_run`: shards, or the same job run again.

    Raises `Refused` if they are not parts of one thing.
    """
    evalsets_by_key: dict[tuple[str, str], tuple[RunEvalset, Path]] = {}
    for run in runs:
        for evalset in run.manifest.evalsets:
            key = (evalset.prompt, evalset.facts.evalset)
            first, path = evalsets_by_key.setdefault(key, (evalset, run.path))
            if replace(first, partial=None) != replace(evalset, partial=None):
                raise Refused(
                    f"{path} and {run.path} are not parts of one run: they measured "
                    f"{evalset.prompt} on {evalset.facts.evalset} in different ways",
                    hint="merge runs of the same prompts, evalsets and policy",
                )
            if evalset.partial is None:
                evalsets_by_key[key] = (evalset, path)
    versions = sorted({run.manifest.llmops for run in runs})
    evalsets = tuple(evalset for evalset, _ in evalsets_by_key.values())
    manifest = Manifest(llmops=", ".join(versions), evalsets=evalsets)
    return manifest, (entry for run in runs for entry in run.entries())


_UNDER = "SELECT value FROM entries WHERE kind = ? AND key >= ? AND key < ? ORDER BY key"
_ANSWER = "SELECT value FROM entries WHERE kind = 'completion' AND output = ? ORDER BY key LIMIT 1"
_IN_ORDER = "SELECT kind, value FROM entries ORDER BY kind, key"
_TABLE = """
    CREATE TABLE entries
        (kind TEXT, key TEXT, output TEXT, failed INTEGER, value BLOB, PRIMARY KEY (kind, key));
    CREATE INDEX answers ON entries (output) WHERE output IS NOT NULL;
    BEGIN"""
_KEEP_BETTER = """
    INSERT INTO entries VALUES (?, ?, ?, ?, ?)
    ON CONFLICT DO UPDATE SET value = excluded.value, failed = excluded.failed
    WHERE (excluded.failed, excluded.value) < (failed, value)"""


def _sorted(entries: Iterable[Entry]) -> sqlite3.Connection:
    """Sort the entries on the temporary disk, each once."""
    database = sqlite3.connect("", isolation_level=None)
    database.executescript(_TABLE)
    database.executemany(_KEEP_BETTER, map(_columns, entries))
    database.execute("COMMIT")
    return database


def _columns(entry: Entry) -> tuple[str, str, str | None, int, bytes]:
    """Return kind, key, output of an answer, failed trials of a case, and the line's value."""
    if isinstance(entry, CaseResult):
        key = f"{entry.prompt}\n{entry.evalset}\n{entry.position:012}\n{entry.case}"
        trials = chain.from_iterable(side.trials for side in entry.sides.values())
        failed = sum(trial.failure is not None for trial in trials)
        return "case", key, None, failed, to_bytes(case_record(entry, details=True))
    about, content = entry
    if isinstance(about, ScoreKey):
        assert isinstance(content, Score)
        names = [about.scorer, about.facts, about.output]
        line = to_bytes({"key": [*names], "score": score_record(content)})
        return "score", "\n".join(names), None, 0, line
    assert isinstance(content, Completion)
    key = f"{about.request}\n{about.purpose}\n{about.n:09}\n{content.digest}"
    answer: dict[str, Json] = {
        "key": [about.request, about.purpose, about.n],
        "output": content.digest,
        "completion": completion_record(content),
    }
    return "completion", key, content.digest, 0, to_bytes(answer)


def _read_completion(value: dict[str, Any]) -> tuple[TrialKey, Completion]:
    completion = completion_of(value["completion"])
    if completion.digest != value["output"]:  # a secret was taken out of the text
        completion = replace(completion, text=None, known_digest=value["output"])
    request, purpose, n = value["key"]
    return TrialKey(request, purpose, n), completion


_READ: Mapping[str, Callable[[dict[str, Any]], Entry]] = {
    "case": case_of,
    "completion": _read_completion,
    "score": lambda value: (ScoreKey(*value["key"]), score_of(value["score"])),
}


def _line(kind: str, value: Mapping[str, Json], redact: Redact) -> bytes:
    content = redact(to_bytes(value).decode())
    return f'{{"kind":"{kind}","check":"{_check(kind, content)}","value":{content}}}\n'.encode()


def _lines(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield kind and value of each line. Raises `Refused` or `IntegrityBroken`."""
    count, ended = 0, False
    try:
        with _opened(path) as file:
            for number, line in enumerate(iter(lambda: file.readline(LONGEST + 1), b""), start=1):
                if len(line) > LONGEST:
                    raise _broken(path, number, f"a line of more than {LONGEST >> 20} MB")
                kind, value = _parsed(path, number, line)
                if ended or (kind == "end" and value != {"lines": count}):
                    raise _broken(path, number, "lines are missing or too many")
                ended = kind == "end"
                count += kind not in {"manifest", "end"}
                yield kind, value
    except FileNotFoundError:
        raise Refused(f"there is no run file {path}") from None
    except (OSError, EOFError, zlib.error) as error:
        raise Refused(f"{path} cannot be read: {error}") from error
    if not ended:
        raise _broken(path, count + 2, "the file was cut off")


def _parsed(path: Path, number: int, line: bytes) -> tuple[str, dict[str, Any]]:
    try:
        record = from_bytes(line)
        kind, value = str(record["kind"]), record["value"]
        intact = record["check"] == _check(kind, to_bytes(value).decode())
    except (InvalidRecord, KeyError, TypeError, AttributeError) as error:
        raise _broken(path, number, f"not a line of a run file ({error})") from error
    if not intact or not isinstance(value, dict):
        raise _broken(path, number, "its content is not what was written")
    return kind, value


def _opened(path: Path) -> BinaryIO:
    """Open the file, unpacked. Raises `Refused` for a pipe or a device, which end once read."""
    if path.exists() and not path.is_file():
        raise Refused(
            f"{path} is no run file: it is no file at all", hint="`eval --out run.jsonl` writes one"
        )
    return gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb")  # type: ignore[return-value]  # a GzipFile reads like any file


def _check(kind: str, content: str) -> str:
    return hashlib.blake2b(f"{kind}\n{content}".encode(), digest_size=12).hexdigest()


def _broken(path: Path, number: int, why: str) -> IntegrityBroken:
    return IntegrityBroken(
        why, where=f"{path}:{number}", hint="fetch the file again from where the run was made"
    )
