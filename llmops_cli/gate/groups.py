"""Cases that stand or fall together: how much less their answers tell than as many single ones.

The reference of a test statistic is the standard normal without groups. With them it is Student's
t with G − 1 degrees of freedom, stretched by √deff, where deff is the CR1 cluster variance of the
mean over its i.i.d. variance (both ddof 0; Miller 2024, app. A, with the factor G/(G − 1)).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from llmops_cli.gate import student
from llmops_cli.gate.comparison import Counts, Floats

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
        return self.scale * student.quantile(1.0 - level, self.degrees)

    def below(self, statistic: float) -> float:
        """P(reference ≤ statistic): the one-sided p of a low statistic."""
        if self.degrees is None:
            return NormalDist().cdf(statistic / self.scale)
        return student.cdf(statistic / self.scale, self.degrees)


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
