"""One target on one evalset: keys, ages, and what could not be measured."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from llmops_cli.core.prompt import Model
from llmops_cli.core.redact import Redactor
from llmops_cli.core.result import Completion, Failure, FailureKind
from llmops_cli.providers.offline.replay import Recorded
from llmops_cli.run.columns import DrawAt
from llmops_cli.run.prepare import as_called
from llmops_cli.run.side import Arm, chunks
from llmops_cli.stores.results import ResultsStore, open_results
from tests.unit.run.test_planning import CASES, NEW, OLD, TARGET, an_arm, answered

CUT = Failure(kind=FailureKind.NOT_ATTEMPTED, message="interrupted")


@pytest.fixture
def recorded(store: ResultsStore, tmp_path: Path) -> Iterator[Arm]:
    """An arm whose file answers the first case alone."""
    (tmp_path / "said.jsonl").write_text('{"id": "one", "text": "1"}\n', encoding="utf-8")
    model = Model(name="old", provider="replay", model="old", options={"file": "said.jsonl"})
    arm = an_arm(store, cases=())
    with Recorded(model, tmp_path, as_called(model, Redactor())) as records:
        arm.records = records
        arm.address(CASES)
        arm.wanted = [(0,), (0, 1), (0,)]
        yield arm


@pytest.fixture
def store() -> Iterator[ResultsStore]:
    with open_results(None) as opened:
        yield opened


@pytest.fixture
def arm(store: ResultsStore) -> Arm:
    made = an_arm(store)
    made.wanted = [(0,), (0,), (0,)]
    return made


def test_a_draw_is_named_by_request_purpose_and_number(arm: Arm) -> None:
    key = arm.key(DrawAt(1, 2))
    request = arm.request(CASES[1])
    assert (key.request, key.purpose, key.n) == (request.digest, "gate", 2)
    assert request.messages[0].content == "two"
    assert request.provider == TARGET.model.provider


def test_without_a_limit_every_age_counts(arm: Arm) -> None:
    assert arm.counts(Completion(text="x"))
    arm.not_before = NEW
    assert [arm.counts(answered(at=at)) for at in (OLD, NEW)] == [False, True]
    assert not arm.counts(Completion(text="x"))


def test_what_was_cut_short_fails_unless_it_was_answered(arm: Arm, store: ResultsStore) -> None:
    arm.missing, arm.shared = [DrawAt(0, 0), DrawAt(1, 0)], [DrawAt(2, 0)]
    store.put_completions([(arm.key(DrawAt(0, 0)), answered())])
    arm.cut_short(CUT)
    assert arm.failures == {DrawAt(1, 0): CUT, DrawAt(2, 0): CUT}


def test_an_answer_that_is_too_old_was_cut_short(arm: Arm, store: ResultsStore) -> None:
    arm.missing, arm.not_before = [DrawAt(0, 0)], NEW
    store.put_completions([(arm.key(DrawAt(0, 0)), answered(at=OLD))])
    arm.cut_short(CUT)
    assert arm.failures == {DrawAt(0, 0): CUT}


def test_a_settled_arm_has_nothing_left_to_do(arm: Arm) -> None:
    arm.missing, arm.shared, arm.rescore = [DrawAt(0, 0)], [DrawAt(1, 0)], [DrawAt(2, 0)]
    arm.settle()
    assert (arm.missing, arm.shared, arm.rescore) == ([], [], [])


def test_drawing_anew_forgets_failures_and_pools_no_longer(arm: Arm) -> None:
    arm.failures[DrawAt(0, 0)] = CUT
    arm.draw_anew(NEW)
    assert (arm.not_before, arm.renewed, arm.pools, arm.failures) == (NEW, True, False, {})


def test_a_case_without_a_record_fails_and_is_never_called(recorded: Arm) -> None:
    unanswerable = [recorded.unanswerable(case, at) for at, case in enumerate(CASES)]
    assert unanswerable == [False, True, True]
    assert set(recorded.failures) == {DrawAt(1, 0), DrawAt(1, 1), DrawAt(2, 0)}
    assert {each.kind for each in recorded.failures.values()} == {FailureKind.NO_RECORD}


def test_a_recorded_answer_is_part_of_the_request(store: ResultsStore, recorded: Arm) -> None:
    assert an_arm(store).requests[0] != recorded.requests[0]


def test_a_recorded_answer_is_held_whatever_the_store_holds(recorded: Arm) -> None:
    recorded.not_before = OLD
    draws = recorded.draws([0, 1, 2])
    (whole,) = recorded.completions(draws).values()
    assert (whole.text, whole.latency) == ("1", None)
    assert recorded.briefs(draws) == {DrawAt(0, 0): whole.brief}


def test_chunks_are_whole_and_in_order() -> None:
    assert list(chunks(range(5), 2)) == [[0, 1], [2, 3], [4]]
    assert list(chunks([], 2)) == []
