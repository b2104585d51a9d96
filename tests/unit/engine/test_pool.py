from __future__ import annotations

import tracemalloc
from collections.abc import Iterator

import anyio
import anyio.lowlevel
import pytest

from llmops_cli.core.errors import Refused
from llmops_cli.engine.call import run
from llmops_cli.run.execute import run_coroutine
from tests.unit.engine import in_virtual_time


def test_every_job_is_done_once() -> None:
    done: list[int] = []

    async def work(job: int) -> None:
        await anyio.sleep(0.01)
        done.append(job)

    in_virtual_time(lambda: run(range(100), work, workers=7))
    assert sorted(done) == list(range(100))


def test_a_slow_job_delays_only_its_worker() -> None:
    async def main() -> float:
        finished: list[float] = []

        async def work(job: int) -> None:
            await anyio.sleep(100 if job == 0 else 1)
            finished.append(anyio.current_time())

        await run(range(50), work, workers=5)
        return finished[-2]

    assert in_virtual_time(main) == 13.0


def test_jobs_are_pulled_when_a_worker_is_free_and_not_before() -> None:
    pulled: list[int] = []

    def jobs() -> Iterator[int]:
        for job in range(10):
            pulled.append(job)
            yield job

    early: list[int] = []

    async def main() -> None:
        async def work(_: int) -> None:
            await anyio.sleep(1)

        async with anyio.create_task_group() as group:
            group.start_soon(lambda: run(jobs(), work, workers=3))
            await anyio.sleep(0.5)
            early.extend(pulled)

    in_virtual_time(main)
    assert early == [0, 1, 2]


def test_a_refusal_leaves_plainly_and_stops_the_rest() -> None:
    done: list[int] = []

    async def work(job: int) -> None:
        await anyio.sleep(job / 100)
        if job == 2:
            raise Refused("no key")
        done.append(job)

    with pytest.raises(Refused, match="no key"):
        run_coroutine(run(range(10), work, workers=10))
    assert done == [0, 1]


def test_a_bug_leaves_as_what_it_is() -> None:
    async def work(_: int) -> None:
        raise ZeroDivisionError

    with pytest.raises(ExceptionGroup) as group:
        run_coroutine(run(range(2), work, workers=1))
    assert group.group_contains(ZeroDivisionError)


def test_a_hundred_thousand_jobs_weigh_no_more_than_a_hundred() -> None:
    async def work(_: int) -> None:
        await anyio.lowlevel.checkpoint()

    def peak(jobs: int) -> int:
        tracemalloc.start()
        anyio.run(lambda: run(range(jobs), work, workers=20))
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return most

    peak(100)
    assert peak(100_000) < peak(100) + 100_000
