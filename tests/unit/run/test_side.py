"""One target on one evalset: its keys, the plan of its trials, and what the store has of it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from llmops_cli.core.digest import digest
from llmops_cli.core.ports import TrialKey
from llmops_cli.core.prompt import Model
from llmops_cli.core.redact import Redactor
from llmops_cli.core.result import (
    CaseResult,
    Completion,
    Failure,
    FailureKind,
    Score,
    ToolCall,
    Trial,
    Usage,
)
from llmops_cli.providers.replay import Recorded
from llmops_cli.run.evalset_run import side_results
from llmops_cli.run.prepare import as_called
from llmops_cli.run.scorers import Scorers
from llmops_cli.run.side import Digests, Side, TrialAt, TrialColumn, chunks
from llmops_cli.stores.results import ResultsStore
from tests.unit.run.sides import CASES, NEW, OLD, TARGET, a_side, answered, bound, planned, put

CUT = Failure(kind=FailureKind.NOT_ATTEMPTED, message="interrupted")


@pytest.fixture
def recorded(store: ResultsStore, tmp_path: Path) -> Iterator[Side]:
    """A side whose file answers the first case alone."""
    (tmp_path / "said.jsonl").write_text('{"id": "one", "text": "1"}\n', encoding="utf-8")
    model = Model(name="old", provider="replay", model="old", options={"file": "said.jsonl"})
    side = a_side(store, cases=())
    with Recorded(model, tmp_path, as_called(model, Redactor())) as records:
        side.spec = replace(side.spec, records=records)
        side.make_requests(CASES)
        side.plan.trial_numbers = [(0,), (0, 1), (0,)]
        yield side


@pytest.fixture
def side(store: ResultsStore) -> Side:
    made = a_side(store)
    made.plan.trial_numbers = [(0,), (0,), (0,)]
    return made


def column(*trials: TrialAt) -> TrialColumn:
    made = TrialColumn()
    for trial in trials:
        made.append(trial)
    return made


def test_a_trial_is_named_by_request_purpose_and_number(side: Side) -> None:
    key = side.key(TrialAt(1, 2))
    request = side.request(CASES[1])
    assert (key.request, key.purpose, key.n) == (request.digest, "gate", 2)
    assert request.messages[0].content == "two"
    assert request.provider == TARGET.model.provider


def test_without_a_limit_every_age_counts(side: Side) -> None:
    assert side.plan.counts(None)
    side.plan.not_before = NEW
    assert [side.plan.counts(at) for at in (OLD, NEW)] == [False, True]
    assert not side.plan.counts(None)


def test_what_was_cut_short_fails_unless_it_was_answered(side: Side, store: ResultsStore) -> None:
    side.plan.missing = column(TrialAt(0, 0), TrialAt(1, 0))
    side.plan.shared = column(TrialAt(2, 0))
    put(store, side, answered())
    side.cut_short(CUT)
    assert side.state.failures == {TrialAt(1, 0): CUT, TrialAt(2, 0): CUT}


def test_an_answer_that_is_too_old_was_cut_short(side: Side, store: ResultsStore) -> None:
    side.plan.missing, side.plan.not_before = column(TrialAt(0, 0)), NEW
    put(store, side, answered(at=OLD))
    side.cut_short(CUT)
    assert side.state.failures == {TrialAt(0, 0): CUT}


def test_a_settled_side_has_nothing_left_to_do(side: Side) -> None:
    for name in ("missing", "shared", "rescore"):
        setattr(side.plan, name, column(TrialAt(0, 0)))
    side.plan.finish()
    assert [*side.plan.missing, *side.plan.shared, *side.plan.rescore] == []


def test_a_case_without_a_record_fails_and_is_never_called(recorded: Side) -> None:
    planned(recorded, bound(CASES))
    assert [*recorded.plan.missing, *recorded.plan.shared] == []
    assert set(recorded.state.failures) == {TrialAt(1, 0), TrialAt(2, 0)}
    assert {each.kind for each in recorded.state.failures.values()} == {FailureKind.NO_RECORD}


def test_a_recorded_answer_is_part_of_the_request(store: ResultsStore, recorded: Side) -> None:
    assert a_side(store).plan.requests[0] != recorded.plan.requests[0]


def test_a_recorded_answer_is_available_with_any_store(recorded: Side) -> None:
    recorded.plan.not_before = OLD
    trials = recorded.plan.trials([0, 1, 2])
    (whole,) = recorded.completions(trials).values()
    assert (whole.text, whole.latency) == ("1", None)
    assert recorded.briefs(trials) == {TrialAt(0, 0): whole.brief}


def test_chunks_are_whole_and_in_order() -> None:
    assert list(chunks(range(5), 2)) == [[0, 1], [2, 3], [4]]
    assert list(chunks([], 2)) == []


def test_digests_come_back_as_they_went_in() -> None:
    given = [digest("llmops/test/v1", at) for at in range(5)]
    column = Digests()
    for each in given:
        column.append(each)
    assert (list(column), len(column), column[3]) == (given, 5, given[3])
    column[3] = given[0]
    assert list(column) == [*given[:3], given[0], given[4]]
    with pytest.raises(IndexError):
        column[5]


def test_trials_are_a_sequence_of_eight_bytes_each() -> None:
    column = TrialColumn()
    for at in range(1000):
        column.append(TrialAt(at, at % 3))
    assert len(column) == 1000
    assert list(column) == [TrialAt(at, at % 3) for at in range(1000)]
    assert sum(sys.getsizeof(getattr(column, name)) for name in TrialColumn.__slots__) < 10_000


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


FAILED = Failure(kind=FailureKind.SERVER, message="500")


def scored(store: ResultsStore, scorers: Scorers, completion: Completion, value: float) -> None:
    (key,) = scorers.keys(CASES[0], completion.digest)
    store.put_score(key, Score(value=value))


def first_trial(side: Side, scorers: Scorers) -> Trial:
    (trial,) = next(side_results(side, CASES, scorers)).trials
    return trial


def test_a_measured_trial_carries_its_scores_and_what_it_took(
    store: ResultsStore, scorers: Scorers
) -> None:
    completion = replace(answered("one"), usage=Usage(input=3, output=2), cost=0.5)
    side = planned(a_side(store), scorers)
    put(store, side, completion)
    scored(store, scorers, completion, 1.0)
    side.state.latencies[TrialAt(0, 0)] = 0.25
    trial = first_trial(side, scorers)
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
    assert first_trial(side, scorers).failure == FAILED


def test_an_answer_that_is_too_old_does_not_count(store: ResultsStore, scorers: Scorers) -> None:
    side = a_side(store)
    put(store, side, answered("one", at=OLD))
    side.plan.not_before = NEW
    assert first_trial(planned(side, scorers), scorers).failure is not None


def test_scores_that_live_for_one_run_are_read_from_the_side(
    store: ResultsStore, scorers: Scorers
) -> None:
    side = planned(a_side(store), scorers)
    put(store, side, answered("one"))
    side.state.scores[TrialAt(0, 0)] = {"exact": Score(value=0.0)}
    assert first_trial(side, scorers).scores == {"exact": 0.0}


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
