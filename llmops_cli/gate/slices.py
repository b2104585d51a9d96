"""The `pass` metric by tag: where a loss sits, shown and marked, gating nothing.

A slice gates only where a rule declares it (`no_worse: {tag: …}`). Here every tag is tested, and
Benjamini–Hochberg over the tags keeps the marks from crying wolf.
"""

from __future__ import annotations

from llmops_cli.core.report import SliceSummary
from llmops_cli.gate.comparison import PASS_METRIC, Comparison
from llmops_cli.gate.family import benjamini_hochberg
from llmops_cli.gate.groups import FEWEST_GROUPS, reference
from llmops_cli.gate.pairs import Pairs, pairs
from llmops_cli.gate.score_test import sample, z


def slices(comparison: Comparison) -> tuple[SliceSummary, ...]:
    """One summary per tag that has compared and measured cases, in the order of their names."""
    compared = {tag: pairs(comparison, PASS_METRIC, tag) for tag in comparison.tags}
    shown = {tag: each for tag, each in compared.items() if each and len(each.observed)}
    adjusted = benjamini_hochberg([_p_of_loss(each) for each in shown.values()])
    return tuple(
        SliceSummary(
            tag=tag,
            cases=each.n,
            lost=each.lost,
            gained=each.gained,
            candidate=each.candidate_mean,
            baseline=each.baseline_mean,
            p_adjusted=p,
        )
        for (tag, each), p in zip(shown.items(), adjusted, strict=True)
    )


def _p_of_loss(compared: Pairs) -> float:
    """One-sided p of a loss; 1 where there are too few groups to tell."""
    if compared.clusters is not None and compared.clusters.count < FEWEST_GROUPS:
        return 1.0
    judge = reference(compared.optimistic, compared.clusters)
    return judge.below(z(sample(compared.optimistic), 0.0))
