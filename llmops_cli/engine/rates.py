"""The requests and tokens per minute of one model: who may start now, in the order of coming.

What a call will use is known only afterwards. It takes what calls of this model have used so far
on average, the first ones their ceiling, and the difference is settled when it has ended: over a
minute the rate is kept by what was really used, and a generous ceiling wastes none of it.
"""

from __future__ import annotations

import anyio

from llmops_cli.core.ports import OpenCell
from llmops_cli.core.prompt import Limits, Request
from llmops_cli.engine.budget import ceiling
from llmops_cli.engine.limits import Pace

LOOK = 0.25
"""Seconds after which whoever waits looks again: others settle meanwhile."""
MEMORY = 8
"""Calls over which the average is taken."""


class Rates:
    """Keeps `limits.rpm` and `limits.tpm`; nothing is counted where neither is set."""

    __slots__ = ("_minute", "_queue", "_requests", "_tokens", "_usual")

    def __init__(self, limits: Limits, cells: OpenCell, place: str) -> None:
        """`place` names what counts against the same rates."""
        self._requests = Pace(limits.rpm, cells(f"{place} requests")) if limits.rpm else None
        self._tokens = Pace(limits.tpm, cells(f"{place} tokens")) if limits.tpm else None
        self._minute = limits.tpm or 0
        self._usual: float | None = None
        self._queue = anyio.Lock()

    async def turn(self, request: Request, stopped: anyio.Event) -> float:
        """Wait until `request` may start, or until `stopped`; the tokens that it took."""
        if self._requests is not None:
            await self._wait(self._requests, 1, stopped)
        if self._tokens is None:
            return 0
        usage = ceiling(request)
        expected = self._usual or usage.input + usage.output
        return expected if await self._wait(self._tokens, expected, stopped) else 0

    def settle(self, taken: float, used: int) -> None:
        """A call that took so many tokens used so many; 0 where it was none.

        More than a minute's worth is none that a model can have given away: whatever a server
        says, one answer holds up the next for no longer than that.
        """
        if self._tokens is None:
            return
        used = min(used, self._minute)
        self._tokens.settle(used - taken)
        if used:
            usual = self._usual or used
            self._usual = usual + (used - usual) / MEMORY

    async def _wait(self, pace: Pace, units: float, stopped: anyio.Event) -> bool:
        """Whether `units` were taken. Only the first in the queue asks: all keep their order."""
        async with self._queue:
            while not stopped.is_set():
                wait = pace.take(units)
                if wait == 0:
                    return True
                with anyio.move_on_after(min(wait, LOOK)):
                    await stopped.wait()
        return False
