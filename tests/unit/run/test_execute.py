"""Missing calls and scores: order, sharing, failures, transactions, and what a judge is sent."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import anyio
import pytest

from llmops_cli.core.digest import Json
from llmops_cli.core.errors import Unmeasured
from llmops_cli.core.policy import Policy
from llmops_cli.core.ports import PluginContext, TrialKey
from llmops_cli.core.prompt import (
    SILENT,
    Evalset,
    Judge,
    Message,
    Model,
    Request,
    StructuredOutput,
    Target,
)
from llmops_cli.core.result import Completion, Failure, FailureKind, Outcome
from llmops_cli.engine.call import Engine
from llmops_cli.project.templates import Templates
from llmops_cli.providers.openai.model import open_openai
from llmops_cli.run.comparison import EvalsetSelection, PromptComparison
from llmops_cli.run.evalset_run import EvalsetRun
from llmops_cli.run.execute import (
    JudgeCallCache,
    JudgeClient,
    ScoringContext,
    WriteBatcher,
    execute,
)
from llmops_cli.run.scorers import Scorers
from llmops_cli.run.selection import ResolvedTarget
from llmops_cli.run.side import Side, TrialAt
from llmops_cli.scorers.text import exact
from llmops_cli.stores.results import ResultsStore, open_results
from tests.servers import faulty
from tests.unit.run.sides import CASES, NEW, TARGET, a_side, planned, put

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


def an_evalset_run(scorers: Scorers, candidate: Side, *others: Side) -> EvalsetRun:
    evalset = Evalset(name="support", prompts=("support",), cases=CASES)
    selection = EvalsetSelection(evalset=evalset, cases=CASES, policy=Policy())
    comparison = PromptComparison(
        prompt="support",
        candidate=ResolvedTarget(name="support@working", target=TARGET),
        baseline=None,
        environment="production",
        evalsets=(selection,),
    )
    return EvalsetRun(
        comparison=comparison,
        selection=selection,
        scorers=scorers,
        candidate=candidate,
        others={f"other {at}": side for at, side in enumerate(others)},
    )


def carried_out(
    scorers: Scorers, *sides: Side, reply: Callable[[str], Outcome] = right
) -> tuple[Answering, list[tuple[int, int, int]]]:
    asked: set[TrialKey] = set()
    for side in sides:
        planned(side, scorers, requested=asked)
    engine, told = Answering(reply), list[tuple[int, int, int]]()

    def progress(done: int, planned: int, failed: int) -> None:
        told.append((done, planned, failed))

    context = ScoringContext(code={"exact": exact})
    evalset_runs = [an_evalset_run(scorers, *sides)]
    asyncio.run(execute(evalset_runs, engine, context=context, progress=progress))
    return engine, told


def test_every_missing_trial_is_made_kept_and_scored(store: ResultsStore, scorers: Scorers) -> None:
    side = a_side(store, repeats=2)
    engine, told = carried_out(scorers, side)
    assert (len(engine.asked), side.state.called, told[-1]) == (6, 6, (6, 6, 0))
    assert len(store.completions(side.key(at) for at in side.plan.trials([0, 1, 2]))) == 6
    (key,) = scorers.keys(CASES[0], Completion(text="one").digest)
    assert store.scores([key])[key].value == 1.0
    assert side.state.latencies[TrialAt(0, 1)] == 0.5


def test_the_sides_are_called_in_parallel(store: ResultsStore, scorers: Scorers) -> None:
    side, other = a_side(store), a_side(store)
    other.spec = replace(other.spec, purpose="baseline")
    engine, _ = carried_out(scorers, side, other)
    assert engine.asked == ["one", "one", "two", "two", "three", "three"]


def test_a_failed_trial_is_not_stored_and_the_others_continue(
    store: ResultsStore, scorers: Scorers
) -> None:
    side = a_side(store)
    _, told = carried_out(scorers, side, reply=broken)
    assert (side.state.failures, side.state.called, told[-1]) == (
        {TrialAt(1, 0): BROKEN},
        2,
        (3, 3, 1),
    )
    assert len(store.completions(side.key(at) for at in side.plan.trials([0, 1, 2]))) == 2


def test_a_shared_trial_is_answered_or_fails_with_the_one_that_is_made(
    store: ResultsStore, scorers: Scorers
) -> None:
    side, twin = a_side(store), a_side(store)
    engine, _ = carried_out(scorers, side, twin, reply=broken)
    assert engine.asked == ["one", "two", "three"]
    assert (twin.state.failures, twin.state.called) == ({TrialAt(1, 0): BROKEN}, 0)


def test_a_cached_answer_is_scored_without_a_call(store: ResultsStore, scorers: Scorers) -> None:
    side = a_side(store)
    put(store, side, Completion(text="one", at=NEW))
    engine, _ = carried_out(scorers, side)
    assert engine.asked == ["two", "three"]
    (key,) = scorers.keys(CASES[0], Completion(text="one").digest)
    assert key in store.scores([key])


def test_what_is_left_to_do_is_trials_and_scores(store: ResultsStore, scorers: Scorers) -> None:
    side = a_side(store)
    put(store, side, Completion(text="one", at=NEW))
    planned(side, scorers)
    assert an_evalset_run(scorers, side).todo == 3


def test_a_kill_would_repeat_no_more_calls_than_may_be_in_flight(
    store: ResultsStore, scorers: Scorers
) -> None:
    side = a_side(store, repeats=40)
    at_once = side.spec.target.model.limits.max_concurrency
    trials = [side.key(at) for at in (TrialAt(case, n) for case in range(3) for n in range(40))]
    at_risk = []

    class Slow(Answering):
        async def ask(self, model: Model, request: Request) -> Outcome:
            outcome = await super().ask(model, request)
            at_risk.append(len(self.asked) - len(store.completions(trials)))
            await asyncio.sleep(0.001)
            return outcome

    planned(side, scorers)
    context = ScoringContext(code={"exact": exact})
    evalset_runs = [an_evalset_run(scorers, side)]
    asyncio.run(execute(evalset_runs, Slow(right), context=context, progress=lambda *_: None))
    assert len(store.completions(trials)) == len(trials)
    assert max(at_risk) == at_once


ANSWERS = {
    TrialKey("sha256:" + f"{at:064x}", "gate", 0): Completion(text=f"answer {at}")
    for at in range(20)
}


class CountingStore(ResultsStore):
    """Counts its transactions; once `full`, it is a store on a full disk."""

    def __init__(self) -> None:
        super().__init__(None, durable=False)
        self.transactions = 0
        self.full = False

    def put_completions(
        self, completions: Iterable[tuple[TrialKey, Completion]], source: str = ""
    ) -> None:
        if self.full:
            raise Unmeasured("the disk is full")
        self.transactions += 1
        super().put_completions(completions, source)


@pytest.fixture
def counting() -> Iterator[CountingStore]:
    opened = CountingStore()
    yield opened
    opened.close()


def test_answers_that_come_together_are_one_transaction(counting: CountingStore) -> None:
    async def kept(batcher: WriteBatcher, key: TrialKey) -> None:
        await batcher.put(counting, key, ANSWERS[key])
        assert counting.completions([key])  # it counts from here on

    async def all_at_once() -> None:
        batcher = WriteBatcher()
        async with anyio.create_task_group() as group:
            for key in ANSWERS:
                group.start_soon(kept, batcher, key)

    anyio.run(all_at_once)
    assert {key: each.text for key, each in counting.completions(ANSWERS).items()} == {
        key: each.text for key, each in ANSWERS.items()
    }
    assert counting.transactions == 1


def test_an_answer_that_has_come_is_kept_even_if_the_run_is_canceled(
    counting: CountingStore,
) -> None:
    async def cut_short() -> None:
        batcher = WriteBatcher()
        async with anyio.create_task_group() as group:
            for key, answer in ANSWERS.items():
                group.start_soon(batcher.put, counting, key, answer)
            await anyio.lowlevel.checkpoint()
            group.cancel_scope.cancel()

    anyio.run(cut_short)
    assert len(counting.completions(ANSWERS)) == len(ANSWERS)


def test_who_shares_a_transaction_shares_its_trouble(counting: CountingStore) -> None:
    told = []

    async def refused(batcher: WriteBatcher, key: TrialKey) -> None:
        with pytest.raises(Unmeasured, match="the disk is full"):
            await batcher.put(counting, key, ANSWERS[key])
        told.append(key)

    async def all_at_once() -> None:
        batcher = WriteBatcher()
        async with anyio.create_task_group() as group:
            for key in ANSWERS:
                group.start_soon(refused, batcher, key)

    counting.full = True
    anyio.run(all_at_once)
    assert len(told) == len(ANSWERS)


SCHEMA: dict[str, Json] = {"type": "object", "properties": {"ok": {"type": "boolean"}}}


@pytest.mark.parametrize(
    ("held", "sent"),
    [("json_schema", "json_schema"), ("json_object", "json_object"), ("none", None)],
)
def test_a_judge_is_asked_for_what_its_server_can_hold(
    held: StructuredOutput, sent: str | None
) -> None:
    async def main() -> dict[str, Any]:
        async with faulty.serve() as server:
            context = PluginContext(root=Path(), environ={})
            model = Model(name="m", provider="openai", model="tiny", base_url=server.url)
            judge = Judge(target=Target(prompt=SILENT, model=model), structured=held)
            with open_results(None) as results:
                async with Engine(providers=lambda of: open_openai(of, context)) as engine:
                    calls = JudgeCallCache(engine, lambda _: results)
                    asker = JudgeClient(calls, judge, Templates(SILENT))
                    turn = Message(role="user", content="ok?")
                    outcome = await asker.generate([turn], json_schema=SCHEMA)
            assert isinstance(outcome, Completion)
            assert server.last is not None
            return server.last.body

    form = anyio.run(main).get("response_format")
    assert (form and form["type"]) == sent
