"""How well a judge's readings agree with people's labels: shares, kappa and Youden's J.

Closed forms, each with its source; statsmodels is the oracle in the tests. A share of nothing has
no value: what cannot be said is None, never 0.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import NormalDist

import numpy as np

from llmops_cli.core.calibration import Figure


def two_sided(level: float) -> float:
    """The normal quantile of a two-sided interval at `level`, 0 < level < 1."""
    return NormalDist().inv_cdf((1.0 + level) / 2.0)


def wilson(k: int, n: int, level: float) -> Figure | None:
    """The share k of n with Wilson's score interval (1927); None where n is 0."""
    if n == 0:
        return None
    z = two_sided(level)
    share = k / n
    middle = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    lower = 0.0 if k == 0 else max(0.0, middle - half)
    upper = 1.0 if k == n else min(1.0, middle + half)
    return Figure(value=share, lower=lower, upper=upper)


def youden(tpr: Figure | None, tnr: Figure | None) -> Figure | None:
    """J = TPR + TNR − 1 by Newcombe's hybrid of two score intervals (1998, Stat Med 17:873, method
    10), at the level of both; None where either is unknown.
    """
    if tpr is None or tnr is None:
        return None
    j = tpr.value + tnr.value - 1.0
    below = math.hypot(tpr.value - tpr.lower, tnr.value - tnr.lower)
    above = math.hypot(tpr.upper - tpr.value, tnr.upper - tnr.value)
    return Figure(value=j, lower=max(-1.0, j - below), upper=min(1.0, j + above))


def kappa(table: Sequence[Sequence[int]], level: float) -> Figure | None:
    """Cohen's kappa of a square table of counts, with the interval by the large-sample variance of
    Fleiss, Cohen & Everitt (1969, Psych Bull 72:323); None where there is nothing to agree by
    chance about: no count, or one class alone in both margins.
    """
    counts = np.asarray(table, dtype=np.float64)
    n = float(counts.sum())
    if n == 0:
        return None
    p = counts / n
    rows, columns = p.sum(axis=1), p.sum(axis=0)
    observed, expected = float(np.trace(p)), float(rows @ columns)
    if math.isclose(expected, 1.0):
        return None
    value = (observed - expected) / (1.0 - expected)
    missed = 1.0 - value
    on = np.diag(p) @ (1.0 - (rows + columns) * missed) ** 2
    weights = (columns[:, None] + rows[None, :]) ** 2
    off = missed**2 * (float((p * weights).sum()) - float(np.diag(p) @ np.diag(weights)))
    bias = (value - expected * missed) ** 2
    variance = max(0.0, float(on) + off - bias) / (n * (1.0 - expected) ** 2)
    half = two_sided(level) * math.sqrt(variance)
    return Figure(value=value, lower=max(-1.0, value - half), upper=min(1.0, value + half))
