"""Evidence on disk: a statement, one line per case, the texts, and a summary for reviewers.

    .llmops/evidence/support@v3/4c1f….json             in-toto Statement, written last
                                4c1f….cases.jsonl      one row per case, in evalset order
                                4c1f….texts.jsonl.gz   answers by output digest (`outputs: commit`)
                                4c1f….summary.md

The statement holds the digests of rows and texts: a file that was changed is not read.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

from llmops_cli.core.digest import InvalidRecord, Json, digest_bytes, short, to_plain
from llmops_cli.core.errors import IntegrityBroken
from llmops_cli.core.ports import ScoreKey, TrialKey
from llmops_cli.core.records import Evidence, FileRef, Measurement
from llmops_cli.core.result import (
    BASELINE,
    CANDIDATE,
    OWN_BASELINE,
    CaseResult,
    Completion,
    Purpose,
    Score,
    Trial,
    Usage,
)
from llmops_cli.stores.atomic import Redact, write_bytes, write_text
from llmops_cli.stores.codec import (
    case_of,
    case_record,
    completion_of,
    completion_record,
    from_bytes,
    to_bytes,
)
from llmops_cli.stores.registry_files import (
    MAX_RECORD,
    MAX_ROWS,
    exists,
    open_file,
    read_record,
)

_ANSWER_FIELDS = ("text", "tool_calls", "finish_reason", "contexts", "ids")
SUMMARY = ".summary.md"
"""The end of the name of a summary."""
_UNKNOWN_TIME = "1970-01-01T00:00:00+00:00"


def write_evidence(
    folder: Path,
    measurement: Measurement,
    rows: Iterable[CaseResult],
    texts: Iterable[Completion] | None,
    *,
    redact: Redact,
) -> Evidence:
    """Write a measurement with its rows and texts into `folder`; the statement comes last.

    `texts` are the answers that the rows name, in any order; None keeps digests only.
    """
    records = (to_bytes(case_record(case, details=False)).decode() for case in rows)
    lines = redact("".join(f"{record}\n" for record in records)).encode()
    name = short(digest_bytes(to_bytes({"measurement": to_plain(measurement)}) + lines))
    files = {f"{name}.cases.jsonl": lines}
    if texts is not None:
        files[f"{name}.texts.jsonl.gz"] = _pack(texts, redact)
    cases, *packed = (FileRef(name=file, digest=digest_bytes(files[file])) for file in files)
    evidence = Evidence(measurement=measurement, cases=cases, texts=packed[0] if packed else None)
    statement = json.dumps(evidence.plain(), indent=2, sort_keys=True, ensure_ascii=True)
    for file, content in files.items():
        write_bytes(folder / file, content)
    write_text(folder / f"{name}{SUMMARY}", summary_of(measurement), redact=redact)
    write_bytes(folder / f"{name}.json", redact(statement).encode() + b"\n")
    return read_evidence(folder / f"{name}.json")


def read_evidence(path: Path) -> Evidence:
    """Return the evidence whose statement is at `path`. Raises `IntegrityBroken`."""
    try:
        evidence = Evidence.of_statement(from_bytes(read_record(path)), path)
    except InvalidRecord as error:
        raise _broken(path, str(error)) from error
    names = {evidence.cases.name, evidence.texts.name if evidence.texts else None}
    if not names <= {f"{path.stem}.cases.jsonl", f"{path.stem}.texts.jsonl.gz", None}:
        raise _broken(path, "it names files that are not next to it under its own name")
    return evidence


def has_rows(evidence: Evidence) -> bool:
    """Return whether its rows are still here: `gc` deletes those that nothing cites."""
    return exists(evidence.file.with_name(evidence.cases.name))


def data_files(evidence: Evidence) -> list[tuple[Path, FileRef]]:
    """Return the files of rows and texts that are here."""
    refs = (evidence.cases, *([evidence.texts] if evidence.texts else []))
    files = ((evidence.file.with_name(ref.name), ref) for ref in refs)
    return [(path, ref) for path, ref in files if exists(path)]


def damage(evidence: Evidence) -> list[IntegrityBroken]:
    """Return what is wrong with its rows and texts; deleted ones are not damaged."""
    errors = []
    for path, ref in data_files(evidence):
        try:
            _check_digest(path, ref)
        except IntegrityBroken as error:
            errors.append(error)
    return errors


def read_rows(evidence: Evidence) -> Iterator[CaseResult]:
    """Yield the rows of `evidence`, after the digest of their file was checked.

    Raises `IntegrityBroken`, after the last row where cases are missing or too many.
    """
    path = evidence.file.with_name(evidence.cases.name)
    _check_digest(path, evidence.cases)
    counts: Counter[str] = Counter()
    with open_file(path) as lines:
        for number, line in enumerate(lines, start=1):
            try:
                row = case_of(from_bytes(line))
            except InvalidRecord as error:
                raise _broken(path, f"line {number}: {error}") from error
            counts[row.evalset] += row.candidate is not None
            yield row
    for facts in evidence.measurement.evalsets:
        count = counts[facts.evalset]
        if count != facts.cases:
            raise _broken(path, f"it holds {count} of the {facts.cases} cases of {facts.evalset}")


def read_texts(evidence: Evidence) -> dict[str, Completion]:
    """Return the answers of `evidence` by output digest; none if only digests are there.

    Their usage, cost and time are in the rows.
    """
    if evidence.texts is None:
        return {}
    path = evidence.file.with_name(evidence.texts.name)
    _check_digest(path, evidence.texts)
    texts = {}
    try:
        with open_file(path) as file, gzip.open(file) as lines:
            while line := lines.readline(MAX_RECORD):
                if lines.tell() > MAX_ROWS:
                    raise _broken(path, f"larger than {MAX_ROWS // 1_000_000} MB unpacked")
                record = from_bytes(line)
                name = record.pop("digest")
                completion = completion_of(record)
                if completion.digest == name:  # a redacted text is no longer its digest's
                    texts[name] = completion
    except (OSError, EOFError, zlib.error, KeyError, InvalidRecord) as error:
        raise _broken(path, str(error)) from error
    return texts


def read_results(
    evidence: Evidence,
) -> tuple[list[tuple[TrialKey, Completion]], list[tuple[ScoreKey, Score]]]:
    """Return completions and scores of `evidence`, keyed for `ResultsStore.ingest`.

    They are those of its own version, not of the versions that it was compared with. A trial is
    taken to be as old as the oldest of its side, so that age limits err on the safe side.
    """
    texts, measurement = read_texts(evidence), evidence.measurement
    metrics = {
        (facts.evalset, metric.label): metric
        for facts in measurement.evalsets
        for metric in facts.metrics
    }
    completions: dict[TrialKey, Completion] = {}
    scores: dict[ScoreKey, Score] = {}
    for row in read_rows(evidence):
        for role in filter(row.sides.__contains__, (CANDIDATE, OWN_BASELINE)):
            side = row.sides[role]
            at = measurement.sides[role].oldest or _UNKNOWN_TIME
            purpose: Purpose = "gate" if role == CANDIDATE else "baseline"
            trials = [(TrialKey(side.request, purpose, n), t) for n, t in enumerate(side.trials)]
            trials += [
                (TrialKey(side.request, "confirm", n), t) for n, t in enumerate(side.confirm)
            ]
            for key, trial in trials:
                if trial.output is None:
                    continue
                completions[key] = _completion(trial, texts.get(trial.output), at)
                for label, value in trial.scores.items():
                    metric = metrics[row.evalset, label]
                    if value is None or metric.paired:  # a paired one is about two answers
                        continue
                    scorer = row.scorers.get(label, metric.scorer)
                    served = measurement.judges.get(f"{row.evalset}:{label}", ())
                    detail: dict[str, Json] = {"judge": served[0]} if len(served) == 1 else {}
                    score = Score(value=value, detail=detail)
                    scores[ScoreKey(scorer, row.facts, trial.output)] = score
    return list(completions.items()), list(scores.items())


def check_summary(file: Path, evidence: Evidence) -> None:
    """Raise `IntegrityBroken` if the summary in `file` is not that of `evidence`."""
    if read_record(file).decode(errors="replace") != summary_of(evidence.measurement):
        why = "it is not the summary of its statement: it was edited, or another llmops wrote it"
        raise _broken(file, why)


def summary_of(measurement: Measurement) -> str:
    """Return about ten lines for reviewers of the pull request that adds this evidence."""
    verdict, made = measurement.verdict, measurement.made
    baseline = measurement.sides.get(BASELINE)
    against = f"nothing: {measurement.environment} runs no version of it yet"
    if baseline is not None:
        against = f"v{baseline.version} ({measurement.environment}), {baseline.model}"
    lines = [
        f"# {measurement.name}@v{measurement.number}: {verdict.decision.value}",
        "",
        verdict.why,
        "",
        f"- compared with: {against}",
        *(
            f"- {facts.evalset}: {facts.cases} cases, "
            f"scorers {', '.join(metric.label for metric in facts.metrics)}"
            for facts in measurement.evalsets
        ),
        *(
            f"- {finding.decision.value} {finding.rule}: {finding.why}"
            for finding in verdict.findings
        ),
        f"- measured by {made.by} at {made.at} with llmops {measurement.llmops}",
    ]
    return "\n".join(lines) + "\n"


def _completion(trial: Trial, text: Completion | None, at: str) -> Completion:
    usage = None
    if trial.input_tokens is not None and trial.output_tokens is not None:
        usage = Usage(input=trial.input_tokens, output=trial.output_tokens)
    return replace(
        text or Completion(text=None, known_digest=trial.output),
        finish_reason=trial.finish_reason or "stop",
        usage=usage,
        cost=trial.cost,
        served_model=trial.served_model,
        at=at,
    )


def _pack(texts: Iterable[Completion], redact: Redact) -> bytes:
    lines = {}
    for completion in texts:
        if completion.text is not None:
            record = completion_record(completion)
            answer = {name: record[name] for name in _ANSWER_FIELDS if name in record}
            line = to_bytes({"digest": completion.digest, **answer}).decode()
            lines[completion.digest] = f"{redact(line)}\n"
    content = "".join(lines[digest] for digest in sorted(lines)).encode()
    return gzip.compress(content, compresslevel=9, mtime=0)


def _check_digest(path: Path, expected: FileRef) -> None:
    with open_file(path) as file:
        digest = f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}"
    if digest != expected.digest:
        raise _broken(path, "its content is not what was measured")


def _broken(path: Path, why: str) -> IntegrityBroken:
    hint = "restore it from git (git checkout -- FILE), or measure the version again"
    return IntegrityBroken(why, where=str(path), hint=hint)
