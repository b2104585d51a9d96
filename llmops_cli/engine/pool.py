"""Works through a stream of jobs with a fixed number of workers.

Workers pull; there is no task and no queue entry per job, so a million jobs weigh as little as
ten, and a slow job delays nothing but its own worker.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Iterator
from typing import TypeVar

import anyio
import anyio.lowlevel

from llmops_cli.core.errors import LlmopsError

BREATH = 64
"""Jobs after which a worker lets others run, Ctrl-C among them: a job may never wait by itself."""

J = TypeVar("J")


async def run(jobs: Iterable[J], work: Callable[[J], Awaitable[None]], *, workers: int) -> None:
    """Await `work(job)` for every job, at most `workers` at a time.

    The first `LlmopsError` that leaves `work` cancels the rest and is raised itself, not in a
    group, so that the edge can say it plainly. Anything else leaves as the group it is.
    """
    source = iter(jobs)
    try:
        async with anyio.create_task_group() as group:
            for _ in range(max(1, workers)):
                group.start_soon(_pull, source, work)
    except BaseExceptionGroup as group_of_errors:
        said = first_said(group_of_errors)
        if said is None:
            raise
        raise said from group_of_errors


async def _pull(source: Iterator[J], work: Callable[[J], Awaitable[None]]) -> None:
    for at, job in enumerate(source, start=1):
        await work(job)
        if at % BREATH == 0:
            await anyio.lowlevel.checkpoint()


def first_said(group: BaseExceptionGroup[BaseException]) -> LlmopsError | None:
    """The first error in `group` that the edge can say plainly; None: there is none."""
    for each in group.exceptions:
        found = first_said(each) if isinstance(each, BaseExceptionGroup) else each
        if isinstance(found, LlmopsError):
            return found
    return None
