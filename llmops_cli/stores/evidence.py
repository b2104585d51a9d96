"""Evidence on disk: a statement, one line per case, the texts, and ten lines for a reviewer.

    .llmops/evidence/support@v3/4c1f….json             in-toto Statement, written last
                                4c1f….cases.jsonl      one row per case, in evalset order
                                4c1f….texts.jsonl.gz   answers by output digest (`outputs: commit`)
                                4c1f….summary.md

The statement holds the digests of the two others: a file that was touched is not read.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from llmops_cli.core.case_result import CANDIDATE, CaseResult, Metric, Trial
from llmops_cli.core.codec import Misshapen, to_plain
from llmops_cli.core.digest import Json, digest_bytes, short
from llmops_cli.core.errors import IntegrityBroken
from llmops_cli.core.ports import ScoreKey, TrialKey
from llmops_cli.core.release import Evidence, FileRef, Measurement
from llmops_cli.core.result import Completion, Purpose, Score, Usage
from llmops_cli.stores.atomic import Redact, write_bytes
from llmops_cli.stores.case_codec import case_of, case_record
from llmops_cli.stores.codec import (
    BadRecord,
    completion_of,
    completion_record,
    from_bytes,
    to_bytes,
)

_OF_THE_ANSWER = ("text", "tool_calls", "finish_reason", "contexts", "ids")
_BORN = "1970-01-01T00:00:00+00:00"


def write_evidence(
    folder: Path,
    measurement: Measurement,
    rows: Iterable[CaseResult],
    texts: Iterable[Completion] | None,
    *,
    summary: str,
    redact: Redact,
) -> Evidence:
    """Write a measurement and what it rests on into `folder`; the statement comes last.

    `texts` are the answers that the rows name, in any order; None keeps digests only.
    """
    lines = redact("".join(f"{_line(case)}\n" for case in rows)).encode()
    packed = None if texts is None else _packed(texts, redact)
    name = short(digest_bytes(to_bytes({"measurement": to_plain(measurement)}) + lines))
    evidence = Evidence(
        measurement=measurement,
        cases=FileRef(name=f"{name}.cases.jsonl", digest=digest_bytes(lines)),
        texts=None
        if packed is None
        else FileRef(name=f"{name}.texts.jsonl.gz", digest=digest_bytes(packed)),
    )
    statement = json.dumps(evidence.statement(), indent=2, sort_keys=True, ensure_ascii=True)
    if evidence.texts is not None and packed is not None:
        write_bytes(folder / evidence.texts.name, packed)
    write_bytes(folder / evidence.cases.name, lines)
    write_bytes(folder / f"{name}.summary.md", redact(summary).encode(errors="replace"))
    write_bytes(folder / f"{name}.json", redact(statement).encode() + b"\n")
    return read_evidence(folder / f"{name}.json")


def read_evidence(path: Path) -> Evidence:
    """The evidence whose statement is at `path`. Raises `IntegrityBroken`."""
    try:
        evidence = Evidence.of(from_bytes(path.read_bytes()))
    except (OSError, BadRecord, Misshapen) as error:
        raise _broken(path, str(error)) from error
    names = {evidence.cases.name, evidence.texts.name if evidence.texts else None}
    if not names <= {f"{path.stem}.cases.jsonl", f"{path.stem}.texts.jsonl.gz", None}:
        raise _broken(path, "it names files that do not stand beside it under its own name")
    return evidence


def read_rows(folder: Path, evidence: Evidence) -> Iterator[CaseResult]:
    """The rows of `evidence`, one at a time, after its file was found whole.

    Raises `IntegrityBroken`, after the last row where cases are missing or too many.
    """
    path = folder / evidence.cases.name
    _check(path, evidence.cases)
    found: Counter[str] = Counter()
    with path.open("rb") as lines:
        for number, line in enumerate(lines, start=1):
            try:
                row = case_of(from_bytes(line))
            except BadRecord as error:
                raise _broken(path, f"line {number}: {error}") from error
            found[row.evalset] += row.candidate is not None
            yield row
    for each in evidence.measurement.evalsets:
        if found[each.evalset] != each.cases:
            told = f"it holds {found[each.evalset]} of the {each.cases} cases of {each.evalset}"
            raise _broken(path, told)


def read_texts(folder: Path, evidence: Evidence) -> dict[str, Completion]:
    """The answers that `evidence` holds, by output digest; usage, cost and time are the rows'."""
    if evidence.texts is None:
        return {}
    path = folder / evidence.texts.name
    _check(path, evidence.texts)
    found = {}
    try:
        with gzip.open(path) as lines:
            for line in lines:
                record = from_bytes(line)
                name = record.pop("digest")
                completion = completion_of(record)
                if completion.digest == name:  # a redacted text is no longer its digest's
                    found[name] = completion
    except (OSError, EOFError, zlib.error, KeyError, BadRecord) as error:
        raise _broken(path, str(error)) from error
    return found


def damage(folder: Path, evidence: Evidence) -> Iterator[IntegrityBroken]:
    """What is wrong with the files of `evidence`; one that was cleared away is not damaged."""
    for file in (evidence.cases, evidence.texts):
        if file is not None and (folder / file.name).exists():
            try:
                _check(folder / file.name, file)
            except IntegrityBroken as broken:
                yield broken


def held(
    folder: Path, evidence: Evidence
) -> tuple[list[tuple[TrialKey, Completion]], list[tuple[ScoreKey, Score]]]:
    """Every completion and score of `evidence`, keyed for a results store.

    A draw is as old as the oldest of its side, so that age limits err on the careful side.
    """
    texts = read_texts(folder, evidence)
    metrics = {
        each.evalset: {metric.label: metric for metric in each.metrics}
        for each in evidence.measurement.evalsets
    }
    judges = evidence.measurement.judges
    completions: dict[TrialKey, Completion] = {}
    scores: dict[ScoreKey, Score] = {}
    for row in read_rows(folder, evidence):
        for role, side in row.sides.items():
            at = evidence.measurement.sides[role].oldest or _BORN
            purpose: Purpose = "gate" if role == CANDIDATE else "baseline"
            made: list[tuple[Purpose, tuple[Trial, ...]]] = [(purpose, side.trials)]
            for purpose, trials in (*made, ("confirm", side.confirm)):
                for n, trial in enumerate(trials):
                    if trial.output is None:
                        continue
                    completion = _completion(trial, trial.output, texts.get(trial.output), at)
                    completions[TrialKey(side.request, purpose, n)] = completion
                    found = _scores(row, trial, trial.output, metrics[row.evalset], judges)
                    scores.update(found)
    return list(completions.items()), list(scores.items())


def _line(case: CaseResult) -> str:
    return to_bytes(case_record(case, details=False)).decode()


def _completion(trial: Trial, output: str, text: Completion | None, at: str) -> Completion:
    known = text or Completion(text=None, known_digest=output)
    both_told = trial.input_tokens is not None and trial.output_tokens is not None
    return replace(
        known,
        finish_reason=trial.finish_reason or "stop",
        usage=Usage(input=trial.input_tokens or 0, output=trial.output_tokens or 0)
        if both_told
        else None,
        cost=trial.cost,
        served_model=trial.served_model,
        at=at,
    )


def _scores(
    row: CaseResult,
    trial: Trial,
    output: str,
    metrics: dict[str, Metric],
    judges: Mapping[str, tuple[str, ...]],
) -> Iterator[tuple[ScoreKey, Score]]:
    for label, value in trial.scores.items():
        if value is not None and not metrics[label].paired:  # it is about two answers
            scorer = row.scorers.get(label, metrics[label].scorer)
            served = judges.get(f"{row.evalset}:{label}", ())
            detail: dict[str, Json] = {"judge": served[0]} if len(served) == 1 else {}
            yield ScoreKey(scorer, row.facts, output), Score(value=value, detail=detail)


def _packed(texts: Iterable[Completion], redact: Redact) -> bytes:
    lines = {}
    for completion in texts:
        if completion.text is None:
            continue
        record = completion_record(completion)
        kept = {name: record[name] for name in _OF_THE_ANSWER if name in record}
        line = redact(to_bytes({"digest": completion.digest, **kept}).decode())
        lines[completion.digest] = line
    plain = "".join(f"{lines[name]}\n" for name in sorted(lines)).encode()
    return gzip.compress(plain, compresslevel=9, mtime=0)


def _check(path: Path, expected: FileRef) -> None:
    try:
        with path.open("rb") as file:
            found = f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}"
    except OSError as error:
        raise _broken(path, error.strerror or str(error)) from error
    if found != expected.digest:
        raise _broken(path, "its content is not what was measured")


def _broken(path: Path, why: str) -> IntegrityBroken:
    return IntegrityBroken(
        why,
        where=str(path),
        hint="restore it from git (git checkout -- FILE), or measure the version again",
    )
