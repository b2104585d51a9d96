"""Makes the draws that are missing and gives the scores that are missing: all else is reuse.

Every answer is in the store before it is counted, so a run that is killed repeats none of its
paid calls. A failed draw stays in memory: the next run tries it again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from itertools import chain
from typing import NamedTuple

import anyio

from llmops_cli.core.ports import DrawKey, Progress
from llmops_cli.core.prompt import Request
from llmops_cli.core.result import Completion, Failure, Outcome
from llmops_cli.engine.pool import run
from llmops_cli.run.columns import DrawAt
from llmops_cli.run.evalset_run import Work
from llmops_cli.run.judge_client import Asks
from llmops_cli.run.scorers import AnswerPair, unset
from llmops_cli.run.scoring_context import ScoringContext, score_draw, score_pair
from llmops_cli.run.side import Arm, chunks
from llmops_cli.run.write_batcher import WriteBatcher

AHEAD = 2
"""Workers for each call that may be in flight: while one waits for its answer, another scores the
last one and has the next request ready."""


class Job(NamedTuple):
    """A draw to make and to score, or one that is held and only to be scored."""

    work: Work
    arm: Arm
    at: DrawAt
    held: Completion | None = None


class Pair(NamedTuple):
    """Two answers to set side by side."""

    work: Work
    met: AnswerPair


async def execute(
    works: Sequence[Work], engine: Asks, *, desk: ScoringContext, progress: Progress
) -> None:
    """Draws and scores what is missing in `works`."""
    planned = sum(work.todo for work in works)
    failed: dict[DrawKey, Failure] = {}
    models = {model.name: model for work in works for model in work.models}
    in_flight = sum(model.limits.max_concurrency for model in models.values())
    calling = Calling(engine, in_flight)
    done = 0

    async def carry_out(job: Job) -> None:
        nonlocal done
        failure = await _carry_out(job, calling, desk)
        if failure is not None:
            failed[job.arm.key(job.at)] = failure
        done += 1
        progress(done, planned, len(failed))

    progress(0, planned, 0)
    workers = AHEAD * in_flight
    to_do = chain(_draws(works), _held(works, lambda arm: arm.rescore))
    await run(to_do, carry_out, workers=workers)
    planned += sum(len(arm.shared) for work in works for arm in work.arms)
    await run(_held(works, lambda arm: arm.shared), carry_out, workers=workers)
    await run(_pairs(works), partial(_set_side_by_side, desk=desk), workers=workers)
    for work in works:
        for arm in work.arms:
            arm.failures.update(
                (at, failed[arm.key(at)]) for at in arm.shared if arm.key(at) in failed
            )


class Calling:
    """Calls and the writing of their answers: at most `at_once` that a killed run would repeat."""

    def __init__(self, engine: Asks, at_once: int) -> None:
        self._engine = engine
        self._keeping = WriteBatcher()
        self._at_risk = anyio.Semaphore(max(1, at_once), fast_acquire=True)

    async def answered(self, arm: Arm, at: DrawAt, request: Request) -> Outcome:
        """The outcome of one draw; a completion is in the store."""
        async with self._at_risk:
            outcome = await self._engine.ask(arm.target.model, request)
            if isinstance(outcome, Completion):
                await self._keeping.keep(arm.results, arm.key(at), outcome)
            return outcome


def _draws(works: Iterable[Work]) -> Iterator[Job]:
    """Candidate and baseline side by side, so that a cut-short run has pairs."""
    for work in works:
        queues = [iter(arm.missing) for arm in work.arms]
        for position in range(max((len(arm.missing) for arm in work.arms), default=0)):
            for arm, queue in zip(work.arms, queues, strict=True):
                if position < len(arm.missing):
                    yield Job(work, arm, next(queue))


def _held(works: Iterable[Work], which: Callable[[Arm], Sequence[DrawAt]]) -> Iterator[Job]:
    """Completions to score that were held, or that an equal request made."""
    for work in works:
        for arm in work.arms:
            for part in chunks(which(arm)):
                for at, completion in arm.completions(part).items():
                    yield Job(work, arm, at, completion)


def _pairs(works: Iterable[Work]) -> Iterator[Pair]:
    """The answers to set side by side, now that all are there."""
    for work in works:
        if work.against is not None:
            met = unset(work.arms[0], work.against, work.cases, work.scorers)
            yield from (Pair(work, each) for each in met)


async def _set_side_by_side(pair: Pair, *, desk: ScoringContext) -> None:
    work, met = pair
    case = work.cases[met.at.case]
    await score_pair(work.arms[0], met, case, scorers=work.scorers, desk=desk)


async def _carry_out(job: Job, calling: Calling, desk: ScoringContext) -> Failure | None:
    work, arm, at, held = job
    case = work.cases[at.case]
    if held is None:
        outcome = await calling.answered(arm, at, arm.request(case))
        if isinstance(outcome, Failure):
            arm.failures[at] = outcome
            return outcome
        arm.failures.pop(at, None)
        arm.called += 1
        if outcome.latency is not None:
            arm.latencies[at] = outcome.latency
        if outcome.first_token is not None:
            arm.first_tokens[at] = outcome.first_token
        held = outcome
    await score_draw(arm, at, case, held, scorers=work.scorers, desk=desk)
    return None
