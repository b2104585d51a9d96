"""The input of a verdict: both sides of one evalset as columns, and the policy.

Every array has one entry per case, in evalset order. Qualities are on [0, 1], higher is better.
Nothing is filled in here: `measured` is the number of trials in a total, `planned_trials` the
number it should be, and each test decides how to treat the difference. Columns are compared by
identity, because `==` between arrays returns an array.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from enum import IntEnum
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from llmops_cli.core.errors import UnknownName
from llmops_cli.core.policy import Policy
from llmops_cli.core.result import Metric, SideResult, Trial

TRIALS_BY_LOOK: Mapping[int, int] = {1: 1, 2: 3, 3: 5}
"""Trials per case and side at each look under `on_inconclusive: rerun`."""
SHARES: Mapping[int, float] = {1: 0.5, 2: 0.25, 3: 0.25}
"""The part of α and β that each look may spend: at the full rates each, PASS at a true loss of the
margin would rise to 7.5–8.9%."""


def at_look(policy: Policy, look: int) -> Policy:
    """Return the policy with the error rates that one look may spend; as it is without `rerun`."""
    if policy.on_inconclusive != "rerun":
        return policy
    share = SHARES[look]
    return replace(policy, alpha=policy.alpha * share, beta=policy.beta * share)


Floats: TypeAlias = NDArray[np.float64]
Counts: TypeAlias = NDArray[np.int32]
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


SEVEREST_FIRST = (
    CriticalState.FAILED,
    CriticalState.UNMEASURED,
    CriticalState.UNCONFIRMED,
    CriticalState.PASSED,
)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Tally:
    """Sums over the measured trials of each case, and how many trials those are."""

    total: Floats
    measured: Counts

    def mean(self) -> Floats:
        """Return the mean of each case's measured trials; NaN where there is none."""
        means: Floats = self.total / np.where(self.measured > 0, self.measured, np.nan)
        return means

    def filled(self, planned_trials: Counts, value: float) -> Floats:
        """Return the mean of each case with `value` in place of every unmeasured trial."""
        trials = np.maximum(np.maximum(planned_trials, self.measured), 1)
        means: Floats = (self.total + value * (trials - self.measured)) / trials
        return means


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Scores:
    """One metric on both sides."""

    label: str
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


@dataclass(frozen=True, slots=True, kw_only=True)
class CaseShare:
    """The share of one case's measured trials that passed, per side; None: none was measured."""

    candidate: float | None
    baseline: float | None


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

    def named(self, mask: Flags) -> tuple[str, ...]:
        """Return the ids of the cases in `mask`, in evalset order."""
        chosen: list[bool] = mask.tolist()
        return tuple(case for case, is_chosen in zip(self.cases, chosen, strict=True) if is_chosen)

    def share(self, case: str) -> CaseShare:
        """Return how often `case` passed on each side."""
        at = self.cases[case]
        scores = self.scores[PASS_METRIC]
        return CaseShare(
            candidate=_share(scores.candidate, at), baseline=_share(scores.baseline, at)
        )

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

    def regressed_cases(self) -> tuple[str, ...]:
        return self.named(self.regressed())

    def improved_cases(self) -> tuple[str, ...]:
        return self.named(self.improved())

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

    def unconfirmed_cases(self) -> tuple[str, ...]:
        """Return the critical judged cases that need `confirm` trials to be decided."""
        return self.named(self.critical == CriticalState.UNCONFIRMED)

    def critical_failed_cases(self) -> tuple[str, ...]:
        return self.named(self.critical == CriticalState.FAILED)

    def added_cases(self) -> tuple[str, ...]:
        """Return the cases that the baseline does not have."""
        if not self.has_baseline:
            return ()
        return self.named(self.candidate.present & ~self.baseline.present)

    def removed_cases(self) -> tuple[str, ...]:
        """Return the cases of the baseline that are no longer in the evalset."""
        return self.named(self.baseline.present & ~self.candidate.present)

    def edited_cases(self) -> tuple[str, ...]:
        """Return the cases whose inputs are not those that the baseline was measured on."""
        return self.named(self.edited)

    def _means(self, label: str) -> tuple[Floats, Floats]:
        scores = self.metric(label)
        now = scores.candidate.mean()
        return now, 1.0 - now if scores.paired else scores.baseline.mean()


def _share(tally: Tally, at: int) -> float | None:
    measured = int(tally.measured[at])
    return float(tally.total[at]) / measured if measured else None


JUDGED_TRIALS = 3
"""The trials of a judged critical case that may decide, `confirm` trials included."""


def critical_state(side: SideResult, metrics: Mapping[str, Metric]) -> CriticalState:
    """Return the state of a critical case; without a gating scorer it is unmeasured.

    Deterministic scorers: any gate trial that fails, fails the case. Judges err, so that once is
    not enough: the case fails when the first trial fails and at least two of the first three do.
    """
    states = (_deterministic_state(side, metrics), _judged_state(side, metrics))
    known = [state for state in SEVEREST_FIRST if state in states]
    return known[0] if known else CriticalState.UNMEASURED


def _deterministic_state(side: SideResult, metrics: Mapping[str, Metric]) -> CriticalState | None:
    """Return None if no deterministic scorer is due."""
    outcomes = [_passed(trial, metrics, judged=False) for trial in side.trials]
    if False in outcomes:
        return CriticalState.FAILED
    if any(trial.failure is not None for trial in side.trials) or len(side.trials) < side.planned:
        return CriticalState.UNMEASURED
    if not _due(side, metrics, judged=False):
        return None
    return CriticalState.PASSED if all(outcomes) else CriticalState.UNMEASURED


def _judged_state(side: SideResult, metrics: Mapping[str, Metric]) -> CriticalState | None:
    """Return None if no judged scorer is due."""
    if not _due(side, metrics, judged=True):
        return None
    trials = (*side.trials, *side.confirm)[:JUDGED_TRIALS]
    match [_passed(trial, metrics, judged=True) for trial in trials]:
        case [] | [None, *_]:
            return CriticalState.UNMEASURED
        case [True, *_] | [_, True, True]:
            return CriticalState.PASSED
        case [_, *others] if False in others:
            return CriticalState.FAILED
    return CriticalState.UNCONFIRMED


def _gating(
    trial: Trial, metrics: Mapping[str, Metric], *, judged: bool
) -> dict[str, float | None]:
    """Return the trial's scores by gating scorers of one kind."""
    return {
        label: value
        for label, value in trial.scores.items()
        if metrics[label].judged is judged and metrics[label].counts
    }


def _due(side: SideResult, metrics: Mapping[str, Metric], *, judged: bool) -> bool:
    return any(_gating(trial, metrics, judged=judged) for trial in side.trials)


def _passed(trial: Trial, metrics: Mapping[str, Metric], *, judged: bool) -> bool | None:
    """Return whether the gating scorers of one kind pass a trial; None: not known."""
    scores = _gating(trial, metrics, judged=judged)
    if trial.failure is not None or not scores:
        return None
    outcomes = [
        None if value is None else metrics[label].passes(value) for label, value in scores.items()
    ]
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

    @property
    def rates(self) -> Policy:
        """The policy with the error rates of this look."""
        return at_look(self.policy, self.look)
