"""What is held, missing, shared and to be scored again: on a real store, with real keys."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import pytest

from llmops_cli.core.case import Case, Evalset, ScorerSpec
from llmops_cli.core.ports import DrawKey
from llmops_cli.core.prompt import Message, Model, Prompt, Target
from llmops_cli.core.result import Completion, Failure, FailureKind, Score, ToolCall
from llmops_cli.plugins import catalog
from llmops_cli.project.templates import Templates
from llmops_cli.run.columns import DrawAt
from llmops_cli.run.scorers import Scorers
from llmops_cli.run.side import Arm
from llmops_cli.run.trial_plan import plan_arm
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


def an_arm(store: ResultsStore, *, repeats: int = 1, cases: Sequence[Case] = CASES) -> Arm:
    arm = Arm(
        name="support@working",
        role="candidate",
        target=TARGET,
        templates=Templates(PROMPT),
        results=store,
        purpose="gate",
        repeats=repeats,
    )
    arm.address(cases)
    return arm


def answered(text: str | None = "x", *, at: str = NEW, model: str = "tiny-1") -> Completion:
    known = None if text is not None else "sha256:" + "a" * 64
    return Completion(text=text, at=at, served_model=model, known_digest=known)


def planned(arm: Arm, scorers: Scorers, *, asked: set[DrawKey] | None = None) -> Arm:
    plan_arm(arm, CASES, scorers=scorers, asked=set() if asked is None else asked)
    return arm


def test_nothing_held_is_all_missing(store: ResultsStore, scorers: Scorers) -> None:
    arm = planned(an_arm(store, repeats=2), scorers)
    assert arm.missing == [DrawAt(case, n) for case in range(3) for n in range(2)]
    assert arm.planned == 6


def test_a_held_answer_without_a_score_is_scored_and_not_called(
    store: ResultsStore, scorers: Scorers
) -> None:
    arm = an_arm(store)
    store.put_completions([(arm.key(DrawAt(0, 0)), answered())])
    planned(arm, scorers)
    assert (arm.missing, arm.rescore) == ([DrawAt(1, 0), DrawAt(2, 0)], [DrawAt(0, 0)])


def test_an_answer_with_tool_calls_is_scored_like_any_other(
    store: ResultsStore, scorers: Scorers
) -> None:
    arm = an_arm(store)
    calls = (ToolCall(name="look", arguments={"at": ["this"]}),)
    store.put_completions([(arm.key(DrawAt(0, 0)), replace(answered(), tool_calls=calls))])
    assert planned(arm, scorers).rescore == [DrawAt(0, 0)]


def test_a_held_answer_with_its_score_needs_nothing(store: ResultsStore, scorers: Scorers) -> None:
    arm = an_arm(store)
    store.put_completions([(arm.key(DrawAt(0, 0)), answered())])
    (key,) = scorers.keys(CASES[0], answered().digest)
    store.put_score(key, Score(value=1.0))
    planned(arm, scorers)
    assert (DrawAt(0, 0) in arm.missing, arm.rescore) == (False, [])


def test_an_answer_known_by_its_digest_is_drawn_anew_where_a_score_is_missing(
    store: ResultsStore, scorers: Scorers
) -> None:
    arm = an_arm(store)
    store.put_completions([(arm.key(DrawAt(0, 0)), answered(None))])
    assert DrawAt(0, 0) in planned(arm, scorers).missing
    (key,) = scorers.keys(CASES[0], answered(None).digest)
    store.put_score(key, Score(value=1.0))
    planned(arm, scorers)
    assert (DrawAt(0, 0) in arm.missing, arm.rescore) == (False, [])


def test_what_is_asked_already_is_shared(store: ResultsStore, scorers: Scorers) -> None:
    asked: set[DrawKey] = set()
    planned(an_arm(store), scorers, asked=asked)
    twin = planned(an_arm(store), scorers, asked=asked)
    assert (twin.missing, len(twin.shared)) == ([], 3)


def test_skipped_cases_want_nothing(store: ResultsStore, scorers: Scorers) -> None:
    arm = an_arm(store)
    plan_arm(arm, CASES, scorers=scorers, asked=set(), skip=frozenset({1}))
    assert [len(each) for each in arm.wanted] == [1, 0, 1]


def test_a_draw_that_failed_in_this_run_is_not_planned_again(
    store: ResultsStore, scorers: Scorers
) -> None:
    arm = an_arm(store)
    arm.failures[DrawAt(1, 0)] = Failure(kind=FailureKind.SERVER, message="500")
    assert planned(arm, scorers).missing == [DrawAt(0, 0), DrawAt(2, 0)]


# Pooling -------------------------------------------------------------------------------------


def held(store: ResultsStore, arm: Arm, *answers: Completion) -> None:
    for n, each in enumerate(answers):
        store.put_completions([(arm.key(DrawAt(0, n)), each)])


def test_further_draws_of_the_model_that_answered_last_count(
    store: ResultsStore, scorers: Scorers
) -> None:
    arm = an_arm(store)
    held(store, arm, answered("a"), answered("b"), answered("c", at=OLD, model="tiny-0"))
    assert planned(arm, scorers).wanted == [(0, 1), (0,), (0,)]


def test_an_arm_that_does_not_pool_wants_its_repeats_only(
    store: ResultsStore, scorers: Scorers
) -> None:
    arm = an_arm(store)
    arm.pools = False
    held(store, arm, answered("a"), answered("b"))
    assert planned(arm, scorers).wanted == [(0,), (0,), (0,)]


def test_further_draws_that_are_too_old_are_neither_counted_nor_drawn_again(
    store: ResultsStore, scorers: Scorers
) -> None:
    arm = an_arm(store)
    arm.not_before = "2026-11-01T00:00:00+00:00"
    held(store, arm, answered("a"), answered("b", at=OLD), answered("c", at=OLD))
    planned(arm, scorers)
    assert arm.wanted[0] == (0,)
    assert arm.missing == [DrawAt(1, 0), DrawAt(2, 0)]


def test_what_is_wanted_of_the_evidence_alone_is_what_it_holds(
    store: ResultsStore, scorers: Scorers
) -> None:
    arm = an_arm(store, repeats=3)
    arm.evidence_only = True
    held(store, arm, answered("a"), answered("b"))
    planned(arm, scorers)
    assert (arm.wanted, arm.missing) == ([(0, 1), (), ()], [])
