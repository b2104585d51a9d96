"""How many calls of one model may run at once, and how many may start per minute.

Concurrency adapts: it starts at up to `START`, grows by one with every answer (doubling per
round) until the model first pushes back, then falls to 80% once per episode and recovers by one
or 5% per round. It is never under one and never stands still while answers come.

Rates are counted in shared counters, so that several processes can keep one rate together. What a
call will use is known only afterwards: it takes what calls of this model have used so far on
average, the first ones their ceiling, and the difference is settled when it has ended. Over a
minute the rate counts actual use, so a generous ceiling wastes none of it.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from types import TracebackType
from typing import Self

import anyio

from llmops_cli.core.ports import OpenSharedCounter, SharedCounter
from llmops_cli.core.prompt import Limits, Request
from llmops_cli.engine.budget import ceiling

if sys.platform != "win32":
    import resource

START = 20
CUT = 0.8
RECOVERY = 0.05
SPARE_FILES = 32
"""File descriptors left for everything that is not a call: the store, reports, git, pipes."""
POLL = 0.25
"""Seconds after which a waiting call looks again: others settle meanwhile."""
AVERAGED = 8
"""Calls over which the average is taken."""
_SLACK = 1e-6
"""Seconds: a timer may end this much early."""


class Slots:
    """The calls of one model that are out: `async with slots:` holds one."""

    __slots__ = ("_limiter", "_maximum", "_slow_start", "_width", "episode")

    def __init__(self, maximum: int) -> None:
        self._maximum = max(1, min(maximum, _open_files()))
        self._width = float(min(self._maximum, START))
        self._slow_start = True
        self._limiter = anyio.CapacityLimiter(int(self._width))
        self.episode = 0
        """Counts cuts. A push-back is news only if its call began in the present episode."""

    @property
    def limit(self) -> int:
        """Calls allowed at once, now."""
        return int(self._width)

    async def __aenter__(self) -> Self:
        await self._limiter.acquire()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._limiter.release()

    def answered(self) -> None:
        """Allow a little more: a call was answered."""
        if self._width < self._maximum:
            step = 1.0 if self._slow_start else max(1.0, RECOVERY * self._width) / self._width
            self._resize(min(float(self._maximum), self._width + step))

    def pushed_back(self, episode: int) -> None:
        """Allow less: a call that began in `episode` was too much for the model."""
        if episode == self.episode:
            self.episode += 1
            self._slow_start = False
            self._resize(max(1.0, self._width * CUT))

    def open(self) -> None:
        """Wake up every waiting call: they end because the queue is stopped."""
        self._limiter.total_tokens = math.inf

    def _resize(self, width: float) -> None:
        changed = int(width) != int(self._width)
        self._width = width
        if changed and self._limiter.total_tokens != math.inf:
            self._limiter.total_tokens = int(width)


class LocalCounter:
    """The counter of a rate that no other process keeps, on the event loop's clock."""

    __slots__ = ("_number", "name")

    def __init__(self, name: str = "") -> None:
        """`name` is only for messages: a local counter isn't shared."""
        self.name = name
        self._number = -math.inf

    def now(self) -> float:
        return anyio.current_time()

    def change(self, step: Callable[[float], float]) -> float:
        before = self._number
        self._number = step(before)
        return before


class Pace:
    """A rate of units per minute, spread evenly: a generic cell rate algorithm (ITU-T I.371).

    One second's worth may start at once. Nothing is taken before it may start, so a process that is
    killed while waiting owes nothing. What turned out larger or smaller than it was taken for is
    settled afterwards, and the next call waits longer or shorter.
    """

    __slots__ = ("_counter", "_seconds")

    def __init__(self, per_minute: int, counter: SharedCounter) -> None:
        self._seconds = 60.0 / per_minute
        self._counter = counter

    def take(self, units: float) -> float:
        """Take `units` that may start now and return 0, else the seconds until asking again."""
        now = self._counter.now()
        earliest = now - max(0.0, 1.0 - self._seconds)

        def step(due: float) -> float:
            return due if due > now + _SLACK else max(due, earliest) + units * self._seconds

        wait = self._counter.change(step) - now
        return wait if wait > _SLACK else 0.0

    def settle(self, difference: float) -> None:
        """Count `difference` units more than were taken; fewer, if negative."""
        self._counter.change(lambda due: due + difference * self._seconds)


class Rates:
    """Keeps `limits.rpm` and `limits.tpm`; nothing is counted where neither is set."""

    __slots__ = ("_average", "_minute", "_queue", "_requests", "_tokens")

    def __init__(self, limits: Limits, counters: OpenSharedCounter, key: str) -> None:
        """`key` names what counts against the same rates."""
        self._requests = Pace(limits.rpm, counters(f"{key} requests")) if limits.rpm else None
        self._tokens = Pace(limits.tpm, counters(f"{key} tokens")) if limits.tpm else None
        self._minute = limits.tpm or 0
        self._average: float | None = None
        self._queue = anyio.Lock()

    async def turn(self, request: Request, stopped: anyio.Event) -> float:
        """Wait until `request` may start, or until `stopped`; return the tokens it took."""
        if self._requests is not None:
            await self._wait(self._requests, 1, stopped)
        if self._tokens is None:
            return 0
        usage = ceiling(request)
        expected = self._average or usage.input + usage.output
        return expected if await self._wait(self._tokens, expected, stopped) else 0

    def settle(self, taken: float, used: int) -> None:
        """Count a call that took so many tokens and used so many; 0 where it was none.

        At most a minute's worth is counted: whatever usage a server reports, one answer delays the
        next by at most a minute.
        """
        if self._tokens is None:
            return
        used = min(used, self._minute)
        self._tokens.settle(used - taken)
        if used:
            average = self._average or used
            self._average = average + (used - average) / AVERAGED

    async def _wait(self, pace: Pace, units: float, stopped: anyio.Event) -> bool:
        """Return whether `units` were taken. Only called for the first in the queue, so calls stay
        in order.
        """
        async with self._queue:
            while not stopped.is_set():
                wait = pace.take(units)
                if wait == 0:
                    return True
                with anyio.move_on_after(min(wait, POLL)):
                    await stopped.wait()
        return False


def _open_files() -> int:
    if sys.platform == "win32":
        return 512
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return 1_000_000 if soft == resource.RLIM_INFINITY else max(1, (soft - SPARE_FILES) // 2)
