"""The alarm: has the mean of a bounded quantity risen above a line?

A Shiryaev-Roberts e-detector (Shin, Ramdas, Rinaldo, "E-detectors", NEJSDS 2024). An observation x
is at least 0; while its mean, given the past, is at most m, E = product of 1 + b * (x - m) over the
observations of an hour has an expectation of at most 1 for each bet b in [0, 1/m). With
SR = (SR before + 1) * E, averaged over a grid of bets, the expected time until SR reaches H is at
least H hours, whatever the traffic and however x is distributed. An hour without observations is
not counted.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

BETS = np.geomspace(0.005, 0.7, 24)
"""The grid, in units of 1/m. A grid that starts at 0.05 misses small changes at high traffic: a
third of the rises from 0.6% to 2% at 1,000 an hour (benchmarks/watch_error_rates.py)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Detection:
    """What a detector says about a series of hours."""

    statistic: NDArray[np.float64]
    """SR after each hour with observations, averaged over the bets."""
    alarm: int | None
    """Position of the first hour in which it reached the threshold; None: quiet."""
    start: int | None
    """Position of the hour in which the rise most likely began; None: quiet."""


def detect(
    hours: NDArray[np.int64], values: NDArray[np.float64], line: float, *, threshold: float
) -> Detection:
    """Return whether the mean of `values` rose above `line` (m > 0).

    `hours` are the positions 0, 1, 2 ... of the hours that the values belong to, ascending; every
    hour up to the last has a value. `threshold` is H: the mean number of hours between alarms while
    the mean is at most `line`.
    """
    count = int(hours[-1]) + 1 if len(hours) else 0
    bets = BETS / line
    log_e = np.empty((count, len(bets)))
    distinct, place = np.unique(values, return_inverse=True)
    if len(distinct) <= 2:  # yes or no: the products are powers
        ones = np.bincount(hours, weights=place.astype(float), minlength=count)
        zeros = np.bincount(hours, minlength=count) - ones
        low, high = float(distinct[0]), float(distinct[-1])
        log_e[:] = np.outer(zeros, np.log1p(bets * (low - line)))
        log_e += np.outer(ones, np.log1p(bets * (high - line)))
    else:
        for column, bet in enumerate(bets):
            terms = np.log1p(bet * (values - line))
            log_e[:, column] = np.bincount(hours, weights=terms, minlength=count)
    log_sr = np.full(len(bets), -np.inf)
    statistic = np.empty(count)
    alarm = None
    for hour in range(count):
        log_sr = np.logaddexp(log_sr, 0.0) + log_e[hour]
        top = float(log_sr.max())
        statistic[hour] = np.exp(min(top, 700.0)) * np.exp(log_sr - top).mean()
        if alarm is None and statistic[hour] >= threshold:
            alarm = hour
    return Detection(
        statistic=statistic,
        alarm=alarm,
        start=None if alarm is None else _likely_start(log_e[: alarm + 1]),
    )


def _likely_start(log_e: NDArray[np.float64]) -> int:
    """Return the hour from which on the evidence is largest, over all bets."""
    evidence = np.cumsum(log_e[::-1], axis=0)[::-1]  # from each hour to the alarm
    return int(evidence.max(axis=1).argmax())
