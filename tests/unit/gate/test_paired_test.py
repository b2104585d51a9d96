"""`no_worse` and `anchor`: what they decide, in which sentence, and what an evalset can show."""

from __future__ import annotations

from dataclasses import replace

import pytest

from llmops_cli.core.errors import Refused, UnknownName
from llmops_cli.core.policy import (
    SHARES,
    TRIALS_BY_LOOK,
    Anchor,
    Critical,
    Decision,
    Estimate,
    Finding,
    NoWorse,
    Policy,
    at_look,
)
from llmops_cli.core.result import CaseResult, FailureKind, Trial
from llmops_cli.gate.decide import decide
from llmops_cli.gate.paired_test import (
    cases_needed,
    next_look,
    smallest_margin_shown,
    what_it_can_show,
    zero_loss_minimum,
)
from tests.unit.gate.build import (
    compared,
    failed,
    finding,
    gate_input,
    grouped,
    row,
    rows,
    side,
    trial,
    verdict,
)

ONLY = Policy(rules=[NoWorse()])


def found(cases: list[CaseResult], policy: Policy = ONLY) -> Finding:
    return finding(verdict(cases, policy), "no_worse")


def estimate(cases: list[CaseResult], policy: Policy = ONLY) -> Estimate:
    measured = found(cases, policy).estimate
    assert measured is not None
    return measured


def test_an_inconclusive_finding_lists_all_figures_in_order() -> None:
    result = found(rows(regressed=1, improved=1, n=40))
    assert result.decision is Decision.INCONCLUSIVE
    assert result.why == (
        "1 improved, 1 regressed of 40; difference 0.0 points (90% CI −8.8 to +8.8); "
        "could be up to 8.8 points worse (margin 5.0); a margin of 8.8% would pass; "
        "~124 cases needed for 80% power"
    )


def test_a_pass_says_how_much_room_it_had() -> None:
    result = found(rows(regressed=1, improved=1, n=300))
    assert result.decision is Decision.PASS
    assert result.quality
    assert result.why == (
        "1 improved, 1 regressed of 300; difference 0.0 points (90% CI −1.3 to +1.3); "
        "could be up to 1.3 points worse (margin 5.0); a margin of 1.3% would still pass; "
        "~59 cases needed for 80% power"
    )


def test_a_regression_names_its_p_and_the_regressed_cases() -> None:
    result = found(rows(regressed=5, n=30))
    assert result.decision is Decision.FAIL
    assert result.cases == ("c0", "c1", "c2", "c3", "c4")
    assert result.why.startswith(
        "statistically significant regression against the baseline (p = 0.013): "
    )


def test_a_clear_improvement_is_no_regression_at_any_margin() -> None:
    result = found(rows(improved=30, n=100))
    assert "no regression (margin 5.0); any margin would pass" in result.why


def test_the_estimate_holds_the_figures_of_the_sentence() -> None:
    measured = estimate(rows(regressed=3, improved=1, n=100, failing=10))
    assert (measured.n, measured.regressed, measured.improved) == (100, 3, 1)
    assert measured.baseline_mean == pytest.approx(0.89)
    assert measured.candidate_mean == pytest.approx(0.87)
    assert measured.difference == pytest.approx(-0.02)
    assert measured.smallest_margin == -measured.lower
    assert measured.p_adjusted == measured.p_regression


def test_the_margin_that_would_pass_does_pass() -> None:
    cases = rows(regressed=4, improved=1, n=60)
    smallest = estimate(cases).smallest_margin
    assert found(cases, replace(ONLY, margin=smallest + 1e-6)).decision is Decision.PASS
    assert found(cases, replace(ONLY, margin=smallest - 1e-6)).decision is not Decision.PASS


def test_a_tolerance_lets_a_small_proven_loss_through_as_inconclusive() -> None:
    cases = rows(regressed=12, n=100)
    assert found(cases).decision is Decision.FAIL
    tolerant = Policy(rules=[NoWorse(tolerance=0.1)])
    assert found(cases, tolerant).decision is Decision.INCONCLUSIVE


def test_where_nothing_passes_in_either_side_the_verdict_is_inconclusive() -> None:
    result = found(rows(n=300, failing=300))
    assert result.decision is Decision.INCONCLUSIVE
    assert "pass is 0 on both sides in all 300 cases: nothing" in result.why
    unmeasured = row("x", [failed(FailureKind.SERVER)], [0])
    partly = found([unmeasured, *rows(n=300, failing=300)])
    assert "pass is 0 on both sides in all 300 cases measured: nothing" in partly.why
    assert found(rows(improved=1, n=300, failing=299)).decision is Decision.PASS


def test_trials_are_averaged_before_cases_are_counted() -> None:
    cases = [row(f"c{at}", [1, 1, 0], [1]) for at in range(100)]
    measured = estimate(cases)
    assert (measured.regressed, measured.n) == (0, 100)
    assert measured.difference == pytest.approx(-1 / 3)


def test_no_baseline_is_no_verdict() -> None:
    result = found([row("a", [1], None)])
    assert (result.decision, result.why, result.quality) == (
        Decision.INCONCLUSIVE,
        "no baseline: nothing to compare with",
        False,
    )


def test_without_a_case_in_both_sides_nothing_is_compared() -> None:
    edited = CaseResult(case="a", candidate=side(1, facts="new"), baseline=side(1, facts="old"))
    result = found([edited])
    assert result.decision is Decision.INCONCLUSIVE
    assert result.why == "no case has pass on both sides for the same inputs"


def test_identical_requests_pass_by_identity_however_few() -> None:
    same = [CaseResult(case="a", candidate=side(0), baseline=side(1))]
    result = found(same)
    assert (result.decision, result.quality) == (Decision.PASS, True)
    assert result.why == "unchanged: the request matches the baseline"


def test_an_identical_case_among_others_counts_as_no_difference() -> None:
    same = CaseResult(case="same", candidate=side(0), baseline=side(1))
    measured = estimate([*rows(n=59), same])
    assert (measured.identical, measured.regressed, measured.difference) == (1, 0, 0.0)
    assert measured.baseline_mean == measured.candidate_mean == pytest.approx(59.5 / 60)


def test_unmeasured_trials_are_taken_at_worst_for_a_pass_and_at_best_for_a_regression() -> None:
    whole = rows(n=100)
    broken = [row(f"b{at}", [failed()], [1]) for at in range(4)]
    measured = estimate([*whole[4:], *broken])
    as_lost = estimate(rows(regressed=4, n=100))
    as_held = estimate(whole)
    assert measured.lower == as_lost.lower
    assert (measured.upper, measured.p_regression) == (as_held.upper, as_held.p_regression)
    assert (measured.unmeasured, measured.regressed, measured.n) == (4, 0, 100)
    assert measured.difference == 0.0


def test_unmeasured_trials_alone_never_turn_a_pass_into_a_regression() -> None:
    cases = rows(regressed=30, n=1000)
    assert found(cases).decision is Decision.PASS
    broken = [*cases[:980], *(row(f"b{at}", [failed()], [1]) for at in range(20))]
    result = found(broken)
    assert result.estimate is not None
    assert result.estimate.p_regression < 0.05
    assert result.decision is Decision.INCONCLUSIVE


def test_unmeasured_baseline_trials_are_filled_too() -> None:
    missing = [row(f"b{at}", [0], [failed()]) for at in range(4)]
    measured = estimate([*rows(n=96), *missing])
    assert measured.lower == estimate(rows(regressed=4, n=100)).lower
    assert measured.unmeasured == 4


def test_a_comparison_in_which_nothing_was_measured_is_incomplete() -> None:
    result = found([row("a", [failed()], [1]), row("b", [failed()], [1])])
    assert (result.decision, result.why) == (
        Decision.INCOMPLETE,
        "0 of 2 cases measured on both sides",
    )


def test_groups_widen_the_interval() -> None:
    cases = rows(regressed=6, n=200)
    alone, together = estimate(cases), estimate(grouped(cases, 6))
    assert (alone.groups, alone.design_effect) == (None, None)
    assert together.groups == 34
    assert together.design_effect == pytest.approx(6.0 * 34 / 33, rel=0.01)
    assert together.lower < alone.lower
    assert found(cases).decision is Decision.FAIL
    assert found(grouped(cases, 6)).decision is Decision.INCONCLUSIVE


def test_fewer_than_ten_groups_decide_nothing() -> None:
    result = found(grouped(rows(n=900), 100))
    assert result.decision is Decision.INCONCLUSIVE
    assert result.why == (
        "0 improved, 0 regressed of 900, in only 9 groups: fewer than 10 groups decide nothing"
    )


def test_a_declared_slice_is_decided_on_its_own_cases() -> None:
    other = [replace(case, case=f"x{case.case}") for case in rows(n=100)]
    cases = [
        *other,
        *(replace(case, tags=("refund",)) for case in rows(regressed=5, n=30)),
    ]
    policy = Policy(rules=[NoWorse(tag="refund")])
    result = found(cases, policy)
    assert (result.slice, result.decision) == ("refund", Decision.FAIL)
    assert result.estimate is not None
    assert result.estimate.n == 30


def test_a_tag_that_no_compared_case_has_is_said() -> None:
    result = found(rows(n=60), Policy(rules=[NoWorse(tag="none")]))
    assert result.why == "no case with the tag none has pass on both sides for the same inputs"


def test_another_metric_is_compared_by_its_own_values() -> None:
    def case(at: int) -> CaseResult:
        now = [trial(0.6, label="similarity")]
        return row(f"c{at}", now, [trial(0.9, label="similarity")])

    result = found([case(at) for at in range(80)], Policy(rules=[NoWorse(metric="similarity")]))
    assert (result.metric, result.decision) == ("similarity", Decision.FAIL)
    assert result.estimate is not None
    assert result.estimate.difference == pytest.approx(-0.3)


def test_a_metric_that_no_scorer_gives_is_an_error_with_the_nearest_name() -> None:
    with pytest.raises(UnknownName, match="unknown metric 'similarty'") as caught:
        verdict(rows(n=2), Policy(rules=[NoWorse(metric="similarty")]))
    assert caught.value.hint == "did you mean 'similarity'?"


def test_an_anchor_is_compared_with_its_own_version() -> None:
    policy = Policy(rules=[NoWorse(), Anchor(version="v1")])
    steady = gate_input(rows(n=100), policy)
    anchored = replace(steady, anchors={"v1": compared(rows(regressed=20, n=100))})
    decided = decide([anchored])
    assert decided.decision is Decision.FAIL
    assert finding(decided, "no_worse").decision is Decision.PASS
    assert "significant regression against the anchor v1" in finding(decided, "anchor").why


def test_an_anchor_that_was_not_measured_is_incomplete() -> None:
    decided = verdict(rows(n=100), Policy(rules=[Anchor(version="v1")]))
    assert (decided.decision, finding(decided, "anchor").why) == (
        Decision.INCOMPLETE,
        "not measured against the anchor v1",
    )


def test_what_is_missing_on_an_anchor_s_side_is_missing() -> None:
    policy = Policy(rules=[NoWorse(), Anchor(version="v1")])
    gone = row("c0", [1], [failed(FailureKind.NO_RECORD)])
    anchored = replace(
        gate_input(rows(n=100), policy),
        anchors={"v1": compared([gone, *rows(n=100)[1:]])},
    )
    decided = decide([anchored])
    assert (decided.decision, decided.why) == (
        Decision.INCOMPLETE,
        "coverage: 1 planned anchor v1 trial missing",
    )


def test_a_case_that_owes_the_metric_nothing_is_not_compared() -> None:
    advisory = row("x", [Trial(output="o", scores={"style": 1.0})], [1])
    only_style = CaseResult(
        case="y",
        candidate=side(trial(True, label="style"), request="new"),
        baseline=side(trial(True, label="style"), request="old"),
    )
    measured = estimate([*rows(n=60), only_style])
    assert measured.n == 60
    assert estimate([*rows(n=60), advisory]).unmeasured == 1


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
