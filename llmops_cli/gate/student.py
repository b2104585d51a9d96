"""Student's t distribution for whole degrees of freedom, in closed form.

The finite series of Abramowitz & Stegun 26.7.3–4 are exact for the whole degrees of freedom that
clusters and paired samples have, so that nothing here needs scipy, whose import takes longer
than a cached run (record 0003). `scipy.stats.t` is the oracle in the tests.
"""

from __future__ import annotations

import math
from statistics import NormalDist

import numpy as np


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
