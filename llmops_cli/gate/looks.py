"""Further looks at the same cases: how much of the error rates each may spend, and when to look.

Under `on_inconclusive: rerun` the gate may look three times, at 1, 3 and 5 draws per case. The
looks share α and β as ½, ¼, ¼, so that all of them together keep the error rates; at the full
rates each, PASS at a true loss of the margin would rise to 7.5–8.9 %.

A further look is worth its calls only where its projected bound can decide. Draws shrink the
noise within cases, not the one between them: where that is what is left, more cases help.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from llmops_cli.core.policy import NoWorse, Policy
from llmops_cli.gate.comparison import Comparison, Counts, Flags
from llmops_cli.gate.groups import FEWEST_GROUPS, reference
from llmops_cli.gate.pairs import Pairs, pairs
from llmops_cli.gate.score_test import sample, z

DRAWS: Mapping[int, int] = {1: 1, 2: 3, 3: 5}
"""Draws per case and arm that a look wants."""
SHARES: Mapping[int, float] = {1: 0.5, 2: 0.25, 3: 0.25}
"""The part of α and β that it may spend."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NextLook:
    """Draw every case of both arms up to `draws`, then decide again at `look`."""

    look: int
    draws: int
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AddCases:
    """No further look can decide."""

    why: str


def at_look(policy: Policy, look: int) -> Policy:
    """The policy with the error rates that one look may spend; as it is without `rerun`."""
    if policy.on_inconclusive != "rerun":
        return policy
    share = SHARES[look]
    return replace(policy, alpha=policy.alpha * share, beta=policy.beta * share)


def next_look(comparison: Comparison, policy: Policy, look: int) -> NextLook | AddCases:
    """What to do after `look` (1, 2 or 3) left the `no_worse` rules of `policy` undecided."""
    rules = [rule for rule in policy.rules if isinstance(rule, NoWorse)]
    for following in range(look + 1, len(DRAWS) + 1):
        spent = at_look(policy, following)
        if rules and all(_can_decide(comparison, rule, spent, following) for rule in rules):
            draws = DRAWS[following]
            why = f"with {draws} draws per case the projected interval can decide"
            return NextLook(look=following, draws=draws, why=why)
    if look >= len(DRAWS):
        return AddCases(why=f"all {len(DRAWS)} looks are spent: add cases, not repeats")
    return AddCases(
        why="more draws of the same cases cannot decide at the observed difference: "
        "add cases, not repeats"
    )


def _can_decide(comparison: Comparison, rule: NoWorse, policy: Policy, look: int) -> bool:
    """Whether the observed mean, with the variance of the next look, would pass or regress."""
    compared = pairs(comparison, rule.metric, rule.tag)
    if compared is None or not len(compared.observed):
        return False
    if compared.all_identical:
        return True
    groups = compared.clusters_of_observed
    if groups is not None and groups.count < FEWEST_GROUPS:
        return False
    scale = _variance_left(comparison, compared, DRAWS[look])
    mean = compared.observed.mean()
    projected = mean + np.sqrt(scale) * (compared.observed - mean)
    judge = reference(compared.observed, groups)
    margin = policy.margin if rule.margin is None else rule.margin
    tolerance = policy.tolerance if rule.tolerance is None else rule.tolerance
    seen = sample(projected)
    return z(seen, -margin) > judge.critical(policy.beta) or (
        z(seen, -tolerance) < -judge.critical(policy.alpha)
    )


def _variance_left(comparison: Comparison, compared: Pairs, draws: int) -> float:
    """(1/K′₁ + 1/K′₀) / (1/K₁ + 1/K₀); an arm that has enough draws is left alone."""
    now = [
        _draws(side.wanted, compared.mask) for side in (comparison.candidate, comparison.baseline)
    ]
    return sum(1 / max(k, draws) for k in now) / sum(1 / k for k in now)


def _draws(wanted: Counts, mask: Flags) -> float:
    return max(1.0, float(wanted[mask].mean()))
