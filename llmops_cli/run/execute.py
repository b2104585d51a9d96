"""Run the missing trials and compute the missing scores.

Every answer is in the store before it is counted, so a run that is killed repeats none of its
paid calls. A failed trial stays in memory: the next run tries it again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from functools import partial
from itertools import chain
from typing import NamedTuple

import anyio

from llmops_cli.core.case import Case
from llmops_cli.core.ports import Ask, Progress, ScoreKey, Scorer, TrialKey
from llmops_cli.core.prompt import Request
from llmops_cli.core.result import Completion, Failure, Outcome, Score, Unscored
from llmops_cli.engine.call import run
from llmops_cli.run.evalset_run import AnswerPair, EvalsetRun
from llmops_cli.run.judge_client import JudgeCallCache, JudgeClient, ModelCaller, WriteBatcher
from llmops_cli.run.scorers import BoundScorer, Scorers
from llmops_cli.run.side import Side, TrialAt, chunks
from llmops_cli.scorers.scoring import score

WORKERS_PER_CALL = 2
"""Workers for each call that may be in flight: while one waits for its answer, another scores the
last one and has the next request ready."""


class Job(NamedTuple):
    """A trial to call and to score, or one that is stored and only to be scored."""

    evalset_run: EvalsetRun
    side: Side
    at: TrialAt
    stored: Completion | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoringContext:
    """What scoring needs during a run: the opened code of each kind of scorer, and the judges."""

    code: Mapping[str, Scorer]
    calls: JudgeCallCache | None = None
    """How judges are called; None if no scorer calls one."""

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


async def execute(
    evalset_runs: Sequence[EvalsetRun],
    engine: ModelCaller,
    *,
    context: ScoringContext,
    progress: Progress,
) -> None:
    """Call and score what is missing in `evalset_runs`."""
    planned = sum(item.todo for item in evalset_runs)
    failed: dict[TrialKey, Failure] = {}
    models = {model.name: model for item in evalset_runs for model in item.models}
    in_flight = sum(model.limits.max_concurrency for model in models.values())
    caller = Caller(engine, in_flight)
    done = 0

    async def carry_out(job: Job) -> None:
        nonlocal done
        failure = await _carry_out(job, caller, context)
        if failure is not None:
            failed[job.side.key(job.at)] = failure
        done += 1
        progress(done, planned, len(failed))

    progress(0, planned, 0)
    workers = WORKERS_PER_CALL * in_flight
    jobs = chain(_missing(evalset_runs), _stored(evalset_runs, lambda side: side.plan.rescore))
    await run(jobs, carry_out, workers=workers)
    sides = [side for item in evalset_runs for side in item.sides]
    planned += sum(len(side.plan.shared) for side in sides)
    shared = _stored(evalset_runs, lambda side: side.plan.shared)
    await run(shared, carry_out, workers=workers)
    pairs = ((item, pair) for item in evalset_runs for pair in item.pairs_to_score())
    await run(pairs, partial(_score_pair, context=context), workers=workers)
    for side in sides:
        side.state.failures.update(
            (at, failed[side.key(at)]) for at in side.plan.shared if side.key(at) in failed
        )


class Caller:
    """Calls models and stores their answers.

    At most `at_once` answers are not stored yet: those a killed run would have to repeat.
    """

    def __init__(self, engine: ModelCaller, at_once: int) -> None:
        self._engine = engine
        self._batcher = WriteBatcher()
        self._at_risk = anyio.Semaphore(max(1, at_once), fast_acquire=True)

    async def call(self, side: Side, at: TrialAt, request: Request) -> Outcome:
        """Return the outcome of one trial; an answer is in the store by then."""
        async with self._at_risk:
            outcome = await self._engine.ask(side.spec.target.model, request)
            if isinstance(outcome, Completion):
                await self._batcher.put(side.spec.results, side.key(at), outcome)
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
    evalset_runs: Iterable[EvalsetRun], select: Callable[[Side], Sequence[TrialAt]]
) -> Iterator[Job]:
    """Yield the selected trials that are stored, or that an equal request has made."""
    for evalset_run in evalset_runs:
        for side in evalset_run.sides:
            for part in chunks(select(side)):
                for at, completion in side.completions(part).items():
                    yield Job(evalset_run, side, at, completion)


async def _carry_out(job: Job, caller: Caller, context: ScoringContext) -> Failure | None:
    evalset_run, side, at, completion = job
    case, state = evalset_run.cases[at.case], side.state
    if completion is None:
        outcome = await caller.call(side, at, side.request(case))
        if isinstance(outcome, Failure):
            state.failures[at] = outcome
            return outcome
        state.failures.pop(at, None)
        state.called += 1
        if outcome.latency is not None:
            state.latencies[at] = outcome.latency
        if outcome.first_token is not None:
            state.first_tokens[at] = outcome.first_token
        completion = outcome
    await score_trial(side, at, case, completion, scorers=evalset_run.scorers, context=context)
    return None


async def score_trial(
    side: Side,
    at: TrialAt,
    case: Case,
    completion: Completion,
    *,
    scorers: Scorers,
    context: ScoringContext,
) -> None:
    """Compute the missing scores of one answer."""
    stored = side.spec.results.scores(scorers.keys(case, completion.digest))
    for bound in scorers.due(case):
        key = bound.key(case, completion.digest)
        reused = bound.kind.live and completion.latency is None
        if reused or scorers.counts(bound, stored, key):
            continue
        result = await score(
            context.code[bound.kind.name],
            bound.options.render(case),
            case=case,
            completion=completion,
            ask=context.judge_client(
                bound, outdated=scorers.outdated.get(bound.label, frozenset())
            ),
        )
        _keep_score(side, at, bound, key, result)


async def _score_pair(item: tuple[EvalsetRun, AnswerPair], *, context: ScoringContext) -> None:
    """Compute the missing scores of an answer compared with the baseline's."""
    evalset_run, pair = item
    side, scorers = evalset_run.candidate, evalset_run.scorers
    case = evalset_run.cases[pair.at.case]
    for bound in scorers.paired:
        key = bound.key(case, pair.candidate.digest, pair.baseline.digest)
        if scorers.counts(bound, side.spec.results.scores([key]), key):
            continue
        result: Score | Unscored = Unscored(why="the text of the baseline's answer is not stored")
        if pair.baseline.text is not None:
            result = await score(
                context.code[bound.kind.name],
                {**bound.options.render(case), "against": pair.baseline},
                case=case,
                completion=pair.candidate,
                ask=context.judge_client(
                    bound, outdated=scorers.outdated.get(bound.label, frozenset())
                ),
            )
        _keep_score(side, pair.at, bound, key, result)


def _keep_score(
    side: Side, at: TrialAt, bound: BoundScorer, key: ScoreKey, result: Score | Unscored
) -> None:
    state = side.state
    if isinstance(result, Unscored):
        state.unscored.setdefault(at, {})[bound.label] = result.why
        return
    state.unscored.get(at, {}).pop(bound.label, None)
    if bound.stored:
        side.spec.results.put_score(key, result)
    else:
        state.scores.setdefault(at, {})[bound.label] = result
