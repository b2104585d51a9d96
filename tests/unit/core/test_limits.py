"""Work on untrusted text ends after a limited CPU time, and its size is known in advance."""

from __future__ import annotations

import asyncio
import signal
import threading
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import TypeVar

import pytest

from llmops_cli.core.limits import SECONDS, DeadlineExceeded, LimitedSteps, limited, weight

T = TypeVar("T")


def forever() -> None:
    while True:
        pass


def stubborn() -> None:
    """Run on after the first exception."""
    try:
        forever()
    except DeadlineExceeded:
        forever()


def library() -> None:
    """Run on after any `Exception`."""
    while True:
        with suppress(Exception):
            forever()


def nested() -> None:
    limited(forever)


@pytest.mark.parametrize("function", [forever, stubborn, library, nested])
def test_what_never_ends_is_ended(function: Callable[[], None]) -> None:
    before, began = signal.getsignal(signal.SIGVTALRM), time.thread_time()
    with pytest.raises(DeadlineExceeded, match="more than 2 s of CPU time"):
        limited(function)
    assert time.thread_time() - began < SECONDS + 1
    assert signal.getsignal(signal.SIGVTALRM) is before
    assert signal.getitimer(signal.ITIMER_VIRTUAL) == (0, 0)


def test_what_nobody_waits_for_is_ended_early() -> None:
    began = time.thread_time()
    with pytest.raises(DeadlineExceeded, match="interrupted"):
        limited(forever, stopped=lambda: True)
    assert time.thread_time() - began < SECONDS / 2


def test_what_ends_in_time_keeps_its_value_or_its_exception() -> None:
    assert limited(lambda: 42) == 42
    with pytest.raises(ZeroDivisionError):
        limited(lambda: 1 / 0)
    assert signal.getitimer(signal.ITIMER_VIRTUAL) == (0, 0)


@pytest.mark.slow
def test_the_work_of_other_threads_does_not_count() -> None:
    stop = threading.Event()

    def works() -> None:
        while not stop.is_set():
            pass

    thread = threading.Thread(target=works)
    thread.start()
    try:
        began = time.process_time()
        limited(lambda: [None for _ in iter(lambda: time.process_time() - began > 2.5, True)])
    finally:
        stop.set()
        thread.join()


def test_a_thread_runs_without_a_limit() -> None:
    results: list[int] = []
    thread = threading.Thread(target=lambda: results.append(limited(lambda: 42)))
    thread.start()
    thread.join()
    assert results == [42]


def test_a_coroutine_is_limited_between_its_waits() -> None:
    async def waits_and_hangs() -> None:
        await asyncio.sleep(0)
        forever()

    async def waits() -> int:
        try:
            await asyncio.wait_for(asyncio.sleep(60), timeout=0.01)
        except TimeoutError:
            await asyncio.sleep(0)
        return 42

    async def run(awaitable: Awaitable[T]) -> T:
        return await LimitedSteps(awaitable)

    assert asyncio.run(run(waits())) == 42
    with pytest.raises(DeadlineExceeded):
        asyncio.run(run(waits_and_hangs()))


def test_a_canceled_coroutine_is_told() -> None:
    async def run() -> bool:
        left = False

        async def waits() -> None:
            nonlocal left
            try:
                await asyncio.sleep(60)
            finally:
                left = True

        async def outer() -> None:
            await LimitedSteps(waits())

        task = asyncio.create_task(outer())
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        return left

    assert asyncio.run(run())


def test_a_shared_list_weighs_each_time_it_occurs_and_counting_ends_at_the_limit() -> None:
    value: object = ["four"]
    light = weight(value, 1000)
    assert weight([value, value], 1000) == 2 * light + 16
    for _ in range(60):
        value = [value, value]
    assert 1000 < weight(value, 1000) < 2000
    assert weight({"a key of some length": None}, 1000) > len("a key of some length")
