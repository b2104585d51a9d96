"""The rules but the paired tests: one finding each, and the figures in its sentence."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from llmops_cli.core.policy import (
    Cost,
    Coverage,
    Critical,
    Decision,
    Errors,
    Finding,
    Floor,
    Latency,
    Regressed,
    Tokens,
)
from llmops_cli.core.result import CaseResult, FailureKind, Trial
from llmops_cli.gate import rules
from llmops_cli.gate.rules import quantile_bounds
from tests.unit.gate.build import failed, gate_input, grouped, row, rows, side, trial


def critical(*cases: CaseResult) -> Finding:
    return rules.critical(Critical(), gate_input([replace(case, critical=True) for case in cases]))


def floor(cases: list[CaseResult], rule: Floor) -> Finding:
    return rules.floor(rule, gate_input(cases))


def test_critical_names_the_cases_that_failed() -> None:
    result = critical(row("a", [1], None), row("b", [0], None), row("c", [0], None))
    assert (result.decision, result.cases) == (Decision.FAIL, ("b", "c"))
    assert result.why == "2 of 3 critical cases failed: b, c"


def test_a_critical_case_that_is_not_known_is_incomplete_and_never_passes() -> None:
    judged = trial(False, label="tone")
    result = critical(row("a", [1], None), row("b", [failed()], None), row("c", [judged], None))
    assert (result.decision, result.cases) == (Decision.INCOMPLETE, ("b", "c"))
    assert result.why == "2 of 3 critical cases not measured or not confirmed: b, c"


def test_critical_cases_that_hold_speak_about_quality_and_none_does_not() -> None:
    held = critical(row("a", [1], None))
    none = rules.critical(Critical(), gate_input([row("a", [1], None)]))
    assert (held.decision, held.why, held.quality) == (
        Decision.PASS,
        "0 of 1 critical case failed",
        True,
    )
    assert (none.decision, none.why, none.quality) == (Decision.PASS, "no critical case", False)


def test_a_floor_is_a_contract_on_the_mean_of_this_evalset() -> None:
    cases = rows(regressed=10, n=100)
    result = floor(cases, Floor(minimum=0.9))
    assert (result.decision, result.quality) == (Decision.PASS, True)
    assert result.why == "mean pass 90.0% of 100 cases, floor 90.0%"
    assert floor(cases, Floor(minimum=0.91)).decision is Decision.FAIL


def test_a_floor_needs_no_baseline_and_skips_known_failing_cases() -> None:
    cases = [row("a", [1], None), replace(row("b", [0], None), known_failing="ticket 7")]
    assert floor(cases, Floor(minimum=1.0)).decision is Decision.PASS


def test_a_floor_by_bound_fails_only_where_the_shortfall_is_proven() -> None:
    slightly, clearly = rows(regressed=12, n=100), rows(regressed=30, n=100)
    rule = Floor(minimum=0.9, by="bound")
    assert floor(slightly, rule).decision is Decision.INCONCLUSIVE
    assert "upper bound 92.9%: it could still be above" in floor(slightly, rule).why
    assert floor(clearly, rule).decision is Decision.FAIL
    assert floor(rows(regressed=10, n=100), rule).decision is Decision.PASS


def test_a_floor_by_bound_counts_groups_and_not_cases() -> None:
    cases = rows(regressed=20, n=100)
    rule = Floor(minimum=0.9, by="bound")
    assert floor(cases, rule).decision is Decision.FAIL
    assert floor(grouped(cases, 10), rule).decision is Decision.INCONCLUSIVE
    assert floor(grouped(cases, 20), rule).why.endswith("5 groups decide nothing")


def test_a_floor_that_hangs_on_unmeasured_trials_is_incomplete() -> None:
    cases = [*rows(regressed=9, n=98), row("x", [failed()], [1]), row("y", [None], [1])]
    result = floor(cases, Floor(minimum=0.9))
    assert result.decision is Decision.INCOMPLETE
    assert result.why == (
        "mean pass 89.0% to 91.0% of 100 cases, floor 90.0% (2 unmeasured trials)"
    )
    assert floor(cases, Floor(minimum=0.89)).decision is Decision.PASS
    assert floor(cases, Floor(minimum=0.92)).decision is Decision.FAIL


def test_a_floor_may_hold_for_one_tag_and_one_metric() -> None:
    close = replace(row("a", [trial(0.7, label="similarity")], None), tags=("refund",))
    cases = [close, row("b", [trial(0.1, label="similarity")], None)]
    result = floor(cases, Floor(minimum=0.7, metric="similarity", tag="refund"))
    assert (result.decision, result.metric, result.slice) == (Decision.PASS, "similarity", "refund")


def test_a_floor_that_no_case_stands_on_is_inconclusive() -> None:
    result = floor([row("a", [1], None)], Floor(minimum=0.7, tag="refund"))
    assert (result.decision, result.quality) == (Decision.INCONCLUSIVE, False)
    assert result.why == "no case with the tag refund has pass"


def test_regressed_counts_cases_that_passed_and_now_fail() -> None:
    cases = rows(regressed=5, improved=50, n=150, failing=45)
    result = rules.regressed(Regressed(maximum=0.05), gate_input(cases))
    assert result.decision is Decision.FAIL
    assert result.why == ("9.1% of the 55 cases that passed on the baseline fail now (limit 5.0%)")
    assert result.cases == ("c0", "c1", "c2", "c3", "c4")
    assert rules.regressed(Regressed(maximum=0.1), gate_input(cases)).decision is Decision.PASS


def test_regressed_that_hangs_on_unmeasured_trials_is_incomplete() -> None:
    cases = [*rows(n=9), row("x", [failed()], [1])]
    result = rules.regressed(Regressed(maximum=0.05), gate_input(cases))
    assert (result.decision, result.cases) == (Decision.INCOMPLETE, ())
    assert result.why.startswith("0.0% to 10.0% of the 10 cases")


def test_regressed_without_a_baseline_is_inconclusive() -> None:
    result = rules.regressed(Regressed(maximum=0.05), gate_input([row("a", [1], None)]))
    assert result.decision is Decision.INCONCLUSIVE


def test_more_than_two_percent_of_a_side_without_a_result_is_incomplete() -> None:
    broken = [row(f"x{at}", [failed()], [1]) for at in range(2)]
    unscored = [row("y", [None], [1])]
    result = rules.errors(Errors(), gate_input([*rows(n=97), *broken, *unscored]))
    assert result.decision is Decision.INCOMPLETE
    assert result.why == ("3 of 100 candidate calls failed, 3.0%: 2 timeout, 1 unscored (limit 2%)")


def test_up_to_two_percent_is_tolerated_and_shown() -> None:
    broken = [row(f"x{at}", [1], [failed()]) for at in range(2)]
    result = rules.errors(Errors(), gate_input([*rows(n=98), *broken]))
    assert result.decision is Decision.PASS
    assert "2 of 100 baseline calls failed, 2.0%: 2 timeout" in result.why


def test_trials_that_were_never_made_are_a_matter_of_coverage_not_of_errors() -> None:
    cases = [row("a", [failed(FailureKind.BUDGET)], [1]), *rows(n=9)]
    assert rules.errors(Errors(), gate_input(cases)).decision is Decision.PASS
    result = rules.coverage(Coverage(), gate_input(cases))
    assert (result.decision, result.why) == (
        Decision.INCOMPLETE,
        "1 planned candidate trial missing",
    )


@pytest.mark.parametrize("kind", [FailureKind.NOT_ATTEMPTED, FailureKind.NO_RECORD])
def test_a_trial_that_was_given_up_is_missing(kind: FailureKind) -> None:
    cases = [row("a", [1], [failed(kind)]), *rows(n=9)]
    assert rules.coverage(Coverage(), gate_input(cases)).why == "1 planned baseline trial missing"


def test_a_removed_case_is_reported_as_lost_coverage() -> None:
    gone = CaseResult(case="gone", candidate=None, baseline=side(1))
    cases = gate_input([*rows(n=9), gone])
    result = rules.coverage(Coverage(), cases)
    assert (result.decision, result.cases) == (Decision.FAIL, ("gone",))
    assert result.why == "1 case of the baseline removed without being retired: gone"


def test_a_retired_case_is_not_lost_and_a_partial_run_loses_none() -> None:
    gone = CaseResult(case="gone", candidate=None, baseline=side(1))
    cases = gate_input([*rows(n=9), gone])
    retired = rules.coverage(Coverage(), replace(cases, retired={"gone": "wrong answer"}))
    partial = rules.coverage(Coverage(), replace(cases, partial="--tag refund"))
    assert retired.decision is partial.decision is Decision.PASS
    assert retired.why == "all calls of 9 cases were made; not compared: 1 retired"
    assert partial.why == "all calls of 9 cases were made"


def test_added_and_edited_cases_are_counted_apart() -> None:
    edited = CaseResult(case="e", candidate=side(1, facts="new"), baseline=side(1, facts="old"))
    result = rules.coverage(Coverage(), gate_input([*rows(n=8), edited, row("new", [1], None)]))
    assert result.decision is Decision.PASS
    assert result.why == (
        "all calls of 10 cases were made; not compared: 1 added, 1 edited since the baseline"
    )


def test_an_evalset_without_cases_is_incomplete() -> None:
    assert rules.coverage(Coverage(), gate_input([])).why == "no case was planned"
    assert rules.errors(Errors(), gate_input([])).decision is Decision.INCOMPLETE


def test_output_of_the_model_is_never_part_of_a_sentence() -> None:
    hostile = Trial(output="o", scores={"exact": None}, reasons={"exact": "::error::gotcha"})
    result = rules.errors(Errors(), gate_input([row("a", [hostile], [1])]))
    assert "gotcha" not in result.why


def paid(dollars: float | None, tokens: int | None = 10) -> Trial:
    return Trial(
        output="o", scores={"exact": 1.0}, cost=dollars, input_tokens=tokens, output_tokens=0
    )


def bills(now: Sequence[float], before: Sequence[float]) -> list[CaseResult]:
    pairs = zip(now, before, strict=True)
    return [row(f"c{at}", [paid(new)], [paid(old)]) for at, (new, old) in enumerate(pairs)]


def cost(cases: list[CaseResult], margin: float = 0.1) -> Finding:
    return rules.growth(Cost(margin=margin), gate_input(cases))


def waited(seconds: Sequence[float], limit: float) -> Finding:
    trials = [replace(paid(0.1), latency=case) for case in seconds]
    cases = [row(f"c{at}", [case], None) for at, case in enumerate(trials)]
    return rules.latency(Latency(p95=limit), gate_input(cases))


def test_growth_is_decided_as_a_one_sided_t_test_would() -> None:
    random = np.random.default_rng(2)
    before = random.uniform(0.5, 1.5, 40)
    decided = set()
    for growth in np.linspace(0.9, 1.4, 26):
        now = before * growth + random.normal(0, 0.2, 40)
        excess = now - 1.1 * before
        above = stats.ttest_1samp(excess, 0, alternative="greater").pvalue < 0.05
        below = stats.ttest_1samp(excess, 0, alternative="less").pvalue < 0.05
        expected = Decision.FAIL if above else Decision.PASS if below else Decision.INCONCLUSIVE
        found = cost(bills(list(now), list(before)))
        assert found.decision is expected
        decided.add(found.decision)
    assert decided == {Decision.PASS, Decision.FAIL, Decision.INCONCLUSIVE}


def test_growth_is_reported_in_dollars_and_percent() -> None:
    result = cost(bills([0.002] * 5, [0.001] * 5))
    assert (result.decision, result.quality) == (Decision.FAIL, False)
    assert result.why == (
        "$0.001000 → $0.002000 per trial over 5 cases (+100.0%), "
        "significantly above the limit of 10.0%"
    )


def test_without_variance_the_sign_decides_and_at_the_limit_is_within_it() -> None:
    assert cost(bills([0.5] * 5, [0.5] * 5), margin=0.0).decision is Decision.PASS
    assert cost(bills([0.6] * 5, [0.5] * 5), margin=0.2).decision is Decision.PASS
    assert cost(bills([0.7] * 5, [0.5] * 5), margin=0.2).decision is Decision.FAIL


def test_one_request_costs_the_same_in_both_sides() -> None:
    same = [
        CaseResult(case=f"c{at}", candidate=side(paid(0.9)), baseline=side(paid(0.1)))
        for at in range(5)
    ]
    assert cost(same, margin=0.0).decision is Decision.PASS


def test_a_trial_without_a_price_is_said_not_guessed() -> None:
    result = cost([*bills([0.5] * 5, [0.5] * 5), row("x", [paid(None)], [paid(0.1)])])
    assert (result.decision, result.why) == (Decision.INCOMPLETE, "1 trial of unknown cost")


def test_tokens_are_input_and_output_together() -> None:
    def reported(output: int) -> Trial:
        return replace(paid(0.1), output_tokens=output)

    cases = [row(f"c{at}", [reported(20)], [reported(5)]) for at in range(3)]
    result = rules.growth(Tokens(margin=0.5), gate_input(cases))
    assert result.why == (
        "15.0 tokens → 30.0 tokens per trial over 3 cases (+100.0%), "
        "significantly above the limit of 50.0%"
    )


def test_grown_groups_prove_less_than_grown_cases() -> None:
    now = [2.0] * 6 + [1.0] * 54
    cases = bills(now, [1.0] * 60)
    assert cost(cases, margin=0.0).decision is Decision.FAIL
    assert cost(grouped(cases, 6), margin=0.0).decision is Decision.INCONCLUSIVE


def test_too_little_to_compare_is_inconclusive() -> None:
    assert cost(bills([1.0], [1.0])).decision is Decision.INCONCLUSIVE
    assert cost([row("a", [paid(1.0)], None)]).why == ("no baseline: nothing to compare with")
    few = grouped(bills([1.0] * 20, [1.0] * 20), 5)
    assert cost(few).why == "4 groups measured on both sides: too few to decide"


def test_a_latency_under_the_limit_is_provable_from_59_calls() -> None:
    assert waited([1.0] * 59, limit=2.0).decision is Decision.PASS
    short = waited([1.0] * 58, limit=2.0)
    assert short.decision is Decision.INCONCLUSIVE
    assert short.why == (
        "p95 1.00 s of 58 calls, limit 2 s: could be below or above; a PASS needs 59 calls"
    )


def test_a_latency_above_the_limit_fails_as_soon_as_it_is_proven() -> None:
    result = waited([1.0] * 15 + [5.0] * 5, limit=2.0)
    assert result.decision is Decision.FAIL
    assert result.why == "p95 5.00 s of 20 calls, limit 2 s: significantly above (at least 5.00 s)"


def test_reused_answers_have_no_latency() -> None:
    result = rules.latency(Latency(p95=2.0), gate_input([row("a", [paid(0.1)], None)]))
    assert (result.decision, result.why) == (
        Decision.INCONCLUSIVE,
        "no call was made in this run: cached answers have no latency",
    )


def test_the_time_to_the_first_token_is_judged_apart_from_the_whole() -> None:
    rule = Latency(p95=0.5, of="first_token")
    slow = [replace(paid(0.1), latency=9.0, first_token=case) for case in [0.2] * 58 + [0.4]]
    cases = [row(f"c{at}", [case], None) for at, case in enumerate(slow)]
    result = rules.latency(rule, gate_input(cases))
    assert result.decision is Decision.PASS
    assert result.why.startswith(
        "first token p95 0.20 s of 59 calls, limit 0.5 s: significantly below"
    )
    assert rules.latency(Latency(p95=0.5), gate_input(cases)).decision is Decision.FAIL
    at_once = [row("a", [replace(paid(0.1), latency=0.1)], None)]
    silent = rules.latency(rule, gate_input(at_once))
    assert silent.decision is Decision.INCONCLUSIVE
    assert silent.why.startswith("no answer was streamed in this run")


@pytest.mark.parametrize("n", [1, 20, 59, 100, 400])
def test_the_bounds_of_a_quantile_are_those_of_scipy_s_exact_test(n: int) -> None:
    ordered = np.sort(np.random.default_rng(n).exponential(1, n))
    above = stats.quantile_test(ordered, p=0.95, alternative="less").confidence_interval(0.95)
    below = stats.quantile_test(ordered, p=0.95, alternative="greater").confidence_interval(0.95)
    expected = [None if math.isnan(case) else case for case in (below.low, above.high)]
    assert list(quantile_bounds(ordered, 0.95, 0.05, 0.05)) == expected
