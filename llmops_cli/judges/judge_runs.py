"""What one scorer makes of given answers: through the engine, kept like any score and any call.

A second reading of the same answer asks the judge the same again, as further trials of the same
requests: numbered apart, so that it is no copy of the first and is held by itself. Its score is
not kept, because the first one's has the name; its calls are, so that going on costs nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass

import anyio

from llmops_cli.core.case import Case
from llmops_cli.core.ports import Progress, untold
from llmops_cli.core.prompt import Model
from llmops_cli.core.result import Completion, Score, Unscored
from llmops_cli.engine.budget import Budget
from llmops_cli.engine.call import Engine
from llmops_cli.engine.pool import run
from llmops_cli.run.event_loop import open_desk, stop_on_signal, to_its_end
from llmops_cli.run.judge_client import JudgeCallCache
from llmops_cli.run.scorers import BoundScorer
from llmops_cli.run.scoring_context import ScoringContext
from llmops_cli.run.workspace import Workspace
from llmops_cli.scorers.scoring import score

AGAIN = 1000
"""The number of a second reading's first trial: beyond what one score ever asks."""
STOPPED = Unscored(why="not read: interrupted")


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """An answer to read."""

    case: Case
    completion: Completion
    again: bool = False
    """Whether this is the second reading of it."""


@dataclass(kw_only=True)
class Readings:
    """What was read, in the order of the jobs, and what that took."""

    scores: list[Score | Unscored]
    calls: int = 0
    reused: int = 0
    """Answers of models that were held."""
    cost: float | None = 0.0
    """US dollars; None: some of it is unpriced."""
    budget: Budget | None = None
    """What is left of it."""
    interrupted: bool = False

    def cut_short(self) -> bool:
        """Whether a Ctrl-C ended it, by now."""
        return self.interrupted

    def add(self, more: Readings) -> None:
        """Counts what reading further answers took."""
        self.calls += more.calls
        self.reused += more.reused
        known = self.cost is not None and more.cost is not None
        self.cost = (self.cost or 0.0) + (more.cost or 0.0) if known else None
        self.interrupted = self.interrupted or more.interrupted


def read(
    workspace: Workspace,
    bound: BoundScorer,
    jobs: Sequence[Job],
    *,
    budget: Budget | None,
    offline: bool,
    progress: Progress,
) -> Readings:
    """One score, or why there is none, for every job. Raises `LlmopsError`, never in a group."""
    readings = Readings(scores=[STOPPED for _ in jobs], budget=budget)
    reader = _Reader(workspace, bound, jobs, readings, progress)
    to_its_end(reader.work(offline=offline))
    return readings


class _Reader:
    def __init__(
        self,
        workspace: Workspace,
        bound: BoundScorer,
        jobs: Sequence[Job],
        readings: Readings,
        progress: Progress,
    ) -> None:
        self._workspace = workspace
        self._bound = bound
        self._jobs = jobs
        self._readings = readings
        self._progress = progress
        self._done = 0
        self._unscored = 0

    async def work(self, *, offline: bool) -> None:
        workspace, bound = self._workspace, self._bound
        tell = getattr(self._progress, "waiting", untold)
        engine = Engine(
            providers=lambda model: workspace.open_provider(model, tell=tell),
            budget=self._readings.budget,
            redact=workspace.redact,
            cells=workspace.cells,
        )

        def reachable(model: Model) -> bool:
            return not offline or workspace.provider(model).offline

        calls = JudgeCallCache(engine, workspace.results_of, reachable=reachable)
        asked = bound.judge.models if bound.judge else ()
        workers = sum(model.limits.max_concurrency for model in asked)
        async with engine, AsyncExitStack() as stack, anyio.create_task_group() as group:
            group.start_soon(stop_on_signal, engine, self._readings, group.cancel_scope)
            desk = await open_desk(workspace, [bound.kind], stack, calls)
            await run(range(len(self._jobs)), lambda at: self._read(at, desk), workers=workers)
            group.cancel_scope.cancel()
        readings, spent = self._readings, engine.spent
        readings.budget = engine.left
        readings.calls = engine.calls
        readings.reused = sum(each.reused for each in calls.spent.values())
        readings.cost = None if spent.unpriced else spent.cost

    async def _read(self, at: int, desk: ScoringContext) -> None:
        job, bound, results = self._jobs[at], self._bound, self._workspace.results
        key = bound.key(job.case, job.completion.digest)
        first = bound.kept and not job.again
        held = results.scores([key]).get(key) if first else None
        given: Score | Unscored = held or await score(
            desk.code[bound.kind.name],
            bound.options.render(job.case),
            case=job.case,
            completion=job.completion,
            ask=desk.ask(bound, first=AGAIN if job.again else 0),
        )
        if first and held is None and isinstance(given, Score):
            results.put_score(key, given)
        self._readings.scores[at] = given
        self._done += 1
        self._unscored += isinstance(given, Unscored)
        self._progress(self._done, len(self._jobs), self._unscored)
