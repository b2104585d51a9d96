"""What the store holds of two arms, as one row per case."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from llmops_cli.core.case import Evalset, ScorerSpec
from llmops_cli.core.result import Completion, Failure, FailureKind, Score, Usage
from llmops_cli.plugins import catalog
from llmops_cli.run.case_results import rows
from llmops_cli.run.columns import DrawAt
from llmops_cli.run.scorers import Scorers
from llmops_cli.run.side import Arm
from llmops_cli.run.trial_plan import plan_arm
from llmops_cli.stores.results import ResultsStore, open_results
from tests.unit.run.test_planning import CASES, NEW, OLD, an_arm, answered

FAILED = Failure(kind=FailureKind.SERVER, message="500")


@pytest.fixture
def store() -> Iterator[ResultsStore]:
    with open_results(None) as opened:
        yield opened


@pytest.fixture
def scorers() -> Scorers:
    spec = ScorerSpec(kind="exact", label="exact", minimum=1.0)
    evalset = Evalset(name="support", prompts=("support",), cases=CASES, scorers=(spec,))
    return Scorers(catalog(), evalset, lambda _: b"")


def wanted(arm: Arm, scorers: Scorers, *, skip: frozenset[int] = frozenset()) -> Arm:
    plan_arm(arm, CASES, scorers=scorers, asked=set(), skip=skip)
    return arm


def scored(store: ResultsStore, scorers: Scorers, completion: Completion, value: float) -> None:
    (key,) = scorers.keys(CASES[0], completion.digest)
    store.put_score(key, Score(value=value))


def test_a_measured_draw_carries_its_scores_and_what_it_took(
    store: ResultsStore, scorers: Scorers
) -> None:
    completion = replace(answered("one"), usage=Usage(input=3, output=2), cost=0.5)
    arm = wanted(an_arm(store), scorers)
    store.put_completions([(arm.key(DrawAt(0, 0)), completion)])
    scored(store, scorers, completion, 1.0)
    arm.latencies[DrawAt(0, 0)] = 0.25
    first = next(rows(CASES, arm, None, scorers))
    assert first.candidate is not None
    (draw,) = first.candidate.draws
    assert (draw.scores, draw.unscored) == ({"exact": 1.0}, {})
    assert (draw.input_tokens, draw.output_tokens, draw.cost) == (3, 2, 0.5)
    assert (draw.latency, draw.output) == (0.25, completion.digest)


def test_a_draw_that_is_not_there_is_a_failure_with_its_cause(
    store: ResultsStore, scorers: Scorers
) -> None:
    arm = wanted(an_arm(store), scorers)
    arm.failures[DrawAt(1, 0)] = FAILED
    found = [row.candidate.draws[0] for row in rows(CASES, arm, None, scorers) if row.candidate]
    assert [draw.failure.kind if draw.failure else None for draw in found] == [
        FailureKind.NOT_ATTEMPTED,
        FailureKind.SERVER,
        FailureKind.NOT_ATTEMPTED,
    ]
    assert found[0].scores == {"exact": None}


def test_a_draw_that_failed_in_this_run_is_not_answered_by_an_earlier_one(
    store: ResultsStore, scorers: Scorers
) -> None:
    arm = wanted(an_arm(store), scorers)
    store.put_completions([(arm.key(DrawAt(0, 0)), answered("one"))])
    arm.failures[DrawAt(0, 0)] = FAILED
    first = next(rows(CASES, arm, None, scorers))
    assert first.candidate is not None
    assert first.candidate.draws[0].failure == FAILED


def test_an_answer_that_is_too_old_does_not_count(store: ResultsStore, scorers: Scorers) -> None:
    arm = an_arm(store)
    store.put_completions([(arm.key(DrawAt(0, 0)), answered("one", at=OLD))])
    arm.not_before = NEW
    first = next(rows(CASES, wanted(arm, scorers), None, scorers))
    assert first.candidate is not None
    assert first.candidate.draws[0].failure is not None


def test_an_answer_without_a_score_is_unscored_and_says_why(
    store: ResultsStore, scorers: Scorers
) -> None:
    arm = wanted(an_arm(store), scorers)
    store.put_completions([(arm.key(DrawAt(0, 0)), answered("one"))])
    arm.unscored[DrawAt(0, 0)] = {"exact": "it raised"}
    first = next(rows(CASES, arm, None, scorers))
    assert first.candidate is not None
    (draw,) = first.candidate.draws
    assert (draw.scores, draw.unscored) == ({"exact": None}, {"exact": "it raised"})


def test_scores_that_live_for_one_run_are_read_from_the_arm(
    store: ResultsStore, scorers: Scorers
) -> None:
    arm = wanted(an_arm(store), scorers)
    store.put_completions([(arm.key(DrawAt(0, 0)), answered("one"))])
    arm.passing_scores[DrawAt(0, 0)] = {"exact": Score(value=0.0)}
    first = next(rows(CASES, arm, None, scorers))
    assert first.candidate is not None
    assert first.candidate.draws[0].scores == {"exact": 0.0}


def test_the_same_request_shares_the_candidates_draws(
    store: ResultsStore, scorers: Scorers
) -> None:
    arm, other = wanted(an_arm(store), scorers), an_arm(store)
    wanted(other, scorers, skip=frozenset(range(3)))
    for row in rows(CASES, arm, other, scorers):
        assert row.baseline == row.candidate


def test_a_case_that_the_evidence_lacks_has_no_baseline(
    store: ResultsStore, scorers: Scorers
) -> None:
    arm, other = wanted(an_arm(store), scorers), an_arm(store)
    other.purpose, other.evidence_only = "baseline", True
    store.put_completions([(other.key(DrawAt(0, 0)), answered("one"))])
    found = list(rows(CASES, arm, wanted(other, scorers), scorers))
    assert [row.baseline is None for row in found] == [False, True, True]


def test_rows_are_in_evalset_order_and_carry_how_people_organise_cases(
    store: ResultsStore, scorers: Scorers
) -> None:
    arm = wanted(an_arm(store), scorers)
    cases = [
        replace(CASES[0], tags=("t",), critical=True, group="g", known_failing="w"),
        *CASES[1:],
    ]
    found = list(rows(cases, arm, None, scorers))
    assert [row.case for row in found] == ["one", "two", "three"]
    first = found[0]
    assert (first.tags, first.critical, first.group, first.known_failing) == (
        ("t",),
        True,
        "g",
        "w",
    )
