"""When a critical case has failed, held, or is not known."""

from __future__ import annotations

from dataclasses import replace

import pytest

from llmops_cli.core.result import CaseResult, Trial
from llmops_cli.gate.comparison import CriticalState, critical_state
from tests.unit.gate.build import METRICS, Outcome, compared, failed, side, trial

BY_LABEL = {metric.label: metric for metric in METRICS}


def judged(*values: bool | None) -> list[Trial]:
    return [trial(value, label="tone") for value in values]


def state(
    *trials: Outcome, confirm: tuple[Trial, ...] = (), planned: int | None = None
) -> CriticalState:
    return critical_state(replace(side(*trials, planned=planned), confirm=confirm), BY_LABEL)


def test_any_gate_trial_that_a_deterministic_scorer_fails_fails_the_case() -> None:
    assert state(1, 1, 1) is CriticalState.PASSED
    assert state(1, 1, 0) is CriticalState.FAILED
    assert state(failed(), 0) is CriticalState.FAILED


def test_a_gate_trial_that_is_not_known_leaves_the_case_unmeasured() -> None:
    assert state(1, None) is CriticalState.UNMEASURED
    assert state(1, failed()) is CriticalState.UNMEASURED
    assert state(1, planned=2) is CriticalState.UNMEASURED
    assert state(planned=1) is CriticalState.UNMEASURED


@pytest.mark.parametrize(
    ("first", "confirm", "expected"),
    [
        (True, (), CriticalState.PASSED),
        (True, (False, False), CriticalState.PASSED),
        (None, (), CriticalState.UNMEASURED),
        (False, (), CriticalState.UNCONFIRMED),
        (False, (True,), CriticalState.UNCONFIRMED),
        (False, (True, None), CriticalState.UNCONFIRMED),
        (False, (False,), CriticalState.FAILED),
        (False, (True, False), CriticalState.FAILED),
        (False, (True, True), CriticalState.PASSED),
        (False, (True, True, False, False), CriticalState.PASSED),
    ],
)
def test_a_judged_case_fails_when_its_first_trial_and_two_of_three_fail(
    first: bool | None, confirm: tuple[bool | None, ...], expected: CriticalState
) -> None:
    assert state(*judged(first), confirm=tuple(judged(*confirm))) is expected


def test_gate_trials_come_before_confirm_trials() -> None:
    assert state(*judged(False, True, True), confirm=tuple(judged(False))) is CriticalState.PASSED


def test_a_deterministic_failure_is_not_outvoted_by_a_judge() -> None:
    both = Trial(output="o", scores={"exact": 0.0, "tone": 1.0})
    assert state(both) is CriticalState.FAILED


def test_a_case_that_no_gating_scorer_looks_at_is_unmeasured() -> None:
    assert state(trial(True, label="style")) is CriticalState.UNMEASURED


def test_known_failing_and_removed_cases_are_outside() -> None:
    row = CaseResult(case="a", candidate=side(0), baseline=side(1), critical=True)
    cases = [
        row,
        replace(row, case="b", known_failing="ticket 7"),
        replace(row, case="c", candidate=None),
        replace(row, case="d", critical=False),
    ]
    assert compared(cases).critical.tolist() == [CriticalState.FAILED, 0, 0, 0]
