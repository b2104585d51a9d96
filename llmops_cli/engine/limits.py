"""How many calls may run at once and how many may start per minute, for one model.

Concurrency adapts: it starts at up to `START`, grows by one with every answer (doubling per
round) until the model first pushes back, then falls to 80 % once per episode and recovers by one
or 5 % per round. It is never under one and never stands still while answers come.

A pace keeps its one number in a cell, so that several processes can keep one pace together.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from types import TracebackType
from typing import Self

import anyio

from llmops_cli.core.ports import Cell

if sys.platform != "win32":
    import resource

START = 20
CUT = 0.8
RECOVERY = 0.05
SPARE_FILES = 32
"""File descriptors left for everything that is not a call: the store, reports, git, pipes."""


class Slots:
    """The calls of one model that are on the wire: `async with slots:` holds one."""

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
        """A call was answered: a little more may be possible."""
        if self._width < self._maximum:
            step = 1.0 if self._slow_start else max(1.0, RECOVERY * self._width) / self._width
            self._resize(min(float(self._maximum), self._width + step))

    def pushed_back(self, episode: int) -> None:
        """A call that began in `episode` was told that it is too much."""
        if episode == self.episode:
            self.episode += 1
            self._slow_start = False
            self._resize(max(1.0, self._width * CUT))

    def open(self) -> None:
        """Let everyone through who waits: they are about to hear that the lane is stopped."""
        self._limiter.total_tokens = math.inf

    def _resize(self, width: float) -> None:
        changed = int(width) != int(self._width)
        self._width = width
        if changed and self._limiter.total_tokens != math.inf:
            self._limiter.total_tokens = int(width)


_SLACK = 1e-6
"""Seconds: a timer may end so much early."""


class OwnCell:
    """The cell of a pace that no other process keeps, on the event loop's clock."""

    __slots__ = ("_number", "name")

    def __init__(self, name: str = "") -> None:
        """`name` is for people: a cell of one's own is found by nobody else."""
        self.name = name
        self._number = -math.inf

    def now(self) -> float:
        return anyio.current_time()

    def change(self, step: Callable[[float], float]) -> float:
        before = self._number
        self._number = step(before)
        return before


class Pace:
    """So many units per minute, evenly: a generic cell rate algorithm (ITU-T I.371).

    One second's worth may come at once. Nothing is taken before it may start, so whoever is
    killed while waiting owes nothing. What turned out larger or smaller than it was taken for is
    settled afterwards, and the next one waits longer or shorter.
    """

    __slots__ = ("_cell", "_seconds")

    def __init__(self, per_minute: int, cell: Cell) -> None:
        self._seconds = 60.0 / per_minute
        self._cell = cell

    def take(self, units: float) -> float:
        """0: `units` may start now and are taken; else seconds until it is worth asking again."""
        now = self._cell.now()
        earliest = now - max(0.0, 1.0 - self._seconds)

        def step(due: float) -> float:
            return due if due > now + _SLACK else max(due, earliest) + units * self._seconds

        wait = self._cell.change(step) - now
        return wait if wait > _SLACK else 0.0

    def settle(self, difference: float) -> None:
        """`difference` units more than were taken were used; fewer, if negative."""
        self._cell.change(lambda due: due + difference * self._seconds)


def _open_files() -> int:
    if sys.platform == "win32":
        return 512
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return 1_000_000 if soft == resource.RLIM_INFINITY else max(1, (soft - SPARE_FILES) // 2)
