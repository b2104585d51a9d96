"""Makes the draws that are missing and gives the scores that are missing: all else is reuse.

Every answer is in the store before it is counted, so a run that is killed repeats none of its
paid calls. A failed draw stays in memory: the next run tries it again.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from llmops_cli.core.case import Case
from llmops_cli.core.ports import DrawKey, Progress
from llmops_cli.core.prompt import Model, Request
from llmops_cli.core.result import Failure, Outcome
from llmops_cli.engine.pool import run
from llmops_cli.flows.arm import Arm, DrawAt, chunks
from llmops_cli.flows.scoring import Desk, Scorers, score_draw

WAITING = 2
"""Workers per slot: a call that waits for its next attempt has given its slot back."""


class Asks(Protocol):
    """The engine, as far as drawing needs it."""

    async def ask(self, model: Model, request: Request) -> Outcome: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """One evalset's arms, each with what is left to do for it."""

    cases: Sequence[Case]
    scorers: Scorers
    arms: Sequence[Arm]

    @property
    def todo(self) -> int:
        """Draws to make and draws to score again."""
        return sum(len(arm.missing) + len(arm.rescore) for arm in self.arms)


class Job(NamedTuple):
    """A draw to make."""

    work: Work
    arm: Arm
    at: DrawAt


async def execute(works: Sequence[Work], engine: Asks, *, desk: Desk, progress: Progress) -> None:
    """Draws and scores what is missing in `works`, at most as many at once as the models allow."""
    planned = sum(len(arm.missing) for work in works for arm in work.arms)
    failed: dict[DrawKey, Failure] = {}
    done = 0

    async def draw(job: Job) -> None:
        nonlocal done
        failure = await _draw(job, engine, desk)
        if failure is not None:
            failed[job.arm.key(job.at)] = failure
        done += 1
        progress(done, planned, len(failed))

    models = {arm.target.model.name: arm.target.model for work in works for arm in work.arms}
    await run(
        _jobs(works), draw, workers=sum(each.limits.max_concurrency for each in models.values())
    )
    for work in works:
        for arm in work.arms:
            await _score_held(work, arm, desk)
            arm.failures.update(
                (at, failed[arm.key(at)]) for at in arm.shared if arm.key(at) in failed
            )


def _jobs(works: Iterable[Work]) -> Iterator[Job]:
    """Candidate and baseline side by side, so that a cut-short run has pairs."""
    for work in works:
        queues = [iter(arm.missing) for arm in work.arms]
        for position in range(max((len(arm.missing) for arm in work.arms), default=0)):
            for arm, queue in zip(work.arms, queues, strict=True):
                if position < len(arm.missing):
                    yield Job(work, arm, next(queue))


async def _draw(job: Job, engine: Asks, desk: Desk) -> Failure | None:
    work, arm, at = job
    case = work.cases[at.case]
    outcome = await engine.ask(arm.target.model, arm.request(case))
    if isinstance(outcome, Failure):
        arm.failures[at] = outcome
        return outcome
    arm.results.put_completion(arm.key(at), outcome)
    arm.failures.pop(at, None)
    arm.called += 1
    if outcome.latency is not None:
        arm.latencies[at] = outcome.latency
    await score_draw(arm, at, case, outcome, scorers=work.scorers, desk=desk)
    return None


async def _score_held(work: Work, arm: Arm, desk: Desk) -> None:
    """Scores the completions that were held, and those that an equal request made."""
    for part in chunks(arm.rescore + arm.shared):
        held = arm.results.completions(map(arm.key, part))
        for at in part:
            completion = held.get(arm.key(at))
            if completion is not None and arm.counts(completion):
                case = work.cases[at.case]
                await score_draw(arm, at, case, completion, scorers=work.scorers, desk=desk)
