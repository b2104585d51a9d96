"""What one pass over the cases makes of trials and scores, and when a critical case has failed."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator
from dataclasses import replace

import pytest

from llmops_cli.core.errors import Refused, UnknownName
from llmops_cli.core.result import CaseResult, FailureKind, SideResult, Trial
from llmops_cli.gate.comparison import Comparison, CriticalState, compare, critical_state
from tests.unit.gate.build import EXACT, METRICS, Outcome, compared, failed, row, side, trial


def scored(**scores: float | None) -> Trial:
    return Trial(output="o", scores=scores)


def one(*trials: Trial) -> Comparison:
    return compared([CaseResult(case="a", candidate=side(*trials), baseline=None)])


def passes(*trials: Trial) -> tuple[float, int]:
    """Sum and number of measured trials of the metric `pass`."""
    tally = one(*trials).metric("pass").candidate
    return float(tally.total[0]), int(tally.measured[0])


def test_a_trial_passes_when_every_gating_scorer_passes_it() -> None:
    assert passes(scored(exact=1.0, similarity=0.8)) == (1.0, 1)
    assert passes(scored(exact=1.0, similarity=0.4)) == (0.0, 1)


def test_an_advisory_scorer_has_no_say_in_pass() -> None:
    assert passes(scored(exact=1.0, style=0.0)) == (1.0, 1)
    assert passes(scored(exact=1.0, style=None)) == (1.0, 1)


def test_an_unscored_trial_is_neither_a_pass_nor_a_zero() -> None:
    columns = one(scored(exact=1.0, similarity=None), scored(exact=1.0, similarity=0.9))
    assert columns.shares("a") == (1.0, None)
    assert columns.metric("pass").candidate.measured.tolist() == [1]
    assert columns.candidate.unscored == 1
    assert columns.unmeasured_cases() == ("a",)


def test_a_trial_that_one_scorer_fails_has_failed_whatever_another_would_say() -> None:
    columns = one(scored(exact=0.0, similarity=None))
    assert columns.shares("a") == (0.0, None)
    assert columns.candidate.unscored == 1


def test_a_case_that_only_advisory_scorers_look_at_owes_pass_nothing() -> None:
    columns = one(scored(style=1.0))
    assert columns.metric("pass").due.tolist() == [False]
    assert columns.shares("a") == (None, None)


def test_a_case_of_which_nothing_was_scored_owes_every_metric() -> None:
    columns = one(Trial(failure=failed().failure))
    assert {label: case.due.tolist() for label, case in columns.scores.items()} == {
        label: [True] for label in ("pass", "exact", "similarity", "tone", "style")
    }


def test_a_filtered_or_truncated_answer_is_scored_like_any_other() -> None:
    cut = replace(scored(exact=1.0), finish_reason="length")
    blocked = replace(scored(exact=0.0), finish_reason="content_filter")
    assert passes(cut, blocked) == (1.0, 2)


def test_a_fraction_outside_its_bounds_is_no_measurement() -> None:
    assert passes(scored(similarity=1.2)) == (0.0, 0)
    assert one(scored(similarity=-0.1)).candidate.unscored == 1


def test_a_fraction_keeps_its_value_and_a_pass_scorer_its_decision() -> None:
    columns = one(scored(exact=1.0, similarity=0.7), scored(exact=0.0, similarity=0.4))
    totals = {label: float(case.candidate.total[0]) for label, case in columns.scores.items()}
    assert totals == {
        "pass": 1.0,
        "exact": 1.0,
        "similarity": pytest.approx(1.1),
        "tone": 0.0,
        "style": 0.0,
    }


def test_scores_on_a_failed_trial_count_for_nothing() -> None:
    broken = replace(failed(), scores={"exact": 1.0})
    assert passes(broken) == (0.0, 0)
    assert one(broken).metric("exact").candidate.measured.tolist() == [0]


def test_failures_are_counted_by_kind_and_trials_never_made_apart_from_them() -> None:
    totals = one(
        failed(FailureKind.TIMEOUT),
        failed(FailureKind.TIMEOUT),
        failed(FailureKind.NOT_ATTEMPTED),
        failed(FailureKind.BUDGET),
        failed(FailureKind.NO_RECORD),
        scored(exact=1.0),
    ).candidate
    assert totals.failures == {"timeout": 2, "not_attempted": 1, "budget": 1, "no_record": 1}
    assert (totals.planned, totals.completed, totals.failed, totals.missing) == (6, 1, 2, 3)


def test_planned_trials_that_are_absent_are_missing() -> None:
    columns = compared([CaseResult(case="a", candidate=side(1, planned=3), baseline=None)])
    assert (columns.candidate.planned, columns.candidate.missing) == (3, 2)
    assert columns.unmeasured_cases() == ("a",)


def test_pooled_trials_beyond_the_plan_all_count() -> None:
    columns = compared([CaseResult(case="a", candidate=side(1, 0, 1, 1, planned=1), baseline=None)])
    assert columns.shares("a")[0] == 0.75
    assert columns.candidate.planned_trials.tolist() == [4]


def test_cost_tokens_and_latency_are_known_only_where_each_trial_tells_them() -> None:
    reported = replace(
        scored(exact=1.0), cost=0.5, input_tokens=10, output_tokens=2, latency=0.3, served_model="m"
    )
    totals = one(reported, reported).candidate
    assert (totals.total_cost, totals.input_tokens, totals.output_tokens) == (1.0, 20, 4)
    assert (totals.latencies.tolist(), totals.served_models) == ([0.3, 0.3], ("m",))
    partly = one(reported, scored(exact=1.0)).candidate
    assert (partly.total_cost, partly.input_tokens, partly.unpriced) == (None, None, 1)


def test_edited_facts_make_two_questions_that_are_not_compared() -> None:
    columns = compared(
        [CaseResult(case="a", candidate=side(0, facts="new"), baseline=side(1, facts="old"))]
    )
    assert columns.named(columns.edited) == ("a",)
    assert columns.paired.tolist() == [False]
    assert columns.named(columns.regressed()) == ()
    assert columns.baseline.planned == 0


def test_equal_requests_on_equal_facts_are_identical_unless_one_target_is_watched() -> None:
    same = [CaseResult(case="a", candidate=side(0, request="r"), baseline=side(1, request="r"))]
    assert compare(same, METRICS).identical.tolist() == [True]
    watched = compare(same, METRICS, same_target=True)
    assert watched.identical.tolist() == [False]
    assert watched.named(watched.regressed()) == ("a",)


def test_cases_are_distinguished_in_evalset_order() -> None:
    gone = CaseResult(case="gone", candidate=None, baseline=side(1))
    cases = [
        row("lost", [0], [1]),
        row("gained", [1], [0]),
        row("failing", [0], [0]),
        row("passing", [1], [1]),
        row("half", [1, 0], [1, 1]),
        row("added", [0], None),
        row("broken", [failed()], [1]),
        gone,
        replace(row("hopeless", [0], [0]), known_failing="ticket 7"),
        replace(row("healed", [1], [0]), known_failing="ticket 8"),
    ]
    columns = compared(cases)
    assert columns.named(columns.regressed()) == ("lost",)
    assert columns.named(columns.improved()) == ("gained", "healed")
    assert columns.failing_cases() == ("failing", "added")
    assert columns.added_cases() == ("added",)
    assert columns.removed_cases() == ("gone",)
    assert columns.unmeasured_cases() == ("broken",)
    assert columns.known_passing_cases() == ("healed",)
    assert columns.shares("half") == (0.5, 1.0)


def test_without_a_baseline_every_failing_case_is_shown_and_none_is_added() -> None:
    columns = compared([row("a", [0], None), row("b", [1], None)])
    assert (columns.has_baseline, columns.failing_cases(), columns.added_cases()) == (
        False,
        ("a",),
        (),
    )


def test_a_case_that_comes_twice_is_refused() -> None:
    with pytest.raises(Refused, match="'a' comes twice"):
        compared([row("a", [1], [1]), row("a", [1], [1])])


def test_a_score_under_an_unknown_label_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(UnknownName, match="unknown scorer label 'exakt'") as caught:
        one(scored(exakt=1.0))
    assert caught.value.hint == "did you mean 'exact'?"


def test_a_scorer_may_not_take_the_name_of_the_verdict_of_all() -> None:
    with pytest.raises(Refused, match="may not be labeled 'pass'"):
        compare([], [replace(EXACT, label="pass")])


def test_no_rows_at_all_make_an_empty_comparison() -> None:
    columns = compared([])
    assert (len(columns.cases), columns.has_baseline, columns.unmeasured_cases()) == (0, False, ())


def test_columns_are_small_and_rows_do_not_stay() -> None:
    trials = (Trial(output="o", scores={"exact": 1.0, "similarity": 0.5, "tone": 1.0}),)
    totals = SideResult(request="r", facts="f", planned=1, trials=trials)

    def stream() -> Iterator[CaseResult]:
        for at in range(10_000):
            yield CaseResult(case=f"case {at}", candidate=totals, baseline=totals, tags=("t",))

    tracemalloc.start()
    columns = compare(stream(), METRICS)
    held, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(columns.cases) == 10_000
    assert held < 6_000_000
    assert peak < 1.5 * held


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
