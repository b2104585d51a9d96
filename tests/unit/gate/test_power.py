"""What an evalset can show, and when another look is worth its calls."""

from __future__ import annotations

from dataclasses import replace

import pytest

from llmops_cli.core.errors import Refused
from llmops_cli.core.policy import Critical, Decision, NoWorse, Policy
from llmops_cli.core.result import CaseResult
from llmops_cli.gate.comparison import SHARES, TRIALS_BY_LOOK, at_look
from llmops_cli.gate.paired_test import (
    cases_needed,
    next_look,
    smallest_margin_shown,
    what_it_can_show,
    zero_loss_minimum,
)
from tests.unit.gate.build import compared, failed, grouped, row, rows, side, verdict

MINIMA = {0.20: 14, 0.10: 29, 0.05: 59, 0.03: 99, 0.02: 149}


def test_with_no_loss_a_pass_needs_the_published_numbers_of_cases() -> None:
    assert {margin: zero_loss_minimum(margin, 0.05) for margin in MINIMA} == MINIMA


@pytest.mark.parametrize(("margin", "n"), MINIMA.items())
def test_the_gate_passes_from_exactly_that_many_cases_on(margin: float, n: int) -> None:
    policy = Policy(margin=margin, rules=[NoWorse()])
    assert verdict(rows(n=n), policy).decision is Decision.PASS
    assert verdict(rows(n=n - 1), policy).decision is Decision.INCONCLUSIVE


def test_the_smallest_margin_shown_is_the_other_side_of_the_minimum() -> None:
    for margin, n in MINIMA.items():
        assert smallest_margin_shown(n, 0.05) < margin <= smallest_margin_shown(n - 1, 0.05)


def test_no_variance_still_needs_the_zero_loss_minimum() -> None:
    assert cases_needed(0.0, 0.05, 0.05) == 59
    assert cases_needed(0.1, 0.05, 0.05) == 248


def ungrouped(n: int) -> list[str | None]:
    return [None] * n


def test_an_evalset_that_is_too_small_is_reported_before_money_is_spent() -> None:
    assert what_it_can_show(ungrouped(20), Policy()) == (
        "20 cases cannot show a margin of 5% even if none regresses: 59 are needed; "
        "the smallest margin for them is 14%"
    )
    assert what_it_can_show(ungrouped(0), Policy()) == (
        "no case to compare; a margin of 5% needs at least 59 cases"
    )


def test_an_evalset_that_is_large_enough_is_reported_with_what_it_can_rule_out() -> None:
    assert what_it_can_show(ungrouped(300), Policy()) == (
        "300 cases can show a margin of 5% (at least 59 needed); "
        "if none regresses, they rule out a regression above 1%"
    )


def test_groups_count_and_not_their_cases() -> None:
    assert what_it_can_show([f"g{at // 12}" for at in range(300)], Policy()) == (
        "300 cases in 25 groups cannot show a margin of 5% even if none regresses: "
        "about 60 such groups are needed; the smallest margin for them is 11.8%"
    )
    assert "can show a margin of 5%" in what_it_can_show(
        [f"g{at // 5}" for at in range(300)], Policy()
    )
    for policy in (Policy(), Policy(on_inconclusive="rerun")):
        assert what_it_can_show(["a", "b", "a"], policy) == (
            "3 cases in 2 groups cannot show anything: at least 10 groups are needed"
        )


@pytest.mark.parametrize("size", [1, 4])
def test_the_gate_passes_from_as_many_groups_on_as_it_says(size: int) -> None:
    policy = Policy(rules=[NoWorse()])
    few, enough = (verdict(grouped(rows(n=n * size), size), policy) for n in (59, 60))
    assert (few.decision, enough.decision) == (Decision.INCONCLUSIVE, Decision.PASS)


def test_the_strictest_rule_and_the_first_look_are_what_counts() -> None:
    strict = Policy(rules=[NoWorse(), NoWorse(metric="exact", margin=0.02)])
    assert "a margin of 2% even if none regresses: 149 are needed" in what_it_can_show(
        ungrouped(60), strict
    )
    rerun = Policy(on_inconclusive="rerun")
    assert "at least 72 needed" in what_it_can_show(ungrouped(100), rerun)


def test_a_policy_that_compares_nothing_makes_no_promise() -> None:
    assert what_it_can_show(ungrouped(60), Policy(rules=[Critical()])) == (
        "the policy has no no_worse rule: 60 cases are judged by its other rules alone"
    )


@pytest.mark.parametrize("margin", [0.0, 1.0, -0.1])
def test_a_margin_that_nothing_can_show_is_refused(margin: float) -> None:
    with pytest.raises(Refused, match="between 0 and 1"):
        zero_loss_minimum(margin, 0.05)


RERUN = Policy(on_inconclusive="rerun", rules=[NoWorse()])


def test_the_looks_together_spend_the_error_rates_once() -> None:
    assert sum(SHARES.values()) == 1.0
    assert list(TRIALS_BY_LOOK.values()) == [1, 3, 5]
    assert [at_look(RERUN, look).beta for look in TRIALS_BY_LOOK] == [0.025, 0.0125, 0.0125]
    assert at_look(Policy(), 1) == Policy()


def test_noise_between_trials_is_worth_another_look() -> None:
    cases = rows(regressed=6, improved=7, n=120)
    assert verdict(cases, RERUN).decision is Decision.INCONCLUSIVE
    assert next_look(compared(cases), RERUN, 1) == (2, "3 trials per case can decide")


def test_a_look_that_cannot_decide_is_left_out_for_a_later_one_that_can() -> None:
    cases = [row(f"c{at}", [at % 18 != 0], [at % 17 != 0] * 3) for at in range(100)]
    assert verdict(cases, RERUN).decision is Decision.INCONCLUSIVE
    assert next_look(compared(cases), RERUN, 1) == (3, "5 trials per case can decide")


def test_too_few_cases_are_not_helped_by_repeats() -> None:
    assert next_look(compared(rows(n=30)), RERUN, 1) == (
        None,
        "more trials of the same cases cannot decide at this difference: add cases, not repeats",
    )


def test_after_the_last_look_only_cases_help() -> None:
    answer = next_look(compared(rows(regressed=6, improved=7, n=120)), RERUN, 3)
    assert answer == (None, "all 3 looks are used: add cases, not repeats")


def test_a_side_that_has_enough_trials_is_left_alone_and_helps_less() -> None:
    once = [row(f"c{at}", [at % 18 != 0], [at % 17 != 0]) for at in range(100)]
    thrice = [row(f"c{at}", [at % 18 != 0], [at % 17 != 0] * 3) for at in range(100)]
    answers = [next_look(compared(cases), RERUN, 1) for cases in (once, thrice)]
    assert [look for look, _ in answers] == [2, 3]


def test_a_projected_regression_is_a_decision_too() -> None:
    cases = rows(regressed=7, improved=2, n=60)
    assert verdict(cases, RERUN).decision is Decision.INCONCLUSIVE
    assert next_look(compared(cases), RERUN, 1)[0] is not None


@pytest.mark.parametrize(
    "cases",
    [
        [row("a", [1], None)],
        [row("a", [failed()], [1])],
        grouped(rows(regressed=6, improved=7, n=120), 60),
    ],
)
def test_what_repeats_cannot_cure_is_not_run_again(cases: list[CaseResult]) -> None:
    assert next_look(compared(cases), RERUN, 1)[0] is None


def test_identical_requests_are_decided_already() -> None:
    same = [CaseResult(case="a", candidate=side(0), baseline=side(1))]
    assert next_look(compared(same), RERUN, 1)[0] is not None


def test_a_policy_without_a_paired_rule_has_nothing_to_look_at() -> None:
    policy = replace(RERUN, rules=[Critical()])
    assert next_look(compared(rows(6, 7, n=120)), policy, 1)[0] is None
