"""When a further look at the same cases is worth its calls."""

from __future__ import annotations

from dataclasses import replace

import pytest

from llmops_cli.core.case_result import CaseResult
from llmops_cli.core.policy import Critical, NoWorse, Policy
from llmops_cli.core.verdict import Decision
from llmops_cli.gate.comparison import SHARES, TRIALS_BY_LOOK, at_look
from llmops_cli.gate.power import AddCases, NextLook, next_look
from tests.unit.gate.build import compared, failed, grouped, row, rows, side, verdict

RERUN = Policy(on_inconclusive="rerun", rules=[NoWorse()])


def test_the_looks_together_spend_the_error_rates_once() -> None:
    assert sum(SHARES.values()) == 1.0
    assert list(TRIALS_BY_LOOK.values()) == [1, 3, 5]
    assert [at_look(RERUN, look).beta for look in TRIALS_BY_LOOK] == [0.025, 0.0125, 0.0125]
    assert at_look(Policy(), 1) == Policy()


def test_noise_between_trials_is_worth_another_look() -> None:
    given = rows(lost=6, gained=7, n=120)
    assert verdict(given, RERUN).decision is Decision.INCONCLUSIVE
    assert next_look(compared(given), RERUN, 1) == NextLook(
        look=2, trials=3, why="3 trials per case can decide"
    )


def test_a_look_that_cannot_decide_is_left_out_for_a_later_one_that_can() -> None:
    given = [row(f"c{at}", [at % 18 != 0], [at % 17 != 0] * 3) for at in range(100)]
    assert verdict(given, RERUN).decision is Decision.INCONCLUSIVE
    assert next_look(compared(given), RERUN, 1) == NextLook(
        look=3, trials=5, why="5 trials per case can decide"
    )


def test_too_few_cases_are_not_helped_by_repeats() -> None:
    answer = next_look(compared(rows(lost=0, gained=0, n=30)), RERUN, 1)
    assert isinstance(answer, AddCases)
    assert answer.why == (
        "more trials of the same cases cannot decide at this difference: add cases, not repeats"
    )


def test_after_the_last_look_only_cases_help() -> None:
    answer = next_look(compared(rows(lost=6, gained=7, n=120)), RERUN, 3)
    assert answer == AddCases(why="all 3 looks are used: add cases, not repeats")


def test_a_side_that_has_enough_trials_is_left_alone_and_helps_less() -> None:
    once = [row(f"c{at}", [at % 18 != 0], [at % 17 != 0]) for at in range(100)]
    thrice = [row(f"c{at}", [at % 18 != 0], [at % 17 != 0] * 3) for at in range(100)]
    answers = [next_look(compared(given), RERUN, 1) for given in (once, thrice)]
    assert [isinstance(each, NextLook) and each.look for each in answers] == [2, 3]


def test_a_projected_regression_is_a_decision_too() -> None:
    given = rows(lost=7, gained=2, n=60)
    assert verdict(given, RERUN).decision is Decision.INCONCLUSIVE
    assert isinstance(next_look(compared(given), RERUN, 1), NextLook)


@pytest.mark.parametrize(
    "given",
    [
        [row("a", [1], None)],
        [row("a", [failed()], [1])],
        grouped(rows(lost=6, gained=7, n=120), 60),
    ],
)
def test_what_repeats_cannot_cure_is_not_run_again(given: list[CaseResult]) -> None:
    assert isinstance(next_look(compared(given), RERUN, 1), AddCases)


def test_identical_requests_are_decided_already() -> None:
    same = [CaseResult(case="a", candidate=side(0), baseline=side(1))]
    assert isinstance(next_look(compared(same), RERUN, 1), NextLook)


def test_a_policy_without_a_paired_rule_has_nothing_to_look_at() -> None:
    policy = replace(RERUN, rules=[Critical()])
    assert isinstance(next_look(compared(rows(6, 7, 120)), policy, 1), AddCases)
