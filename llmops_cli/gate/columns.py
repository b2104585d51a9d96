"""One arm of a comparison while its rows are being read: growing arrays, one entry per case.

What a draw is worth to the metric `pass`:

- every gating due scorer (neither advisory nor paired) passes it: 1;
- a measured gating scorer fails it: 0, even where another one is unscored, because no value of
  the other could turn it into a pass. It still counts as unscored for `errors`;
- otherwise, where a gating scorer is unscored, or the draw failed: unmeasured;
- no gating scorer is due: the case owes `pass` nothing, which is not the same as passing.

Due are the labels that a draw's scores name. A case none of whose draws was scored owes every
metric. A content filter or a cut-off answer is a completion and is scored like any other. A
`fraction` outside [0, 1] is no measurement: it is unscored.
"""

from __future__ import annotations

from array import array
from collections import Counter
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np

from llmops_cli.core.errors import UnknownName
from llmops_cli.core.result import FailureKind
from llmops_cli.core.row import Arm, Draw, Metric
from llmops_cli.gate.comparison import Counts, Flags, Floats, Side, Tally

Table: TypeAlias = dict[str, tuple[int, Metric]]
"""Metrics by label, numbered from 1: number 0 is `pass`."""

NEVER_MADE = frozenset({FailureKind.NOT_ATTEMPTED, FailureKind.BUDGET, FailureKind.NO_RECORD})
"""Failures of draws that nobody tried to make: they are missing, not broken."""


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
class ArmColumns:
    """One arm while it is being read. Metric 0 is `pass`."""

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
    def of(cls, metrics: int) -> ArmColumns:
        return cls(scores=[TallyColumns() for _ in range(metrics + 1)])

    def add(self, arm: Arm | None, table: Table, *, counted: bool) -> int:
        """Appends one case; returns the bits of the metrics that its draws name."""
        totals = [0.0] * len(self.scores)
        measured = [0] * len(self.scores)
        named = 0
        if arm is not None:
            for draw in arm.draws:
                bits, unscored = _read(draw, table, totals, measured)
                named |= bits
                self.unscored += counted and unscored
        for column, total, count in zip(self.scores, totals, measured, strict=True):
            column.total.append(total)
            column.measured.append(count)
        self.present.append(arm is not None)
        self.wanted.append(0 if arm is None else max(arm.planned, len(arm.draws)))
        self._spend(arm if counted else None)
        return named

    def _spend(self, arm: Arm | None) -> None:
        """Appends what the case cost and adds to the totals; None: it is not compared."""
        cost, priced, tokens, told = 0.0, 0, 0, 0
        if arm is not None:
            self.planned += max(arm.planned, len(arm.draws))
            self.absent += max(arm.planned - len(arm.draws), 0)
            for draw in arm.draws:
                if draw.failure is not None:
                    self.failures[draw.failure.kind] += 1
                    continue
                self.completed += 1
                if draw.cost is not None:
                    cost += draw.cost
                    priced += 1
                if draw.input_tokens is not None and draw.output_tokens is not None:
                    self.input_tokens += draw.input_tokens
                    self.output_tokens += draw.output_tokens
                    tokens += draw.input_tokens + draw.output_tokens
                    told += 1
                if draw.latency is not None:
                    self.latencies.append(draw.latency)
                if draw.first_token is not None:
                    self.first_tokens.append(draw.first_token)
                if draw.served_model is not None:
                    self.served[draw.served_model] = None
        self.cost.add(cost, priced)
        self.tokens.add(tokens, told)
        self.priced += priced
        self.told += told

    def side(self) -> Side:
        never_made = sum(self.failures[kind] for kind in NEVER_MADE)
        all_told = self.completed > 0 and self.told == self.completed
        return Side(
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


def _read(draw: Draw, table: Table, totals: list[float], measured: list[int]) -> tuple[int, bool]:
    """Adds one draw to the sums of its case.

    Returns the bits of the metrics that it names, and whether it has a completion that some due
    gating scorer could not score.
    """
    named, unscored, failing = 0, False, False
    try:
        for label, value in draw.scores.items():
            at, metric = table[label]
            gating = metric.counts
            named |= 1 << at | gating
            if value is None or draw.failure is not None or not _is_measurement(metric, value):
                unscored |= gating
                continue
            passed = metric.passes(value)
            failing |= gating and not passed
            totals[at] += metric.quality(value) if metric.unit == "fraction" else passed
            measured[at] += 1
    except KeyError as error:
        raise UnknownName("scorer label", str(error.args[0]), table) from None
    if draw.failure is not None:
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
