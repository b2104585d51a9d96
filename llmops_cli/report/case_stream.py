"""Streams the cases of a run, worst first: of a run that was just made, a run file or a report.

The comparison determines their order. Texts are read lazily, a few cases at a time, so that memory
stays small.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import NamedTuple

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
from llmops_cli.report.run_file import report_of
from llmops_cli.run.case_results import with_text
from llmops_cli.run.evalset_run import EvalsetRun
from llmops_cli.run.run_loop import Run
from llmops_cli.run.side import chunks
from llmops_cli.stores.run_file import RunEvalset, RunIndex, open_run

FEW = 16
"""Cases whose answers are read together."""
RANK: Mapping[Change | None, int] = {change: rank for rank, change in enumerate(WORST_FIRST)}


@dataclass(frozen=True, slots=True, kw_only=True)
class EvalsetCases:
    """The cases of one evalset, from a store or a run file."""

    metrics: Mapping[str, Metric]
    comparison: Comparison
    retired: Container[str]
    read: Callable[[Sequence[int]], Iterable[CaseResult]]
    """Reads the cases at some positions, with their texts."""

    def show(self, positions: Sequence[int], changes: Mapping[str, Change]) -> Iterator[ShownCase]:
        """Yield the cases at `positions`; `changes` says why they are of note."""
        for case in self.read(positions):
            yield shown_case(
                case, changes.get(case.case), self.comparison.shares(case.case), self.metrics
            )


def cases_of(evalset_run: EvalsetRun, comparison: Comparison) -> EvalsetCases:
    """Return the cases of an evalset that was just run; its store must stay open."""
    return EvalsetCases(
        metrics=evalset_run.scorers.by_label,
        comparison=comparison,
        retired=evalset_run.selection.evalset.retired,
        read=lambda positions: evalset_run.case_results(
            ["baseline"], positions=positions, texts=True
        ),
    )


def changes_of(comparison: Comparison, retired: Container[str] = ()) -> dict[str, Change]:
    """Return why cases are worth showing, worst first; a case is shown once."""
    kinds: list[tuple[Change, tuple[str, ...]]] = [
        ("critical", comparison.in_state(CriticalState.FAILED)),
        ("regressed", comparison.named(comparison.regressed())),
        ("unmeasured", comparison.unmeasured_cases()),
        ("removed", tuple(case for case in comparison.removed_cases() if case not in retired)),
        ("known_passing", comparison.known_passing_cases()),
        ("improved", comparison.named(comparison.improved())),
        ("failing", comparison.failing_cases()),
    ]
    changes: dict[str, Change] = {}
    for change, cases in kinds:
        for case in cases:
            changes.setdefault(case, change)
    return changes


def stream_run(run: Run) -> CaseStream:
    """Stream every case of `run`; the store must stay open while they are taken."""
    return _stream(
        [
            cases_of(evalset_run, run.comparisons[at])
            for at, evalset_run in enumerate(run.evalset_runs)
        ]
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
    results = (case.against(case.baseline) for case in index.cases(evalset.prompt, facts.evalset))
    return EvalsetCases(
        metrics={metric.label: metric for metric in facts.metrics},
        comparison=compare(results, facts.metrics),
        retired=facts.retired,
        read=partial(_read_file, index, evalset),
    )


def _read_file(
    index: RunIndex, evalset: RunEvalset, positions: Sequence[int]
) -> Iterator[CaseResult]:
    for position in positions:
        case = index.case(evalset.prompt, evalset.facts.evalset, position)
        sides = (_with_texts(index, side) for side in (case.candidate, case.baseline))
        yield replace(case, candidate=next(sides), baseline=next(sides))


def _with_texts(index: RunIndex, side: SideResult | None) -> SideResult | None:
    if side is None:
        return None

    def read(trial: Trial) -> Trial:
        answer = None if trial.output is None else index.answer(trial.output)
        return trial if answer is None else with_text(trial, answer)

    return replace(
        side, trials=tuple(map(read, side.trials)), confirm=tuple(map(read, side.confirm))
    )


class _Place(NamedTuple):
    """The position of a case among all cases of a run."""

    rank: int
    evalset: int
    position: int


def _stream(evalsets: Sequence[EvalsetCases]) -> CaseStream:
    changes = [changes_of(cases.comparison, cases.retired) for cases in evalsets]
    places = [
        _Place(RANK[changes[at].get(case)], at, position)
        for at, evalset in enumerate(evalsets)
        for case, position in evalset.comparison.cases.items()
        # a case that is gone and retired is of no interest
        if evalset.comparison.candidate.present[position] or case in changes[at]
    ]

    def shown() -> Iterator[ShownCase]:
        for _, alike in groupby(sorted(places), key=itemgetter(0, 1)):
            for part in chunks(alike, FEW):
                at = part[0].evalset
                yield from evalsets[at].show([place.position for place in part], changes[at])

    return CaseStream(len(places), shown())


def shown_case(
    case: CaseResult,
    change: Change | None,
    shares: tuple[float | None, float | None],
    metrics: Mapping[str, Metric],
) -> ShownCase:
    """Return `case` as a report shows it: scores against their thresholds.

    `shares` are those of the candidate's and the baseline's trials that passed.
    """
    baseline = case.baseline if case.baseline and case.baseline.trials else None
    return ShownCase(
        prompt=case.prompt,
        evalset=case.evalset,
        case=case.case,
        change=change,
        inputs=case.inputs,
        expected=case.expected,
        contexts=case.contexts,
        messages=case.messages,
        tags=case.tags,
        critical=case.critical,
        group=case.group,
        known_failing=case.known_failing,
        candidate=_side(case.candidate, shares[0], metrics),
        baseline=_side(baseline, shares[1], metrics),
        identical=case.same_request,
    )


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
        return ShownTrial(failure=trial.failure.message, confirming=confirming)
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
        )
