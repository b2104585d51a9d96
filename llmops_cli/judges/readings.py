"""Score given answers with one scorer, through the engine, and store the results as usual.

A second reading of the same answer sends the judge the same requests as further trials with their
own numbers: so it isn't a cached copy of the first reading, and is stored separately. Its score is
not stored, because the first one's has the same key; its calls are, so that resuming costs nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass

import anyio

from llmops_cli.core.ports import Progress, ignore_wait
from llmops_cli.core.prompt import Case, Model
from llmops_cli.core.result import Completion, Score, Unscored
from llmops_cli.engine.budget import Budget
from llmops_cli.engine.call import Engine, run
from llmops_cli.run.execute import JudgeCallCache, open_scoring, run_coroutine, stop_on_signal
from llmops_cli.run.scorers import BoundScorer
from llmops_cli.run.workspace import Workspace
from llmops_cli.scorers.scoring import score

SECOND_READING = 1000
"""The number of a second reading's first call: more than one score ever makes."""
INTERRUPTED = Unscored(why="not read: interrupted")


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """An answer to score."""

    case: Case
    completion: Completion
    second: bool = False
    """Whether this is the second reading of it."""


@dataclass(kw_only=True)
class Readings:
    """The scores, in the order of the answers, with the calls and their cost."""

    scores: list[Score | Unscored]
    calls: int = 0
    reused: int = 0
    """Model answers that were stored already."""
    cost: float | None = 0.0
    """US dollars; None: some of it is unpriced."""
    budget: Budget | None = None
    """The remaining budget."""
    interrupted: bool = False

    def add_spending(self, other: Readings) -> None:
        """Add the calls and cost of `other`."""
        self.calls += other.calls
        self.reused += other.reused
        priced = self.cost is not None and other.cost is not None
        self.cost = (self.cost or 0.0) + (other.cost or 0.0) if priced else None
        self.interrupted = self.interrupted or other.interrupted


def read_answers(
    workspace: Workspace,
    bound: BoundScorer,
    answers: Sequence[Answer],
    *,
    budget: Budget | None,
    offline: bool,
    progress: Progress,
) -> Readings:
    """Return a score, or why there is none, for each of `answers`. Raises `LlmopsError`."""
    readings = Readings(scores=[INTERRUPTED for _ in answers], budget=budget)
    wait_notices = getattr(progress, "waiting", ignore_wait)
    done = unscored = 0

    def reachable(model: Model) -> bool:
        return not offline or workspace.provider(model).offline

    async def read_all() -> None:
        engine = Engine(
            providers=lambda model: workspace.open_provider(model, tell=wait_notices),
            budget=budget,
            redact=workspace.redact,
            counters=workspace.counters,
        )
        calls = JudgeCallCache(engine, workspace.results_of, reachable=reachable)
        models = bound.judge.models if bound.judge else ()
        workers = sum(model.limits.max_concurrency for model in models)
        async with engine, AsyncExitStack() as stack, anyio.create_task_group() as group:
            group.start_soon(stop_on_signal, engine, readings, group.cancel_scope)
            context = await open_scoring(workspace, [bound.kind], stack, calls)

            async def read(at: int) -> None:
                nonlocal done, unscored
                answer, results = answers[at], workspace.results
                key = bound.key(answer.case, answer.completion.digest)
                stores = bound.stored and not answer.second
                stored = results.scores([key]).get(key) if stores else None
                reading: Score | Unscored = stored or await score(
                    context.code[bound.kind.name],
                    bound.options.render(answer.case),
                    case=answer.case,
                    completion=answer.completion,
                    ask=context.judge_client(bound, first=SECOND_READING if answer.second else 0),
                )
                if stores and stored is None and isinstance(reading, Score):
                    results.put_score(key, reading)
                readings.scores[at] = reading
                done += 1
                unscored += isinstance(reading, Unscored)
                progress(done, len(answers), unscored)

            await run(range(len(answers)), read, workers=workers)
            group.cancel_scope.cancel()
        readings.budget = engine.left
        readings.calls = engine.spent.calls
        readings.reused = sum(spending.reused for spending in calls.spent.values())
        readings.cost = None if engine.spent.unpriced else engine.spent.cost

    run_coroutine(read_all())
    return readings
