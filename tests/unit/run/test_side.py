"""One target on one evalset: keys, ages, and what could not be measured."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from llmops_cli.core.prompt import Model
from llmops_cli.core.redact import Redactor
from llmops_cli.core.result import Failure, FailureKind
from llmops_cli.providers.replay import Recorded
from llmops_cli.run.prepare import as_called
from llmops_cli.run.side import Side, TrialAt, TrialColumn, chunks
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
