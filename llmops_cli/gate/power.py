"""Compute what an evalset can show before calls are made, and whether more trials are worth it.

With no case regressed and none improved, PASS rules out a margin m where the largest chance to see
that although m is lost is under β: (1 − m)^n for n cases, so that PASS needs log β / log(1 − m) of
them. With groups it is the chance that no group fell (`score_test.log_chance_unseen`).

Another look at the same cases is worth its calls where its projected bound can decide. Trials
shrink the noise within cases, not the one between them: where that is what is left, only more
cases help, and the answer says so.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from llmops_cli.core.errors import Refused
from llmops_cli.core.policy import NoWorse, Policy
from llmops_cli.gate.comparison import TRIALS_BY_LOOK, Comparison, Flags, Floats, at_look
from llmops_cli.gate.pairs import (
    FEWEST_GROUPS,
    Groups,
    group_reference,
    pairs,
    reference,
)
from llmops_cli.gate.score_test import log_chance_unseen
from llmops_cli.gate.wording import cases, counted, percent_up

POWER = 0.80
STEPS = 3
MARGIN_STEP = 1e-9
"""Precision of the smallest margin."""


def zero_loss_minimum(margin: float, beta: float) -> int:
    """Return the cases below which nothing can PASS at `margin`, even with no case regressed.

    Raises `Refused` unless 0 < margin < 1: no number of cases can show a margin of 0.
    """
    if not 0.0 < margin < 1.0:
        raise Refused(f"a margin lies between 0 and 1, exclusive; {margin:g} does not")
    return math.floor(math.log(beta) / math.log1p(-margin)) + 1


def smallest_margin_shown(n: int, beta: float) -> float:
    """Return the regression that `n` cases rule out if no case regresses."""
    return -math.expm1(math.log(beta) / n)


def fewest_cases(n: int, groups: Groups | None, margin: float, beta: float) -> int:
    """Return the zero-loss minimum for cases that are grouped as these `n` are."""
    if groups is None:
        return zero_loss_minimum(margin, beta)
    chance = log_chance_unseen(_relative(groups), margin)
    count = groups.count
    for _ in range(STEPS):  # the level that t needs changes little with the count
        count = math.ceil(groups.count * _log_level(count, beta) / chance)
    return math.ceil(n * max(count, FEWEST_GROUPS) / groups.count)


def cases_needed(variance: float, margin: float, beta: float) -> int:
    """Return the cases for 80% power to PASS at no true loss, at this variance of differences."""
    normal = NormalDist()
    total = normal.inv_cdf(1.0 - beta) + normal.inv_cdf(POWER)
    return max(
        zero_loss_minimum(margin, beta), math.ceil(total * total * variance / (margin * margin))
    )


def groups_of(labels: Sequence[str | None]) -> Groups | None:
    """Return the groups of cases with these labels, one each; None if no case names one."""
    if not any(labels):
        return None
    numbers: dict[str | int, int] = {}
    keys = (at if label is None else label for at, label in enumerate(labels))
    column = [numbers.setdefault(key, len(numbers)) for key in keys]
    return Groups.of(np.array(column, dtype=np.int32))


def what_it_can_show(labels: Sequence[str | None], policy: Policy) -> str:
    """Return one sentence on what the compared cases can show under the margin of `policy`.

    `labels` are the groups that the cases name, one each. The strictest margin of the `no_worse`
    rules counts, at the error rates of a first look.
    """
    n = len(labels)
    margins = [rule.margin for rule in policy.rules if isinstance(rule, NoWorse)]
    if not margins:
        return f"the policy has no no_worse rule: {cases(n)} are judged by its other rules alone"
    smallest = min(policy.margin if margin is None else margin for margin in margins)
    beta, margin = at_look(policy, 1).beta, percent_up(smallest)
    groups = groups_of(labels)
    needed = fewest_cases(n, groups, smallest, beta)
    if n < 1:
        return f"no case to compare; a margin of {margin} needs at least {cases(needed)}"
    among, takes = cases(n), f"{needed:,}"
    if groups is None:
        best = smallest_margin_shown(n, beta)
    else:
        best = _smallest_margin_of(groups, beta)
        among = f"{cases(n)} in {counted(groups.count, 'group')}"
        takes = f"about {math.ceil(groups.count * needed / n):,} such groups"
    if groups is not None and groups.too_few:
        return f"{among} cannot show anything: at least {FEWEST_GROUPS} groups are needed"
    if n < needed:
        return (
            f"{among} cannot show a margin of {margin} even if none regresses: "
            f"{takes} are needed; the smallest margin for them is {percent_up(best)}"
        )
    return (
        f"{among} can show a margin of {margin} (at least {takes} needed); if none "
        f"regresses, they rule out a regression above {percent_up(best)}"
    )


def _relative(groups: Groups) -> Floats:
    """Return group sizes over their mean, largest first."""
    relative: Floats = np.sort(groups.sizes)[::-1] / groups.sizes.mean()
    return relative


def _log_level(count: int, beta: float) -> float:
    """Return the log of the chance that is small enough for PASS with `count` groups."""
    return math.log(NormalDist().cdf(-group_reference(count).critical(beta)))


def _smallest_margin_of(groups: Groups, beta: float) -> float:
    """Return the loss that groups rule out when no case regresses (bisection)."""
    sizes, level = _relative(groups), _log_level(groups.count, beta)
    low, high = 0.0, 1.0
    while high - low > MARGIN_STEP:
        middle = (low + high) / 2
        if log_chance_unseen(sizes, middle) < level:
            high = middle
        else:
            low = middle
    return high


@dataclass(frozen=True, slots=True, kw_only=True)
class NextLook:
    """Run every case of both sides up to `trials`, then decide again at `look`."""

    look: int
    trials: int
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AddCases:
    """No further look can decide."""

    why: str


def next_look(comparison: Comparison, policy: Policy, look: int) -> NextLook | AddCases:
    """Return what to do after `look` (1, 2 or 3) left the `no_worse` rules undecided."""
    rules = [rule for rule in policy.rules if isinstance(rule, NoWorse)]
    for following in range(look + 1, len(TRIALS_BY_LOOK) + 1):
        at_following = at_look(policy, following)
        if rules and all(_can_decide(comparison, rule, at_following, following) for rule in rules):
            trials = TRIALS_BY_LOOK[following]
            why = f"{trials} trials per case can decide"
            return NextLook(look=following, trials=trials, why=why)
    if look >= len(TRIALS_BY_LOOK):
        return AddCases(why=f"all {len(TRIALS_BY_LOOK)} looks are used: add cases, not repeats")
    return AddCases(
        why="more trials of the same cases cannot decide at this difference: add cases, not repeats"
    )


def _can_decide(comparison: Comparison, rule: NoWorse, policy: Policy, look: int) -> bool:
    """Return whether the observed mean, with the variance of that look, would decide.

    A normal bound: it is a forecast of whether calls are well spent, not a test.
    """
    compared = pairs(comparison, rule.metric, rule.tag)
    if compared is None or not len(compared.observed):
        return False
    if compared.all_identical:
        return True
    groups = compared.groups_of_observed
    if groups is not None and groups.too_few:
        return False
    mean, n = float(compared.observed.mean()), len(compared.observed)
    left = _variance_left(comparison, compared.mask, TRIALS_BY_LOOK[look])
    error = math.sqrt(float(compared.observed.var()) * left / n)
    compared_with = reference(compared.observed, groups)
    margin = policy.margin if rule.margin is None else rule.margin
    tolerance = policy.tolerance if rule.tolerance is None else rule.tolerance
    enough = compared.n >= fewest_cases(compared.n, compared.groups, margin, policy.beta)
    passes = enough and mean - compared_with.critical(policy.beta) * error > -margin
    return passes or mean + compared_with.critical(policy.alpha) * error < -tolerance


def _variance_left(comparison: Comparison, mask: Flags, trials: int) -> float:
    """Return (1/K′₁ + 1/K′₀) / (1/K₁ + 1/K₀); a side with enough trials is left alone."""
    sides = (comparison.candidate, comparison.baseline)
    now = [max(1.0, float(side.planned_trials[mask].mean())) for side in sides]
    return sum(1 / max(k, trials) for k in now) / sum(1 / k for k in now)
