"""Both sides of one evalset as columns, read from its cases in one pass: the input of a verdict.

Every array has one entry per case, in evalset order. Qualities are on [0, 1], higher is better.
Nothing is filled in here: `measured` is the number of trials in a total, `planned_trials` the
number it should be, and each test decides how to treat the difference. Columns are compared by
identity, because `==` between arrays returns an array.

The value of a trial for the metric `pass`:

- every gating due scorer (neither advisory nor paired) passes it: 1;
- a measured gating scorer fails it: 0, even where another one is unscored, because no value of
  the other could turn it into a pass. It still counts as unscored for `errors`;
- otherwise, where a gating scorer is unscored, or the trial failed: unmeasured;
- no gating scorer is due: the case has no `pass`, which is not the same as passing.

Due are the labels that a trial's scores name. A case none of whose trials was scored is due every
metric. A content filter or a cut-off answer is a completion and is scored like any other. A
`fraction` outside [0, 1] is no measurement: it is unscored.
"""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import IntEnum
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from llmops_cli.core.errors import Refused, UnknownName
from llmops_cli.core.policy import Policy, at_look
from llmops_cli.core.result import NEVER_MADE, CaseResult, FailureKind, Metric, SideResult, Trial
from llmops_cli.gate.score_test import Counts, Floats, Groups

Flags: TypeAlias = NDArray[np.bool_]

NO_BASELINE = "no baseline: nothing to compare with"
PASS_METRIC = "pass"  # noqa: S105 - the metric's name
"""The metric of trials that every gating scorer passes."""


class CriticalState(IntEnum):
    """The state of a critical case, from its trials (docs/verdict.md)."""

    NOT_CRITICAL = 0
    PASSED = 1
    FAILED = 2
    UNMEASURED = 3
    UNCONFIRMED = 4
    """The first judged trial failed and the `confirm` trials do not settle it yet."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Tally:
    """Sums over the measured trials of each case, and how many trials those are."""

    total: Floats
    measured: Counts

    def __add__(self, other: Tally) -> Tally:
        return Tally(total=self.total + other.total, measured=self.measured + other.measured)

    def __getitem__(self, mask: Flags) -> Tally:
        return Tally(total=self.total[mask], measured=self.measured[mask])

    def mean(self) -> Floats:
        """Return the mean of each case's measured trials; NaN where there is none."""
        means: Floats = self.total / np.where(self.measured > 0, self.measured, np.nan)
        return means

    def filled(self, planned_trials: Counts, value: float) -> Floats:
        """Return the mean of each case with `value` in place of every unmeasured trial."""
        trials = np.maximum(np.maximum(planned_trials, self.measured), 1)
        means: Floats = (self.total + value * (trials - self.measured)) / trials
        return means


def pooled_means(candidate: Tally, baseline: Tally, same: Flags) -> tuple[Floats, Floats]:
    """Return each case's means, over the trials of both sides where the request is `same`."""
    both = (candidate + baseline).mean()
    return np.where(same, both, candidate.mean()), np.where(same, both, baseline.mean())


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Scores:
    """One metric on both sides."""

    advisory: bool
    paired: bool = False
    """The candidate's values compare both sides: ½ is a tie, and the baseline has none."""
    due: Flags
    """Cases that a trial's scorers give this metric."""
    candidate: Tally
    baseline: Tally


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SideTotals:
    """One side: planned trials and cost of each case, and the totals of failures.

    The totals leave out cases that are not compared: a baseline's gone or edited ones.
    """

    present: Flags
    planned_trials: Counts
    """Trials: those planned, or those there are where they are more."""
    cost: Tally
    """US dollars of the priced trials."""
    tokens: Tally
    """Input and output tokens of the trials that tell them."""
    planned: int = 0
    completed: int = 0
    """Trials with a completion."""
    missing: int = 0
    """Planned trials that were never made: absent, over budget, not attempted, no record."""
    failures: Mapping[str, int]
    """Failed trials by `FailureKind` value, the never made ones included."""
    failed: int = 0
    """Trials that were made and failed."""
    unscored: int = 0
    """Trials with a completion that some due gating scorer could not score."""
    unpriced: int = 0
    """Completions whose cost is not known."""
    uncounted: int = 0
    """Completions whose tokens are not known."""
    input_tokens: int | None = None
    output_tokens: int | None = None
    latencies: Floats
    """Seconds of this run's own calls, in no order of cases."""
    first_tokens: Floats
    """Seconds until the first token of those that were streamed."""
    served_models: tuple[str, ...] = ()

    @property
    def total_cost(self) -> float | None:
        """US dollars over all counted trials; None if one of them is unpriced."""
        return None if self.unpriced or not self.completed else float(self.cost.total.sum())


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Comparison:
    """The result of `compare`."""

    cases: Mapping[str, int]
    """Case ids to positions, in evalset order."""
    scores: Mapping[str, Scores]
    """By metric label; `pass` is always there and first."""
    candidate: SideTotals
    baseline: SideTotals
    identical: Flags
    """Both sides sent the very same request."""
    edited: Flags
    """The inputs differ between the sides: the two answers are to different questions."""
    group: Counts
    """Cluster number of each case; a case without a group has one of its own."""
    grouped: bool
    """Whether any case names a group."""
    tags: Mapping[str, Counts]
    """Positions of the cases that carry each tag."""
    critical: NDArray[np.int8]
    """`CriticalState` of each case; known-failing cases are outside."""
    known_failing: Flags

    @property
    def has_baseline(self) -> bool:
        """Whether any case has a baseline side."""
        return bool(self.baseline.present.any())

    def without(self, cases: Collection[str]) -> Comparison:
        """Return the comparison as if both sides lacked `cases`."""
        left = np.array([case not in cases for case in self.cases], dtype=np.bool_)
        return replace(
            self,
            candidate=replace(self.candidate, present=self.candidate.present & left),
            baseline=replace(self.baseline, present=self.baseline.present & left),
        )

    @property
    def paired(self) -> Flags:
        """Cases that both sides answered for the same inputs."""
        both: Flags = self.candidate.present & self.baseline.present & ~self.edited
        return both

    def metric(self, label: str) -> Scores:
        """Return the scores under `label`; raises `UnknownName`."""
        try:
            return self.scores[label]
        except KeyError:
            raise UnknownName("metric", label, self.scores) from None

    def tagged(self, tag: str | None) -> Flags:
        """Return the cases that carry `tag`; all of them for None."""
        if tag is None:
            return np.ones(len(self.cases), dtype=np.bool_)
        mask = np.zeros(len(self.cases), dtype=np.bool_)
        mask[self.tags.get(tag, [])] = True
        return mask

    def groups(self, mask: Flags) -> Groups | None:
        """Return the groups of the cases in `mask`, at least one; None where no case names one."""
        return Groups.of(self.group[mask]) if self.grouped else None

    def named(self, mask: Flags) -> tuple[str, ...]:
        """Return the ids of the cases in `mask`, in evalset order."""
        chosen: list[bool] = mask.tolist()
        return tuple(case for case, is_chosen in zip(self.cases, chosen, strict=True) if is_chosen)

    def shares(self, case: str) -> tuple[float | None, float | None]:
        """Return the share of the measured trials of `case` that pass: candidate, baseline.

        None: none was measured.
        """
        at, scores = self.cases[case], self.scores[PASS_METRIC]
        candidate, baseline = (
            float(tally.total[at]) / int(tally.measured[at]) if tally.measured[at] else None
            for tally in (scores.candidate, scores.baseline)
        )
        return candidate, baseline

    def regressed(self, label: str = PASS_METRIC) -> Flags:
        """Return the compared cases that passed on the baseline (mean ≥ ½) and fail now."""
        candidate, baseline = self._means(label)
        mask: Flags = self.paired & ~self.identical & (baseline >= 0.5) & (candidate < 0.5)
        return mask

    def improved(self, label: str = PASS_METRIC) -> Flags:
        """Return the compared cases that failed on the baseline and pass now."""
        candidate, baseline = self._means(label)
        mask: Flags = self.paired & ~self.identical & (baseline < 0.5) & (candidate >= 0.5)
        return mask

    def failing_cases(self) -> tuple[str, ...]:
        """Return the cases that fail on both sides, or fail with no baseline to compare with.

        Known-failing cases are expected to, and are not among them.
        """
        candidate, baseline = self._means(PASS_METRIC)
        passed_before = self.paired & (baseline >= 0.5) & ~self.identical
        return self.named((candidate < 0.5) & ~passed_before & ~self.known_failing)

    def known_passing_cases(self) -> tuple[str, ...]:
        """Return the cases marked known-failing of which every measured trial passes."""
        candidate, _ = self._means(PASS_METRIC)
        return self.named(self.known_failing & (candidate == 1.0))

    def unmeasured_cases(self) -> tuple[str, ...]:
        """Return the cases with a planned trial on either side that has no `pass`."""
        scores = self.scores[PASS_METRIC]
        candidate = scores.candidate.measured < self.candidate.planned_trials
        baseline = self.paired & (scores.baseline.measured < self.baseline.planned_trials)
        return self.named(self.candidate.present & scores.due & (candidate | baseline))

    def in_state(self, state: CriticalState) -> tuple[str, ...]:
        """Return the critical cases in `state`."""
        return self.named(self.critical == state)

    def added_cases(self) -> tuple[str, ...]:
        """Return the cases that the baseline does not have."""
        if not self.has_baseline:
            return ()
        return self.named(self.candidate.present & ~self.baseline.present)

    def removed_cases(self) -> tuple[str, ...]:
        """Return the cases of the baseline that are no longer in the evalset."""
        return self.named(self.baseline.present & ~self.candidate.present)

    def _means(self, label: str) -> tuple[Floats, Floats]:
        scores = self.metric(label)
        now = scores.candidate.mean()
        return now, 1.0 - now if scores.paired else scores.baseline.mean()


JUDGED_TRIALS = 3
"""The trials of a judged critical case that may decide, `confirm` trials included."""


def critical_state(side: SideResult, metrics: Mapping[str, Metric]) -> CriticalState:
    """Return the state of a critical case; without a gating scorer it is unmeasured.

    Deterministic scorers: any gate trial that fails, fails the case. Judges err, so that once is
    not enough: the case fails when the first trial fails and at least two of the first three do.
    """
    outcomes = [_passed(trial, metrics, judged=False) for trial in side.trials]
    if False in outcomes:
        return CriticalState.FAILED
    labels = {label for trial in side.trials for label in trial.scores if metrics[label].counts}
    judged = CriticalState.PASSED
    if any(metrics[label].judged for label in labels):
        judged = _judged_state(side, metrics)
    unmade = len(side.trials) < side.planned or any(trial.failure for trial in side.trials)
    deterministic = any(not metrics[label].judged for label in labels)
    if unmade or not labels or (deterministic and not all(outcomes)):
        return CriticalState.FAILED if judged is CriticalState.FAILED else CriticalState.UNMEASURED
    return judged


def _judged_state(side: SideResult, metrics: Mapping[str, Metric]) -> CriticalState:
    trials = (*side.trials, *side.confirm)[:JUDGED_TRIALS]
    match [_passed(trial, metrics, judged=True) for trial in trials]:
        case [] | [None, *_]:
            return CriticalState.UNMEASURED
        case [True, *_] | [_, True, True]:
            return CriticalState.PASSED
        case [_, *others] if False in others:
            return CriticalState.FAILED
    return CriticalState.UNCONFIRMED


def _passed(trial: Trial, metrics: Mapping[str, Metric], *, judged: bool) -> bool | None:
    """Return whether the gating scorers of one kind pass a trial; None: not known."""
    outcomes = [
        None if value is None else metrics[label].passes(value)
        for label, value in trial.scores.items()
        if metrics[label].judged is judged and metrics[label].counts
    ]
    if trial.failure is not None or not outcomes:
        return None
    return False if False in outcomes else None if None in outcomes else True


@dataclass(frozen=True, slots=True, kw_only=True)
class GateInput:
    """One prompt on one evalset."""

    evalset: str
    comparison: Comparison
    policy: Policy
    retired: Mapping[str, str] = field(default_factory=dict)
    """Cases removed on purpose: id to why."""
    behind: Collection[str] = ()
    """Cases added on the base since the branch point: missing here, but not removed by this change.
    """
    anchors: Mapping[str, Comparison] = field(default_factory=dict)
    """The candidate against each pinned version, by the `version` of its `anchor` rule."""
    partial: str | None = None
    """Why only some cases were run (filter, sample): then no case counts as removed."""
    look: int = 1
    """Which look this is under `on_inconclusive: rerun`: 1, 2 or 3."""
    new: bool = False
    """Whether the change adds the evalset: at the base revision, it did not gate the prompt."""
    added: Collection[str] = ()
    """Cases that the change adds to an evalset of the base."""

    @property
    def of_base(self) -> GateInput:
        """The gate input on the cases that the base has."""
        return replace(
            self,
            comparison=self.comparison.without(self.added),
            anchors={
                version: anchor.without(self.added) for version, anchor in self.anchors.items()
            },
        )

    @property
    def rates(self) -> Policy:
        """The policy with the error rates of this look."""
        return at_look(self.policy, self.look)


Table: TypeAlias = Mapping[str, tuple[int, Metric]]
"""Metrics by label, numbered from 1: number 0 is `pass`."""

OWN = 6
"""Numbers at the start of a side's row, before sum and count of each metric."""


def compare(
    cases: Iterable[CaseResult], metrics: Sequence[Metric], *, same_target: bool = False
) -> Comparison:
    """Return both sides of an evalset as columns, in one pass over `cases`.

    `same_target` says that both sides are one target at two times, whose answers are to be
    compared (the watch for silent model drift): then equal requests do not make a case identical.

    Raises `Refused` if a case comes twice or a metric is called `pass`, `UnknownName` where
    a trial names a scorer that `metrics` does not.
    """
    table = {metric.label: (at, metric) for at, metric in enumerate(metrics, start=1)}
    if PASS_METRIC in table:
        raise Refused(f"a scorer may not be labeled {PASS_METRIC!r}: that is the verdict of all")
    columns = _Columns(
        metrics={metric.label: metric for metric in metrics},
        same_target=same_target,
        candidate=_SideColumns(table=table),
        baseline=_SideColumns(table=table),
    )
    for case in cases:
        columns.add(case)
    return columns.comparison()


@dataclass(slots=True, kw_only=True)
class _SideColumns:
    """One side while it is read: a row of numbers for each case."""

    table: Table
    rows: array[float] = field(default_factory=lambda: array("d"))
    latencies: array[float] = field(default_factory=lambda: array("d"))
    first_tokens: array[float] = field(default_factory=lambda: array("d"))
    failures: Counter[FailureKind] = field(default_factory=Counter)
    served: dict[str, None] = field(default_factory=dict)
    absent: int = 0
    unscored: int = 0
    input_tokens: int = 0
    output_tokens: int = 0

    @property
    def width(self) -> int:
        """Return how many numbers a row has: sum and count of `pass` and of each metric, too."""
        return OWN + 2 * (1 + len(self.table))

    def add(self, side: SideResult | None, *, compared: bool) -> int:
        """Append one case; return the bits of the metrics that its trials name.

        Only a case that is compared counts in the totals of the side.
        """
        row = [0.0] * self.width
        named = 0
        if side is not None:
            row[:2] = 1.0, max(side.planned, len(side.trials))
            for trial in side.trials:
                bits, unscored = _read_scores(trial, self.table, row)
                named |= bits
                self.unscored += compared and unscored
            if compared:
                self.absent += max(side.planned - len(side.trials), 0)
                for trial in side.trials:
                    self._spend(trial, row)
        self.rows.extend(row)
        return named

    def _spend(self, trial: Trial, row: list[float]) -> None:
        """Add what a trial cost to the case's row and to the totals."""
        if trial.failure is not None:
            self.failures[trial.failure.kind] += 1
            return
        if trial.cost is not None:
            row[2] += trial.cost
            row[3] += 1
        if trial.input_tokens is not None and trial.output_tokens is not None:
            self.input_tokens += trial.input_tokens
            self.output_tokens += trial.output_tokens
            row[4] += trial.input_tokens + trial.output_tokens
            row[5] += 1
        if trial.latency is not None:
            self.latencies.append(trial.latency)
        if trial.first_token is not None:
            self.first_tokens.append(trial.first_token)
        if trial.served_model is not None:
            self.served[trial.served_model] = None

    def totals(self, compared: Flags) -> SideTotals:
        """Return the side's columns and its totals over the `compared` cases."""
        rows = self._table()
        planned = int(rows[compared, 1].sum())
        completed = planned - self.absent - self.failures.total()
        priced, counted = int(rows[:, 3].sum()), int(rows[:, 5].sum())
        never_made = sum(self.failures[kind] for kind in NEVER_MADE)
        all_counted = completed > 0 and counted == completed
        return SideTotals(
            present=rows[:, 0] > 0,
            planned_trials=rows[:, 1].astype(np.int32),
            cost=_tally(rows, 2),
            tokens=_tally(rows, 4),
            planned=planned,
            completed=completed,
            missing=self.absent + never_made,
            failures={kind.value: n for kind, n in self.failures.most_common() if n},
            failed=self.failures.total() - never_made,
            unscored=self.unscored,
            unpriced=completed - priced,
            uncounted=completed - counted,
            input_tokens=self.input_tokens if all_counted else None,
            output_tokens=self.output_tokens if all_counted else None,
            latencies=np.frombuffer(self.latencies),
            first_tokens=np.frombuffer(self.first_tokens),
            served_models=tuple(self.served),
        )

    def scores(self, at: int) -> Tally:
        """Return the sums of metric number `at`."""
        return _tally(self._table(), OWN + 2 * at)

    def _table(self) -> Floats:
        return np.frombuffer(self.rows).reshape(-1, self.width)


def _tally(rows: Floats, at: int) -> Tally:
    return Tally(total=rows[:, at], measured=rows[:, at + 1].astype(np.int32))


def _read_scores(trial: Trial, table: Table, row: list[float]) -> tuple[int, bool]:
    """Add one trial to the sums of its case.

    Returns the bits of the metrics that it names, and whether it has a completion that some due
    gating scorer could not score.
    """
    named, unscored, failing = 0, False, False
    for label, value in trial.scores.items():
        if label not in table:
            raise UnknownName("scorer label", label, table)
        at, metric = table[label]
        gating = metric.counts
        named |= 1 << at | gating
        if value is None or trial.failure is not None or not _is_measurement(metric, value):
            unscored |= gating
            continue
        passed = metric.passes(value)
        failing |= gating and not passed
        row[OWN + 2 * at] += metric.quality(value) if metric.unit == "fraction" else passed
        row[OWN + 2 * at + 1] += 1
    if trial.failure is not None:
        return named, False
    if named & 1 and (failing or not unscored):
        row[OWN] += not failing
        row[OWN + 1] += 1
    return named, unscored


def _is_measurement(metric: Metric, value: float) -> bool:
    return metric.unit != "fraction" or 0.0 <= value <= 1.0


@dataclass(slots=True, kw_only=True)
class _Columns:
    """Both sides while they are being read."""

    metrics: Mapping[str, Metric]
    same_target: bool
    candidate: _SideColumns
    baseline: _SideColumns
    cases: dict[str, int] = field(default_factory=dict)
    due: list[int] = field(default_factory=list)
    """Bits of the metrics that each case's trials name; 0: none is scored, so all are due."""
    flags: bytearray = field(default_factory=bytearray)
    """Three for each case: identical, edited, known to fail."""
    critical: bytearray = field(default_factory=bytearray)
    groups: dict[str, int] = field(default_factory=dict)
    group: array[int] = field(default_factory=lambda: array("i"))
    tags: dict[str, array[int]] = field(default_factory=dict)

    def add(self, case: CaseResult) -> None:
        at = len(self.cases)
        if self.cases.setdefault(case.case, at) != at:
            raise Refused(f"the case {case.case!r} comes twice in one comparison")
        candidate, baseline = case.candidate, case.baseline
        identical = edited = False
        if candidate is not None and baseline is not None:
            edited = candidate.facts != baseline.facts
            identical = not (edited or self.same_target) and candidate.request == baseline.request
        named = self.candidate.add(candidate, compared=True)
        named |= self.baseline.add(baseline, compared=candidate is not None and not edited)
        self.due.append(named)
        known_failing = case.known_failing is not None
        self.flags.extend((identical, edited, known_failing))
        state = CriticalState.NOT_CRITICAL
        if case.critical and not known_failing and candidate is not None:
            state = critical_state(candidate, self.metrics)
        self.critical.append(state)
        for tag in case.tags:
            self.tags.setdefault(tag, array("i")).append(at)
        number = -1 - at
        if case.group is not None:
            number = self.groups.setdefault(case.group, len(self.groups))
        self.group.append(number)

    def comparison(self) -> Comparison:
        identical, edited, known_failing = np.frombuffer(self.flags, np.bool_).reshape(-1, 3).T
        everything = (Metric(label=PASS_METRIC, scorer=""), *self.metrics.values())
        scores = {
            metric.label: Scores(
                advisory=metric.advisory,
                paired=metric.paired,
                due=np.array([not bits or bits >> at & 1 for bits in self.due], dtype=np.bool_),
                candidate=self.candidate.scores(at),
                baseline=self.baseline.scores(at),
            )
            for at, metric in enumerate(everything)
        }
        whole = np.ones(len(self.cases), dtype=np.bool_)
        candidate = self.candidate.totals(whole)
        baseline = self.baseline.totals(candidate.present & ~edited)
        return Comparison(
            cases=self.cases,
            scores=scores,
            candidate=candidate,
            baseline=baseline,
            identical=identical,
            edited=edited,
            group=np.array(self.group, dtype=np.int32),
            grouped=bool(self.groups),
            tags={tag: np.array(self.tags[tag], dtype=np.int32) for tag in sorted(self.tags)},
            critical=np.frombuffer(self.critical, dtype=np.int8),
            known_failing=known_failing,
        )
