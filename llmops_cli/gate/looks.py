"""Whether a further look at the same cases is worth its calls.

It is where its projected bound can decide. Draws shrink the noise within cases, not the one
between them: where that is what is left, only more cases help, and the answer says so.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from llmops_cli.core.policy import NoWorse, Policy
from llmops_cli.gate.comparison import Comparison, Counts, Flags
from llmops_cli.gate.groups import FEWEST_GROUPS, reference
from llmops_cli.gate.pairs import Pairs, pairs
from llmops_cli.gate.shares import DRAWS, at_look
from llmops_cli.gate.sizing import zero_loss_minimum


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
    """Whether the observed mean, with the variance of the next look, would pass or regress.

    A normal bound: it is a forecast of whether calls are well spent, not a test.
    """
    compared = pairs(comparison, rule.metric, rule.tag)
    if compared is None or not len(compared.observed):
        return False
    if compared.all_identical:
        return True
    groups = compared.clusters_of_observed
    if groups is not None and groups.count < FEWEST_GROUPS:
        return False
    left = _variance_left(comparison, compared, DRAWS[look])
    mean = float(compared.observed.mean())
    error = math.sqrt(float(compared.observed.var()) * left / len(compared.observed))
    judge = reference(compared.observed, groups)
    margin = policy.margin if rule.margin is None else rule.margin
    tolerance = policy.tolerance if rule.tolerance is None else rule.tolerance
    enough = compared.n >= zero_loss_minimum(margin, policy.beta)
    passes = enough and mean - judge.critical(policy.beta) * error > -margin
    return passes or mean + judge.critical(policy.alpha) * error < -tolerance


def _variance_left(comparison: Comparison, compared: Pairs, draws: int) -> float:
    """(1/K′₁ + 1/K′₀) / (1/K₁ + 1/K₀); an arm that has enough draws is left alone."""
    now = [
        _draws(side.wanted, compared.mask) for side in (comparison.candidate, comparison.baseline)
    ]
    return sum(1 / max(k, draws) for k in now) / sum(1 / k for k in now)


def _draws(wanted: Counts, mask: Flags) -> float:
    return max(1.0, float(wanted[mask].mean()))
