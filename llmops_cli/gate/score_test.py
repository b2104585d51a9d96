"""The score test for a mean of bounded values: how far is the mean from a hypothesised one?

It is the score test under the restricted empirical likelihood (Owen 2001, ch. 2; Qin & Lawless
1994) with one unobserved atom allowed at the far bound. On paired binary differences it is
Tango (1998, Stat Med 17:891); on one binary sample with bounds [0, 1] it is Wilson (1927). It
keeps its error rates where nothing was lost and a Wald test would divide by zero.

Values repeat (a binary difference has three), so a sample is kept as distinct values with
weights: cost grows with the number of distinct values, not of cases.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from llmops_cli.gate.comparison import Floats

NOTHING = 1e-12
"""Below it a mean difference is none."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Sample:
    """Values within [low, high]: distinct ones with their weights, `n` in all."""

    values: Floats
    weights: Floats
    n: int
    low: float
    high: float
    mean: float
    variance: float
    """With divisor n."""


def sample(values: Floats, *, low: float = -1.0, high: float = 1.0) -> Sample:
    """The sample of one value per case, shape (n,), n ≥ 1, each within [low, high].

    Raises `ValueError` for an empty sample or a value that is not within the bounds.
    """
    if not len(values):
        raise ValueError("a sample needs at least one value")
    distinct, counts = np.unique(np.clip(values, low, high), return_counts=True)
    if not np.allclose(distinct[[0, -1]], [values.min(), values.max()], atol=1e-9):
        raise ValueError(f"values lie within [{low}, {high}]")
    weights = counts.astype(np.float64)
    n = len(values)
    mean = float(weights @ distinct) / n
    return Sample(
        values=distinct,
        weights=weights,
        n=n,
        low=low,
        high=high,
        mean=mean,
        variance=float(weights @ (distinct - mean) ** 2) / n,
    )


def z(of: Sample, mean: float) -> float:
    """The score statistic for a hypothesised `mean`: positive where the sample lies above it."""
    ratio = _ratio(of, mean)
    if abs(ratio) == 1.0:
        return math.copysign(math.inf, ratio)
    return ratio * math.sqrt(of.n / (1.0 - ratio * ratio))


def lower_end(of: Sample, critical: float) -> float:
    """The least mean m with z(m) ≤ `critical` > 0: means below it are excluded."""
    if of.mean <= of.low:
        return of.low
    return _crossing(of, critical, of.low, of.mean)


def upper_end(of: Sample, critical: float) -> float:
    """The greatest mean m with z(m) ≥ −`critical` < 0: means above it are excluded."""
    if of.mean >= of.high:
        return of.high
    return _crossing(of, -critical, of.mean, of.high)


def _ratio(of: Sample, mean: float) -> float:
    """z/√(n + z²), which is ū/√(σ² + ū²): the statistic without its infinities."""
    shift = of.mean - mean
    if abs(shift) < NOTHING:
        return 0.0
    far = (of.low if shift > 0 else of.high) - mean
    if far == 0.0:
        return math.copysign(1.0, shift)
    u = of.values - mean
    v = u / -far  # within [−1, …]: −1 where a value lies on the far bound
    tilt = _tilt(v, of.weights)
    p = of.weights / (of.n * (1.0 + tilt * v))
    atom = max(0.0, 1.0 - float(p.sum()))
    variance = float(p @ (u * u)) + atom * far * far
    return shift / math.sqrt(variance + shift * shift)


def _tilt(v: Floats, weights: Floats) -> float:
    """The root t in (0, 1] of Σ w v / (1 + t v), which falls from Σ w v > 0; 1 without a root.

    A value at v = −1 is a pole at t = 1; multiplied by 1 − t it is none, and Newton's steps,
    kept inside the bracket, converge in a few.
    """
    if v[0] > -1.0 and v[-1] > -1.0 and float(weights @ (v / (1.0 + v))) >= 0.0:
        return 1.0
    low, high, t = 0.0, 1.0, 0.5
    for _ in range(200):
        r = v / (1.0 + t * v)
        f = float(weights @ r)
        if f > 0:
            low = t
        else:
            high = t
        slope = -f - (1.0 - t) * float(weights @ (r * r))
        step = t - (1.0 - t) * f / slope if slope else low
        following = step if low < step < high else (low + high) / 2
        if abs(following - t) <= 1e-15 + 1e-13 * t:
            return following
        t = following
    return t


def _crossing(of: Sample, critical: float, low: float, high: float) -> float:
    """Where z falls through `critical` between `low` and `high` (regula falsi, Illinois)."""
    goal = critical / math.sqrt(of.n + critical * critical)
    f_low, f_high = _ratio(of, low) - goal, _ratio(of, high) - goal
    if f_low <= 0:
        return low
    if f_high >= 0:
        return high
    kept = 0
    for _ in range(200):
        middle = (low * f_high - high * f_low) / (f_high - f_low)
        f = _ratio(of, middle) - goal
        if abs(f) < NOTHING or high - low < NOTHING:
            break
        if f > 0:
            low, f_low = middle, f
            f_high /= 2 if kept > 0 else 1
            kept = 1
        else:
            high, f_high = middle, f
            f_low /= 2 if kept < 0 else 1
            kept = -1
    return middle
