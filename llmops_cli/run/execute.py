"""Run the missing trials and compute the missing scores, in one event loop with one engine.

Imported only if there is something to call: a run that reuses everything loads neither asyncio nor
the engine.

Every answer is in the store before it is counted, so a run that is killed repeats none of its
paid calls. A failed trial stays in memory: the next run tries it again. A judge's answer is a
result like any other: keyed by its request and by how often the same was asked within one score,
read from the store before it is paid for, called once where several scores need it at the same
time, and counted by what it was for.
"""

from __future__ import annotations

import asyncio
import json
import signal
from collections import Counter
from collections.abc import Callable, Coroutine, Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import chain
from types import FrameType
from typing import Any, NamedTuple, Protocol

import anyio
from anyio.lowlevel import cancel_shielded_checkpoint

from llmops_cli.core.digest import Json
from llmops_cli.core.errors import LlmopsError
from llmops_cli.core.limits import never
from llmops_cli.core.ports import (
    Ask,
    Progress,
    Role,
    Scorer,
    ScorerKind,
    TrialKey,
    ignore_wait,
)
from llmops_cli.core.prompt import SILENT, Case, Judge, Message, Model, Request, Target
from llmops_cli.core.report import Spending
from llmops_cli.core.result import Completion, Failure, FailureKind, Outcome, Score, Unscored
from llmops_cli.engine.call import Engine, run
from llmops_cli.plugins.catalog import check_ready, open_scorer
from llmops_cli.project.templates import Templates
from llmops_cli.run.evalset_run import EvalsetRun, Run
from llmops_cli.run.scorers import BoundScorer, Scorers
from llmops_cli.run.selection import EvalOptions
from llmops_cli.run.side import Side, TrialAt, chunks
from llmops_cli.run.workspace import Workspace
from llmops_cli.scorers.scoring import score
from llmops_cli.stores.results import ResultsStore
from llmops_cli.stores.sources import UNKNOWN

DRAIN = 4.0
"""Seconds that running calls get after the first Ctrl-C, so that the process ends within 5."""
INTERRUPTED = Failure(kind=FailureKind.NOT_ATTEMPTED, message="not called: interrupted")
WORKERS_PER_CALL = 2
"""Workers for each call that may be in flight: while one waits for its answer, another scores the
last one and has the next request ready."""


class Job(NamedTuple):
    """A trial to call and to score, or one that is stored and only to be scored."""

    evalset_run: EvalsetRun
    side: Side
    at: TrialAt
    stored: Completion | None = None
    against: Completion | None = None
    """The baseline's answer to compare it with, for paired scores."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoringContext:
    """What scoring needs during a run: the opened code of each kind of scorer, and the judges."""

    code: Mapping[str, Scorer]
    calls: JudgeCallCache | None = None
    """How judges are called; None if no scorer calls one."""
    stopped: Callable[[], bool] = never
    """Whether no further score is needed."""
    at_base: ScoringContext | None = None
    """The context of evalsets as they are at the base revision: their scorers read files there."""

    def judge_client(
        self, bound: BoundScorer, *, first: int = 0, outdated: AbstractSet[str] = frozenset()
    ) -> Ask | None:
        """Return the judge client of one score; None for a scorer without a judge.

        `outdated`: judges whose stored answers are no longer valid.
        """
        if bound.judge is None:
            return None
        assert self.calls is not None
        assert bound.templates is not None
        return JudgeClient(self.calls, bound.judge, bound.templates, first=first, outdated=outdated)

    async def score_trial(
        self,
        side: Side,
        at: TrialAt,
        case: Case,
        completion: Completion,
        *,
        scorers: Scorers,
        against: Completion | None = None,
    ) -> None:
        """Compute the missing scores of one answer, or those that compare it with `against`."""
        state, compared_with = side.state, None if against is None else against.digest
        due = scorers.due(case) if against is None else scorers.paired
        keys = scorers.keys(case, completion.digest, compared_with)
        stored = side.spec.results.scores(keys)
        for bound in due:
            key = bound.key(case, completion.digest, compared_with)
            reused = bound.kind.live and completion.latency is None
            if reused or scorers.counts(bound, stored, key):
                continue
            result: Score | Unscored = Unscored(
                why="the text of the baseline's answer is not stored"
            )
            if against is None or against.text is not None:
                options = bound.options.render(case)
                outdated = scorers.outdated.get(bound.label, frozenset())
                result = await score(
                    self.code[bound.kind.name],
                    options if against is None else {**options, "against": against},
                    case=case,
                    completion=completion,
                    ask=self.judge_client(bound, outdated=outdated),
                    stopped=self.stopped,
                )
            if isinstance(result, Unscored):
                state.unscored.setdefault(at, {})[bound.label] = result.why
                continue
            state.unscored.get(at, {}).pop(bound.label, None)
            if bound.stored:
                side.spec.results.put_score(key, result, bound.source)
            else:
                state.scores.setdefault(at, {})[bound.label] = result


async def execute(
    evalset_runs: Sequence[EvalsetRun],
    engine: ModelCaller,
    *,
    context: ScoringContext,
    progress: Progress,
) -> None:
    """Call and score what is missing in `evalset_runs`."""
    planned = sum(item.todo for item in evalset_runs)
    models = {model.name: model for item in evalset_runs for model in item.models}
    in_flight = sum(model.limits.max_concurrency for model in models.values())
    sides = [side for item in evalset_runs for side in item.sides]
    worker = Worker(engine, context, in_flight)
    worker.times = {side.key(at): (None, None) for side in sides for at in side.plan.shared}
    done = 0
    tell = getattr(progress, "skipped", ignore_count)

    async def carry_out(job: Job) -> None:
        nonlocal done
        await worker.carry_out(job)
        done += 1
        tell(worker.skipped)
        progress(done, planned, len(worker.failed) - worker.skipped)

    progress(0, planned, 0)
    workers = WORKERS_PER_CALL * in_flight
    jobs = chain(_missing(evalset_runs), _stored(evalset_runs, lambda side: side.plan.rescore))
    await run(jobs, carry_out, workers=workers)
    planned += sum(len(side.plan.shared) for side in sides)
    shared = _stored(evalset_runs, lambda side: side.plan.shared)
    await run(shared, carry_out, workers=workers)
    pairs = (
        Job(item, item.candidate, *pair) for item in evalset_runs for pair in item.pairs_to_score()
    )
    await run(pairs, worker.carry_out, workers=workers)
    for side in sides:
        for at in side.plan.shared:
            if failure := worker.failed.get(side.key(at)):
                side.state.failures[at] = failure


def ignore_count(_count: int) -> None:
    """Ignore how many calls were not attempted."""


class Worker:
    """Calls models, stores their answers and scores them.

    At most `at_once` answers are not stored yet: those a killed run would have to repeat.
    """

    def __init__(self, engine: ModelCaller, context: ScoringContext, at_once: int) -> None:
        self._engine = engine
        self._context = context
        self._batcher = WriteBatcher()
        self._at_risk = anyio.Semaphore(max(1, at_once), fast_acquire=True)
        self.failed: dict[TrialKey, Failure] = {}
        self.skipped = 0
        """How many of them were not attempted."""
        self.times: dict[TrialKey, tuple[float | None, float | None]] = {}
        """The times of the calls whose answers several evalsets share."""

    async def carry_out(self, job: Job) -> None:
        """Call what is not stored, and score the answer."""
        evalset_run, side, at, completion, against = job
        case, state = evalset_run.cases[at.case], side.state
        if completion is None:
            outcome = await self._call(side, at, side.request(case))
            if isinstance(outcome, Failure):
                state.failures[at] = self.failed[side.key(at)] = outcome
                self.skipped += not outcome.kind.attempted
                return
            state.failures.pop(at, None)
            state.called += 1
            completion = outcome
            if side.key(at) in self.times:
                self.times[side.key(at)] = (outcome.latency, outcome.first_token)
        elif (times := self.times.get(side.key(at))) is not None:
            completion = replace(completion, latency=times[0], first_token=times[1])
        if completion.latency is not None:
            state.latencies[at] = completion.latency
        if completion.first_token is not None:
            state.first_tokens[at] = completion.first_token
        context = self._context.at_base if evalset_run.selection.base_of else self._context
        assert context is not None
        await context.score_trial(
            side, at, case, completion, scorers=evalset_run.scorers, against=against
        )

    async def _call(self, side: Side, at: TrialAt, request: Request) -> Outcome:
        """Return the outcome of one trial; an answer is in the store by then."""
        async with self._at_risk:
            outcome = await self._engine.ask(side.spec.target.model, request)
            if isinstance(outcome, Completion):
                key, spec = side.key(at), side.spec
                await self._batcher.put(spec.results, key, outcome, spec.source)
            return outcome


def _missing(evalset_runs: Iterable[EvalsetRun]) -> Iterator[Job]:
    """Yield the trials to call, the sides in turns, so that a run that is cut short has pairs."""
    for evalset_run in evalset_runs:
        queues = [(side, iter(side.plan.missing)) for side in evalset_run.sides]
        while queues:
            for side, queue in tuple(queues):
                at = next(queue, None)
                if at is None:
                    queues.remove((side, queue))
                else:
                    yield Job(evalset_run, side, at)


def _stored(
    evalset_runs: Iterable[EvalsetRun], select: Callable[[Side], Iterable[TrialAt]]
) -> Iterator[Job]:
    """Yield the selected trials that are stored, or that an equal request has made."""
    for evalset_run in evalset_runs:
        for side in evalset_run.sides:
            for part in chunks(select(side)):
                for at, completion in side.completions(part).items():
                    yield Job(evalset_run, side, at, completion)


class Interruptible(Protocol):
    """What the first Ctrl-C marks as interrupted."""

    interrupted: bool


def run_coroutine(work: Coroutine[Any, Any, None]) -> None:
    """Run `work` in an event loop of its own. Raises `LlmopsError`, never in a group."""
    try:
        asyncio.run(work)
    except BaseExceptionGroup as errors:
        error: BaseException | None = errors.subgroup(LlmopsError)
        if error is None:
            raise
        while isinstance(error, BaseExceptionGroup):
            error = error.exceptions[0]
        raise error from errors


async def call_missing(
    workspace: Workspace, run: Run, options: EvalOptions, progress: Progress
) -> None:
    """Make every missing trial and score of `run`, and count the calls in it."""
    evalset_runs = run.evalset_runs
    if not options.offline:
        for model in (model for item in evalset_runs for model in item.models_due):
            check_ready(workspace.provider(model), model, workspace.context)
    tell = getattr(progress, "waiting", ignore_wait)
    engine = Engine(
        providers=lambda model: workspace.open_provider(model, tell=tell),
        budget=run.budget,
        redact=workspace.redact,
        counters=workspace.counters,
        tell=getattr(progress, "slowed_by", ignore_wait),
    )
    engine.shards = 1 if options.shard is None else options.shard.count

    judges = judge_calls(workspace, engine, offline=options.offline, no_cache=options.no_cache)
    try:
        async with engine, AsyncExitStack() as stack, anyio.create_task_group() as group:
            group.start_soon(stop_on_signal, engine, run, group.cancel_scope)
            kinds = [kind for item in evalset_runs for kind in item.scorers.kinds]
            context = await open_scoring(workspace, kinds, stack, judges, run)
            if any(item.selection.base_of for item in evalset_runs):
                before = replace(workspace, project=workspace.rules)
                at_base = await open_scoring(before, kinds, stack, judges, run)
                context = replace(context, at_base=at_base)
            await execute(evalset_runs, engine, context=context, progress=progress)
            group.cancel_scope.cancel()
    finally:
        run.calls += engine.spent.calls
        for role, spending in judges.spent.items():
            run.spent[role] = run.spent.get(role, Spending()) + spending
    if run.interrupted:
        for side in run.sides:
            side.cut_short(INTERRUPTED)
    run.budget = engine.left
    priced = run.cost is not None and not engine.spent.unpriced
    run.cost = (run.cost or 0.0) + engine.spent.cost if priced else None
    run.served |= judges.answering


def judge_calls(
    workspace: Workspace, engine: Engine, *, offline: bool, no_cache: bool = False
) -> JudgeCallCache:
    """Return the calls of judges, stored where the workspace stores their models' answers.

    With `no_cache`, they are stored for this run only.
    """
    return JudgeCallCache(
        engine,
        (lambda _: workspace.volatile) if no_cache else workspace.results_of,
        source=workspace.source_of,
        may_not_call=partial(workspace.may_not_call, offline=offline),
    )


async def open_scoring(
    workspace: Workspace,
    kinds: Iterable[ScorerKind],
    stack: AsyncExitStack,
    calls: JudgeCallCache,
    run: Interruptible,
) -> ScoringContext:
    """Open the code of `kinds`, which `stack` closes."""
    of_base = workspace.project is workspace.rules
    code = {
        name: await stack.enter_async_context(
            open_scorer(
                kind, workspace.scorer_context if kind.code or of_base else workspace.context
            )
        )
        for name, kind in {kind.name: kind for kind in kinds}.items()
    }
    return ScoringContext(code=code, calls=calls, stopped=lambda: run.interrupted)


async def stop_on_signal(engine: Engine, run: Interruptible, scope: anyio.CancelScope) -> None:
    """Stop new calls at the first Ctrl-C or SIGTERM, and running ones at the second.

    Scores are told at once, by `run`: the event loop may not get a turn before many are computed.
    """

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        run.interrupted = True

    stopping = False
    with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        for which in (signal.SIGINT, signal.SIGTERM):
            signal.signal(which, interrupt)  # the event loop learns of signals by a pipe as well
        async for _ in signals:
            if stopping:
                scope.cancel()
                return
            stopping = True
            engine.interrupt()
            scope.deadline = anyio.current_time() + DRAIN


class ModelCaller(Protocol):
    """The part of the engine's interface that runs and judges use."""

    async def ask(self, model: Model, request: Request) -> Outcome: ...


@dataclass(slots=True, eq=False)
class _Batch:
    """Answers that are written in one transaction."""

    answers: list[tuple[TrialKey, Completion]] = field(default_factory=list)
    written: anyio.Event = field(default_factory=anyio.Event)
    error: BaseException | None = None


class WriteBatcher:
    """Stores answers; those that arrive at the same time are written together.

    An answer counts once it is written, and a transaction for each would hold up every answer
    behind it. So the first one yields to the event loop once; the answers that arrive meanwhile are
    written in the same transaction.
    """

    def __init__(self) -> None:
        self._open: dict[tuple[ResultsStore, str], _Batch] = {}

    async def put(
        self, results: ResultsStore, key: TrialKey, completion: Completion, source: str = UNKNOWN
    ) -> None:
        """Return when `completion` is in `results`. It is stored even if the caller is cancelled.

        Raises what the store raises.
        """
        place = results, source
        batch = self._open.get(place)
        if batch is not None:
            batch.answers.append((key, completion))
            await batch.written.wait()
            if batch.error is not None:
                raise batch.error
            return
        batch = self._open[place] = _Batch([(key, completion)])
        await cancel_shielded_checkpoint()
        del self._open[place]
        try:
            results.put_completions(batch.answers, source)
        except BaseException as error:
            batch.error = error
            raise
        finally:
            batch.written.set()


@dataclass(slots=True)
class _PendingCall:
    """A call that others wait for."""

    done: anyio.Event = field(default_factory=anyio.Event)
    outcome: Outcome | None = None


class JudgeCallCache:
    """The calls of all judges in one run, each made once."""

    def __init__(
        self,
        engine: ModelCaller,
        results: Callable[[Model], ResultsStore],
        *,
        source: Callable[[Model], str] = lambda _: UNKNOWN,
        may_not_call: Callable[[Model], str | None] = lambda _: None,
    ) -> None:
        """Take where each model's answers are stored and as what, and whether it may be called."""
        self._engine = engine
        self._results = results
        self._source = source
        self._may_not_call = may_not_call
        self._batcher = WriteBatcher()
        self._pending: dict[TrialKey, _PendingCall] = {}
        self.spent: dict[Role, Spending] = {}
        self.answering: dict[str, str] = {}
        """The model that answered last, as it reports itself, by the configured model."""

    async def ask(self, role: Role, model: Model, request: Request, n: int) -> Outcome:
        """Return the `n`-th answer to `request`: a stored one, or one that is called and stored."""
        key = TrialKey(request.digest, "judge", n)
        while (pending := self._pending.get(key)) is not None:
            await pending.done.wait()
            if pending.outcome is not None:
                return pending.outcome
        results = self._results(model)
        stored = results.completions([key]).get(key)
        if stored is not None and stored.text is not None:
            self._count(role, stored)
            return stored
        if (why := self._may_not_call(model)) is not None:
            message = f"{model.name} was not called: {why}, and its answer is not stored"
            return Failure(kind=FailureKind.NOT_ATTEMPTED, message=message, attempts=0)
        call = self._pending[key] = _PendingCall()
        try:
            call.outcome = await self._engine.ask(model, request)
            if isinstance(call.outcome, Completion):
                await self._batcher.put(results, key, call.outcome, self._source(model))
                if call.outcome.served_model is not None:
                    self.answering[model.name] = call.outcome.served_model
                self._count(role, call.outcome)
            return call.outcome
        finally:
            del self._pending[key]
            call.done.set()

    def _count(self, role: Role, completion: Completion) -> None:
        self.spent[role] = self.spent.get(role, Spending()) + Spending.of(completion)


class JudgeClient:
    """Calls the judge of one score (`core.ports.Ask`)."""

    def __init__(
        self,
        calls: JudgeCallCache,
        judge: Judge,
        templates: Templates,
        *,
        first: int = 0,
        outdated: AbstractSet[str] = frozenset(),
    ) -> None:
        """Number calls of the same request from `first`: a second reading has numbers of its own.

        `outdated` are models, as they call themselves, whose stored answers are passed over.
        """
        self._outdated = outdated
        self._calls = calls
        self._judge = judge
        self._templates = templates
        self._first = first
        self._counts: Counter[str] = Counter()

    async def judge(
        self, inputs: Mapping[str, Json], *, json_schema: Mapping[str, Json]
    ) -> Outcome:
        """Return the judge's answer to its prompt, rendered with `inputs`."""
        messages = self._templates.messages(Case(id="", inputs=inputs))
        return await self.generate(messages, json_schema=json_schema)

    async def generate(
        self, messages: Sequence[Message], *, json_schema: Mapping[str, Json]
    ) -> Outcome:
        """Return the judge model's answer to `messages`."""
        target = self._judge.target
        request = target.request(tuple(messages))
        match self._judge.structured:
            case "json_schema":
                request = replace(request, response_format="json_schema", json_schema=json_schema)
            case "json_object":
                request = replace(request, response_format="json_object")
        return await self._ask("judge", target.model, request)

    async def embed(self, text: str) -> tuple[float, ...] | Failure:
        """Return the embedding of `text`."""
        model = self._judge.embeddings
        assert model is not None
        request = Target(prompt=SILENT, model=model).request((Message(role="user", content=text),))
        outcome = await self._ask("embedding", model, replace(request, response_format="embedding"))
        if isinstance(outcome, Failure):
            return outcome
        try:
            return tuple(float(value) for value in json.loads(outcome.text or ""))
        except (TypeError, ValueError):
            message = f"{model.name} answered with something else than an embedding"
            return Failure(kind=FailureKind.BAD_ANSWER, message=message)

    async def _ask(self, role: Role, model: Model, request: Request) -> Outcome:
        while True:
            n = self._first + self._counts[request.digest]
            self._counts[request.digest] += 1
            outcome = await self._calls.ask(role, model, request, n)
            if isinstance(outcome, Failure) or outcome.latency is not None:
                return outcome
            if outcome.served_model not in self._outdated:
                return outcome
