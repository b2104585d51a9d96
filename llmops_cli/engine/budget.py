"""The budget of a run: reserved before a call, settled after it.

A call starts only if everything spent, everything reserved and its own ceiling fit under the cap;
while other calls are out it waits for them to settle instead of giving up. So a cap is only
exceeded if a call exceeds its own ceiling. Calls that may have been billed although no answer
arrived stay reserved.
"""

from __future__ import annotations

from dataclasses import dataclass

import anyio

from llmops_cli.core.prompt import Request
from llmops_cli.core.result import Usage

ASSUMED_OUTPUT = 1024
"""Output tokens reserved for a request that names no maximum."""
_MAXIMA = ("max_completion_tokens", "max_tokens", "max_output_tokens")


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """Caps on a run; None: no cap. Calls count every request sent, retries included."""

    calls: int | None = None
    tokens: int | None = None
    """Input and output together."""
    cost: float | None = None
    """US dollars."""
    seconds: float | None = None
    """Since the engine was opened."""

    @property
    def counts_tokens(self) -> bool:
        """Whether a ceiling of tokens is needed before a call."""
        return self.tokens is not None or self.cost is not None


@dataclass(frozen=True, slots=True)
class Reservation:
    """A part of the budget: the ceiling of one call, or its actual use."""

    calls: int = 0
    tokens: int = 0
    cost: float = 0.0

    def __add__(self, other: Reservation) -> Reservation:
        return Reservation(
            self.calls + other.calls, self.tokens + other.tokens, self.cost + other.cost
        )

    def __sub__(self, other: Reservation) -> Reservation:
        return self + Reservation(-other.calls, -other.tokens, -other.cost)


class Account:
    """The running account of one budget."""

    __slots__ = ("_budget", "_changed", "_closed", "_pending", "_reserved", "_spent", "_started")

    def __init__(self, budget: Budget) -> None:
        self._budget = budget
        self._started = anyio.current_time()
        self._spent = Reservation()
        self._reserved = Reservation()
        self._pending = 0
        self._changed = anyio.Event()
        self._closed = False

    async def reserve(self, share: Reservation) -> str | None:
        """Take `wanted`, or return which cap forbids it. Waits while reservations may fall."""
        while (cap := self._exceeded(share)) is not None:
            if self._pending == 0 or self._closed or cap.startswith("the time"):
                return cap
            await self._changed.wait()
        self._reserved += share
        self._pending += 1
        return None

    def settle(self, reserved: Reservation, spent: Reservation) -> None:
        """Release `reserved` and count `spent`, the actual use."""
        self._reserved -= reserved
        self._spent += spent
        self._pending -= 1
        self._changed.set()
        self._changed = anyio.Event()

    def left(self) -> Budget:
        """Return the remaining budget, for the next engine of the same run."""
        cap, spent = self._budget, self._spent
        elapsed = anyio.current_time() - self._started
        return Budget(
            calls=None if cap.calls is None else max(0, cap.calls - spent.calls),
            tokens=None if cap.tokens is None else max(0, cap.tokens - spent.tokens),
            cost=None if cap.cost is None else max(0.0, cap.cost - spent.cost),
            seconds=None if cap.seconds is None else max(0.0, cap.seconds - elapsed),
        )

    def close(self) -> None:
        """Wake up all calls that wait for a reservation."""
        self._closed = True
        self._changed.set()

    def _exceeded(self, share: Reservation) -> str | None:
        budget, total = self._budget, self._spent + self._reserved + share
        if budget.calls is not None and total.calls > budget.calls:
            return f"the budget is used up: --max-calls {budget.calls}"
        if budget.tokens is not None and total.tokens > budget.tokens:
            return f"the budget does not cover another call: --max-tokens {budget.tokens}"
        if budget.cost is not None and total.cost > budget.cost:
            return f"the budget does not cover another call: --max-cost {budget.cost:g}"
        if budget.seconds is not None:
            elapsed = anyio.current_time() - self._started
            if elapsed >= budget.seconds:
                return f"the time allowed is over: --max-seconds {budget.seconds:g}"
        return None


def ceiling(request: Request) -> Usage:
    """Return the most a request may use: its text at three characters a token, its maximum."""
    characters = sum(
        len(message.content) if isinstance(message.content, str) else len(str(message.content))
        for message in request.messages
    )
    maxima = (request.parameters.get(name) for name in _MAXIMA)
    assumed = 0 if request.response_format == "embedding" else ASSUMED_OUTPUT
    output = next((maximum for maximum in maxima if isinstance(maximum, int)), assumed)
    return Usage(input=characters // 3 + 4 * len(request.messages) + 8, output=output)
