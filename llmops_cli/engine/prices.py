"""What a call costs, in US dollars: from `llmops.yaml`, else from the `genai-prices` tables.

A price that neither knows is None, never a guess; what runs inside this process costs nothing.
The tables take 150 ms to import, so they are loaded when the first vendor price is looked up and
not before: a run on the embedded model, a local server or stored answers never pays for them.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any, TypeAlias

from llmops_cli.core.private_urls import own_machine
from llmops_cli.core.prompt import Model, Price
from llmops_cli.core.result import Usage

Tariff: TypeAlias = Callable[[Usage], float]
"""US dollars for a usage."""

MILLION = 1_000_000
FREE = frozenset({"embedded", "replay"})
VENDORS = frozenset({"openai", "anthropic"})


def tariff(model: Model) -> Tariff | None:
    """How `model`'s calls are priced; None where no price is known."""
    if model.price is not None:
        return _linear(model.price)
    if model.provider in FREE:
        return _nothing
    if model.provider not in VENDORS or (model.base_url and own_machine(model.base_url)):
        return None
    return _from_tables(model)


def _nothing(_: Usage) -> float:
    return 0.0


def _linear(price: Price) -> Tariff:
    cached = price.input if price.cached_input is None else price.cached_input

    def cost(usage: Usage) -> float:
        fresh = usage.input - usage.cached_input
        return (
            fresh * price.input + usage.cached_input * cached + usage.output * price.output
        ) / MILLION

    return cost


def _from_tables(model: Model) -> Tariff | None:
    """A tariff out of genai-prices; flat prices are multiplied here, 200 times faster."""
    tables: Any = import_module("genai_prices")
    where = (
        {"provider_api_url": model.base_url} if model.base_url else {"provider_id": model.provider}
    )

    def total(usage: Usage) -> Any:  # noqa: ANN401 - the tables are loaded by name
        counted = tables.Usage(
            input_tokens=usage.input,
            output_tokens=usage.output,
            cache_read_tokens=usage.cached_input,
        )
        return tables.calc_price(counted, model_ref=model.model, **where)

    try:
        found = total(Usage(input=1, output=1)).model_price
    except LookupError:
        return None
    rates = (found.input_mtok, found.output_mtok, found.cache_read_mtok)
    if any(hasattr(rate, "tiers") for rate in rates) or None in rates[:2]:
        return lambda usage: float(total(usage).total_price)
    into, out, cached = rates
    return _linear(
        Price(
            input=float(into),
            output=float(out),
            cached_input=None if cached is None else float(cached),
        )
    )
