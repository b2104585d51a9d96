from __future__ import annotations

import pytest

from llmops_cli.core.errors import Refused
from llmops_cli.core.policy import Critical, NoWorse, Policy
from llmops_cli.core.verdict import Decision
from llmops_cli.gate.power import (
    cases_needed,
    smallest_margin_shown,
    what_it_can_show,
    zero_loss_minimum,
)
from tests.unit.gate.build import rows, verdict

MINIMA = {0.20: 11, 0.10: 25, 0.05: 52, 0.03: 88, 0.02: 133}


def test_with_no_loss_a_pass_needs_the_published_numbers_of_cases() -> None:
    assert {margin: zero_loss_minimum(margin, 0.05) for margin in MINIMA} == MINIMA


@pytest.mark.parametrize(("margin", "n"), MINIMA.items())
def test_the_gate_passes_from_exactly_that_many_cases_on(margin: float, n: int) -> None:
    policy = Policy(margin=margin, rules=[NoWorse()])
    assert verdict(rows(lost=0, gained=0, n=n), policy).decision is Decision.PASS
    assert verdict(rows(lost=0, gained=0, n=n - 1), policy).decision is Decision.INCONCLUSIVE


def test_the_smallest_margin_shown_is_the_other_side_of_the_minimum() -> None:
    for margin, n in MINIMA.items():
        assert smallest_margin_shown(n, 0.05) < margin <= smallest_margin_shown(n - 1, 0.05)


def test_no_variance_still_needs_the_zero_loss_minimum() -> None:
    assert cases_needed(0.0, 0.05, 0.05) == 52
    assert cases_needed(0.1, 0.05, 0.05) == 248


def test_an_evalset_that_is_too_small_is_told_so_before_money_is_spent() -> None:
    assert what_it_can_show(20, Policy()) == (
        "20 cases cannot show a margin of 5 % even if none is lost: that takes 52; "
        "the margin that fits them is 12 %"
    )
    assert what_it_can_show(0, Policy()) == (
        "no case to compare; a margin of 5 % needs at least 52 cases"
    )


def test_an_evalset_that_is_large_enough_is_told_what_it_can_exclude() -> None:
    assert what_it_can_show(300, Policy()) == (
        "300 cases can show a margin of 5 % (it takes at least 52); "
        "with none lost they exclude a loss above 0.9 %"
    )


def test_the_strictest_rule_and_the_first_look_are_what_counts() -> None:
    strict = Policy(rules=[NoWorse(), NoWorse(metric="exact", margin=0.02)])
    assert "a margin of 2 % even if none is lost: that takes 133" in what_it_can_show(60, strict)
    rerun = Policy(on_inconclusive="rerun")
    assert "it takes at least 73" in what_it_can_show(100, rerun)


def test_a_policy_that_compares_nothing_makes_no_promise() -> None:
    assert what_it_can_show(60, Policy(rules=[Critical()])) == (
        "the policy has no no_worse rule: 60 cases are judged by its other rules alone"
    )


@pytest.mark.parametrize("margin", [0.0, 1.0, -0.1])
def test_a_margin_that_nothing_can_show_is_refused(margin: float) -> None:
    with pytest.raises(Refused, match="between 0 and 1"):
        zero_loss_minimum(margin, 0.05)
