"""The score test for a mean of bounded values: how far is the mean from a hypothesized one?

`z` is the score test under the restricted empirical likelihood (Owen 2001, ch. 2; Qin & Lawless
1994) with one unobserved value allowed at the far bound. On paired binary differences it is Tango
(1998, Stat Med 17:891), on one binary sample with bounds [0, 1] it is Wilson (1927). It keeps its
error rates where nothing regressed and a Wald test would divide by zero.

`corrected_z` is what the gate compares with a quantile. Its corrections are for few and for skewed
values, where `z` passes a loss of the margin in up to 9% of runs (docs/verdict-figures.md).

Values repeat (a binary difference has three), so a sample holds distinct values with weights: the
cost grows with the number of distinct values, not of cases.

Cases of one group are not independent. For PASS the groups are the sample (decision record 0021).
For REGRESSION the statistic of the cases is compared with Student's t with G − 1 degrees of
freedom, stretched by √deff: the CR1 cluster variance of the mean over its variance for independent
cases (both ddof 0; Miller 2024, app. A, with the factor G/(G − 1)).

Student's t is in closed form for whole degrees of freedom (Abramowitz & Stegun 26.7.3–4), so that
nothing here needs scipy, whose import takes longer than a cached run (decision record 0003).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from statistics import NormalDist
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Floats: TypeAlias = NDArray[np.float64]
Counts: TypeAlias = NDArray[np.int32]

NEGLIGIBLE = 1e-12
"""A smaller difference is rounding."""
STEPS = 200
"""Of a root search; a few suffice, the bracket bounds the rest."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Sample:
    """Values with a mean within [low, high]: distinct ones with their weights, `n` in all."""

    values: Floats
    """Ascending."""
    weights: Floats
    n: int
    low: float
    high: float
    mean: float
    sizes: Floats | None = None
    """Where a value belongs to a group of cases: group sizes over their mean, largest first."""

    def far_end(self, mean: float, *, below: bool) -> float:
        """Return how far from `mean` the unobserved value lies, as a signed distance."""
        if self.sizes is None:
            return (self.low if below else self.high) - mean
        bound = unobserved_size(self.sizes, -mean if below else mean)
        end = min(float(self.values[0]), -bound) if below else max(float(self.values[-1]), bound)
        return end - mean


@dataclass(frozen=True, slots=True, kw_only=True)
class RestrictedFit:
    """Moments of the likeliest distribution that has the hypothesized mean, around that mean."""

    shift: float
    """Observed minus hypothesized mean."""
    variance: float
    third_moment: float
    unobserved: float
    """Probability of the unobserved value."""


Statistic: TypeAlias = Callable[[Sample, float], float]


def sample(values: Floats, *, low: float = -1.0, high: float = 1.0) -> Sample:
    """Return the sample of one value per case, shape (n,), n ≥ 1, each within [low, high].

    Raises `ValueError` for an empty sample or a value that is not within the bounds.
    """
    if not len(values):
        raise ValueError("a sample needs at least one value")
    if values.min() < low - 1e-9 or values.max() > high + 1e-9:
        raise ValueError(f"values lie within [{low}, {high}]")
    distinct, weights, mean = _distinct(np.clip(values, low, high))
    return Sample(values=distinct, weights=weights, n=len(values), low=low, high=high, mean=mean)


def group_sample(values: Floats, groups: Groups) -> Sample:
    """Return the sample of one value per group: its cases' sum over the mean group size.

    `values` are of cases within [−1, 1], shape (n,). The mean over groups is the mean over cases.
    """
    scale = groups.count / len(values)
    sums = np.bincount(groups.numbers, values, groups.count).astype(np.float64)
    distinct, weights, mean = _distinct(sums * scale)
    return Sample(
        values=distinct,
        weights=weights,
        n=groups.count,
        low=-1.0,
        high=1.0,
        mean=mean,
        sizes=np.sort(groups.sizes * scale)[::-1],
    )


def log_chance_unseen(sizes: Floats, loss: float) -> float:
    """Return the log of the largest chance to see no group fall where the true mean loss is `loss`.

    `sizes` have mean 1, largest first; 0 < loss < 1. Any group may fall as a whole with a chance of
    its own. Π(1 − q) is largest under Σ size·q = G·loss for 1 − q = level / size in all groups
    above a level, none of the others falling (Lagrange). For equal sizes it is (1 − loss)^G.
    """
    levels = (np.cumsum(sizes) - len(sizes) * loss) / np.arange(1, len(sizes) + 1)
    last = np.flatnonzero(sizes > levels)[-1]
    return float(np.log(levels[last] / sizes[: last + 1]).sum())


def unobserved_size(sizes: Floats, loss: float) -> float:
    """Return the size, in mean sizes, of the unobserved group that explains a mean loss best.

    With it, a sample without any loss is as likely as `log_chance_unseen` says. It is 1 for equal
    sizes, never less, and at most that of the largest group, which it is for `loss` ≤ 0.
    """
    if loss <= 0.0 or sizes[0] == sizes[-1]:
        return float(sizes[0])
    if loss >= 1.0:
        return 1.0
    return min(float(sizes[0]), loss / -math.expm1(log_chance_unseen(sizes, loss) / len(sizes)))


def z(of: Sample, mean: float) -> float:
    """Return the score statistic for a hypothesized `mean`: positive where the sample is above."""
    fit = restricted_fit(of, mean)
    if fit is None:
        return 0.0
    if fit.variance == 0.0:
        return math.copysign(math.inf, fit.shift)
    return fit.shift * math.sqrt(of.n / fit.variance)


def corrected_z(of: Sample, mean: float) -> float:
    """Return the score statistic corrected for skewness and for few values.

    With g the skewness of the mean in the direction of the test, z has to exceed
    q + |g|/2 + g·(q² − 1)/6 instead of q: a continuity correction by the size of the rare jumps,
    and the second-order term of Cornish & Fisher (1938). The value is the q that z just exceeds,
    never further from 0 than z. Where all values are equal, the chance not to see the unobserved
    one is exact: (1 − its probability)^n.
    """
    fit = restricted_fit(of, mean)
    if fit is None:
        return 0.0
    if fit.variance == 0.0:
        return math.copysign(math.inf, fit.shift)
    if len(of.values) == 1:
        return math.copysign(_exact(of.n, fit.unobserved), fit.shift)
    size = abs(fit.shift) * math.sqrt(of.n / fit.variance)
    skewness = fit.third_moment / (fit.variance**1.5 * math.sqrt(of.n))
    curve = math.copysign(1.0, fit.shift) * skewness / 6.0
    room = size - abs(skewness) / 2.0 + curve
    exceeded = 2.0 * room / (1.0 + math.sqrt(max(0.0, 1.0 + 4.0 * curve * room)))
    return math.copysign(min(size, max(0.0, exceeded)), fit.shift)


def lower_end(of: Sample, critical: float, statistic: Statistic = corrected_z) -> float:
    """Return the least mean with a statistic ≤ `critical` > 0: means below it are ruled out."""
    if of.mean <= of.low:
        return of.low
    return _crossing(of, critical, of.low, of.mean, statistic)


def upper_end(of: Sample, critical: float, statistic: Statistic = corrected_z) -> float:
    """Return the greatest mean whose statistic is at least −`critical` < 0."""
    if of.mean >= of.high:
        return of.high
    return _crossing(of, -critical, of.mean, of.high, statistic)


def restricted_fit(of: Sample, mean: float) -> RestrictedFit | None:
    """Return the likeliest distribution with this `mean`; None if the sample has it already."""
    shift = of.mean - mean
    if abs(shift) < NEGLIGIBLE:
        return None
    far = of.far_end(mean, below=shift > 0)
    if far == 0.0:
        return RestrictedFit(shift=shift, variance=0.0, third_moment=0.0, unobserved=1.0)
    u = of.values - mean
    v = u / -far  # within [−1, …]: −1 where a value lies on the far bound
    p = of.weights / (of.n * (1.0 + _tilt(v, of.weights) * v))
    unobserved = max(0.0, 1.0 - float(p.sum()))
    return RestrictedFit(
        shift=shift,
        variance=float(p @ u**2) + unobserved * far**2,
        third_moment=float(p @ u**3) + unobserved * far**3,
        unobserved=unobserved,
    )


def _distinct(values: Floats) -> tuple[Floats, Floats, float]:
    """Return the distinct values, how often each comes, and the mean."""
    distinct, counts = np.unique(values, return_counts=True)
    weights = counts.astype(np.float64)
    return distinct, weights, float(weights @ distinct) / len(values)


def _exact(n: int, unobserved: float) -> float:
    """Return the normal deviate of the chance not to see a value in `n` values, at least 0."""
    chance = math.exp(n * math.log1p(-unobserved)) if unobserved < 1.0 else 0.0
    if chance >= 0.5:
        return 0.0
    return -NormalDist().inv_cdf(chance) if chance > 0.0 else math.inf


def _tilt(v: Floats, weights: Floats) -> float:
    """Return the root t in (0, 1] of Σ w v / (1 + t v), which falls from Σ w v > 0; else 1.

    A value at v = −1 is a pole at t = 1; multiplied by 1 − t it is none, and Newton's steps,
    kept inside the bracket, converge in a few.
    """
    if v[0] > -1.0 and v[-1] > -1.0 and float(weights @ (v / (1.0 + v))) >= 0.0:
        return 1.0
    low, high, t = 0.0, 1.0, 0.5
    for _ in range(STEPS):
        r = v / (1.0 + t * v)
        f = float(weights @ r)
        low, high = (t, high) if f > 0 else (low, t)
        slope = -f - (1.0 - t) * float(weights @ (r * r))
        step = t - (1.0 - t) * f / slope if slope else low
        following = step if low < step < high else (low + high) / 2
        if abs(following - t) <= 1e-15 + 1e-13 * t:
            return following
        t = following
    return t


def _crossing(of: Sample, critical: float, low: float, high: float, statistic: Statistic) -> float:
    """Return where the statistic falls through `critical` (regula falsi, Illinois)."""

    def excess(mean: float) -> float:
        # Statistics may be infinite at the bounds; this scale of them is not.
        value = statistic(of, mean)
        scaled = math.copysign(1.0, value) if math.isinf(value) else value / math.hypot(root, value)
        return scaled - goal

    root = math.sqrt(of.n)
    goal = critical / math.hypot(root, critical)
    f_low, f_high = excess(low), excess(high)
    if f_low <= 0:
        return low
    if f_high >= 0:
        return high
    side = 0
    for _ in range(STEPS):
        middle = (low * f_high - high * f_low) / (f_high - f_low)
        f = excess(middle)
        if abs(f) < NEGLIGIBLE or high - low < NEGLIGIBLE:
            break
        if f > 0:
            low, f_low = middle, f
            f_high /= 2 if side > 0 else 1
            side = 1
        else:
            high, f_high = middle, f
            f_low /= 2 if side < 0 else 1
            side = -1
    return middle


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
    if np.ptp(values) < NEGLIGIBLE:  # the variance of equal values is rounding, and its ratio noise
        return float(groups.sizes @ groups.sizes) / len(values)
    single = float(values.var()) / len(values)
    return max(1.0, group_variance(values, groups) / single)


def reference(values: Floats, groups: Groups | None) -> Reference:
    """Return what a score statistic of cases is compared with. None: they are independent."""
    if groups is None:
        return NORMAL
    effect = design_effect(values, groups)
    return replace(group_reference(groups.count), scale=math.sqrt(effect))
