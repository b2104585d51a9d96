"""The paired differences of one metric: one number per compared case, draws averaged first.

An unmeasured draw is filled, never left out: with the worst value for the candidate where PASS
is tested (`pessimistic`), with the best where REGRESSION is (`optimistic`). Where both arms sent
the very same request the difference is 0 and their draws are draws of one thing.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from llmops_cli.gate.comparison import Comparison, Flags, Floats, Tally
from llmops_cli.gate.groups import Clusters


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Pairs:
    """Compared cases of one metric; differences are candidate − baseline on [−1, 1]."""

    mask: Flags
    """The compared cases among all: `n` of them, at least 1."""
    n: int
    pessimistic: Floats
    optimistic: Floats
    observed: Floats
    """Differences of the cases that are measured in both arms; may be fewer than `n`."""
    baseline_mean: float
    candidate_mean: float
    """Over the observed cases; 0 where there is none."""
    lost: int
    gained: int
    identical: int
    unmeasured: int
    """Draws that were filled."""
    clusters: Clusters | None
    clusters_of_observed: Clusters | None
    nothing_to_lose: bool
    """Every measured draw of both arms is at 0: a loss could not be seen."""

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
    """Each case's mean in both arms, over the draws of both where the request is the same."""
    now, before = candidate.mean(), baseline.mean()
    if same.any():
        both = Tally(
            total=candidate.total + baseline.total,
            measured=candidate.measured + baseline.measured,
        ).mean()
        now, before = np.where(same, both, now), np.where(same, both, before)
    return now, before


def _turned(candidate: Tally) -> Tally:
    """The baseline's side of a paired metric: what one arm is given, the other lacks.

    So that the difference of a draw worth v is 2 v − 1, and an unmeasured one is worth −1 or 1.
    """
    return Tally(total=candidate.measured - candidate.total, measured=candidate.measured)


def _mean(values: Floats) -> float:
    return float(values.mean()) if len(values) else 0.0
