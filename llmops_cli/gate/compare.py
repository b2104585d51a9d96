"""Read the cases of one evalset into columns with one entry per case.

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
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np

from llmops_cli.core.errors import Refused, UnknownName
from llmops_cli.core.result import CaseResult, FailureKind, Metric, SideResult, Trial
from llmops_cli.gate.comparison import (
    PASS_METRIC,
    Comparison,
    CriticalState,
    Flags,
    Floats,
    Scores,
    SideTotals,
    Tally,
    critical_state,
)

Table: TypeAlias = Mapping[str, tuple[int, Metric]]
"""Metrics by label, numbered from 1: number 0 is `pass`."""

NEVER_MADE = frozenset({FailureKind.NOT_ATTEMPTED, FailureKind.BUDGET, FailureKind.NO_RECORD})
"""Failures of trials that weren't attempted: they count as missing, not as errors."""
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
        candidate=_SideColumns(metrics=len(metrics) + 1),
        baseline=_SideColumns(metrics=len(metrics) + 1),
    )
    for case in cases:
        columns.add(case, table)
    return columns.comparison()


@dataclass(slots=True, kw_only=True)
class _SideColumns:
    """One side while it is read: a row of numbers for each case."""

    metrics: int
    """How many, `pass` included."""
    rows: array[float] = field(default_factory=lambda: array("d"))
    latencies: array[float] = field(default_factory=lambda: array("d"))
    first_tokens: array[float] = field(default_factory=lambda: array("d"))
    failures: Counter[FailureKind] = field(default_factory=Counter)
    served: dict[str, None] = field(default_factory=dict)
    absent: int = 0
    unscored: int = 0
    input_tokens: int = 0
    output_tokens: int = 0

    def add(self, side: SideResult | None, table: Table, *, compared: bool) -> int:
        """Append one case; return the bits of the metrics that its trials name.

        Only a case that is compared counts in the totals of the side.
        """
        row = [0.0] * (OWN + 2 * self.metrics)
        named = 0
        if side is not None:
            row[:2] = 1.0, max(side.planned, len(side.trials))
            for trial in side.trials:
                bits, unscored = _read_scores(trial, table, row)
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
            cost=self._tally(2),
            tokens=self._tally(4),
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
        return self._tally(OWN + 2 * at)

    def _tally(self, at: int) -> Tally:
        rows = self._table()
        return Tally(total=rows[:, at], measured=rows[:, at + 1].astype(np.int32))

    def _table(self) -> Floats:
        return np.frombuffer(self.rows).reshape(-1, OWN + 2 * self.metrics)


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

    def add(self, case: CaseResult, table: Table) -> None:
        at = len(self.cases)
        if self.cases.setdefault(case.case, at) != at:
            raise Refused(f"the case {case.case!r} comes twice in one comparison")
        candidate, baseline = case.candidate, case.baseline
        identical = edited = False
        if candidate is not None and baseline is not None:
            edited = candidate.facts != baseline.facts
            identical = not (edited or self.same_target) and candidate.request == baseline.request
        named = self.candidate.add(candidate, table, compared=True)
        named |= self.baseline.add(baseline, table, compared=candidate is not None and not edited)
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
                label=metric.label,
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
