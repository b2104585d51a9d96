"""What an evalset can and cannot show, told before money is spent.

With no case lost and none gained the score statistic is z² = n·m/(1 − m) at a margin m, so that
PASS needs n > q²·(1 − m)/m cases, and n cases exclude a loss of q²/(n + q²) at best.
"""

from __future__ import annotations

import math
from statistics import NormalDist

from llmops_cli.core.errors import Refused
from llmops_cli.core.policy import NoWorse, Policy
from llmops_cli.gate.shares import at_look
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
