"""What a call costs, and the budget of a run: reserved before a call, settled after it.

A call starts only if everything spent, everything reserved and its own ceiling fit under the cap;
while other calls are out it waits for them to settle instead of giving up. So a cap is only
exceeded if a call exceeds its own ceiling. Calls that may have been billed although no answer
arrived stay reserved.

Prices come from `llmops.yaml`, else from the `genai-prices` tables. One that neither has is None,
never a guess; what runs inside this process costs nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import Any, TypeAlias

import anyio

from llmops_cli.core.prompt import Model, Price, Request, own_machine
from llmops_cli.core.result import Completion, Usage

ASSUMED_OUTPUT = 1024
"""Output tokens reserved for a request that names no maximum."""
MILLION = 1_000_000
FREE = frozenset({"embedded", "replay"})
VENDORS = frozenset({"openai", "anthropic"})
_MAXIMA = ("max_completion_tokens", "max_tokens", "max_output_tokens")

Tariff: TypeAlias = Callable[[Usage], float]
"""Returns the US dollars for a usage."""


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

    def divided(self, index: int, count: int) -> Budget:
        """Return the part of the `index`-th of `count` shards, counted from 1."""
        calls, tokens = (
            None if cap is None else (cap + count - index) // count
            for cap in (self.calls, self.tokens)
        )
        return replace(
            self, calls=calls, tokens=tokens, cost=None if self.cost is None else self.cost / count
        )


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


@dataclass(slots=True, kw_only=True)
class Spent:
    """The calls of a run so far, and their usage as reported by the providers."""

    calls: int = 0
    """Sent at least once, answered or not."""
    attempts: int = 0
    """Requests sent, retries included."""
    input_tokens: int = 0
    output_tokens: int = 0
    cost: float = 0.0
    """US dollars of the priced calls."""
    unpriced: int = 0
    """Answers whose price or usage is not known: with any, `cost` is not the whole cost."""

    def add(self, completion: Completion) -> None:
        """Count the usage and the cost of an answer."""
        if completion.usage is not None:
            self.input_tokens += completion.usage.input
            self.output_tokens += completion.usage.output
        if completion.cost is None:
            self.unpriced += 1
        else:
            self.cost += completion.cost


class Account:
    """The running account of one budget."""

    def __init__(self, budget: Budget) -> None:
        self.budget = budget
        self._started = anyio.current_time()
        self._spent = Reservation()
        self._reserved = Reservation()
        self._pending = 0
        self._changed = anyio.Event()
        self._closed = False

    async def reserve(self, share: Reservation) -> str | None:
        """Take `share`, or return which cap forbids it. Waits while reservations may fall."""
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
        cap, spent = self.budget, self._spent
        return Budget(
            calls=None if cap.calls is None else max(0, cap.calls - spent.calls),
            tokens=None if cap.tokens is None else max(0, cap.tokens - spent.tokens),
            cost=None if cap.cost is None else max(0.0, cap.cost - spent.cost),
            seconds=None if cap.seconds is None else max(0.0, cap.seconds - self._elapsed()),
        )

    def close(self) -> None:
        """Wake up all calls that wait for a reservation."""
        self._closed = True
        self._changed.set()

    def _elapsed(self) -> float:
        return anyio.current_time() - self._started

    def _exceeded(self, share: Reservation) -> str | None:
        cap, total = self.budget, self._spent + self._reserved + share
        if cap.calls is not None and total.calls > cap.calls:
            return f"the budget is used up: --max-calls {cap.calls}"
        if cap.tokens is not None and total.tokens > cap.tokens:
            return f"the budget does not cover another call: --max-tokens {cap.tokens}"
        if cap.cost is not None and total.cost > cap.cost:
            return f"the budget does not cover another call: --max-cost {cap.cost:g}"
        if cap.seconds is not None and self._elapsed() >= cap.seconds:
            return f"the time allowed is over: --max-seconds {cap.seconds:g}"
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


def tariff(model: Model) -> Tariff | None:
    """Return how `model`'s calls are priced; None if no price is known."""
    if model.price is not None:
        return _linear(model.price)
    if model.provider in FREE:
        return lambda _usage: 0.0
    if model.provider not in VENDORS or (model.base_url and own_machine(model.base_url)):
        return None
    return _from_tables(model)


def highest(price: Tariff, usage: Usage) -> float:
    """Return the most that `usage` can cost: all of its input may be written to a cache."""
    return max(price(usage), price(replace(usage, cache_write=usage.input)))


def _linear(price: Price) -> Tariff:
    read = price.input if price.cached_input is None else price.cached_input
    write = price.input if price.cache_write is None else price.cache_write
    write_1h = write if price.cache_write_1h is None else price.cache_write_1h

    def cost(usage: Usage) -> float:
        uncached = usage.input - usage.cached_input - usage.cache_write
        return (
            uncached * price.input
            + usage.cached_input * read
            + (usage.cache_write - usage.cache_write_1h) * write
            + usage.cache_write_1h * write_1h
            + usage.output * price.output
        ) / MILLION

    return cost


def _from_tables(model: Model) -> Tariff | None:
    """Return a tariff out of genai-prices; flat prices are multiplied here, 200 times faster."""
    import genai_prices  # noqa: PLC0415 - takes 150 ms, which only a vendor's model need cost

    calc: Any = genai_prices.calc_price
    provider = (
        {"provider_api_url": model.base_url} if model.base_url else {"provider_id": model.provider}
    )

    def priced(usage: Usage) -> Any:  # noqa: ANN401 - the types of the tables
        counts = genai_prices.Usage(
            input_tokens=usage.input,
            output_tokens=usage.output,
            cache_read_tokens=usage.cached_input,
            cache_write_tokens=usage.cache_write,
            cache_write_1h_tokens=usage.cache_write_1h,
        )
        return calc(counts, model_ref=model.model, **provider)

    try:
        rates = priced(Usage(input=1, output=1)).model_price
    except LookupError:
        return None
    names = {"cached_input": "cache_read"}  # the tables' word, where it is not ours
    flat = {
        name: rate
        for name in (field.name for field in fields(Price))
        if (rate := getattr(rates, f"{names.get(name, name)}_mtok", None)) is not None
    }
    if any(hasattr(rate, "tiers") for rate in flat.values()) or not {"input", "output"} <= set(
        flat
    ):
        return lambda usage: float(priced(usage).total_price)
    return _linear(Price(**{name: float(rate) for name, rate in flat.items()}))
