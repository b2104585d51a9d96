"""The paired differences of one metric, in cases and in groups, and what statistics compare with.

One number per compared case, its trials averaged first. An unmeasured trial is filled, never left
out: with the worst value for the candidate where PASS is tested (`pessimistic`), with the best
where REGRESSION is (`optimistic`). Where both sides sent the very same request the difference is 0
and their trials are trials of one thing.

Cases of one group are not independent. For PASS the groups are the sample (`score_test`,
decision record 0021). For REGRESSION the statistic of the cases is compared with Student's t with
G − 1 degrees of freedom, stretched by √deff: the CR1 cluster variance of the mean over its
variance for independent cases (both ddof 0; Miller 2024, app. A, with the factor G/(G − 1)).

Student's t is in closed form for whole degrees of freedom (Abramowitz & Stegun 26.7.3–4), so that
nothing here needs scipy, whose import takes longer than a cached run (decision record 0003).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cache
from statistics import NormalDist

import numpy as np

from llmops_cli.gate.comparison import Comparison, Counts, Flags, Floats, Tally
from llmops_cli.gate.score_test import Sample, group_sample, sample

EQUAL = 1e-12
"""Values closer to each other than this count as equal."""
FEWEST_GROUPS = 10
"""With fewer, the variance between groups is too rough to decide on."""


def t_cdf(t: float, degrees: int) -> float:
    """Return P(T ≤ t) for `degrees` ≥ 1."""
    if math.isinf(t):
        return 1.0 if t > 0 else 0.0
    return 0.5 + math.copysign(_t_within(abs(t), degrees), t) / 2


@cache
def t_quantile(p: float, degrees: int) -> float:
    """Return the t with P(T ≤ t) = p, for 0 < p < 1."""
    if p < 0.5:
        return -t_quantile(1.0 - p, degrees)
    low, high = 0.0, max(1.0, NormalDist().inv_cdf(p))
    while t_cdf(high, degrees) < p:
        low, high = high, 2.0 * high
    while high - low > 1e-13 * (1.0 + high):
        middle = (low + high) / 2
        if t_cdf(middle, degrees) < p:
            low = middle
        else:
            high = middle
    return high


def _t_within(t: float, degrees: int) -> float:
    """Return P(−t ≤ T ≤ t) for t ≥ 0."""
    angle = math.atan2(t, math.sqrt(degrees))
    odd = degrees % 2
    k = np.arange(1, (degrees - 2 - odd) // 2 + 1, dtype=np.float64)
    ratios = (2 * k - 1 + odd) / (2 * k + odd) * degrees / (degrees + t * t)
    series = 1.0 + float(np.cumprod(ratios).sum())
    if not odd:
        return math.sin(angle) * series
    if degrees == 1:
        series = 0.0
    return (angle + math.sin(angle) * math.cos(angle) * series) * 2 / math.pi


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """What a statistic is compared with: normal, or t with `degrees`, stretched by `scale`."""

    degrees: int | None = None
    scale: float = 1.0

    def critical(self, level: float) -> float:
        """Return the value that the statistic exceeds with probability `level`, 0 < level < 1."""
        if self.degrees is None:
            return self.scale * NormalDist().inv_cdf(1.0 - level)
        return self.scale * t_quantile(1.0 - level, self.degrees)

    def below(self, statistic: float) -> float:
        """Return P(reference ≤ statistic): the one-sided p of a low statistic."""
        if self.degrees is None:
            return NormalDist().cdf(statistic / self.scale)
        return t_cdf(statistic / self.scale, self.degrees)


NORMAL = Reference()


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Groups:
    """Which group, numbered from 0, each case of a sample is in; at least one case."""

    numbers: Counts
    sizes: Floats
    """Cases in each group."""

    @classmethod
    def of(cls, labels: Counts) -> Groups:
        """Return the groups of arbitrary labels, shape (n,)."""
        _, numbers, sizes = np.unique(labels, return_inverse=True, return_counts=True)
        return cls(numbers=numbers.astype(np.int32), sizes=sizes.astype(np.float64))

    @property
    def count(self) -> int:
        return len(self.sizes)

    @property
    def too_few(self) -> bool:
        return self.count < FEWEST_GROUPS


def group_reference(count: int) -> Reference:
    """Return what a statistic of one value per group is compared with."""
    return Reference(degrees=max(1, count - 1))


def group_variance(values: Floats, groups: Groups) -> float:
    """Return the CR1 variance of the mean of `values`; infinite for a single group."""
    if groups.count < 2:
        return math.inf
    sums = np.bincount(groups.numbers, values - values.mean(), groups.count)
    factor = groups.count / (groups.count - 1)
    return factor * float(sums @ sums) / len(values) ** 2


def design_effect(values: Floats, groups: Groups) -> float:
    """Return how many times the variance of independent cases the mean has; at least 1.

    If all differences are equal, the correlation within groups is unknown, so the worst case is
    assumed, full correlation: Σ m² / n over group sizes m (Kish 1965, §5.4; decision record 0007).
    """
    if np.ptp(values) < EQUAL:  # the variance of equal values is rounding, and its ratio noise
        return float(groups.sizes @ groups.sizes) / len(values)
    single = float(values.var()) / len(values)
    return max(1.0, group_variance(values, groups) / single)


def reference(values: Floats, groups: Groups | None) -> Reference:
    """Return what a score statistic of cases is compared with. None: they are independent."""
    if groups is None:
        return NORMAL
    effect = design_effect(values, groups)
    return replace(group_reference(groups.count), scale=math.sqrt(effect))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Pairs:
    """Compared cases of one metric; differences are candidate − baseline on [−1, 1]."""

    mask: Flags
    """The compared cases among all: `n` of them, at least 1."""
    n: int
    pessimistic: Floats
    optimistic: Floats
    observed: Floats
    """Differences of the cases that are measured in both sides; may be fewer than `n`."""
    baseline_mean: float
    candidate_mean: float
    """Over the observed cases; 0 where there is none."""
    regressed: int
    improved: int
    identical: int
    unmeasured: int
    """Trials that were filled."""
    groups: Groups | None
    groups_of_observed: Groups | None
    nothing_to_lose: bool
    """Whether every measured trial of both sides is at 0: then a regression can't be detected."""

    @property
    def all_identical(self) -> bool:
        return self.identical == self.n

    @property
    def too_few_groups(self) -> bool:
        return self.groups is not None and self.groups.too_few

    @property
    def for_pass(self) -> tuple[Sample, Reference]:
        """The sample in which PASS is tested, of cases or of groups, and what to compare with."""
        if self.groups is None:
            return sample(self.pessimistic), NORMAL
        values = group_sample(self.pessimistic, self.groups.numbers, self.groups.sizes)
        return values, group_reference(self.groups.count)

    @property
    def for_regression(self) -> tuple[Sample, Reference]:
        """The same for REGRESSION."""
        return sample(self.optimistic), reference(self.optimistic, self.groups)


def pairs(comparison: Comparison, label: str, tag: str | None = None) -> Pairs | None:
    """Return the compared cases of one metric, of those with `tag`; None if there are none."""
    scores = comparison.metric(label)
    mask = comparison.paired & scores.due & comparison.tagged(tag)
    n = int(mask.sum())
    if n == 0:
        return None
    same = comparison.identical[mask]
    candidate, planned_trials = (
        _of(scores.candidate, mask),
        comparison.candidate.planned_trials[mask],
    )
    if scores.paired:
        baseline, planned_before = _turned(candidate), planned_trials
    else:
        baseline, planned_before = (
            _of(scores.baseline, mask),
            comparison.baseline.planned_trials[mask],
        )
    now, before = _pooled(candidate, baseline, same)
    seen = ~(np.isnan(now) | np.isnan(before))
    observed = (now - before)[seen]
    gaps = np.maximum(planned_trials - candidate.measured, 0)
    if not scores.paired:
        gaps = gaps + np.maximum(planned_before - baseline.measured, 0)
    gaps[same] = 0
    gaps[~seen & ~same & (gaps == 0)] = 1  # nothing was wanted, and nothing is known
    if gaps.any():
        pessimistic = candidate.filled(planned_trials, 0.0) - baseline.filled(planned_before, 1.0)
        optimistic = candidate.filled(planned_trials, 1.0) - baseline.filled(planned_before, 0.0)
        pessimistic[same] = optimistic[same] = 0.0
    else:
        pessimistic = optimistic = np.where(same, 0.0, now - before)
    labels = comparison.group[mask]
    return Pairs(
        mask=mask,
        n=n,
        pessimistic=pessimistic,
        optimistic=optimistic,
        observed=observed,
        baseline_mean=_mean(before[seen]),
        candidate_mean=_mean(now[seen]),
        regressed=int((comparison.regressed(label) & mask).sum()),
        improved=int((comparison.improved(label) & mask).sum()),
        identical=int(same.sum()),
        unmeasured=int(gaps.sum()),
        groups=Groups.of(labels) if comparison.grouped else None,
        groups_of_observed=Groups.of(labels[seen]) if comparison.grouped else None,
        nothing_to_lose=not (candidate.total.any() or baseline.total.any()),
    )


def _of(tally: Tally, mask: Flags) -> Tally:
    return Tally(total=tally.total[mask], measured=tally.measured[mask])


def _pooled(candidate: Tally, baseline: Tally, same: Flags) -> tuple[Floats, Floats]:
    """Each case's mean in both sides, over the trials of both where the request is the same."""
    now, before = candidate.mean(), baseline.mean()
    if same.any():
        both = Tally(
            total=candidate.total + baseline.total,
            measured=candidate.measured + baseline.measured,
        ).mean()
        now, before = np.where(same, both, now), np.where(same, both, before)
    return now, before


def _turned(candidate: Tally) -> Tally:
    """The baseline's side of a paired metric: what one side is given, the other lacks.

    So that the difference of a trial worth v is 2 v − 1, and an unmeasured one is worth −1 or 1.
    """
    return Tally(total=candidate.measured - candidate.total, measured=candidate.measured)


def _mean(values: Floats) -> float:
    return float(values.mean()) if len(values) else 0.0
