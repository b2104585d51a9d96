"""The part of a run that calls something: one event loop, one engine, stopped by Ctrl-C.

Imported when there is something to call and not before: a run that reuses everything loads
neither asyncio nor the engine.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Coroutine, Iterable
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any, Protocol

import anyio

from llmops_cli.core.catalog import ScorerKind
from llmops_cli.core.ports import Progress, untold
from llmops_cli.core.prompt import Model
from llmops_cli.core.report import Spending
from llmops_cli.core.result import Failure, FailureKind
from llmops_cli.engine.call import Engine
from llmops_cli.engine.pool import first_llmops_error
from llmops_cli.plugins import open_scorer
from llmops_cli.run.execute import execute
from llmops_cli.run.judge_client import JudgeCallCache
from llmops_cli.run.scoring_context import ScoringContext
from llmops_cli.run.workspace import Workspace

if TYPE_CHECKING:
    from llmops_cli.run.run_loop import Options, Run


DRAIN = 4.0
"""Seconds that running calls get after the first Ctrl-C, so that the process ends within 5."""
INTERRUPTED = Failure(kind=FailureKind.NOT_ATTEMPTED, message="not called: interrupted")


class Stoppable(Protocol):
    """What a first Ctrl-C stops."""

    interrupted: bool


def call(workspace: Workspace, run: Run, options: Options, progress: Progress) -> None:
    """Makes every missing trial and score of `run`. Raises `LlmopsError`, never in a group."""
    to_its_end(_execute(workspace, run, options, progress))


def to_its_end(work: Coroutine[Any, Any, None]) -> None:
    """Runs `work` in an event loop of its own. Raises `LlmopsError`, never in a group."""
    try:
        asyncio.run(work)
    except BaseExceptionGroup as errors:
        said = first_llmops_error(errors)
        if said is None:
            raise
        raise said from errors


async def _execute(workspace: Workspace, run: Run, options: Options, progress: Progress) -> None:
    works = [each.work() for each in run.pairings]
    if not options.offline:
        workspace.check_ready(model for work in works for model in work.due)
    tell = getattr(progress, "waiting", untold)
    engine = Engine(
        providers=lambda model: workspace.open_provider(model, tell=tell),
        budget=run.budget,
        redact=workspace.redact,
        counters=workspace.counters,
        tell=getattr(progress, "held_up", untold),
    )

    def reachable(model: Model) -> bool:
        return not options.offline or workspace.provider(model).offline

    calls = JudgeCallCache(engine, workspace.results_of, reachable=reachable)
    async with engine, AsyncExitStack() as stack, anyio.create_task_group() as group:
        group.start_soon(stop_on_signal, engine, run, group.cancel_scope)
        kinds = [kind for work in works for kind in work.scorers.kinds]
        desk = await open_desk(workspace, kinds, stack, calls)
        await execute(works, engine, desk=desk, progress=progress)
        group.cancel_scope.cancel()
    if run.interrupted:
        for work in works:
            for side in work.sides:
                side.cut_short(INTERRUPTED)
    run.budget = engine.left
    run.calls += engine.calls
    spent = engine.spent
    run.cost = None if spent.unpriced or run.cost is None else run.cost + spent.cost
    run.answering |= calls.answering
    for role, more in calls.spent.items():
        run.spent[role] = run.spent.get(role, Spending()).and_more(more)


async def open_desk(
    workspace: Workspace, kinds: Iterable[ScorerKind], stack: AsyncExitStack, calls: JudgeCallCache
) -> ScoringContext:
    """A desk with the code of `kinds`, which `stack` closes."""
    code = {
        name: await stack.enter_async_context(open_scorer(kind, workspace.world))
        for name, kind in {each.name: each for each in kinds}.items()
    }
    return ScoringContext(code=code, calls=calls)


async def stop_on_signal(engine: Engine, run: Stoppable, scope: anyio.CancelScope) -> None:
    """The first Ctrl-C or SIGTERM stops new calls and lets running ones end; a second cuts."""
    with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async for _ in signals:
            if run.interrupted:
                scope.cancel()
                return
            run.interrupted = True
            engine.interrupt()
            scope.deadline = anyio.current_time() + DRAIN
