"""The cases of a run file one by one, worst first: as the run that wrote it would give them.

What a case's change is follows from its trials and scores, which are compared again: that takes
neither the project nor the store. A file of an earlier llmops may not hold why an answer got no
score, nor how long it took: then that is not told.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from llmops_cli.core import case_result as row
from llmops_cli.core.case_result import Metric
from llmops_cli.core.digest import digest
from llmops_cli.core.ports import ScoreKey
from llmops_cli.core.report import WORST_FIRST, CaseRecord, CaseRecords, Report, SideRecord
from llmops_cli.core.result import Completion, Failure, Score
from llmops_cli.core.run import Manifest, RunCase, RunEvalset, RunSide, RunTrial
from llmops_cli.gate.compare import compare
from llmops_cli.gate.comparison import Comparison
from llmops_cli.report.build import changes
from llmops_cli.report.case_stream import (
    GONE,
    Mark,
    in_turn,
    marks,
    records_of_report,
    trial_record,
)
from llmops_cli.report.run_file import report_of
from llmops_cli.run.case_results import UNMADE, MeasuredTrial
from llmops_cli.run.evalset_run import gone
from llmops_cli.stores.run_file import RunIndex, open_run


@contextmanager
def filed(file: Path) -> Iterator[tuple[Report, CaseRecords]]:
    """The report in a run file, and its cases while the block is open.

    Raises `Refused` where it is no run file or was merged from several, `IntegrityBroken` where
    it is damaged.
    """
    run = open_run(file)
    report = report_of(file, run.manifest.report)
    with run.indexed() as index:
        count = len(run.manifest.evalsets)
        evalsets = [_Filed(index, run.manifest, report, at) for at in range(count)]
        marked = [mark for each in evalsets for mark in each.marks()]
        yield report, CaseRecords(len(marked), _records(evalsets, marked))


@contextmanager
def kept(report: Report, file: Path | None) -> Iterator[CaseRecords]:
    """The cases of a run that is over: of a run file every one, else those that `report` shows."""
    if file is None or file.suffix == ".json":
        yield records_of_report(report)
        return
    with filed(file) as (_, records):
        yield records


def _records(evalsets: Sequence[_Filed], marked: Sequence[Mark]) -> Iterator[CaseRecord]:
    for part in in_turn(marked):
        for mark in part:
            yield evalsets[mark.evalset].record(mark)


class _Filed:
    """One evalset of a run file."""

    def __init__(self, index: RunIndex, manifest: Manifest, report: Report, at: int) -> None:
        self._index = index
        self._at = at
        self._asked: RunEvalset = manifest.evalsets[at]
        self._metrics = {metric.label: metric for metric in self._asked.facts.metrics}
        self._gone = tuple(_gone(report, self._asked))
        self._columns: Comparison = compare(self._rows(), self._asked.facts.metrics)

    def marks(self) -> Iterator[Mark]:
        """Where its cases stand."""
        noted = changes(self._columns, self._asked.facts.retired)
        return marks(self._at, (each.case for each in self._cases()), noted)

    def record(self, mark: Mark) -> CaseRecord:
        """One case with its answers."""
        prompt, evalset = self._asked.prompt, self._asked.facts.evalset
        if mark.position == GONE:
            return CaseRecord(prompt=prompt, evalset=evalset, case=mark.case, change="removed")
        case = self._index.case(prompt, evalset, mark.position)
        share, (ours, more, theirs) = self._columns.share(mark.case), self._trials(case)
        trials = [
            trial_record(trial, self._owed(case, trial), confirming=confirming)
            for trials, confirming in ((ours, False), (more, True))
            for trial in trials
        ]
        before = tuple(trial_record(trial, self._owed(case, trial)) for trial in theirs)
        return CaseRecord(
            prompt=prompt,
            evalset=evalset,
            case=case.case,
            change=WORST_FIRST[mark.rank],
            inputs=case.inputs,
            expected=case.expected,
            contexts=case.contexts,
            messages=case.messages,
            tags=case.tags,
            critical=case.critical,
            group=case.group,
            known_failing=case.known_failing,
            candidate=SideRecord(passed=share.candidate, trials=tuple(trials)),
            baseline=SideRecord(passed=share.baseline, trials=before) if before else None,
            identical=_identical(case),
        )

    def _cases(self) -> Iterator[RunCase]:
        return self._index.cases(self._asked.prompt, self._asked.facts.evalset)

    def _rows(self) -> Iterator[row.Row]:
        for case in self._cases():
            ours, more, theirs = self._trials(case)
            mine = self._side(case, "candidate", ours, more)
            yield row.Row(
                case=case.case,
                candidate=mine,
                baseline=mine if _identical(case) else self._side(case, "baseline", theirs, []),
                tags=case.tags,
                critical=case.critical,
                group=case.group,
                known_failing=case.known_failing,
            )
        yield from (gone(case) for case in self._gone)

    def _side(
        self, case: RunCase, role: str, trials: list[MeasuredTrial], more: list[MeasuredTrial]
    ) -> row.Side | None:
        wanted = case.sides.get(role)
        if wanted is None:
            return None
        return row.Side(
            request=wanted.request,
            facts=case.facts,
            planned=wanted.planned,
            trials=tuple(self._trial(case, trial) for trial in trials),
            confirm=tuple(self._trial(case, trial) for trial in more),
        )

    def _trial(self, case: RunCase, trial: MeasuredTrial) -> row.Trial:
        labels = [metric.label for metric in self._owed(case, trial)]
        scores = {label: _value(trial.scores.get(label)) for label in labels}
        if isinstance(trial.outcome, Failure):
            return row.Trial(failure=trial.outcome, scores=scores)
        return row.Trial(output=trial.outcome.digest, scores=scores)

    def _owed(self, case: RunCase, trial: MeasuredTrial) -> list[Metric]:
        labels = dict.fromkeys([*case.due, *trial.scores])
        return [self._metrics[label] for label in labels]

    def _trials(
        self, case: RunCase
    ) -> tuple[list[MeasuredTrial], list[MeasuredTrial], list[MeasuredTrial]]:
        """The candidate's trials, those that confirm them, the baseline's."""
        ours, more, theirs = (
            self._outcomes(case, role) for role in ("candidate", "confirming", "baseline")
        )
        against = ours if _identical(case) else theirs
        told = self._index.told(case)

        def scored(role: str, n: int, outcome: Completion | Failure) -> MeasuredTrial:
            pairs = self._pairs(case, outcome, against, n) if role == "candidate" else {}
            return self._scored(case, outcome, pairs, told.get((role, n)))

        return (
            [scored("candidate", *trial) for trial in ours],
            [scored("confirming", *trial) for trial in more],
            [scored("baseline", *trial) for trial in theirs],
        )

    def _outcomes(self, case: RunCase, role: str) -> list[tuple[int, Completion | Failure]]:
        """The draws of a side by number; those that were planned and are not there have failed."""
        side: RunSide | None = self._asked.sides.get(role)
        wanted = case.sides.get(role)
        if side is None or wanted is None or not wanted.planned:
            return []
        found = self._index.trials(wanted.request, side.purpose)
        missing = range(len(found), wanted.planned)
        return [*found[: wanted.planned], *((n, UNMADE) for n in missing)]

    def _pairs(
        self,
        case: RunCase,
        outcome: Completion | Failure,
        against: Sequence[tuple[int, Completion | Failure]],
        n: int,
    ) -> Mapping[str, ScoreKey]:
        """Keys of the scores that set an answer beside the baseline's that it met, by label."""
        paired = [metric for metric in self._metrics.values() if metric.paired]
        if not paired or not against or isinstance(outcome, Failure):
            return {}
        met = outcome if _identical(case) else against[n % len(against)][1]
        if isinstance(met, Failure):
            return {}
        pair = digest("llmops/pair/v1", [outcome.digest, met.digest])
        return {each.label: ScoreKey(each.scorer, case.facts, pair) for each in paired}

    def _scored(
        self,
        case: RunCase,
        outcome: Completion | Failure,
        pairs: Mapping[str, ScoreKey],
        told: RunTrial | None,
    ) -> MeasuredTrial:
        if isinstance(outcome, Failure):
            return MeasuredTrial(outcome=outcome, scores={})
        keys = {
            label: ScoreKey(scorer, case.facts, outcome.digest)
            for label, scorer in case.due.items()
        }
        found = {label: self._index.score(key) for label, key in {**keys, **pairs}.items()}
        scores = {label: score for label, score in found.items() if score is not None}
        if told is None:
            return MeasuredTrial(outcome=outcome, scores=scores)
        return MeasuredTrial(
            outcome=outcome,
            scores={**told.scores, **scores},
            unscored=told.unscored,
            latency=told.latency,
        )


def _value(score: Score | None) -> float | None:
    return None if score is None else score.value


def _identical(case: RunCase) -> bool:
    """Whether the candidate's answer stands for both sides."""
    ours, theirs = case.sides.get("candidate"), case.sides.get("baseline")
    if ours is None or theirs is None:
        return False
    return not theirs.planned and theirs.request == ours.request


def _gone(report: Report, asked: RunEvalset) -> Iterator[str]:
    """Cases that the baseline's evidence knew: the report names them."""
    for prompt in report.prompts:
        for each in prompt.evalsets:
            if (prompt.prompt, each.evalset) == (asked.prompt, asked.facts.evalset):
                yield from (shown.case for shown in each.shown if shown.change == "removed")
