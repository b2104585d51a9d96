"""What a call costs, in US dollars: from `llmops.yaml`, else from the `genai-prices` tables.

A price that neither has is None, never a guess; what runs inside this process costs nothing.
The tables take 150 ms to import, so they are loaded when the first vendor price is looked up: a
run on the embedded model, a local server or cached answers never pays for them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, TypeAlias

from llmops_cli.core.prompt import Model, Price, own_machine
from llmops_cli.core.result import Usage

Tariff: TypeAlias = Callable[[Usage], float]
"""Returns the US dollars for a usage."""

MILLION = 1_000_000
FREE = frozenset({"embedded", "replay"})
VENDORS = frozenset({"openai", "anthropic"})


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
    import genai_prices  # noqa: PLC0415 - takes 150 ms

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
    flat = {
        name: getattr(rates, f"{in_tables}_mtok", None)
        for name, in_tables in (
            ("input", "input"),
            ("output", "output"),
            ("cached_input", "cache_read"),
            ("cache_write", "cache_write"),
            ("cache_write_1h", "cache_write_1h"),
        )
    }
    tiered = any(hasattr(rate, "tiers") for rate in flat.values())
    if tiered or flat["input"] is None or flat["output"] is None:
        return lambda usage: float(priced(usage).total_price)
    known = {name: float(rate) for name, rate in flat.items() if rate is not None}
    return _linear(Price(**known))
