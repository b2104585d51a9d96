"""What an evalset can and cannot show, told before money is spent.

With no case lost and none gained the score statistic is z² = n·m/(1 − m) at a margin m, so that
PASS needs n > q²·(1 − m)/m cases, and n cases exclude a loss of q²/(n + q²) at best.

Whether a further look at the same cases is worth its calls.

It is where its projected bound can decide. Trials shrink the noise within cases, not the one
between them: where that is what is left, only more cases help, and the answer says so.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist

from llmops_cli.core.errors import Refused
from llmops_cli.core.policy import NoWorse, Policy
from llmops_cli.gate.comparison import TRIALS_BY_LOOK, Comparison, Counts, Flags, at_look
from llmops_cli.gate.pairs import FEWEST_GROUPS, Pairs, pairs, reference
from llmops_cli.gate.wording import cases, percent_up

POWER = 0.80


def zero_loss_minimum(margin: float, beta: float) -> int:
    """Cases below which nothing can PASS at `margin`, even with no case lost.

    Raises `Refused` unless 0 < margin < 1: no number of cases shows a margin of nothing.
    """
    if not 0.0 < margin < 1.0:
        raise Refused(f"a margin lies between 0 and 1, exclusive; {margin:g} does not")
    q = NormalDist().inv_cdf(1.0 - beta)
    return max(1, math.floor(q * q * (1.0 - margin) / margin) + 1)


def smallest_margin_shown(n: int, beta: float) -> float:
    """The loss that `n` cases exclude when no case is lost: margins above it can PASS."""
    q = NormalDist().inv_cdf(1.0 - beta)
    return q * q / (n + q * q)


def cases_needed(variance: float, margin: float, beta: float) -> int:
    """Cases for 80 % power to PASS at no true loss, where differences have this `variance`."""
    normal = NormalDist()
    total = normal.inv_cdf(1.0 - beta) + normal.inv_cdf(POWER)
    return max(
        zero_loss_minimum(margin, beta), math.ceil(total * total * variance / (margin * margin))
    )


def what_it_can_show(n: int, policy: Policy) -> str:
    """One sentence on what `n` compared cases can show under the margin of `policy`.

    The strictest margin of its `no_worse` rules counts, at the error rates of a first look.
    """
    margins = [each.margin for each in policy.rules if isinstance(each, NoWorse)]
    if not margins:
        return f"the policy has no no_worse rule: {cases(n)} are judged by its other rules alone"
    smallest = min(policy.margin if each is None else each for each in margins)
    beta = at_look(policy, 1).beta
    needed, margin = zero_loss_minimum(smallest, beta), percent_up(smallest)
    if n < 1:
        return f"no case to compare; a margin of {margin} needs at least {cases(needed)}"
    best = percent_up(smallest_margin_shown(n, beta))
    if n < needed:
        return (
            f"{cases(n)} cannot show a margin of {margin} even if none is lost: "
            f"that takes {needed}; the margin that fits them is {best}"
        )
    return (
        f"{cases(n)} can show a margin of {margin} (it takes at least {needed}); "
        f"with none lost they exclude a loss above {best}"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class NextLook:
    """Draw every case of both sides up to `draws`, then decide again at `look`."""

    look: int
    trials: int
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AddCases:
    """No further look can decide."""

    why: str


def next_look(comparison: Comparison, policy: Policy, look: int) -> NextLook | AddCases:
    """What to do after `look` (1, 2 or 3) left the `no_worse` rules of `policy` undecided."""
    rules = [rule for rule in policy.rules if isinstance(rule, NoWorse)]
    for following in range(look + 1, len(TRIALS_BY_LOOK) + 1):
        spent = at_look(policy, following)
        if rules and all(_can_decide(comparison, rule, spent, following) for rule in rules):
            trials = TRIALS_BY_LOOK[following]
            why = f"with {trials} draws per case the projected interval can decide"
            return NextLook(look=following, trials=trials, why=why)
    if look >= len(TRIALS_BY_LOOK):
        return AddCases(why=f"all {len(TRIALS_BY_LOOK)} looks are spent: add cases, not repeats")
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
    left = _variance_left(comparison, compared, TRIALS_BY_LOOK[look])
    mean = float(compared.observed.mean())
    error = math.sqrt(float(compared.observed.var()) * left / len(compared.observed))
    judge = reference(compared.observed, groups)
    margin = policy.margin if rule.margin is None else rule.margin
    tolerance = policy.tolerance if rule.tolerance is None else rule.tolerance
    enough = compared.n >= zero_loss_minimum(margin, policy.beta)
    passes = enough and mean - judge.critical(policy.beta) * error > -margin
    return passes or mean + judge.critical(policy.alpha) * error < -tolerance


def _variance_left(comparison: Comparison, compared: Pairs, trials: int) -> float:
    """(1/K′₁ + 1/K′₀) / (1/K₁ + 1/K₀); a side that has enough draws is left alone."""
    now = [
        _trials(totals.wanted, compared.mask)
        for totals in (comparison.candidate, comparison.baseline)
    ]
    return sum(1 / max(k, trials) for k in now) / sum(1 / k for k in now)


def _trials(wanted: Counts, mask: Flags) -> float:
    return max(1.0, float(wanted[mask].mean()))
