"""Limits of time and size for what untrusted text makes this process compute.

A JSON Schema, a template or a query can turn a short text into hours of work. The time limit ends
Python code wherever it is. Code in C can't be stopped; comparing, hashing and writing nested data
takes time in the size of its tree, in which a shared list counts each time it occurs, so that size
is limited first.
"""

from __future__ import annotations

import gc
import signal
import threading
import time
from collections.abc import Awaitable, Callable, Generator
from functools import partial
from types import FrameType
from typing import Any, TypeVar

T = TypeVar("T")

SECONDS = 2.0
"""CPU time for one score, one rendered text, or one answer's fields. Most take a millisecond."""
EVERY = 0.1
"""CPU seconds between two looks at the limit."""
ITEM = 8
"""Characters that an item of a list or a mapping counts as."""


class DeadlineExceeded(BaseException):  # no library's `except Exception` is to stop it
    """Some code has used up its CPU time, or nobody waits for it any more."""


def never() -> bool:
    """Return False."""
    return False


def limited(function: Callable[[], T], stopped: Callable[[], bool] = never) -> T:
    """Return `function()`; `DeadlineExceeded` is raised in it after `SECONDS` of CPU time.

    It's raised earlier if `stopped()`. Calls within the call share its limit. Threads other than
    the main one have none: they receive no signals.
    """
    in_main_thread = threading.current_thread() is threading.main_thread()
    if not in_main_thread or any(signal.getitimer(signal.ITIMER_VIRTUAL)):
        return function()
    running, began = True, time.thread_time()

    def expire(_number: int, frame: FrameType | None) -> None:
        codes = (getattr(callback, "__code__", None) for callback in gc.callbacks)
        if frame is not None and frame.f_code in codes:
            return  # an exception there would be lost: the next tick raises it
        if running and stopped():
            raise DeadlineExceeded("interrupted")
        if running and time.thread_time() - began >= SECONDS:  # of this thread; all of them tick
            raise DeadlineExceeded(f"it takes more than {SECONDS:g} s of CPU time")

    before = signal.signal(signal.SIGVTALRM, expire)
    signal.setitimer(signal.ITIMER_VIRTUAL, EVERY, EVERY)
    try:
        return function()
    finally:
        running = False
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)


class LimitedSteps(Generator[Any, Any, T]):
    """Awaits a coroutine; what it does between two waits is `limited`."""

    def __init__(self, awaitable: Awaitable[T]) -> None:
        self._steps: Any = awaitable.__await__()

    def __await__(self) -> Generator[Any, Any, T]:
        return self

    def send(self, value: Any) -> Any:  # noqa: ANN401 - what an event loop passes
        """Go on with `value`, up to the next wait."""
        return limited(partial(self._steps.send, value))

    def throw(self, *error: Any) -> Any:  # noqa: ANN401
        """Raise `error` where it waits, and go on up to the next wait."""
        return limited(partial(self._steps.throw, *error))


def weight(value: object, most: int, of_other: Callable[[object], int] = lambda _: 1) -> int:
    """Return how much text plain data holds or would make, counted no further than `most`.

    `of_other` weighs what isn't plain data.
    """
    total = 0
    waiting = [value]
    while waiting and total <= most:
        item = waiting.pop()
        if isinstance(item, str):
            total += len(item)
        elif isinstance(item, (dict, list, tuple)):
            total += ITEM * len(item)
            waiting.extend(item)
            waiting.extend(item.values() if isinstance(item, dict) else ())
        elif item is None or isinstance(item, (int, float)):
            total += 1
        else:
            total += of_other(item)
    return total
