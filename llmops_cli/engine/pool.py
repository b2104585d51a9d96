"""Process a stream of jobs with a fixed number of workers.

Workers pull; there is no task and no queue entry per job, so a million jobs weigh as little as
ten, and a slow job delays nothing but its own worker.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Iterator
from typing import TypeVar

import anyio
import anyio.lowlevel

from llmops_cli.core.errors import LlmopsError

YIELD_AFTER = 64
"""Jobs after which a worker yields to the event loop (and Ctrl-C), because a job may never await.
"""

J = TypeVar("J")


async def run(jobs: Iterable[J], work: Callable[[J], Awaitable[None]], *, workers: int) -> None:
    """Await `work(job)` for every job, at most `workers` at a time.

    The first `LlmopsError` that leaves `work` cancels the rest and is raised itself, not in a
    group, so that the CLI can print it. Anything else leaves as the group it is.
    """
    source = iter(jobs)
    try:
        async with anyio.create_task_group() as group:
            for _ in range(max(1, workers)):
                group.start_soon(_pull, source, work)
    except BaseExceptionGroup as errors:
        first = first_llmops_error(errors)
        if first is None:
            raise
        raise first from errors


async def _pull(source: Iterator[J], work: Callable[[J], Awaitable[None]]) -> None:
    for count, job in enumerate(source, start=1):
        await work(job)
        if count % YIELD_AFTER == 0:
            await anyio.lowlevel.checkpoint()


def first_llmops_error(group: BaseExceptionGroup[BaseException]) -> LlmopsError | None:
    """Return the first error in `group` that has a message for people; None: there is none."""
    for error in group.exceptions:
        first = first_llmops_error(error) if isinstance(error, BaseExceptionGroup) else error
        if isinstance(first, LlmopsError):
            return first
    return None
