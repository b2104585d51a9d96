"""Making what is missing: order, sharing, failures, progress."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator

import pytest

from llmops_cli.core.case import Evalset, ScorerSpec
from llmops_cli.core.ports import DrawKey
from llmops_cli.core.prompt import Model, Request
from llmops_cli.core.result import Completion, Failure, FailureKind, Outcome
from llmops_cli.plugins import catalog
from llmops_cli.run.columns import DrawAt
from llmops_cli.run.evalset_run import Work
from llmops_cli.run.execute import execute
from llmops_cli.run.scorers import Scorers
from llmops_cli.run.scoring_context import ScoringContext
from llmops_cli.run.side import Arm
from llmops_cli.run.trial_plan import plan_arm
from llmops_cli.scorers.text import exact
from llmops_cli.stores.results import ResultsStore, open_results
from tests.unit.run.test_planning import CASES, NEW, an_arm

BROKEN = Failure(kind=FailureKind.SERVER, message="500")


class Answering:
    """Asks nobody: the answer to a request is what `reply` makes of its text."""

    def __init__(self, reply: Callable[[str], Outcome]) -> None:
        self._reply = reply
        self.asked: list[str] = []

    async def ask(self, model: Model, request: Request) -> Outcome:
        text = request.messages[-1].content
        assert isinstance(text, str)
        self.asked.append(text)
        return self._reply(text)


def right(text: str) -> Outcome:
    return Completion(text=text, at=NEW, latency=0.5)


def broken(text: str) -> Outcome:
    return BROKEN if text == "two" else right(text)


@pytest.fixture
def store() -> Iterator[ResultsStore]:
    with open_results(None) as opened:
        yield opened


@pytest.fixture
def scorers() -> Scorers:
    spec = ScorerSpec(kind="exact", label="exact", minimum=1.0)
    evalset = Evalset(name="support", prompts=("support",), cases=CASES, scorers=(spec,))
    return Scorers(catalog(), evalset, lambda _: b"")


def carried_out(
    scorers: Scorers, *arms: Arm, reply: Callable[[str], Outcome] = right
) -> tuple[Answering, list[tuple[int, int, int]]]:
    asked: set[DrawKey] = set()
    for arm in arms:
        plan_arm(arm, CASES, scorers=scorers, asked=asked)
    engine, told = Answering(reply), list[tuple[int, int, int]]()

    def progress(done: int, planned: int, failed: int) -> None:
        told.append((done, planned, failed))

    work = Work(cases=CASES, scorers=scorers, arms=arms)
    asyncio.run(
        execute([work], engine, desk=ScoringContext(code={"exact": exact}), progress=progress)
    )
    return engine, told


def test_every_missing_draw_is_made_kept_and_scored(store: ResultsStore, scorers: Scorers) -> None:
    arm = an_arm(store, repeats=2)
    engine, told = carried_out(scorers, arm)
    assert (len(engine.asked), arm.called, told[-1]) == (6, 6, (6, 6, 0))
    assert len(store.completions(arm.key(at) for at in arm.draws([0, 1, 2]))) == 6
    (key,) = scorers.keys(CASES[0], Completion(text="one").digest)
    assert store.scores([key])[key].value == 1.0
    assert arm.latencies[DrawAt(0, 1)] == 0.5


def test_the_arms_are_drawn_side_by_side(store: ResultsStore, scorers: Scorers) -> None:
    arm, other = an_arm(store), an_arm(store)
    other.purpose = "baseline"
    engine, _ = carried_out(scorers, arm, other)
    assert engine.asked == ["one", "one", "two", "two", "three", "three"]


def test_a_failed_draw_is_kept_nowhere_and_the_others_go_on(
    store: ResultsStore, scorers: Scorers
) -> None:
    arm = an_arm(store)
    _, told = carried_out(scorers, arm, reply=broken)
    assert (arm.failures, arm.called, told[-1]) == ({DrawAt(1, 0): BROKEN}, 2, (3, 3, 1))
    assert len(store.completions(arm.key(at) for at in arm.draws([0, 1, 2]))) == 2


def test_a_shared_draw_is_answered_or_fails_with_the_one_that_is_made(
    store: ResultsStore, scorers: Scorers
) -> None:
    arm, twin = an_arm(store), an_arm(store)
    engine, _ = carried_out(scorers, arm, twin, reply=broken)
    assert engine.asked == ["one", "two", "three"]
    assert (twin.failures, twin.called) == ({DrawAt(1, 0): BROKEN}, 0)


def test_a_held_answer_is_scored_without_a_call(store: ResultsStore, scorers: Scorers) -> None:
    arm = an_arm(store)
    store.put_completions([(arm.key(DrawAt(0, 0)), Completion(text="one", at=NEW))])
    engine, _ = carried_out(scorers, arm)
    assert engine.asked == ["two", "three"]
    (key,) = scorers.keys(CASES[0], Completion(text="one").digest)
    assert key in store.scores([key])


def test_what_is_left_to_do_is_draws_and_scores(store: ResultsStore, scorers: Scorers) -> None:
    arm = an_arm(store)
    store.put_completions([(arm.key(DrawAt(0, 0)), Completion(text="one", at=NEW))])
    plan_arm(arm, CASES, scorers=scorers, asked=set())
    assert Work(cases=CASES, scorers=scorers, arms=[arm]).todo == 3


def test_a_kill_would_repeat_no_more_calls_than_may_be_in_flight(
    store: ResultsStore, scorers: Scorers
) -> None:
    arm = an_arm(store, repeats=40)
    at_once = arm.target.model.limits.max_concurrency
    draws = [arm.key(at) for at in (DrawAt(case, n) for case in range(3) for n in range(40))]
    at_risk = []

    class Slow(Answering):
        async def ask(self, model: Model, request: Request) -> Outcome:
            outcome = await super().ask(model, request)
            at_risk.append(len(self.asked) - len(store.completions(draws)))
            await asyncio.sleep(0.001)
            return outcome

    plan_arm(arm, CASES, scorers=scorers, asked=set())
    work, desk = (
        Work(cases=CASES, scorers=scorers, arms=[arm]),
        ScoringContext(code={"exact": exact}),
    )
    asyncio.run(execute([work], Slow(right), desk=desk, progress=lambda *_: None))
    assert len(store.completions(draws)) == len(draws)
    assert max(at_risk) == at_once
