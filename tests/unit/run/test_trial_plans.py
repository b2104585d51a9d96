"""What is held, missing, shared and to be scored again: on a real store, with real keys."""

from __future__ import annotations

from dataclasses import replace

from llmops_cli.core.ports import TrialKey
from llmops_cli.core.result import Failure, FailureKind, Score, ToolCall
from llmops_cli.run.scorers import Scorers
from llmops_cli.run.side import TrialAt
from llmops_cli.stores.results import ResultsStore
from tests.unit.run.sides import CASES, OLD, a_side, answered, planned, put


def test_with_an_empty_cache_everything_is_missing(store: ResultsStore, scorers: Scorers) -> None:
    side = planned(a_side(store, repeats=2), scorers)
    assert list(side.plan.missing) == [TrialAt(case, n) for case in range(3) for n in range(2)]
    assert side.plan.planned == 6


def test_a_cached_answer_without_a_score_is_scored_and_not_called(
    store: ResultsStore, scorers: Scorers
) -> None:
    side = a_side(store)
    put(store, side, answered())
    planned(side, scorers)
    assert list(side.plan.missing) == [TrialAt(1, 0), TrialAt(2, 0)]
    assert list(side.plan.rescore) == [TrialAt(0, 0)]


def test_an_answer_with_tool_calls_is_scored_like_any_other(
    store: ResultsStore, scorers: Scorers
) -> None:
    side = a_side(store)
    calls = (ToolCall(name="look", arguments={"at": ["this"]}),)
    put(store, side, replace(answered(), tool_calls=calls))
    assert list(planned(side, scorers).plan.rescore) == [TrialAt(0, 0)]


def test_a_cached_answer_with_its_score_needs_nothing(
    store: ResultsStore, scorers: Scorers
) -> None:
    side = a_side(store)
    put(store, side, answered())
    (key,) = scorers.keys(CASES[0], answered().digest)
    store.put_score(key, Score(value=1.0))
    planned(side, scorers)
    assert TrialAt(0, 0) not in {*side.plan.missing, *side.plan.rescore}


def test_an_answer_known_by_its_digest_is_rerun_where_a_score_is_missing(
    store: ResultsStore, scorers: Scorers
) -> None:
    side = a_side(store)
    put(store, side, answered(None))
    assert TrialAt(0, 0) in planned(side, scorers).plan.missing
    (key,) = scorers.keys(CASES[0], answered(None).digest)
    store.put_score(key, Score(value=1.0))
    planned(side, scorers)
    assert TrialAt(0, 0) not in {*side.plan.missing, *side.plan.rescore}


def test_what_is_asked_already_is_shared(store: ResultsStore, scorers: Scorers) -> None:
    asked: set[TrialKey] = set()
    planned(a_side(store), scorers, requested=asked)
    twin = planned(a_side(store), scorers, requested=asked)
    assert (len(twin.plan.missing), len(twin.plan.shared)) == (0, 3)


def test_skipped_cases_want_nothing(store: ResultsStore, scorers: Scorers) -> None:
    side = a_side(store)
    planned(side, scorers, skip=frozenset({1}))
    assert [len(each) for each in side.plan.trial_numbers] == [1, 0, 1]


def test_a_trial_that_failed_in_this_run_is_not_planned_again(
    store: ResultsStore, scorers: Scorers
) -> None:
    side = a_side(store)
    side.state.failures[TrialAt(1, 0)] = Failure(kind=FailureKind.SERVER, message="500")
    assert list(planned(side, scorers).plan.missing) == [TrialAt(0, 0), TrialAt(2, 0)]


def test_further_trials_of_the_model_that_answered_last_count(
    store: ResultsStore, scorers: Scorers
) -> None:
    side = a_side(store)
    put(store, side, answered("a"), answered("b"), answered("c", at=OLD, model="tiny-0"))
    assert planned(side, scorers).plan.trial_numbers == [(0, 1), (0,), (0,)]


def test_a_side_that_does_not_pool_wants_its_repeats_only(
    store: ResultsStore, scorers: Scorers
) -> None:
    side = a_side(store)
    side.plan.pools = False
    put(store, side, answered("a"), answered("b"))
    assert planned(side, scorers).plan.trial_numbers == [(0,), (0,), (0,)]


def test_further_trials_that_are_too_old_are_neither_counted_nor_run_again(
    store: ResultsStore, scorers: Scorers
) -> None:
    side = a_side(store)
    side.plan.not_before = "2026-11-01T00:00:00+00:00"
    put(store, side, answered("a"), answered("b", at=OLD), answered("c", at=OLD))
    planned(side, scorers)
    assert side.plan.trial_numbers[0] == (0,)
    assert list(side.plan.missing) == [TrialAt(1, 0), TrialAt(2, 0)]


def test_what_is_wanted_of_the_evidence_alone_is_what_it_holds(
    store: ResultsStore, scorers: Scorers
) -> None:
    side = a_side(store, repeats=3)
    side.spec = replace(side.spec, evidence_only=True)
    put(store, side, answered("a"), answered("b"))
    planned(side, scorers)
    assert (side.plan.trial_numbers, list(side.plan.missing)) == ([(0, 1), (), ()], [])
