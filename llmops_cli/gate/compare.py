"""One side of a comparison while its rows are being read: growing arrays, one entry per case.

What a trial is worth to the metric `pass`:

- every gating due scorer (neither advisory nor paired) passes it: 1;
- a measured gating scorer fails it: 0, even where another one is unscored, because no value of
  the other could turn it into a pass. It still counts as unscored for `errors`;
- otherwise, where a gating scorer is unscored, or the trial failed: unmeasured;
- no gating scorer is due: the case owes `pass` nothing, which is not the same as passing.

Due are the labels that a trial's scores name. A case none of whose trials was scored owes every
metric. A content filter or a cut-off answer is a completion and is scored like any other. A
`fraction` outside [0, 1] is no measurement: it is unscored.

Reads a stream of rows once and leaves columns: no row outlives its turn.
"""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np

from llmops_cli.core.case_result import CaseResult, Metric, SideResult, Trial
from llmops_cli.core.errors import Refused, UnknownName
from llmops_cli.core.result import FailureKind
from llmops_cli.gate.comparison import (
    PASS_METRIC,
    Comparison,
    Counts,
    CriticalState,
    Flags,
    Floats,
    Scores,
    SideTotals,
    Tally,
    critical_state,
)

Table: TypeAlias = dict[str, tuple[int, Metric]]
"""Metrics by label, numbered from 1: number 0 is `pass`."""

NEVER_MADE = frozenset({FailureKind.NOT_ATTEMPTED, FailureKind.BUDGET, FailureKind.NO_RECORD})
"""Failures of trials that nobody tried to make: they are missing, not broken."""


@dataclass(slots=True)
class TallyColumns:
    total: array[float] = field(default_factory=lambda: array("d"))
    measured: array[int] = field(default_factory=lambda: array("i"))

    def add(self, total: float, measured: int) -> None:
        self.total.append(total)
        self.measured.append(measured)

    def tally(self) -> Tally:
        return Tally(total=floats(self.total), measured=counts(self.measured))


@dataclass(slots=True, kw_only=True)
class SideColumns:
    """One side while it is being read. Metric 0 is `pass`."""

    scores: list[TallyColumns]
    present: bytearray = field(default_factory=bytearray)
    wanted: array[int] = field(default_factory=lambda: array("i"))
    cost: TallyColumns = field(default_factory=TallyColumns)
    tokens: TallyColumns = field(default_factory=TallyColumns)
    latencies: array[float] = field(default_factory=lambda: array("d"))
    first_tokens: array[float] = field(default_factory=lambda: array("d"))
    failures: Counter[FailureKind] = field(default_factory=Counter)
    served: dict[str, None] = field(default_factory=dict)
    planned: int = 0
    completed: int = 0
    absent: int = 0
    unscored: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    priced: int = 0
    told: int = 0

    @classmethod
    def of(cls, metrics: int) -> SideColumns:
        return cls(scores=[TallyColumns() for _ in range(metrics + 1)])

    def add(self, side: SideResult | None, table: Table, *, counted: bool) -> int:
        """Appends one case; returns the bits of the metrics that its trials name."""
        totals = [0.0] * len(self.scores)
        measured = [0] * len(self.scores)
        named = 0
        if side is not None:
            for trial in side.trials:
                bits, unscored = _read(trial, table, totals, measured)
                named |= bits
                self.unscored += counted and unscored
        for column, total, count in zip(self.scores, totals, measured, strict=True):
            column.total.append(total)
            column.measured.append(count)
        self.present.append(side is not None)
        self.wanted.append(0 if side is None else max(side.planned, len(side.trials)))
        self._spend(side if counted else None)
        return named

    def _spend(self, side: SideResult | None) -> None:
        """Appends what the case cost and adds to the totals; None: it is not compared."""
        cost, priced, tokens, told = 0.0, 0, 0, 0
        if side is not None:
            self.planned += max(side.planned, len(side.trials))
            self.absent += max(side.planned - len(side.trials), 0)
            for trial in side.trials:
                if trial.failure is not None:
                    self.failures[trial.failure.kind] += 1
                    continue
                self.completed += 1
                if trial.cost is not None:
                    cost += trial.cost
                    priced += 1
                if trial.input_tokens is not None and trial.output_tokens is not None:
                    self.input_tokens += trial.input_tokens
                    self.output_tokens += trial.output_tokens
                    tokens += trial.input_tokens + trial.output_tokens
                    told += 1
                if trial.latency is not None:
                    self.latencies.append(trial.latency)
                if trial.first_token is not None:
                    self.first_tokens.append(trial.first_token)
                if trial.served_model is not None:
                    self.served[trial.served_model] = None
        self.cost.add(cost, priced)
        self.tokens.add(tokens, told)
        self.priced += priced
        self.told += told

    def totals(self) -> SideTotals:
        never_made = sum(self.failures[kind] for kind in NEVER_MADE)
        all_told = self.completed > 0 and self.told == self.completed
        return SideTotals(
            present=flags(self.present),
            wanted=counts(self.wanted),
            cost=self.cost.tally(),
            tokens=self.tokens.tally(),
            planned=self.planned,
            completed=self.completed,
            missing=self.absent + never_made,
            failures={kind.value: n for kind, n in self.failures.most_common() if n},
            failed=self.failures.total() - never_made,
            unscored=self.unscored,
            unpriced=self.completed - self.priced,
            uncounted=self.completed - self.told,
            input_tokens=self.input_tokens if all_told else None,
            output_tokens=self.output_tokens if all_told else None,
            latencies=floats(self.latencies),
            first_tokens=floats(self.first_tokens),
            served_models=tuple(self.served),
        )


def _read(trial: Trial, table: Table, totals: list[float], measured: list[int]) -> tuple[int, bool]:
    """Adds one trial to the sums of its case.

    Returns the bits of the metrics that it names, and whether it has a completion that some due
    gating scorer could not score.
    """
    named, unscored, failing = 0, False, False
    try:
        for label, value in trial.scores.items():
            at, metric = table[label]
            gating = metric.counts
            named |= 1 << at | gating
            if value is None or trial.failure is not None or not _is_measurement(metric, value):
                unscored |= gating
                continue
            passed = metric.passes(value)
            failing |= gating and not passed
            totals[at] += metric.quality(value) if metric.unit == "fraction" else passed
            measured[at] += 1
    except KeyError as error:
        raise UnknownName("scorer label", str(error.args[0]), table) from None
    if trial.failure is not None:
        return named, False
    if named & 1 and (failing or not unscored):
        totals[0] += not failing
        measured[0] += 1
    return named, unscored


def _is_measurement(metric: Metric, value: float) -> bool:
    return metric.unit != "fraction" or 0.0 <= value <= 1.0


def floats(column: array[float]) -> Floats:
    return np.frombuffer(column, dtype=np.float64)


def counts(column: array[int]) -> Counts:
    return np.frombuffer(column, dtype=np.int32)


def flags(column: bytearray) -> Flags:
    return np.frombuffer(column, dtype=np.bool_)


def compare(
    rows: Iterable[CaseResult], metrics: Sequence[Metric], *, same_target: bool = False
) -> Comparison:
    """Both sides of an evalset as columns, in one pass over `rows`.

    `same_target` says that both sides are one target at two times, whose answers are to be
    compared (the watch for silent model drift): then equal requests are no identity.

    Raises `Refused` where a case comes twice or a metric is called `pass`, `UnknownName` where
    a trial names a scorer that `metrics` does not.
    """
    table = {metric.label: (at, metric) for at, metric in enumerate(metrics, start=1)}
    if PASS_METRIC in table:
        raise Refused(f"a scorer may not be labelled {PASS_METRIC!r}: that is the verdict of all")
    columns = _Columns(
        metrics={metric.label: metric for metric in metrics},
        same_target=same_target,
        candidate=SideColumns.of(len(metrics)),
        baseline=SideColumns.of(len(metrics)),
        due=[bytearray() for _ in range(len(metrics) + 1)],
    )
    for row in rows:
        columns.add(row, table)
    return columns.comparison(metrics)


@dataclass(slots=True, kw_only=True)
class _Columns:
    """Both sides while they are being read."""

    metrics: Mapping[str, Metric]
    same_target: bool
    candidate: SideColumns
    baseline: SideColumns
    due: list[bytearray]
    cases: dict[str, int] = field(default_factory=dict)
    identical: bytearray = field(default_factory=bytearray)
    edited: bytearray = field(default_factory=bytearray)
    known_failing: bytearray = field(default_factory=bytearray)
    critical: bytearray = field(default_factory=bytearray)
    groups: dict[str, int] = field(default_factory=dict)
    group: array[int] = field(default_factory=lambda: array("i"))
    tags: dict[str, array[int]] = field(default_factory=dict)

    def add(self, row: CaseResult, table: Table) -> None:
        at = len(self.cases)
        if self.cases.setdefault(row.case, at) != at:
            raise Refused(f"the case {row.case!r} comes twice in one comparison")
        edited, same = _edited(row), not self.same_target and _identical(row)
        compared = row.candidate is not None and row.baseline is not None and not edited
        named = self.candidate.add(row.candidate, table, counted=True)
        named |= self.baseline.add(row.baseline, table, counted=compared)
        for bit, column in enumerate(self.due):
            column.append(not named or named >> bit & 1)  # nothing named: everything is owed
        self.edited.append(edited)
        self.identical.append(same)
        self.known_failing.append(row.known_failing is not None)
        self.critical.append(self._critical(row))
        for tag in row.tags:
            self.tags.setdefault(tag, array("i")).append(at)
        self.group.append(-1 - at if row.group is None else self._group(row.group))

    def _group(self, name: str) -> int:
        return self.groups.setdefault(name, len(self.groups))

    def _critical(self, row: CaseResult) -> CriticalState:
        if not row.critical or row.known_failing is not None or row.candidate is None:
            return CriticalState.NOT_CRITICAL
        return critical_state(row.candidate, self.metrics)

    def comparison(self, metrics: Sequence[Metric]) -> Comparison:
        scores = {
            each.label: Scores(
                label=each.label,
                advisory=each.advisory,
                paired=each.paired,
                due=flags(self.due[at]),
                candidate=self.candidate.scores[at].tally(),
                baseline=self.baseline.scores[at].tally(),
            )
            for at, each in enumerate((Metric(label=PASS_METRIC, scorer=""), *metrics))
        }
        return Comparison(
            cases=self.cases,
            scores=scores,
            candidate=self.candidate.totals(),
            baseline=self.baseline.totals(),
            identical=flags(self.identical),
            edited=flags(self.edited),
            group=counts(self.group),
            grouped=bool(self.groups),
            tags={tag: counts(self.tags[tag]) for tag in sorted(self.tags)},
            critical=np.frombuffer(self.critical, dtype=np.int8),
            known_failing=flags(self.known_failing),
        )


def _edited(row: CaseResult) -> bool:
    if row.candidate is None or row.baseline is None:
        return False
    return row.candidate.facts != row.baseline.facts


def _identical(row: CaseResult) -> bool:
    if row.candidate is None or row.baseline is None or _edited(row):
        return False
    return row.candidate.request == row.baseline.request
