"""Student's t distribution for whole degrees of freedom, in closed form.

The finite series of Abramowitz & Stegun 26.7.3–4 are exact for the whole degrees of freedom that
clusters and paired samples have, so that nothing here needs scipy, whose import takes longer
than a cached run (record 0003). `scipy.stats.t` is the oracle in the tests.

Cases that stand or fall together: how much less their answers tell than as many single ones.

The reference of a test statistic is the standard normal without groups. With them it is Student's
t with G − 1 degrees of freedom, stretched by √deff, where deff is the CR1 cluster variance of the
mean over its i.i.d. variance (both ddof 0; Miller 2024, app. A, with the factor G/(G − 1)).

The paired differences of one metric: one number per compared case, draws averaged first.

An unmeasured trial is filled, never left out: with the worst value for the candidate where PASS
is tested (`pessimistic`), with the best where REGRESSION is (`optimistic`). Where both sides sent
the very same request the difference is 0 and their trials are draws of one thing.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from llmops_cli.gate.comparison import Comparison, Counts, Flags, Floats, Tally


def cdf(t: float, degrees: int) -> float:
    """P(T ≤ t) for `degrees` ≥ 1."""
    if math.isinf(t):
        return 1.0 if t > 0 else 0.0
    return 0.5 + math.copysign(_within(abs(t), degrees), t) / 2


def quantile(p: float, degrees: int) -> float:
    """The t with P(T ≤ t) = p, for 0 < p < 1."""
    if p < 0.5:
        return -quantile(1.0 - p, degrees)
    low, high = 0.0, max(1.0, NormalDist().inv_cdf(p))
    while cdf(high, degrees) < p:
        low, high = high, 2.0 * high
    while high - low > 1e-13 * (1.0 + high):
        middle = (low + high) / 2
        if cdf(middle, degrees) < p:
            low = middle
        else:
            high = middle
    return high


def _within(t: float, degrees: int) -> float:
    """P(−t ≤ T ≤ t) for t ≥ 0."""
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


EQUAL = 1e-12
"""Values nearer to each other than this do not differ."""
FEWEST_GROUPS = 10
"""With fewer, the cluster variance is too rough to decide on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """What a statistic is compared with: normal, or t with `degrees`, stretched by `scale`."""

    degrees: int | None = None
    scale: float = 1.0

    def critical(self, level: float) -> float:
        """The value that the statistic exceeds with probability `level`; 0 < level < 1."""
        if self.degrees is None:
            return self.scale * NormalDist().inv_cdf(1.0 - level)
        return self.scale * quantile(1.0 - level, self.degrees)

    def below(self, statistic: float) -> float:
        """P(reference ≤ statistic): the one-sided p of a low statistic."""
        if self.degrees is None:
            return NormalDist().cdf(statistic / self.scale)
        return cdf(statistic / self.scale, self.degrees)


NORMAL = Reference()


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Clusters:
    """Which of `count` groups, numbered from 0, each case of a sample is in."""

    numbers: Counts
    count: int

    @classmethod
    def of(cls, labels: Counts) -> Clusters:
        """Clusters of arbitrary labels, shape (n,)."""
        distinct, numbers = np.unique(labels, return_inverse=True)
        return cls(numbers=numbers.astype(np.int32), count=len(distinct))


def cluster_variance(values: Floats, clusters: Clusters) -> float:
    """CR1 variance of the mean of `values`; infinite for a single cluster."""
    if clusters.count < 2:
        return math.inf
    sums = np.bincount(clusters.numbers, values - values.mean(), clusters.count)
    factor = clusters.count / (clusters.count - 1)
    return factor * float(sums @ sums) / len(values) ** 2


def design_effect(values: Floats, clusters: Clusters) -> float:
    """How many times the variance of independent cases it is; at least 1.

    Where no difference varies, nothing tells how alike the cases of a group are, so the worst is
    taken: wholly alike, Σ m² / n over group sizes m (Kish 1965, §5.4; decision record 0007).
    """
    if np.ptp(values) < EQUAL:  # the variance of equal values is rounding, and its ratio noise
        sizes = np.bincount(clusters.numbers, minlength=clusters.count)
        return float(sizes @ sizes) / len(values)
    single = float(values.var()) / len(values)
    return max(1.0, cluster_variance(values, clusters) / single)


def reference(values: Floats, clusters: Clusters | None) -> Reference:
    """What a score statistic of `values` is compared with. None: the cases are independent."""
    if clusters is None:
        return NORMAL
    scale = math.sqrt(design_effect(values, clusters))
    return Reference(degrees=max(1, clusters.count - 1), scale=scale)


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
    lost: int
    gained: int
    identical: int
    unmeasured: int
    """Trials that were filled."""
    clusters: Clusters | None
    clusters_of_observed: Clusters | None
    nothing_to_lose: bool
    """Every measured trial of both sides is at 0: a loss could not be seen."""

    @property
    def all_identical(self) -> bool:
        return self.identical == self.n


def pairs(comparison: Comparison, label: str, tag: str | None = None) -> Pairs | None:
    """The compared cases of one metric, of those with `tag`; None where there are none."""
    scores = comparison.metric(label)
    mask = comparison.paired & scores.due & comparison.tagged(tag)
    n = int(mask.sum())
    if n == 0:
        return None
    same = comparison.identical[mask]
    candidate, wanted = _of(scores.candidate, mask), comparison.candidate.wanted[mask]
    if scores.paired:
        baseline, wanted_before = _turned(candidate), wanted
    else:
        baseline, wanted_before = _of(scores.baseline, mask), comparison.baseline.wanted[mask]
    now, before = _pooled(candidate, baseline, same)
    seen = ~(np.isnan(now) | np.isnan(before))
    observed = (now - before)[seen]
    gaps = np.maximum(wanted - candidate.measured, 0)
    if not scores.paired:
        gaps = gaps + np.maximum(wanted_before - baseline.measured, 0)
    gaps[same] = 0
    gaps[~seen & ~same & (gaps == 0)] = 1  # nothing was wanted, and nothing is known
    if gaps.any():
        pessimistic = candidate.filled(wanted, 0.0) - baseline.filled(wanted_before, 1.0)
        optimistic = candidate.filled(wanted, 1.0) - baseline.filled(wanted_before, 0.0)
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
        lost=int((comparison.lost(label) & mask).sum()),
        gained=int((comparison.gained(label) & mask).sum()),
        identical=int(same.sum()),
        unmeasured=int(gaps.sum()),
        clusters=Clusters.of(labels) if comparison.grouped else None,
        clusters_of_observed=Clusters.of(labels[seen]) if comparison.grouped else None,
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
