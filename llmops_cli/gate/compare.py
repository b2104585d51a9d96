"""Reads a stream of rows once and leaves columns: no row outlives its turn."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from llmops_cli.core.errors import Refused
from llmops_cli.core.row import Metric, Row
from llmops_cli.gate.columns import ArmColumns, Table, counts, flags
from llmops_cli.gate.comparison import PASS_METRIC, Comparison, CriticalState, Scores
from llmops_cli.gate.critical import critical_state


def compare(
    rows: Iterable[Row], metrics: Sequence[Metric], *, same_target: bool = False
) -> Comparison:
    """Both arms of an evalset as columns, in one pass over `rows`.

    `same_target` says that both arms are one target at two times, whose answers are to be
    compared (the watch for silent model drift): then equal requests are no identity.

    Raises `Refused` where a case comes twice or a metric is called `pass`, `UnknownName` where
    a draw names a scorer that `metrics` does not.
    """
    table = {metric.label: (at, metric) for at, metric in enumerate(metrics, start=1)}
    if PASS_METRIC in table:
        raise Refused(f"a scorer may not be labelled {PASS_METRIC!r}: that is the verdict of all")
    columns = _Columns(
        metrics={metric.label: metric for metric in metrics},
        same_target=same_target,
        candidate=ArmColumns.of(len(metrics)),
        baseline=ArmColumns.of(len(metrics)),
        due=[bytearray() for _ in range(len(metrics) + 1)],
    )
    for row in rows:
        columns.add(row, table)
    return columns.comparison(metrics)


@dataclass(slots=True, kw_only=True)
class _Columns:
    """Both arms while they are being read."""

    metrics: Mapping[str, Metric]
    same_target: bool
    candidate: ArmColumns
    baseline: ArmColumns
    due: list[bytearray]
    cases: dict[str, int] = field(default_factory=dict)
    identical: bytearray = field(default_factory=bytearray)
    edited: bytearray = field(default_factory=bytearray)
    known_failing: bytearray = field(default_factory=bytearray)
    critical: bytearray = field(default_factory=bytearray)
    groups: dict[str, int] = field(default_factory=dict)
    group: array[int] = field(default_factory=lambda: array("i"))
    tags: dict[str, array[int]] = field(default_factory=dict)

    def add(self, row: Row, table: Table) -> None:
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

    def _critical(self, row: Row) -> CriticalState:
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
            candidate=self.candidate.side(),
            baseline=self.baseline.side(),
            identical=flags(self.identical),
            edited=flags(self.edited),
            group=counts(self.group),
            grouped=bool(self.groups),
            tags={tag: counts(self.tags[tag]) for tag in sorted(self.tags)},
            critical=np.frombuffer(self.critical, dtype=np.int8),
            known_failing=flags(self.known_failing),
        )


def _edited(row: Row) -> bool:
    if row.candidate is None or row.baseline is None:
        return False
    return row.candidate.facts != row.baseline.facts


def _identical(row: Row) -> bool:
    if row.candidate is None or row.baseline is None or _edited(row):
        return False
    return row.candidate.request == row.baseline.request
