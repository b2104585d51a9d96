"""What is held, missing, shared and to be scored again: on a real store, with real keys."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import pytest

from llmops_cli.core.ports import TrialKey
from llmops_cli.core.prompt import Case, Evalset, Message, Model, Prompt, ScorerSpec, Target
from llmops_cli.core.result import Completion, Failure, FailureKind, Score, ToolCall
from llmops_cli.plugins.catalog import catalog
from llmops_cli.project.templates import Templates
from llmops_cli.run.scorers import Scorers
from llmops_cli.run.side import Side, SideSpec, TrialAt, TrialPlan
from llmops_cli.stores.results import ResultsStore, open_results

CASES = tuple(
    Case(id=name, inputs={"question": name}, expected=name) for name in ("one", "two", "three")
)
PROMPT = Prompt(
    name="support",
    model="tiny",
    inputs={"question": {"type": "string"}},
    messages=(Message(role="user", content="{{ question }}"),),
)
TARGET = Target(prompt=PROMPT, model=Model(name="tiny", provider="openai", model="tiny"))
NEW, OLD = "2026-11-20T12:00:00.000+00:00", "2026-10-01T12:00:00.000+00:00"


@pytest.fixture
def store() -> Iterator[ResultsStore]:
    with open_results(None) as opened:
        yield opened


@pytest.fixture
def scorers() -> Scorers:
    spec = ScorerSpec(kind="exact", label="exact", minimum=1.0)
    evalset = Evalset(name="support", prompts=("support",), cases=CASES, scorers=(spec,))
    return Scorers(catalog(), evalset, lambda _: b"")


def a_side(store: ResultsStore, *, repeats: int = 1, cases: Sequence[Case] = CASES) -> Side:
    spec = SideSpec(
        name="support@working",
        role="candidate",
        target=TARGET,
        templates=Templates(PROMPT),
        results=store,
        purpose="gate",
    )
    side = Side(spec=spec, plan=TrialPlan(repeats=repeats))
    side.make_requests(cases)
    return side


def answered(text: str | None = "x", *, at: str = NEW, model: str = "tiny-1") -> Completion:
    known = None if text is not None else "sha256:" + "a" * 64
    return Completion(text=text, at=at, served_model=model, known_digest=known)


def planned(side: Side, scorers: Scorers, *, asked: set[TrialKey] | None = None) -> Side:
    side.plan_trials(CASES, scorers=scorers, requested=set() if asked is None else asked)
    return side


def test_with_an_empty_cache_everything_is_missing(store: ResultsStore, scorers: Scorers) -> None:
    side = planned(a_side(store, repeats=2), scorers)
    assert side.plan.missing == [TrialAt(case, n) for case in range(3) for n in range(2)]
    assert side.plan.planned == 6


def test_a_cached_answer_without_a_score_is_scored_and_not_called(
    store: ResultsStore, scorers: Scorers
) -> None:
    side = a_side(store)
    store.put_completions([(side.key(TrialAt(0, 0)), answered())])
    planned(side, scorers)
    assert (side.plan.missing, side.plan.rescore) == (
        [TrialAt(1, 0), TrialAt(2, 0)],
        [TrialAt(0, 0)],
    )


def test_an_answer_with_tool_calls_is_scored_like_any_other(
    store: ResultsStore, scorers: Scorers
) -> None:
    side = a_side(store)
    calls = (ToolCall(name="look", arguments={"at": ["this"]}),)
    store.put_completions([(side.key(TrialAt(0, 0)), replace(answered(), tool_calls=calls))])
    assert planned(side, scorers).plan.rescore == [TrialAt(0, 0)]


def test_a_cached_answer_with_its_score_needs_nothing(
    store: ResultsStore, scorers: Scorers
) -> None:
    side = a_side(store)
    store.put_completions([(side.key(TrialAt(0, 0)), answered())])
    (key,) = scorers.keys(CASES[0], answered().digest)
    store.put_score(key, Score(value=1.0))
    planned(side, scorers)
    assert (TrialAt(0, 0) in side.plan.missing, side.plan.rescore) == (False, [])


def test_an_answer_known_by_its_digest_is_rerun_where_a_score_is_missing(
    store: ResultsStore, scorers: Scorers
) -> None:
    side = a_side(store)
    store.put_completions([(side.key(TrialAt(0, 0)), answered(None))])
    assert TrialAt(0, 0) in planned(side, scorers).plan.missing
    (key,) = scorers.keys(CASES[0], answered(None).digest)
    store.put_score(key, Score(value=1.0))
    planned(side, scorers)
    assert (TrialAt(0, 0) in side.plan.missing, side.plan.rescore) == (False, [])


def test_what_is_asked_already_is_shared(store: ResultsStore, scorers: Scorers) -> None:
    asked: set[TrialKey] = set()
    planned(a_side(store), scorers, asked=asked)
    twin = planned(a_side(store), scorers, asked=asked)
    assert (twin.plan.missing, len(twin.plan.shared)) == ([], 3)


def test_skipped_cases_want_nothing(store: ResultsStore, scorers: Scorers) -> None:
    side = a_side(store)
    side.plan_trials(CASES, scorers=scorers, requested=set(), skip=frozenset({1}))
    assert [len(each) for each in side.plan.trial_numbers] == [1, 0, 1]


def test_a_trial_that_failed_in_this_run_is_not_planned_again(
    store: ResultsStore, scorers: Scorers
) -> None:
    side = a_side(store)
    side.state.failures[TrialAt(1, 0)] = Failure(kind=FailureKind.SERVER, message="500")
    assert planned(side, scorers).plan.missing == [TrialAt(0, 0), TrialAt(2, 0)]


# Pooling -------------------------------------------------------------------------------------


def held(store: ResultsStore, side: Side, *answers: Completion) -> None:
    for n, each in enumerate(answers):
        store.put_completions([(side.key(TrialAt(0, n)), each)])


def test_further_trials_of_the_model_that_answered_last_count(
    store: ResultsStore, scorers: Scorers
) -> None:
    side = a_side(store)
    held(store, side, answered("a"), answered("b"), answered("c", at=OLD, model="tiny-0"))
    assert planned(side, scorers).plan.trial_numbers == [(0, 1), (0,), (0,)]


def test_a_side_that_does_not_pool_wants_its_repeats_only(
    store: ResultsStore, scorers: Scorers
) -> None:
    side = a_side(store)
    side.plan.pools = False
    held(store, side, answered("a"), answered("b"))
    assert planned(side, scorers).plan.trial_numbers == [(0,), (0,), (0,)]


def test_further_trials_that_are_too_old_are_neither_counted_nor_run_again(
    store: ResultsStore, scorers: Scorers
) -> None:
    side = a_side(store)
    side.plan.not_before = "2026-11-01T00:00:00+00:00"
    held(store, side, answered("a"), answered("b", at=OLD), answered("c", at=OLD))
    planned(side, scorers)
    assert side.plan.trial_numbers[0] == (0,)
    assert side.plan.missing == [TrialAt(1, 0), TrialAt(2, 0)]


def test_what_is_wanted_of_the_evidence_alone_is_what_it_holds(
    store: ResultsStore, scorers: Scorers
) -> None:
    side = a_side(store, repeats=3)
    side.spec = replace(side.spec, evidence_only=True)
    held(store, side, answered("a"), answered("b"))
    planned(side, scorers)
    assert (side.plan.trial_numbers, side.plan.missing) == ([(0, 1), (), ()], [])
