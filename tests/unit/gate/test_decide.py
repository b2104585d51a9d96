"""From findings to a verdict, over one evalset, several, and several prompts."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

import pytest

from llmops_cli.core.case_result import CaseResult
from llmops_cli.core.errors import ExitCode
from llmops_cli.core.policy import (
    Cost,
    Coverage,
    Critical,
    Errors,
    Floor,
    Latency,
    NoWorse,
    Policy,
    Regressed,
    Rule,
    Tokens,
)
from llmops_cli.core.result import FailureKind
from llmops_cli.core.verdict import Decision
from llmops_cli.gate.decide import decide, decide_all
from tests.unit.gate.build import exam, failed, finding, row, rows, side, verdict


def test_every_rule_of_the_policy_gives_one_finding_in_its_order() -> None:
    every: list[Rule] = [
        Latency(p95=2.0),
        Critical(),
        NoWorse(),
        Floor(minimum=0.5),
        Regressed(maximum=0.1),
        Cost(margin=0.1),
        Tokens(margin=0.1),
        Errors(),
        Coverage(),
    ]
    decided = verdict(rows(lost=0, gained=0, n=60), Policy(rules=every))
    assert [each.rule for each in decided.findings] == [
        "latency",
        "critical",
        "no_worse",
        "floor",
        "regressed",
        "cost",
        "tokens",
        "errors",
        "coverage",
    ]
    assert {each.evalset for each in decided.findings} == {"support"}


def test_a_pass_says_what_was_shown() -> None:
    decided = verdict(rows(lost=0, gained=0, n=60))
    assert decided.decision is Decision.PASS
    assert decided.why.startswith("no_worse: 0 improved, 0 regressed of 60; ")


def test_a_failure_outweighs_what_was_not_measured() -> None:
    gone = CaseResult(case="gone", candidate=None, baseline=side(1))
    missing = row("x", [failed(FailureKind.NOT_ATTEMPTED)], [1])
    decided = verdict([*rows(lost=0, gained=0, n=60), missing, gone])
    assert decided.decision is Decision.FAIL
    assert decided.why == ("coverage: 1 case of the baseline removed without being retired: gone")


def test_what_was_not_measured_outweighs_what_cannot_be_told() -> None:
    missing = row("x", [failed(FailureKind.NOT_ATTEMPTED)], [1])
    decided = verdict([*rows(lost=0, gained=0, n=5), missing])
    assert finding(decided, "no_worse").decision is Decision.INCONCLUSIVE
    assert decided.decision is Decision.INCOMPLETE
    assert decided.why == "coverage: 1 planned candidate trial missing"


def test_several_reasons_are_named_after_the_first() -> None:
    critical = replace(row("x", [0], [1]), critical=True)
    decided = verdict([*rows(lost=8, gained=0, n=60), critical])
    assert decided.why == "critical: 1 of 1 critical case failed: x; also no_worse"


def test_a_pass_needs_a_finding_about_quality() -> None:
    decided = verdict(rows(lost=0, gained=0, n=60), Policy(rules=[Critical(), Errors()]))
    assert {each.decision for each in decided.findings} == {Decision.PASS}
    assert (decided.decision, decided.why) == (
        Decision.INCONCLUSIVE,
        "no rule of the policy checks quality",
    )
    assert verdict(rows(lost=0, gained=0, n=60), Policy(rules=[])).decision is (
        Decision.INCONCLUSIVE
    )


@pytest.mark.parametrize(
    ("kind", "rule"), [(FailureKind.NOT_ATTEMPTED, "coverage"), (FailureKind.SERVER, "errors")]
)
def test_leaving_a_rule_out_never_turns_the_unmeasured_into_a_pass(
    kind: FailureKind, rule: str
) -> None:
    given = [*rows(lost=0, gained=0, n=60), *(row(f"x{at}", [failed(kind)], [1]) for at in "ab")]
    decided = verdict(given, Policy(rules=[Floor(minimum=0.5)]))
    assert finding(decided, "floor").decision is Decision.PASS
    assert finding(decided, rule).decision is Decision.INCOMPLETE
    assert decided.decision is Decision.INCOMPLETE


def test_a_removed_case_is_no_reason_to_overlook_a_missing_trial() -> None:
    gone = CaseResult(case="gone", candidate=None, baseline=side(1))
    given = [*rows(0, 0, 60), row("x", [failed(FailureKind.BUDGET)], [1]), gone]
    decided = verdict(given, Policy(rules=[Floor(minimum=0.5)]))
    assert decided.decision is Decision.INCOMPLETE


def test_an_evalset_without_any_case_is_incomplete() -> None:
    assert verdict([]).decision is Decision.INCOMPLETE
    assert verdict([], Policy(rules=[NoWorse()])).decision is Decision.INCOMPLETE


def test_a_partial_run_says_so_in_its_verdict() -> None:
    decided = decide([replace(exam(rows(0, 0, 60)), partial="--sample 60")])
    assert decided.why.endswith("(partial: --sample 60)")


def test_regressions_are_adjusted_over_all_comparisons_of_a_prompt() -> None:
    bad = exam(rows(lost=5, gained=0, n=30), evalset="bad")
    good = [exam(rows(lost=0, gained=0, n=60), evalset=f"good{at}") for at in range(4)]
    alone = decide([bad])
    together = decide([bad, *good])
    assert alone.decision is Decision.FAIL
    assert together.decision is Decision.INCONCLUSIVE
    (said,) = (each for each in together.findings if each.decision is Decision.INCONCLUSIVE)
    assert said.evalset == "bad"
    assert said.estimate is not None
    assert said.estimate.p_adjusted == pytest.approx(5 * said.estimate.p_regression)
    assert together.why.startswith("no_worse on bad: 0 improved, 5 regressed")


def test_a_regression_that_survives_the_adjustment_names_both_p_values() -> None:
    bad = exam(rows(lost=9, gained=0, n=30), evalset="bad")
    good = exam(rows(lost=0, gained=0, n=60), evalset="good")
    decided = decide([bad, good])
    assert decided.decision is Decision.FAIL
    assert "(p = 0.0013, over 2 comparisons p = 0.0027): 0 improved" in decided.why


def test_prompts_decided_together_do_not_cry_wolf_together() -> None:
    bad = [exam(rows(lost=5, gained=0, n=30))]
    fine = {f"fine{at}": [exam(rows(lost=0, gained=0, n=60))] for at in range(10)}
    verdicts = decide_all({"bad": bad, **fine})
    assert decide(bad).decision is Decision.FAIL
    assert verdicts["bad"].decision is Decision.INCONCLUSIVE
    assert (
        "a regression by itself (p = 0.013), but not over the 11 comparisons of all prompts "
        in (verdicts["bad"].why)
    )
    assert {verdicts[name].decision for name in fine} == {Decision.PASS}


def test_a_large_regression_among_many_prompts_still_fails() -> None:
    fine = {f"fine{at}": [exam(rows(lost=0, gained=0, n=60))] for at in range(10)}
    verdicts = decide_all({"bad": [exam(rows(lost=20, gained=0, n=60))], **fine})
    assert verdicts["bad"].decision is Decision.FAIL


def test_equal_comparisons_of_several_prompts_are_told_apart() -> None:
    same = exam(rows(lost=5, gained=0, n=30))
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
        exam(rows(0, 0, 5), Policy(on_inconclusive=each), evalset=str(at))  # type: ignore[arg-type]  # one of the three words
        for at, each in enumerate(policies)
    ]
    assert decide(exams).exit_code is code


def test_under_rerun_a_look_spends_only_its_share_of_the_error_rates() -> None:
    given = rows(lost=5, gained=0, n=30)
    spent = exam(given, Policy(on_inconclusive="rerun", rules=[NoWorse()]))
    first, second = decide([spent]), decide([replace(spent, look=2)])
    assert first.findings[0].figures["alpha"] == 0.025
    assert second.findings[0].figures["alpha"] == 0.0125
    assert (first.decision, second.decision) == (Decision.FAIL, Decision.INCONCLUSIVE)
    assert "95% CI" in first.findings[0].why


def test_deciding_imports_neither_scipy_nor_statsmodels() -> None:
    program = (
        "import sys\n"
        "from tests.unit.gate.build import grouped, rows, verdict\n"
        "verdict(grouped(rows(lost=5, gained=0, n=60), 3))\n"
        "print({'scipy', 'statsmodels', 'pandas'} & set(sys.modules))\n"
    )
    command = [sys.executable, "-c", program]
    ended = subprocess.run(command, check=False, capture_output=True, text=True)
    assert (ended.stdout, ended.stderr) == ("set()\n", "")
