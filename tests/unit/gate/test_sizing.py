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
from tests.unit.gate.build import grouped, rows, verdict

MINIMA = {0.20: 14, 0.10: 29, 0.05: 59, 0.03: 99, 0.02: 149}


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
    assert cases_needed(0.0, 0.05, 0.05) == 59
    assert cases_needed(0.1, 0.05, 0.05) == 248


def cases(n: int) -> list[str | None]:
    return [None] * n


def test_an_evalset_that_is_too_small_is_told_so_before_money_is_spent() -> None:
    assert what_it_can_show(cases(20), Policy()) == (
        "20 cases cannot show a margin of 5% even if none regresses: that takes 59; "
        "the margin that fits them is 14%"
    )
    assert what_it_can_show(cases(0), Policy()) == (
        "no case to compare; a margin of 5% needs at least 59 cases"
    )


def test_an_evalset_that_is_large_enough_is_told_what_it_can_rule_out() -> None:
    assert what_it_can_show(cases(300), Policy()) == (
        "300 cases can show a margin of 5% (it takes at least 59); "
        "with none regressed they rule out a loss above 1%"
    )


def test_groups_count_and_not_their_cases() -> None:
    assert what_it_can_show([f"g{at // 12}" for at in range(300)], Policy()) == (
        "300 cases in 25 groups cannot show a margin of 5% even if none regresses: that takes "
        "about 60 such groups; the margin that fits them is 11.8%"
    )
    assert "can show a margin of 5%" in what_it_can_show(
        [f"g{at // 5}" for at in range(300)], Policy()
    )
    assert what_it_can_show(["a", "b", "a"], Policy()) == (
        "3 cases in 2 groups cannot show anything: that takes at least 10 groups"
    )


@pytest.mark.parametrize("size", [1, 4])
def test_the_gate_passes_from_as_many_groups_on_as_it_says(size: int) -> None:
    policy = Policy(rules=[NoWorse()])
    few, enough = (
        verdict(grouped(rows(lost=0, gained=0, n=n * size), size), policy) for n in (59, 60)
    )
    assert (few.decision, enough.decision) == (Decision.INCONCLUSIVE, Decision.PASS)


def test_the_strictest_rule_and_the_first_look_are_what_counts() -> None:
    strict = Policy(rules=[NoWorse(), NoWorse(metric="exact", margin=0.02)])
    assert "a margin of 2% even if none regresses: that takes 149" in what_it_can_show(
        cases(60), strict
    )
    rerun = Policy(on_inconclusive="rerun")
    assert "it takes at least 72" in what_it_can_show(cases(100), rerun)


def test_a_policy_that_compares_nothing_makes_no_promise() -> None:
    assert what_it_can_show(cases(60), Policy(rules=[Critical()])) == (
        "the policy has no no_worse rule: 60 cases are judged by its other rules alone"
    )


@pytest.mark.parametrize("margin", [0.0, 1.0, -0.1])
def test_a_margin_that_nothing_can_show_is_refused(margin: float) -> None:
    with pytest.raises(Refused, match="between 0 and 1"):
        zero_loss_minimum(margin, 0.05)
