"""Make the calls of a run in one event loop with one engine, stopped by Ctrl-C.

Imported only if there is something to call: a run that reuses everything loads neither asyncio nor
the engine.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Coroutine, Iterable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Any, Protocol

import anyio

from llmops_cli.core.catalog import ScorerKind
from llmops_cli.core.errors import LlmopsError
from llmops_cli.core.ports import Progress, ignore_wait
from llmops_cli.core.prompt import Model
from llmops_cli.core.report import Spending
from llmops_cli.core.result import Failure, FailureKind
from llmops_cli.engine.budget import Budget
from llmops_cli.engine.call import Engine
from llmops_cli.plugins import open_scorer
from llmops_cli.run.evalset_run import EvalsetRun
from llmops_cli.run.execute import ScoringContext, execute
from llmops_cli.run.judge_client import JudgeCallCache
from llmops_cli.run.workspace import Workspace

DRAIN = 4.0
"""Seconds that running calls get after the first Ctrl-C, so that the process ends within 5."""
INTERRUPTED = Failure(kind=FailureKind.NOT_ATTEMPTED, message="not called: interrupted")


class Interruptible(Protocol):
    """What a first Ctrl-C marks as interrupted."""

    interrupted: bool


@dataclass(slots=True, kw_only=True)
class Calls:
    """The number, cost and models of the calls of one event loop."""

    interrupted: bool = False
    calls: int = 0
    cost: float | None = 0.0
    """US dollars; None: some of it is unpriced."""
    spent: dict[str, Spending] = field(default_factory=dict)
    """Of it, the calls of scorers, by role."""
    served: dict[str, str] = field(default_factory=dict)
    """The models that answered, as they report themselves, by the configured judge model."""
    budget: Budget | None = None
    """The remaining budget."""


def call_missing(
    workspace: Workspace,
    evalset_runs: Sequence[EvalsetRun],
    *,
    budget: Budget | None,
    offline: bool,
    progress: Progress,
) -> Calls:
    """Make every missing trial and score. Raises `LlmopsError`, never in a group."""
    calls = Calls(budget=budget)
    run_coroutine(_call_missing(workspace, evalset_runs, calls, progress, offline=offline))
    return calls


def run_coroutine(work: Coroutine[Any, Any, None]) -> None:
    """Run `work` in an event loop of its own. Raises `LlmopsError`, never in a group."""
    try:
        asyncio.run(work)
    except BaseExceptionGroup as errors:
        error = _first_llmops_error(errors)
        if error is None:
            raise
        raise error from errors


def _first_llmops_error(group: BaseExceptionGroup[BaseException]) -> LlmopsError | None:
    for error in group.exceptions:
        first = _first_llmops_error(error) if isinstance(error, BaseExceptionGroup) else error
        if isinstance(first, LlmopsError):
            return first
    return None


async def _call_missing(
    workspace: Workspace,
    evalset_runs: Sequence[EvalsetRun],
    calls: Calls,
    progress: Progress,
    *,
    offline: bool,
) -> None:
    if not offline:
        workspace.check_ready(model for run in evalset_runs for model in run.models_due)
    tell = getattr(progress, "waiting", ignore_wait)
    engine = Engine(
        providers=lambda model: workspace.open_provider(model, tell=tell),
        budget=calls.budget,
        redact=workspace.redact,
        counters=workspace.counters,
        tell=getattr(progress, "slowed_by", ignore_wait),
    )

    def reachable(model: Model) -> bool:
        return not offline or workspace.provider(model).offline

    judges = JudgeCallCache(engine, workspace.results_of, reachable=reachable)
    async with engine, AsyncExitStack() as stack, anyio.create_task_group() as group:
        group.start_soon(stop_on_signal, engine, calls, group.cancel_scope)
        kinds = [kind for run in evalset_runs for kind in run.scorers.kinds]
        context = await open_scoring(workspace, kinds, stack, judges)
        await execute(evalset_runs, engine, context=context, progress=progress)
        group.cancel_scope.cancel()
    if calls.interrupted:
        for side in (side for run in evalset_runs for side in run.sides):
            side.cut_short(INTERRUPTED)
    calls.calls, calls.budget = engine.spent.calls, engine.left
    calls.cost = None if engine.spent.unpriced else engine.spent.cost
    calls.served = judges.answering
    calls.spent.update((str(role), spending) for role, spending in judges.spent.items())


async def open_scoring(
    workspace: Workspace, kinds: Iterable[ScorerKind], stack: AsyncExitStack, calls: JudgeCallCache
) -> ScoringContext:
    """Open the code of `kinds`, which `stack` closes."""
    code = {
        name: await stack.enter_async_context(open_scorer(kind, workspace.context))
        for name, kind in {kind.name: kind for kind in kinds}.items()
    }
    return ScoringContext(code=code, calls=calls)


async def stop_on_signal(engine: Engine, run: Interruptible, scope: anyio.CancelScope) -> None:
    """Stop new calls at the first Ctrl-C or SIGTERM, and running ones at the second."""
    with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async for _ in signals:
            if run.interrupted:
                scope.cancel()
                return
            run.interrupted = True
            engine.interrupt()
            scope.deadline = anyio.current_time() + DRAIN
