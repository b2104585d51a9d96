"""The alarms of production: each asks whether the mean of a bounded quantity is above its line.

| alarm | quantity of a call | line |
|---|---|---|
| first_token | came its first token later than T = min(times * baseline p95, max)? | 5% |
| cost | US dollars, at most `CLIP` baselines | (1 + growth) * baseline |
| satisfaction | 1 - feedback | baseline + drop |
| errors | did it fail, other than `without`? | max |
| cache_hits | did the application's cache miss? | 1 - min |
| context | more input tokens than the baseline's p90? | 10% |

A baseline is frozen: the first `over` of a series, or what came just before it was acknowledged.
It is an upper bound of the mean (or quantile), so that a baseline that was low by chance does not
ring later.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from llmops_cli.core.watch import DAY, Alarm, AlarmState
from llmops_cli.watch.detector import Detection, detect
from llmops_cli.watch.store import HOUR, Table

CLIP = 8.0
"""Times the baseline: clipping only lowers a mean, so the error rate holds."""
BOUND = 1.96
"""Standard errors between a baseline and its upper bound (one-sided 2.5%)."""
TAIL = 0.05
"""The share of calls beyond a p95."""
UPPER_TENTH = 0.10
LEAST = 50
"""Values that a baseline takes at least."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Quantity:
    """What an alarm is decided on: `values` are the quantity of its table, all at least 0."""

    values: NDArray[np.float64]
    line: float
    baseline: float = math.nan
    turned: bool = False
    """Whether `values` are 1 - what is shown."""
    why: str = ""


def decide(
    alarm: Alarm,
    table: Table,
    words: Sequence[str],
    *,
    threshold: float,
    acknowledged: int | None = None,
    rose: int | None = None,
) -> AlarmState:
    """Return what `alarm` says about the calls of `table`, by time.

    `threshold` is the mean number of hours between false alarms. `acknowledged` is the hour of the
    last acknowledgement, `rose` the hour in which what it acknowledged began: the alarm starts anew
    with a baseline from between the two.
    """
    values = _values(alarm, table, words)
    known = ~np.isnan(values)
    table, values = table[known], values[known]
    hours = (table["time"] // HOUR).astype(np.int64)
    if not len(values):
        return AlarmState(alarm=alarm, status="no data", why=_missing(alarm, len(known)))
    first, last = _baseline(alarm, hours, acknowledged, rose)
    quantity = _quantity(alarm, values, hours, first, last)
    shown = 1 - quantity.values if quantity.turned else quantity.values
    line = 1 - quantity.line if quantity.turned else quantity.line
    seen, place = np.unique(hours, return_inverse=True)
    counts = np.bincount(place)
    state = AlarmState(
        alarm=alarm,
        status="quiet",
        hours=seen.tolist(),
        means=(np.bincount(place, weights=shown) / counts).tolist(),
        counts=counts.tolist(),
        line=line,
        baseline=quantity.baseline,
    )
    if quantity.why:
        return replace(state, status="starting", why=quantity.why)
    relative = alarm.over and alarm.name != "first_token"
    judged = hours >= (last if relative else acknowledged or 0)
    if not judged.any():
        return replace(state, status="starting", why="no calls since its baseline")
    judged_hours, position = np.unique(hours[judged], return_inverse=True)
    detection = detect(position, quantity.values[judged], quantity.line, threshold=threshold)
    return _detected(state, detection, judged_hours, shown, hours)


def _detected(
    state: AlarmState,
    detection: Detection,
    judged_hours: NDArray[np.int64],
    shown: NDArray[np.float64],
    hours: NDArray[np.int64],
) -> AlarmState:
    state = replace(state, statistic=float(detection.statistic[-1]))
    if detection.alarm is None or detection.start is None:
        return state
    started = int(judged_hours[detection.start])
    before, since = shown[hours < started], shown[hours >= started]
    return replace(
        state,
        status="alarm",
        started=started,
        rang=int(judged_hours[detection.alarm]),
        before=float(before.mean()) if len(before) else math.nan,
        since=float(since.mean()),
    )


def _values(alarm: Alarm, table: Table, words: Sequence[str]) -> NDArray[np.float64]:
    """Return the raw value of each call; NaN where the call doesn't have it."""
    if alarm.name == "errors":
        ignored = [at for at, word in enumerate(words) if word in alarm.without or not word]
        return (~np.isin(table["error"], ignored)).astype(float)
    column = {
        "first_token": "first_token", "cost": "cost", "satisfaction": "satisfied",
        "cache_hits": "cache_hit", "context": "input_tokens",
    }[alarm.name]  # fmt: skip
    if column not in (table.dtype.names or ()):
        return np.full(len(table), np.nan)
    return table[column].astype(float)


def _baseline(
    alarm: Alarm, hours: NDArray[np.int64], acknowledged: int | None, rose: int | None
) -> tuple[int, int]:
    """Return the first hour of the baseline and the first after it."""
    if not alarm.over:
        return 0, 0
    if acknowledged is None:
        return int(hours[0]), int(hours[0]) + alarm.over
    return max(acknowledged - alarm.over, rose or 0), acknowledged


def _quantity(
    alarm: Alarm,
    values: NDArray[np.float64],
    hours: NDArray[np.int64],
    first: int,
    last: int,
) -> _Quantity:
    """Return what is decided on; the baseline are the hours from `first` on and before `last`."""
    if alarm.name == "errors":
        return _Quantity(values=values, line=alarm.max)
    if alarm.name == "cache_hits":
        return _Quantity(values=1 - values, line=1 - alarm.min, turned=True)
    in_baseline = (hours >= first) & (hours < last)
    past = values[in_baseline]
    ready = len(past) >= LEAST
    if alarm.name == "first_token":
        # the absolute line holds from the first call on, the relative one when there is a baseline
        p95 = _quantile(past, 1 - TAIL) if ready else math.inf
        slow = np.where(hours < last, alarm.max, min(alarm.times * p95, alarm.max))
        why = "" if np.isfinite(slow).any() else _waiting(alarm, len(past))
        return _Quantity(values=(values > slow).astype(float), line=TAIL, baseline=p95, why=why)
    if not ready or hours[-1] < last:
        return _Quantity(values=values, line=math.nan, why=_waiting(alarm, len(past)))
    if alarm.name == "context":
        p90 = _quantile(past, 1 - UPPER_TENTH)
        return _Quantity(values=(values > p90).astype(float), line=UPPER_TENTH, baseline=p90)
    if alarm.name == "satisfaction":
        bad = 1 - values
        line = _upper_mean(bad[in_baseline], hours[in_baseline]) + alarm.drop
        return _Quantity(values=bad, line=min(line, 1.0), baseline=float(past.mean()), turned=True)
    base = float(past.mean())
    clipped = np.minimum(values, CLIP * base)
    line = (1 + alarm.growth) * _upper_mean(clipped[in_baseline], hours[in_baseline])
    return _Quantity(values=clipped, line=line, baseline=base)


def _upper_mean(values: NDArray[np.float64], hours: NDArray[np.int64]) -> float:
    """Return the upper bound of a mean; calls of an hour may be alike, so hours are the unit.

    The ratio estimator of a mean over clusters (Cochran, Sampling Techniques, 1977, 6.3).
    """
    _, place = np.unique(hours, return_inverse=True)
    counts = np.bincount(place)
    mean = float(values.mean())
    residuals = np.bincount(place, weights=values) - mean * counts
    clusters = len(counts)
    if clusters < 2:
        return mean
    error = math.sqrt(float((residuals**2).sum()) * clusters / (clusters - 1)) / len(values)
    return mean + BOUND * error


def _quantile(values: NDArray[np.float64], share: float) -> float:
    """Return the upper bound of a quantile: an order statistic (normal approximation)."""
    rank = len(values) * share + BOUND * math.sqrt(len(values) * share * (1 - share))
    return float(np.sort(values)[min(math.ceil(rank), len(values) - 1)])


def _waiting(alarm: Alarm, count: int) -> str:
    days = alarm.over / DAY
    return f"its baseline takes {days:g} days and {LEAST} values; {count} so far"


def _missing(alarm: Alarm, calls: int) -> str:
    what = {
        "first_token": "say when the first token came",
        "cost": "have a cost or a known price",
        "satisfaction": "have a user's feedback",
        "cache_hits": "say whether a cache answered",
        "context": "have input tokens",
    }.get(alarm.name, "have it")
    return f"0 of {calls:,} calls {what}"
