"""Makes the trials that are missing and gives the scores that are missing: all else is reuse.

Every answer is in the store before it is counted, so a run that is killed repeats none of its
paid calls. A failed trial stays in memory: the next run tries it again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from itertools import chain
from typing import NamedTuple

import anyio

from llmops_cli.core.ports import Progress, TrialKey
from llmops_cli.core.prompt import Request
from llmops_cli.core.result import Completion, Failure, Outcome
from llmops_cli.engine.pool import run
from llmops_cli.run.columns import TrialAt
from llmops_cli.run.evalset_run import Work
from llmops_cli.run.judge_client import Asks
from llmops_cli.run.scorers import AnswerPair, unset
from llmops_cli.run.scoring_context import ScoringContext, score_pair, score_trial
from llmops_cli.run.side import Side, chunks
from llmops_cli.run.write_batcher import WriteBatcher

AHEAD = 2
"""Workers for each call that may be in flight: while one waits for its answer, another scores the
last one and has the next request ready."""


class Job(NamedTuple):
    """A draw to make and to score, or one that is held and only to be scored."""

    work: Work
    side: Side
    at: TrialAt
    held: Completion | None = None


class Pair(NamedTuple):
    """Two answers to set side by side."""

    work: Work
    met: AnswerPair


async def execute(
    works: Sequence[Work], engine: Asks, *, desk: ScoringContext, progress: Progress
) -> None:
    """Trials and scores what is missing in `works`."""
    planned = sum(work.todo for work in works)
    failed: dict[TrialKey, Failure] = {}
    models = {model.name: model for work in works for model in work.models}
    in_flight = sum(model.limits.max_concurrency for model in models.values())
    calling = Calling(engine, in_flight)
    done = 0

    async def carry_out(job: Job) -> None:
        nonlocal done
        failure = await _carry_out(job, calling, desk)
        if failure is not None:
            failed[job.side.key(job.at)] = failure
        done += 1
        progress(done, planned, len(failed))

    progress(0, planned, 0)
    workers = AHEAD * in_flight
    to_do = chain(_trials(works), _held(works, lambda side: side.rescore))
    await run(to_do, carry_out, workers=workers)
    planned += sum(len(side.shared) for work in works for side in work.sides)
    await run(_held(works, lambda side: side.shared), carry_out, workers=workers)
    await run(_pairs(works), partial(_set_side_by_side, desk=desk), workers=workers)
    for work in works:
        for side in work.sides:
            side.failures.update(
                (at, failed[side.key(at)]) for at in side.shared if side.key(at) in failed
            )


class Calling:
    """Calls and the writing of their answers: at most `at_once` that a killed run would repeat."""

    def __init__(self, engine: Asks, at_once: int) -> None:
        self._engine = engine
        self._keeping = WriteBatcher()
        self._at_risk = anyio.Semaphore(max(1, at_once), fast_acquire=True)

    async def answered(self, side: Side, at: TrialAt, request: Request) -> Outcome:
        """The outcome of one trial; a completion is in the store."""
        async with self._at_risk:
            outcome = await self._engine.ask(side.target.model, request)
            if isinstance(outcome, Completion):
                await self._keeping.keep(side.results, side.key(at), outcome)
            return outcome


def _trials(works: Iterable[Work]) -> Iterator[Job]:
    """Candidate and baseline side by side, so that a cut-short run has pairs."""
    for work in works:
        queues = [iter(side.missing) for side in work.sides]
        for position in range(max((len(side.missing) for side in work.sides), default=0)):
            for side, queue in zip(work.sides, queues, strict=True):
                if position < len(side.missing):
                    yield Job(work, side, next(queue))


def _held(works: Iterable[Work], which: Callable[[Side], Sequence[TrialAt]]) -> Iterator[Job]:
    """Completions to score that were held, or that an equal request made."""
    for work in works:
        for side in work.sides:
            for part in chunks(which(side)):
                for at, completion in side.completions(part).items():
                    yield Job(work, side, at, completion)


def _pairs(works: Iterable[Work]) -> Iterator[Pair]:
    """The answers to set side by side, now that all are there."""
    for work in works:
        if work.against is not None:
            met = unset(work.sides[0], work.against, work.cases, work.scorers)
            yield from (Pair(work, each) for each in met)


async def _set_side_by_side(pair: Pair, *, desk: ScoringContext) -> None:
    work, met = pair
    case = work.cases[met.at.case]
    await score_pair(work.sides[0], met, case, scorers=work.scorers, desk=desk)


async def _carry_out(job: Job, calling: Calling, desk: ScoringContext) -> Failure | None:
    work, side, at, held = job
    case = work.cases[at.case]
    if held is None:
        outcome = await calling.answered(side, at, side.request(case))
        if isinstance(outcome, Failure):
            side.failures[at] = outcome
            return outcome
        side.failures.pop(at, None)
        side.called += 1
        if outcome.latency is not None:
            side.latencies[at] = outcome.latency
        if outcome.first_token is not None:
            side.first_tokens[at] = outcome.first_token
        held = outcome
    await score_trial(side, at, case, held, scorers=work.scorers, desk=desk)
    return None
