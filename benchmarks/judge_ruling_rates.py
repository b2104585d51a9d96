"""Compute how often a judge of known accuracy may gate, exactly and without simulation.

    python benchmarks/judge_ruling_rates.py

A judge that passes a share TPR of what people pass and fails a share TNR of what they fail is
calibrated with so many labels. How many of each it gets right are two binomial numbers; each
pair has one ruling by `llmops_cli.gate.calibration`, and its probability. TPR and TNR are equal
here, (1 + J) / 2, and the judge never contradicts itself.

Prints a Markdown table; it is the same every time.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping
from itertools import product

from llmops_cli.core.records import CalibrationStatus, Counts
from llmops_cli.gate.calibration import ruling

LABELS = ((100, 50), (200, 100), (200, 160), (400, 200), (400, 320), (1000, 500))
"""The number of labels, and how many of them are "pass"."""
WORTH = (0.3, 0.5, 0.6, 0.7, 0.8, 0.9)
"""The judge's true J."""
NEGLIGIBLE = 1e-7


def binomial(n: int, p: float) -> list[float]:
    """The probabilities of 0 … n successes."""
    return [math.comb(n, k) * p**k * (1 - p) ** (n - k) for k in range(n + 1)]


def rates(n: int, passing: int, j: float) -> Mapping[CalibrationStatus, float]:
    """The probability of each ruling."""
    right = (1 + j) / 2
    found: defaultdict[CalibrationStatus, float] = defaultdict(float)
    chances = product(enumerate(binomial(passing, right)), enumerate(binomial(n - passing, right)))
    for (both_pass, one), (both_fail, other) in chances:
        if one * other < NEGLIGIBLE / n:
            continue
        counts = Counts(
            both_pass=both_pass,
            only_people_pass=passing - both_pass,
            only_judge_passes=n - passing - both_fail,
            both_fail=both_fail,
            read_twice=n,
        )
        found[ruling(counts)[0]] += one * other
    return found


def main() -> None:
    print("| labels | of them pass | " + " | ".join(f"J = {j:g}" for j in WORTH) + " |")
    print("|---:|---:|" + "---:|" * len(WORTH))
    for n, passing in LABELS:
        ruling_rates = [rates(n, passing, j) for j in WORTH]
        gating = [f"{100 * rate[CalibrationStatus.GATE]:.1f}%" for rate in ruling_rates]
        print(f"| {n:,} | {passing} | " + " | ".join(gating) + " |")


if __name__ == "__main__":
    main()
