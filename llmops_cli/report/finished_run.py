"""Read and write finished runs: their cases, run files, stored reports and report formats.

Cases are streamed worst first, as the comparison orders them. Texts are read lazily, a few cases at
a time, so that memory stays small.

The run file is the one portable form of a run. Given to another run (`eval --reuse`) it is a source
like the store, so shards and re-run jobs pool.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import TypeAlias

from llmops_cli import __version__
from llmops_cli.core.digest import InvalidRecord, Json, from_plain, to_plain
from llmops_cli.core.errors import Refused, Unmeasured
from llmops_cli.core.redact import Redactor
from llmops_cli.core.report import (
    WORST_FIRST,
    CaseStream,
    Change,
    Report,
    ShownCase,
    ShownScore,
    ShownSide,
    ShownTrial,
)
from llmops_cli.core.result import CaseResult, Metric, SideResult, Trial
from llmops_cli.gate.comparison import Comparison, CriticalState, compare
from llmops_cli.run.evalset_run import EvalsetRun, Run, with_text
from llmops_cli.run.side import Side, chunks
from llmops_cli.stores.atomic import Redact, write_text
from llmops_cli.stores.run_file import Entry, Manifest, RunEvalset, RunIndex, RunSide, open_run

FEW = 16
"""Cases whose answers are read together."""
RANK: Mapping[Change | None, int] = {change: rank for rank, change in enumerate(WORST_FIRST)}


@dataclass(frozen=True, kw_only=True)
class EvalsetCases:
    """The cases of one evalset, from a store or a run file."""

    metrics: Mapping[str, Metric]
    comparison: Comparison
    retired: Container[str]
    read: Callable[[Sequence[int]], Iterable[CaseResult]]
    """Reads the cases at some positions, with their texts."""

    @cached_property
    def changes(self) -> Mapping[str, Change]:
        """Return why cases are worth showing, worst first; a case is shown once."""
        comparison = self.comparison
        removed = (case for case in comparison.removed_cases() if case not in self.retired)
        kinds: list[tuple[Change, Iterable[str]]] = [
            ("critical", comparison.in_state(CriticalState.FAILED)),
            ("regressed", comparison.named(comparison.regressed())),
            ("unmeasured", comparison.unmeasured_cases()),
            ("removed", removed),
            ("known_passing", comparison.known_passing_cases()),
            ("improved", comparison.named(comparison.improved())),
            ("failing", comparison.failing_cases()),
        ]
        changes: dict[str, Change] = {}
        for change, cases in kinds:
            for case in cases:
                changes.setdefault(case, change)
        return changes

    def show(self, positions: Sequence[int]) -> Iterator[ShownCase]:
        """Yield the cases at `positions`."""
        for case in self.read(positions):
            candidate_share, baseline_share = self.comparison.shares(case.case)
            baseline = case.baseline if case.baseline and case.baseline.trials else None
            yield ShownCase(
                prompt=case.prompt,
                evalset=case.evalset,
                case=case.case,
                change=self.changes.get(case.case),
                inputs=case.inputs,
                expected=case.expected,
                contexts=case.contexts,
                messages=case.messages,
                tags=case.tags,
                critical=case.critical,
                group=case.group,
                known_failing=case.known_failing,
                candidate=_side(case.candidate, candidate_share, self.metrics),
                baseline=_side(baseline, baseline_share, self.metrics),
                identical=case.same_request,
            )


def cases_of(evalset_run: EvalsetRun) -> EvalsetCases:
    """Return the cases of an evalset that was just run; its store must stay open."""
    return EvalsetCases(
        metrics=evalset_run.scorers.by_label,
        comparison=evalset_run.result,
        retired=evalset_run.selection.evalset.retired,
        read=lambda positions: evalset_run.case_results(
            ["baseline"], positions=positions, texts=True
        ),
    )


def stream_report(report: Report) -> CaseStream:
    """Stream the cases that `report` shows: of the others it knows the number alone."""
    evalsets = [evalset for prompt in report.prompts for evalset in prompt.evalsets]
    shown = [case for evalset in evalsets for case in evalset.shown]
    shown.sort(key=lambda case: RANK[case.change])
    return CaseStream(max(sum(evalset.cases for evalset in evalsets), len(shown)), iter(shown))


@contextmanager
def stream_file(file: Path) -> Iterator[tuple[Report, CaseStream]]:
    """Open a run file and yield its report and its cases.

    The cases are compared again, which takes neither the project nor the store. Raises `Refused`
    if it is no run file or was merged from several, `IntegrityBroken` where it is damaged.
    """
    run = open_run(file)
    report = report_of(file, run.manifest.report)
    with run.indexed() as index:
        yield report, _stream([_cases_in(index, evalset) for evalset in run.manifest.evalsets])


@contextmanager
def stream_stored(report: Report, file: Path | None) -> Iterator[CaseStream]:
    """Yield the cases of an earlier run: all those of a run file, else those `report` shows."""
    if file is None or file.suffix == ".json":
        yield stream_report(report)
        return
    with stream_file(file) as (_, cases):
        yield cases


def _cases_in(index: RunIndex, evalset: RunEvalset) -> EvalsetCases:
    facts = evalset.facts

    def read(positions: Sequence[int]) -> Iterator[CaseResult]:
        for position in positions:
            case = index.case(evalset.prompt, facts.evalset, position)
            sides = (_with_texts(index, side) for side in (case.candidate, case.baseline))
            yield replace(case, candidate=next(sides), baseline=next(sides))

    results = (case.against(case.baseline) for case in index.cases(evalset.prompt, facts.evalset))
    return EvalsetCases(
        metrics={metric.label: metric for metric in facts.metrics},
        comparison=compare(results, facts.metrics),
        retired=facts.retired,
        read=read,
    )


def _with_texts(index: RunIndex, side: SideResult | None) -> SideResult | None:
    if side is None:
        return None

    def read(trial: Trial) -> Trial:
        answer = None if trial.output is None else index.answer(trial.output)
        return trial if answer is None else with_text(trial, answer)

    return replace(
        side, trials=tuple(map(read, side.trials)), confirm=tuple(map(read, side.confirm))
    )


def _stream(evalsets: Sequence[EvalsetCases]) -> CaseStream:
    places = sorted(
        (RANK[evalset.changes.get(case)], at, position)
        for at, evalset in enumerate(evalsets)
        for case, position in evalset.comparison.cases.items()
        # a case that is gone and retired is of no interest
        if evalset.comparison.candidate.present[position] or case in evalset.changes
    )

    def shown() -> Iterator[ShownCase]:
        for (_, at), alike in groupby(places, key=itemgetter(0, 1)):
            for part in chunks(alike, FEW):
                yield from evalsets[at].show([position for _, _, position in part])

    return CaseStream(len(places), shown())


def _side(
    side: SideResult | None, passed: float | None, metrics: Mapping[str, Metric]
) -> ShownSide | None:
    if side is None:
        return None
    trials = [_trial(trial, metrics) for trial in side.trials]
    trials += (_trial(trial, metrics, confirming=True) for trial in side.confirm)
    return ShownSide(passed=passed, trials=tuple(trials))


def _trial(trial: Trial, metrics: Mapping[str, Metric], *, confirming: bool = False) -> ShownTrial:
    if trial.failure is not None:
        failure = trial.failure
        return ShownTrial(
            failure=failure.message, attempted=failure.kind.attempted, confirming=confirming
        )
    return ShownTrial(
        text=trial.text,
        finish_reason=trial.finish_reason,
        tool_calls=trial.tool_calls,
        contexts=trial.contexts,
        scores=tuple(_scores(trial, metrics)),
        input_tokens=trial.input_tokens,
        output_tokens=trial.output_tokens,
        cost=trial.cost,
        latency=trial.latency,
        served_model=trial.served_model,
        confirming=confirming,
    )


def _scores(trial: Trial, metrics: Mapping[str, Metric]) -> Iterator[ShownScore]:
    for label, metric in metrics.items():
        value = trial.scores.get(label)
        if label not in trial.scores or (metric.paired and value is None):
            continue  # not due, or the trial is part of no pair
        yield ShownScore(
            label=label,
            value=value,
            passed=None if value is None else metric.passes(value),
            reason=trial.reasons.get(label, ""),
            advisory=not metric.counts,
            limit=None if value is None else _limit(metric, value),
        )


def _limit(metric: Metric, value: float) -> float | None:
    """Return the threshold that a quantity is beyond; a share says enough by itself."""
    if metric.unit in {"pass", "fraction"} or metric.negate:
        return None
    if metric.maximum is not None and value > metric.maximum:
        return metric.maximum
    return metric.minimum if metric.minimum is not None and value < metric.minimum else None


REPORTS = "reports"
"""Their folder in the store."""
KEPT = 30
"""Reports of earlier runs that are stored."""


def manifest_of(run: Run, report: Json) -> Manifest:
    """Return which sides were compared on which evalsets, how they were scored, and the report."""
    return Manifest(
        llmops=__version__,
        evalsets=tuple(
            RunEvalset(
                prompt=evalset_run.comparison.prompt,
                environment=evalset_run.comparison.environment,
                facts=evalset_run.facts(),
                sides={
                    role: _run_side(evalset_run, side) for role, side in evalset_run.roles.items()
                },
                partial=run.partial,
            )
            for evalset_run in run.evalset_runs
        ),
        report=report,
    )


def entries_of(run: Run) -> Iterator[Entry]:
    """Yield every case with its trials, and every answer and score under its key."""
    for evalset_run in run.evalset_runs:
        part = evalset_run.part
        yield from evalset_run.case_results(positions=part)
        for side in evalset_run.sides:
            for positions in chunks(range(len(evalset_run.cases)) if part is None else part):
                yield from _stored_results(evalset_run, side, positions)


def store_report(store: Path, report: Report, *, redact: Redact) -> None:
    """Store `report` for `llmops report` and remove the oldest; a full disk is no error."""
    folder = store / REPORTS
    stored = _stored_reports(folder)
    number = int(stored[-1].stem) + 1 if stored else 1
    content = json.dumps(to_plain(report), sort_keys=True, ensure_ascii=True)
    try:
        write_text(folder / f"{number:06}.json", content, redact=redact)
        for path in stored[: -KEPT + 1]:
            path.unlink(missing_ok=True)
    except (OSError, Unmeasured):
        return


def last_report(store: Path) -> Path:
    """Return the stored report of the last run. Raises `Refused` if there is none."""
    stored = _stored_reports(store / REPORTS)
    if not stored:
        raise Refused("there is no report yet", hint="llmops eval makes one")
    return stored[-1]


def read_report(file: Path) -> Report:
    """Return the report of a run file, or a stored report."""
    if file.suffix == ".json":
        return report_of(file, _of_document(file))
    run = open_run(file)
    for _ in run.entries():
        pass  # every line is checked to be as it was written
    return report_of(file, run.manifest.report)


def report_of(file: Path, plain: Json) -> Report:
    """Return the report that `file` holds as plain data. Raises `Refused` if it is none."""
    if plain is None:
        raise Refused(
            f"{file} was merged from several runs and has no report of its own",
            hint=f"llmops eval --offline --reuse {file}",
        )
    if isinstance(plain, dict) and "shard" in plain:
        raise Refused(
            f"{file} is one shard of a run: it has no verdict", hint="llmops merge decides"
        )
    try:
        return from_plain(Report, plain, "report")
    except InvalidRecord as error:
        raise Refused(f"{file} holds no report of this llmops: {error}") from error


def _of_document(file: Path) -> Json:
    """Return the report that was stored in a JSON file."""
    if file.exists() and not file.is_file():
        raise Refused(f"{file} is no report: it is no file at all")
    try:
        plain: Json = json.loads(file.read_bytes())
    except FileNotFoundError:
        raise Refused(f"there is no report {file}") from None
    except (OSError, ValueError) as error:
        raise Refused(f"{file} cannot be read as a report: {error}") from error
    return plain


def _stored_reports(folder: Path) -> list[Path]:
    return sorted(folder.glob("[0-9]*.json"))


def _run_side(evalset_run: EvalsetRun, side: Side) -> RunSide:
    spec = side.spec
    model = spec.target.model
    return RunSide(
        name=spec.name,
        target=spec.target.digest,
        model=f"{model.provider}/{model.model}",
        version=evalset_run.comparison.version_of(spec.name),
    )


def _stored_results(evalset_run: EvalsetRun, side: Side, positions: list[int]) -> Iterator[Entry]:
    answers = side.completions(side.plan.trials(positions))
    yield from ((side.key(at), answer) for at, answer in answers.items())
    keys = [
        key
        for at, answer in answers.items()
        for key in evalset_run.scorers.keys(
            evalset_run.cases[at.case], answer.digest, side.state.compared_with.get(at)
        )
    ]
    yield from side.spec.results.scores(keys).items()


@dataclass(frozen=True, slots=True, kw_only=True)
class FinishedRun:
    """The input of every report format."""

    report: Report
    redact: Redactor
    cases: Callable[[], AbstractContextManager[CaseStream]]
    """Opens every case, worst first; of an earlier run without a file, those that were shown."""
    run: Run | None = None
    """None: the run was read from a file."""


Sink: TypeAlias = Callable[[FinishedRun], None]
"""Writes one report format. Raises `Unmeasured` if the disk refuses."""


def write_reports(sinks: Iterable[Sink], run: Run, report: Report, redact: Redactor) -> None:
    """Write every format of a finished run. The store must be open: texts are read from it."""

    def cases() -> AbstractContextManager[CaseStream]:
        return nullcontext(_stream([cases_of(evalset_run) for evalset_run in run.evalset_runs]))

    finished = FinishedRun(report=report, redact=redact, cases=cases, run=run)
    for write in sinks:
        write(finished)


def write_earlier_reports(
    sinks: Iterable[Sink], report: Report, file: Path | None, redact: Redactor
) -> None:
    """Write every format of an earlier run: every case of a run file, else those in `report`."""
    finished = FinishedRun(report=report, redact=redact, cases=lambda: stream_stored(report, file))
    for write in sinks:
        write(finished)
