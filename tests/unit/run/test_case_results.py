"""What the store holds of two sides, as one row per case."""

from __future__ import annotations

from dataclasses import replace

from llmops_cli.core.result import CaseResult, Completion, Failure, FailureKind, Score, Usage
from llmops_cli.run.evalset_run import side_results
from llmops_cli.run.scorers import Scorers
from llmops_cli.run.side import TrialAt
from llmops_cli.stores.results import ResultsStore
from tests.unit.run.sides import CASES, NEW, OLD, a_side, answered, planned, put

FAILED = Failure(kind=FailureKind.SERVER, message="500")


def scored(store: ResultsStore, scorers: Scorers, completion: Completion, value: float) -> None:
    (key,) = scorers.keys(CASES[0], completion.digest)
    store.put_score(key, Score(value=value))


def test_a_measured_trial_carries_its_scores_and_what_it_took(
    store: ResultsStore, scorers: Scorers
) -> None:
    completion = replace(answered("one"), usage=Usage(input=3, output=2), cost=0.5)
    side = planned(a_side(store), scorers)
    put(store, side, completion)
    scored(store, scorers, completion, 1.0)
    side.state.latencies[TrialAt(0, 0)] = 0.25
    first = next(side_results(side, CASES, scorers))
    (trial,) = first.trials
    assert (trial.scores, trial.reasons) == ({"exact": 1.0}, {"exact": ""})
    assert (trial.input_tokens, trial.output_tokens, trial.cost) == (3, 2, 0.5)
    assert (trial.latency, trial.output) == (0.25, completion.digest)


def test_a_trial_that_is_not_there_is_a_failure_with_its_cause(
    store: ResultsStore, scorers: Scorers
) -> None:
    side = planned(a_side(store), scorers)
    side.state.failures[TrialAt(1, 0)] = FAILED
    found = [result.trials[0] for result in side_results(side, CASES, scorers)]
    assert [trial.failure.kind if trial.failure else None for trial in found] == [
        FailureKind.NOT_ATTEMPTED,
        FailureKind.SERVER,
        FailureKind.NOT_ATTEMPTED,
    ]
    assert found[0].scores == {"exact": None}


def test_a_trial_that_failed_in_this_run_is_not_answered_by_an_earlier_one(
    store: ResultsStore, scorers: Scorers
) -> None:
    side = planned(a_side(store), scorers)
    put(store, side, answered("one"))
    side.state.failures[TrialAt(0, 0)] = FAILED
    first = next(side_results(side, CASES, scorers))
    assert first.trials[0].failure == FAILED


def test_an_answer_that_is_too_old_does_not_count(store: ResultsStore, scorers: Scorers) -> None:
    side = a_side(store)
    put(store, side, answered("one", at=OLD))
    side.plan.not_before = NEW
    first = next(side_results(planned(side, scorers), CASES, scorers))
    assert first.trials[0].failure is not None


def test_an_answer_without_a_score_is_unscored_and_says_why(
    store: ResultsStore, scorers: Scorers
) -> None:
    side = planned(a_side(store), scorers)
    put(store, side, answered("one"))
    side.state.unscored[TrialAt(0, 0)] = {"exact": "it raised"}
    first = next(side_results(side, CASES, scorers))
    (trial,) = first.trials
    assert (trial.scores, trial.reasons) == ({"exact": None}, {"exact": "it raised"})


def test_scores_that_live_for_one_run_are_read_from_the_side(
    store: ResultsStore, scorers: Scorers
) -> None:
    side = planned(a_side(store), scorers)
    put(store, side, answered("one"))
    side.state.scores[TrialAt(0, 0)] = {"exact": Score(value=0.0)}
    first = next(side_results(side, CASES, scorers))
    assert first.trials[0].scores == {"exact": 0.0}


def test_the_same_request_shares_the_candidates_trials(
    store: ResultsStore, scorers: Scorers
) -> None:
    side, other = planned(a_side(store), scorers), a_side(store)
    planned(other, scorers, skip=frozenset(range(3)))
    for ours, theirs in zip(
        side_results(side, CASES, scorers), side_results(other, CASES, scorers), strict=True
    ):
        case = CaseResult(case="c", candidate=ours, baseline=theirs)
        assert case.same_request
        assert case.against(theirs).baseline == ours


def test_the_cases_at_some_positions_are_read_in_that_order_with_their_texts(
    store: ResultsStore, scorers: Scorers
) -> None:
    side = planned(a_side(store), scorers)
    store.put_completions([(side.key(TrialAt(at, 0)), answered(f"no. {at}")) for at in range(3)])
    found = side_results(side, CASES, scorers, positions=[2, 0], texts=True)
    assert [result.trials[0].text for result in found] == ["no. 2", "no. 0"]
