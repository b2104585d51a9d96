"""Two arms over one evalset, as columns: what the rules and the console read instead of rows.

Every array has one entry per case, in evalset order. Qualities are on [0, 1], higher is better.
Nothing is filled in here: `measured` says how many draws a total stands on, `wanted` how many it
should stand on, and what to make of the difference is decided where a test is made. Columns are
compared by identity: `==` between arrays is no answer.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from llmops_cli.core.errors import UnknownName

Floats: TypeAlias = NDArray[np.float64]
Counts: TypeAlias = NDArray[np.int32]
Flags: TypeAlias = NDArray[np.bool_]

PASS_METRIC = "pass"  # noqa: S105 - the metric's name
"""The metric of draws that every gating scorer passes."""


class CriticalState(IntEnum):
    """What the draws of a critical case add up to (docs/verdict.md)."""

    NOT_CRITICAL = 0
    HELD = 1
    FAILED = 2
    UNMEASURED = 3
    UNCONFIRMED = 4
    """The first judged draw failed and the `confirm` draws do not settle it yet."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Tally:
    """Sums over the measured draws of each case, and how many draws those are."""

    total: Floats
    measured: Counts

    def mean(self) -> Floats:
        """The mean of each case's measured draws; NaN where there is none."""
        means: Floats = self.total / np.where(self.measured > 0, self.measured, np.nan)
        return means

    def filled(self, wanted: Counts, value: float) -> Floats:
        """The mean of each case with `value` in place of every unmeasured draw."""
        draws = np.maximum(np.maximum(wanted, self.measured), 1)
        means: Floats = (self.total + value * (draws - self.measured)) / draws
        return means


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Scores:
    """One metric in both arms."""

    label: str
    advisory: bool
    paired: bool = False
    """The candidate's values are about both arms: ½ is alike, and the baseline has none."""
    due: Flags
    """Cases that owe this metric a value."""
    candidate: Tally
    baseline: Tally


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Side:
    """One arm: what each case wanted and spent, and over all of them what went wrong.

    The totals leave out cases that are not compared: a baseline's gone or edited ones.
    """

    present: Flags
    wanted: Counts
    """Draws: those planned, or those there are where they are more."""
    cost: Tally
    """US dollars of the priced draws."""
    tokens: Tally
    """Input and output tokens of the draws that tell them."""
    planned: int = 0
    completed: int = 0
    """Draws with a completion."""
    missing: int = 0
    """Planned draws that were never made: absent, over budget, not attempted, no record."""
    failures: Mapping[str, int]
    """Failed draws by `FailureKind` value, the never made ones included."""
    failed: int = 0
    """Draws that were made and failed."""
    unscored: int = 0
    """Draws with a completion that some due gating scorer could not score."""
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
        """US dollars over all counted draws; None where one of them is unpriced."""
        return None if self.unpriced or not self.completed else float(self.cost.total.sum())


@dataclass(frozen=True, slots=True, kw_only=True)
class CaseShare:
    """The share of one case's measured draws that passed, per arm; None: none was measured."""

    candidate: float | None
    baseline: float | None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Comparison:
    """What `compare` makes of a stream of rows."""

    cases: Mapping[str, int]
    """Case ids to positions, in evalset order."""
    scores: Mapping[str, Scores]
    """By metric label; `pass` is always there and first."""
    candidate: Side
    baseline: Side
    identical: Flags
    """Both arms sent the very same request."""
    edited: Flags
    """The facts differ between the arms: the two answers are to different questions."""
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
        """Whether any case has a baseline arm."""
        return bool(self.baseline.present.any())

    @property
    def paired(self) -> Flags:
        """Cases that both arms answered from the same facts."""
        both: Flags = self.candidate.present & self.baseline.present & ~self.edited
        return both

    def metric(self, label: str) -> Scores:
        """The scores under `label`; raises `UnknownName`."""
        try:
            return self.scores[label]
        except KeyError:
            raise UnknownName("metric", label, self.scores) from None

    def tagged(self, tag: str | None) -> Flags:
        """Cases that carry `tag`; all of them for None."""
        if tag is None:
            return np.ones(len(self.cases), dtype=np.bool_)
        mask = np.zeros(len(self.cases), dtype=np.bool_)
        mask[self.tags.get(tag, [])] = True
        return mask

    def named(self, mask: Flags) -> tuple[str, ...]:
        """Ids of the cases in `mask`, in evalset order."""
        chosen: list[bool] = mask.tolist()
        return tuple(case for case, wanted in zip(self.cases, chosen, strict=True) if wanted)

    def share(self, case: str) -> CaseShare:
        """How often `case` passed in each arm."""
        at = self.cases[case]
        scores = self.scores[PASS_METRIC]
        return CaseShare(
            candidate=_share(scores.candidate, at), baseline=_share(scores.baseline, at)
        )

    def lost(self, label: str = PASS_METRIC) -> Flags:
        """Compared cases that passed on the baseline (mean ≥ ½) and fail now."""
        candidate, baseline = self._means(label)
        mask: Flags = self.paired & ~self.identical & (baseline >= 0.5) & (candidate < 0.5)
        return mask

    def gained(self, label: str = PASS_METRIC) -> Flags:
        """Compared cases that failed on the baseline and pass now."""
        candidate, baseline = self._means(label)
        mask: Flags = self.paired & ~self.identical & (baseline < 0.5) & (candidate >= 0.5)
        return mask

    def lost_cases(self) -> tuple[str, ...]:
        return self.named(self.lost())

    def gained_cases(self) -> tuple[str, ...]:
        return self.named(self.gained())

    def failing_cases(self) -> tuple[str, ...]:
        """Cases that fail in both arms, or fail with no baseline to compare with.

        Known-failing cases are expected to, and are not among them.
        """
        candidate, baseline = self._means(PASS_METRIC)
        passed_before = self.paired & (baseline >= 0.5) & ~self.identical
        return self.named((candidate < 0.5) & ~passed_before & ~self.known_failing)

    def known_passing_cases(self) -> tuple[str, ...]:
        """Cases marked known-failing of which every measured draw passes."""
        candidate, _ = self._means(PASS_METRIC)
        return self.named(self.known_failing & (candidate == 1.0))

    def unmeasured_cases(self) -> tuple[str, ...]:
        """Cases with a planned draw, in either arm, of which nobody knows whether it passes."""
        scores = self.scores[PASS_METRIC]
        candidate = scores.candidate.measured < self.candidate.wanted
        baseline = self.paired & (scores.baseline.measured < self.baseline.wanted)
        return self.named(self.candidate.present & scores.due & (candidate | baseline))

    def unconfirmed_cases(self) -> tuple[str, ...]:
        """Critical judged cases that need `confirm` draws before anything can be said."""
        return self.named(self.critical == CriticalState.UNCONFIRMED)

    def critical_failed_cases(self) -> tuple[str, ...]:
        return self.named(self.critical == CriticalState.FAILED)

    def added_cases(self) -> tuple[str, ...]:
        """Cases that the baseline does not have."""
        if not self.has_baseline:
            return ()
        return self.named(self.candidate.present & ~self.baseline.present)

    def removed_cases(self) -> tuple[str, ...]:
        """Cases of the baseline that are gone from the evalset."""
        return self.named(self.baseline.present & ~self.candidate.present)

    def edited_cases(self) -> tuple[str, ...]:
        """Cases whose facts are not those that the baseline was measured on."""
        return self.named(self.edited)

    def _means(self, label: str) -> tuple[Floats, Floats]:
        scores = self.metric(label)
        now = scores.candidate.mean()
        return now, 1.0 - now if scores.paired else scores.baseline.mean()


def _share(tally: Tally, at: int) -> float | None:
    measured = int(tally.measured[at])
    return float(tally.total[at]) / measured if measured else None
