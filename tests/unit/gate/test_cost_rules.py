"""Cost, tokens and latency: proven above the limit, proven not above it, or neither."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from llmops_cli.core.policy import Cost, Decision, Finding, Latency, Tokens
from llmops_cli.core.result import CaseResult, Trial
from llmops_cli.gate import rules as spending
from llmops_cli.gate.rules import quantile_lower_bound, quantile_upper_bound
from tests.unit.gate.build import gate_input, grouped, row, side


def paid(dollars: float | None, tokens: int | None = 10) -> Trial:
    return Trial(
        output="o", scores={"exact": 1.0}, cost=dollars, input_tokens=tokens, output_tokens=0
    )


def bills(now: Sequence[float], before: Sequence[float]) -> list[CaseResult]:
    pairs = zip(now, before, strict=True)
    return [row(f"c{at}", [paid(new)], [paid(old)]) for at, (new, old) in enumerate(pairs)]


def cost(cases: list[CaseResult], margin: float = 0.1) -> Finding:
    return spending.growth(Cost(margin=margin), gate_input(cases))


def waited(seconds: Sequence[float], limit: float) -> Finding:
    trials = [replace(paid(0.1), latency=case) for case in seconds]
    cases = [row(f"c{at}", [case], None) for at, case in enumerate(trials)]
    return spending.latency(Latency(p95=limit), gate_input(cases))


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
    result = spending.growth(Tokens(margin=0.5), gate_input(cases))
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
    result = spending.latency(Latency(p95=2.0), gate_input([row("a", [paid(0.1)], None)]))
    assert (result.decision, result.why) == (
        Decision.INCONCLUSIVE,
        "no call was made in this run: cached answers have no latency",
    )


def test_the_time_to_the_first_token_is_judged_apart_from_the_whole() -> None:
    rule = Latency(p95=0.5, of="first_token")
    slow = [replace(paid(0.1), latency=9.0, first_token=case) for case in [0.2] * 58 + [0.4]]
    cases = [row(f"c{at}", [case], None) for at, case in enumerate(slow)]
    result = spending.latency(rule, gate_input(cases))
    assert result.decision is Decision.PASS
    assert result.why.startswith(
        "first token p95 0.20 s of 59 calls, limit 0.5 s: significantly below"
    )
    assert spending.latency(Latency(p95=0.5), gate_input(cases)).decision is Decision.FAIL
    at_once = [row("a", [replace(paid(0.1), latency=0.1)], None)]
    silent = spending.latency(rule, gate_input(at_once))
    assert silent.decision is Decision.INCONCLUSIVE
    assert silent.why.startswith("no answer was streamed in this run")


@pytest.mark.parametrize("n", [1, 20, 59, 100, 400])
def test_the_bounds_of_a_quantile_are_those_of_scipy_s_exact_test(n: int) -> None:
    ordered = np.sort(np.random.default_rng(n).exponential(1, n))
    above = stats.quantile_test(ordered, p=0.95, alternative="less").confidence_interval(0.95)
    below = stats.quantile_test(ordered, p=0.95, alternative="greater").confidence_interval(0.95)
    expected = [None if math.isnan(case) else case for case in (above.high, below.low)]
    found = [quantile_upper_bound(ordered, 0.95, 0.05), quantile_lower_bound(ordered, 0.95, 0.05)]
    assert found == expected
