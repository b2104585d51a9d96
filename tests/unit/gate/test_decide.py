"""From findings to verdicts: one evalset, several, several prompts, slices, adjusted p-values."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import astuple, replace

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.multitest import multipletests

from llmops_cli.core.errors import ExitCode
from llmops_cli.core.policy import (
    Cost,
    Coverage,
    Critical,
    Decision,
    Errors,
    Floor,
    Latency,
    NoWorse,
    Policy,
    Regressed,
    Rule,
    Tokens,
)
from llmops_cli.core.result import CaseResult, FailureKind
from llmops_cli.gate.decide import benjamini_hochberg, decide, decide_all, holm, slices
from tests.unit.gate.build import (
    compared,
    failed,
    finding,
    gate_input,
    grouped,
    row,
    rows,
    side,
    verdict,
)


def test_every_rule_of_the_policy_gives_one_finding_in_its_order() -> None:
    every: dict[str, Rule] = {
        "latency": Latency(p95=2.0),
        "critical": Critical(),
        "no_worse": NoWorse(),
        "floor": Floor(minimum=0.5),
        "regressed": Regressed(maximum=0.1),
        "cost": Cost(margin=0.1),
        "tokens": Tokens(margin=0.1),
        "errors": Errors(),
        "coverage": Coverage(),
    }
    decided = verdict(rows(n=60), Policy(rules=list(every.values())))
    assert [case.rule for case in decided.findings] == list(every)
    assert {case.evalset for case in decided.findings} == {"support"}


def test_a_pass_says_what_was_shown() -> None:
    decided = verdict(rows(n=60))
    assert decided.decision is Decision.PASS
    assert decided.why.startswith("no_worse: 0 improved, 0 regressed of 60; ")


def test_a_failure_outweighs_what_was_not_measured() -> None:
    gone = CaseResult(case="gone", candidate=None, baseline=side(1))
    missing = row("x", [failed(FailureKind.NOT_ATTEMPTED)], [1])
    decided = verdict([*rows(n=60), missing, gone])
    assert decided.decision is Decision.FAIL
    assert decided.why == ("coverage: 1 case of the baseline removed without being retired: gone")


def test_what_was_not_measured_outweighs_what_is_inconclusive() -> None:
    missing = row("x", [failed(FailureKind.NOT_ATTEMPTED)], [1])
    decided = verdict([*rows(n=5), missing])
    assert finding(decided, "no_worse").decision is Decision.INCONCLUSIVE
    assert decided.decision is Decision.INCOMPLETE
    assert decided.why == "coverage: 1 planned candidate trial missing"


def test_several_reasons_are_named_after_the_first() -> None:
    critical = replace(row("x", [0], [1]), critical=True)
    decided = verdict([*rows(regressed=8, n=60), critical])
    assert decided.why == "critical: 1 of 1 critical case failed: x; also no_worse"


def test_a_pass_needs_a_finding_about_quality() -> None:
    decided = verdict(rows(n=60), Policy(rules=[Critical(), Errors()]))
    assert {case.decision for case in decided.findings} == {Decision.PASS}
    assert decided.decision is Decision.INCONCLUSIVE
    assert decided.why == "no rule of the policy checks quality"
    assert verdict(rows(n=60), Policy(rules=[])).decision is Decision.INCONCLUSIVE


@pytest.mark.parametrize(
    ("kind", "rule"), [(FailureKind.NOT_ATTEMPTED, "coverage"), (FailureKind.SERVER, "errors")]
)
def test_leaving_a_rule_out_never_turns_the_unmeasured_into_a_pass(
    kind: FailureKind, rule: str
) -> None:
    cases = [
        *rows(n=60),
        *(row(f"x{at}", [failed(kind)], [1]) for at in "ab"),
    ]
    decided = verdict(cases, Policy(rules=[Floor(minimum=0.5)]))
    assert finding(decided, "floor").decision is Decision.PASS
    assert finding(decided, rule).decision is Decision.INCOMPLETE
    assert decided.decision is Decision.INCOMPLETE


def test_a_removed_case_is_no_reason_to_overlook_a_missing_trial() -> None:
    gone = CaseResult(case="gone", candidate=None, baseline=side(1))
    cases = [*rows(n=60), row("x", [failed(FailureKind.BUDGET)], [1]), gone]
    decided = verdict(cases, Policy(rules=[Floor(minimum=0.5)]))
    assert decided.decision is Decision.INCOMPLETE


def test_an_evalset_without_any_case_is_incomplete() -> None:
    assert verdict([]).decision is Decision.INCOMPLETE
    assert verdict([], Policy(rules=[NoWorse()])).decision is Decision.INCOMPLETE


def test_a_partial_run_says_so_in_its_verdict() -> None:
    decided = decide([replace(gate_input(rows(n=60)), partial="--sample 60")])
    assert decided.why.endswith("(partial: --sample 60)")


def test_regressions_are_adjusted_over_all_comparisons_of_a_prompt() -> None:
    bad = gate_input(rows(regressed=5, n=30), evalset="bad")
    good = [gate_input(rows(n=60), evalset=f"good{at}") for at in range(4)]
    alone = decide([bad])
    together = decide([bad, *good])
    assert alone.decision is Decision.FAIL
    assert together.decision is Decision.INCONCLUSIVE
    (result,) = (case for case in together.findings if case.decision is Decision.INCONCLUSIVE)
    assert result.evalset == "bad"
    assert result.estimate is not None
    assert result.estimate.p_adjusted == pytest.approx(5 * result.estimate.p_regression)
    assert together.why.startswith("no_worse on bad: 0 improved, 5 regressed")


def test_a_regression_that_survives_the_adjustment_names_both_p_values() -> None:
    bad = gate_input(rows(regressed=9, n=30), evalset="bad")
    good = gate_input(rows(n=60), evalset="good")
    decided = decide([bad, good])
    assert decided.decision is Decision.FAIL
    assert "(p = 0.0013, over 2 comparisons p = 0.0027): 0 improved" in decided.why


def test_prompts_decided_together_do_not_cry_wolf_together() -> None:
    bad = [gate_input(rows(regressed=5, n=30))]
    fine = {f"fine{at}": [gate_input(rows(n=60))] for at in range(10)}
    verdicts = decide_all({"bad": bad, **fine})
    assert decide(bad).decision is Decision.FAIL
    assert verdicts["bad"].decision is Decision.INCONCLUSIVE
    assert (
        "a regression by itself (p = 0.013), but not over the 11 comparisons of all prompts "
        in (verdicts["bad"].why)
    )
    assert {verdicts[name].decision for name in fine} == {Decision.PASS}


def test_a_large_regression_among_many_prompts_still_fails() -> None:
    fine = {f"fine{at}": [gate_input(rows(n=60))] for at in range(10)}
    verdicts = decide_all({"bad": [gate_input(rows(regressed=20, n=60))], **fine})
    assert verdicts["bad"].decision is Decision.FAIL


def test_equal_comparisons_of_several_prompts_are_distinguished() -> None:
    same = gate_input(rows(regressed=5, n=30))
    verdicts = decide_all({"a": [same], "b": [same]})
    assert verdicts["a"] == verdicts["b"]
    assert verdicts["a"].decision is Decision.FAIL


@pytest.mark.parametrize(
    ("policies", "code"),
    [
        (["warn", "warn"], ExitCode.DONE),
        (["warn", "fail"], ExitCode.INCONCLUSIVE),
        (["rerun", "warn"], ExitCode.INCONCLUSIVE),
    ],
)
def test_the_strictest_evalset_says_what_inconclusive_means(
    policies: list[str], code: ExitCode
) -> None:
    exams = [
        gate_input(rows(n=5), Policy(on_inconclusive=case), evalset=str(at))  # type: ignore[arg-type]  # one of the three words
        for at, case in enumerate(policies)
    ]
    assert decide(exams).exit_code is code


def test_under_rerun_a_look_spends_only_its_share_of_the_error_rates() -> None:
    cases = rows(regressed=5, n=30)
    spent = gate_input(cases, Policy(on_inconclusive="rerun", rules=[NoWorse()]))
    first, second = decide([spent]), decide([replace(spent, look=2)])
    assert first.findings[0].figures["alpha"] == 0.025
    assert second.findings[0].figures["alpha"] == 0.0125
    assert (first.decision, second.decision) == (Decision.FAIL, Decision.INCONCLUSIVE)
    assert "95% CI" in first.findings[0].why


def test_deciding_imports_neither_scipy_nor_statsmodels() -> None:
    program = (
        "import sys\n"
        "from tests.unit.gate.build import grouped, rows, verdict\n"
        "verdict(grouped(rows(regressed=5, n=60), 3))\n"
        "print({'scipy', 'statsmodels', 'pandas'} & set(sys.modules))\n"
    )
    command = [sys.executable, "-c", program]
    ended = subprocess.run(command, check=False, capture_output=True, text=True)
    assert (ended.stdout, ended.stderr) == ("set()\n", "")


def tagged(cases: list[CaseResult], *tags: str) -> list[CaseResult]:
    prefix = "+".join(tags)
    return [replace(case, case=f"{prefix} {case.case}", tags=tags) for case in cases]


def test_each_tag_has_its_own_figures_and_a_p_adjusted_over_the_tags() -> None:
    lossy = tagged(rows(regressed=5, n=30), "refund")
    steady = tagged(rows(regressed=1, improved=1, n=20, failing=4), "billing")
    found = slices(compared([*lossy, *steady, *rows(n=9)]))
    billing, refund = map(astuple, found)
    assert billing == ("billing", 20, 1, 1, 0.75, 0.75, pytest.approx(0.5))
    assert refund == ("refund", 30, 5, 0, 25 / 30, 1.0, pytest.approx(2 * 0.012674, abs=1e-6))


def test_a_case_with_two_tags_is_in_both() -> None:
    found = slices(compared(tagged(rows(regressed=1, n=4), "a", "b")))
    assert [(case.tag, case.regressed) for case in found] == [("a", 1), ("b", 1)]


def test_a_tag_without_compared_or_measured_cases_is_left_out() -> None:
    unpaired = replace(row("x", [1], None), tags=("new",))
    broken = replace(row("y", [failed()], [1]), tags=("broken",))
    assert slices(compared([unpaired, broken])) == ()


def test_too_few_groups_are_never_marked() -> None:
    (found,) = slices(compared(grouped(tagged(rows(regressed=30, n=60), "t"), 10)))
    assert found.p_adjusted == 1.0


def test_the_adjusted_values_are_those_of_statsmodels_and_scipy() -> None:
    p = np.random.default_rng(3).random(40) ** 3
    assert holm(list(p)) == pytest.approx(multipletests(p, method="holm")[1])
    assert benjamini_hochberg(list(p)) == pytest.approx(stats.false_discovery_control(p))


def test_a_single_test_is_not_adjusted_and_none_gives_none() -> None:
    assert (holm([0.03]), benjamini_hochberg([0.03])) == ([0.03], [0.03])
    assert (holm([]), benjamini_hochberg([])) == ([], [])
