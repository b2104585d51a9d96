"""The cases of a run one by one, worst first: of a run that was just made, or of a report alone.

Which cases come when is known from the columns of the comparison; their texts are read from the
store when their turn comes, a few cases at a time, so that long answers never add up.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from operator import itemgetter
from typing import NamedTuple

from llmops_cli.core.case_result import Metric
from llmops_cli.core.report import (
    WORST_FIRST,
    CaseRecord,
    CaseRecords,
    Report,
    ShownCase,
    ShownTrial,
    SideRecord,
    TrialRecord,
)
from llmops_cli.core.result import Failure
from llmops_cli.gate.comparison import CaseShare, Comparison
from llmops_cli.report.build import changes, shown_score
from llmops_cli.run.case_results import MeasuredTrial, measured
from llmops_cli.run.evalset_run import EvalsetRun
from llmops_cli.run.run_loop import Run
from llmops_cli.run.side import Side, chunks

FEW = 16
"""Cases whose answers are read together."""
GONE = -1
"""The position of a case that only the baseline's evidence knows."""


class Mark(NamedTuple):
    """Where a case stands among all cases of a run."""

    rank: int
    """Position in `WORST_FIRST`."""
    evalset: int
    position: int
    case: str


def marks(at: int, cases: Iterable[str], noted: Mapping[str, str]) -> Iterator[Mark]:
    """A mark for each of `cases` of evalset number `at`, and for those that are gone."""
    rank = {change: place for place, change in enumerate(WORST_FIRST)}
    here = set()
    for position, case in enumerate(cases):
        here.add(case)
        yield Mark(rank[noted.get(case)], at, position, case)  # type: ignore[index]  # a Change
    yield from (Mark(rank["removed"], at, GONE, case) for case in noted if case not in here)


def in_turn(marked: Sequence[Mark]) -> Iterator[list[Mark]]:
    """Marks in reading order, a few of one rank and evalset at a time."""
    for _, alike in groupby(sorted(marked), key=itemgetter(0, 1)):
        yield from chunks(list(alike), FEW)


def records_of(run: Run) -> CaseRecords:
    """Every case of `run`; the store must stay open while they are taken."""
    marked = [
        mark
        for at, each in enumerate(run.pairings)
        for mark in marks(
            at,
            (case.id for case in each.round.cases),
            changes(run.comparisons[at], each.round.evalset.retired),
        )
    ]
    return CaseRecords(len(marked), _records(run, marked))


def records_of_report(report: Report) -> CaseRecords:
    """The cases that `report` shows: of the others it knows the number alone."""
    shown = [
        _shown(prompt.prompt, evalset.evalset, each)
        for prompt in report.prompts
        for evalset in prompt.evalsets
        for each in evalset.shown
    ]
    shown.sort(key=lambda record: WORST_FIRST.index(record.change))
    cases = sum(evalset.cases for prompt in report.prompts for evalset in prompt.evalsets)
    return CaseRecords(max(cases, len(shown)), iter(shown))


def trial_record(
    trial: MeasuredTrial,
    metrics: Iterable[Metric],
    *,
    confirming: bool = False,
) -> TrialRecord:
    """One draw with the scores under `metrics` that it owes or has."""
    outcome = trial.outcome
    if isinstance(outcome, Failure):
        return TrialRecord(failure=outcome.message, confirming=confirming)
    usage = outcome.usage
    return TrialRecord(
        text=outcome.text,
        finish_reason=outcome.finish_reason,
        tool_calls=[[call.name, call.arguments] for call in outcome.tool_calls] or None,
        contexts=outcome.contexts,
        scores=tuple(shown_score(trial, metric) for metric in metrics),
        input_tokens=usage.input if usage else None,
        output_tokens=usage.output if usage else None,
        cost=outcome.cost,
        latency=trial.latency,
        served_model=outcome.served_model,
        confirming=confirming,
    )


def _records(run: Run, marked: Sequence[Mark]) -> Iterator[CaseRecord]:
    for part in in_turn(marked):
        at = part[0].evalset
        yield from _of(run.pairings[at], run.comparisons[at], part)


def _of(each: EvalsetRun, columns: Comparison, part: Sequence[Mark]) -> Iterator[CaseRecord]:
    positions = [mark.position for mark in part if mark.position != GONE]
    baseline = each.others.get("baseline")
    confirming = each.confirming if each.unconfirmed else None
    ours, more, theirs = (
        {} if side is None else _trials(each, side, positions)
        for side in (each.candidate, confirming, baseline)
    )
    for mark in part:
        prompt, evalset = each.contest.prompt, each.round.evalset.name
        if mark.position == GONE:
            yield CaseRecord(prompt=prompt, evalset=evalset, case=mark.case, change="removed")
            continue
        case, share = each.round.cases[mark.position], columns.share(mark.case)
        trials = (*ours[mark.position], *more.get(mark.position, ()))
        yield CaseRecord(
            prompt=prompt,
            evalset=evalset,
            case=case.id,
            change=WORST_FIRST[mark.rank],
            candidate=SideRecord(passed=share.candidate, trials=trials),
            baseline=_baseline(theirs.get(mark.position, ()), share),
            identical=_identical(each, baseline, mark.position),
            inputs=case.inputs,
            expected=case.expected,
            contexts=case.contexts,
            messages=[message.plain() for message in case.messages] or None,
            tags=case.tags,
            critical=case.critical,
            group=case.group,
            known_failing=case.known_failing,
        )


def _baseline(trials: tuple[TrialRecord, ...], share: CaseShare) -> SideRecord | None:
    return SideRecord(passed=share.baseline, trials=trials) if trials else None


def _identical(each: EvalsetRun, baseline: Side | None, position: int) -> bool:
    if baseline is None or each.contest.watch or baseline.wanted[position]:
        return False
    return baseline.requests[position] == each.candidate.requests[position]


def _trials(
    each: EvalsetRun, side: Side, positions: Sequence[int]
) -> dict[int, tuple[TrialRecord, ...]]:
    metrics = {metric.label: metric for metric in each.scorers.metrics}
    found = measured(side, each.round.cases, positions, each.scorers)
    return {
        position: tuple(
            trial_record(
                trial,
                _owed(each, position, trial, metrics),
                confirming=side is each.confirming,
            )
            for trial in trials
        )
        for position, trials in zip(positions, found, strict=True)
    }


def _owed(
    each: EvalsetRun, position: int, trial: MeasuredTrial, metrics: Mapping[str, Metric]
) -> list[Metric]:
    """How to read every score that a trial owes, and those of the pairs that it is part of."""
    labels = [bound.label for bound in each.scorers.due(each.round.cases[position])]
    labels += [bound.label for bound in each.scorers.paired if bound.label in trial.scores]
    return [metrics[label] for label in dict.fromkeys(labels)]


def _shown(prompt: str, evalset: str, shown: ShownCase) -> CaseRecord:
    return CaseRecord(
        prompt=prompt,
        evalset=evalset,
        case=shown.case,
        change=shown.change,
        inputs=shown.inputs,
        expected=shown.expected,
        tags=shown.tags,
        critical=shown.critical,
        known_failing=shown.known_failing,
        candidate=_side(shown.candidate, shown.candidate_passed),
        baseline=_side(shown.baseline, shown.baseline_passed),
    )


def _side(trial: ShownTrial | None, passed: float | None) -> SideRecord | None:
    if trial is None:
        return None
    told = TrialRecord(
        text=trial.text,
        failure=trial.failure,
        finish_reason=trial.finish_reason,
        tool_calls=trial.tool_calls,
        scores=trial.scores,
    )
    return SideRecord(passed=passed, trials=(told,))
