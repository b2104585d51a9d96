from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

import pytest
from genai_prices import Usage as Counted
from genai_prices import calc_price

from llmops_cli.core.prompt import Model, Price
from llmops_cli.core.result import Usage
from llmops_cli.engine.budget import highest, tariff


def model(provider: str, name: str, *, base_url: str | None = None) -> Model:
    return Model(name="m", provider=provider, model=name, base_url=base_url)


@pytest.mark.parametrize(
    ("price", "usage", "dollars"),
    [
        (
            Price(input=1.0, output=3.0, cached_input=0.5),
            Usage(input=1000, output=100, cached_input=400),
            (600 * 1.0 + 400 * 0.5 + 100 * 3.0) / 1e6,
        ),
        (
            Price(input=1.0, output=3.0, cache_write=1.25, cache_write_1h=2.0),
            Usage(input=1000, output=0, cache_write=600, cache_write_1h=100),
            (400 * 1.0 + 500 * 1.25 + 100 * 2.0) / 1e6,
        ),
        (Price(input=1.0, output=3.0), Usage(input=1000, output=0, cached_input=400), 1e-3),
    ],
    ids=["cached", "written to a cache", "the full price where no other is named"],
)
def test_the_project_s_own_price_rules(price: Price, usage: Usage, dollars: float) -> None:
    cost = tariff(Model(name="m", provider="openai", model="gpt-4.1-mini", price=price))
    assert cost is not None
    assert cost(usage) == pytest.approx(dollars)


@pytest.mark.parametrize(
    ("provider", "name"),
    [
        ("openai", "gpt-4.1-mini"),
        ("openai", "gpt-4o"),
        ("anthropic", "claude-haiku-4-5"),
        ("anthropic", "claude-sonnet-4-5"),
        ("openai", "gpt-6-luna"),
    ],
)
@pytest.mark.parametrize(
    "usage",
    [
        Usage(input=1000, output=100),
        Usage(input=1000, output=100, cached_input=400),
        Usage(input=300_000, output=5, cached_input=250_000),
        Usage(input=1000, output=100, cached_input=400, cache_write=500),
        Usage(input=1000, output=100, cached_input=400, cache_write=500, cache_write_1h=300),
    ],
)
def test_vendor_prices_are_those_of_the_tables(provider: str, name: str, usage: Usage) -> None:
    counted = Counted(
        input_tokens=usage.input,
        output_tokens=usage.output,
        cache_read_tokens=usage.cached_input,
        cache_write_tokens=usage.cache_write,
        cache_write_1h_tokens=usage.cache_write_1h,
    )
    expected = calc_price(counted, model_ref=name, provider_id=provider).total_price
    cost = tariff(model(provider, name))
    assert cost is not None
    assert cost(usage) == pytest.approx(float(expected))


def test_writing_to_a_cache_costs_more_than_plain_input() -> None:
    cost = tariff(model("anthropic", "claude-haiku-4-5"))
    assert cost is not None
    plain = Usage(input=1000, output=0)
    assert cost(replace(plain, cache_write=1000)) == pytest.approx(1.25 * cost(plain))
    hour = replace(plain, cache_write=1000, cache_write_1h=1000)
    assert cost(hour) == pytest.approx(2 * cost(plain))
    assert highest(cost, plain) == pytest.approx(1.25 * cost(plain))


@pytest.mark.parametrize(
    "unknown",
    [
        model("openai", "gpt-99-imaginary"),
        model("openai", "gpt-4.1-mini", base_url="http://localhost:8000/v1"),
        model("openai", "gpt-4.1-mini", base_url="http://10.1.2.3/v1"),
        model("openai", "x", base_url="https://models.example.org/v1"),
        model("vllm", "Qwen/Qwen3-8B"),
        model("http", "app"),
    ],
    ids=lambda model: f"{model.provider}-{model.base_url}",
)
def test_a_price_that_is_unknown_is_none(unknown: Model) -> None:
    assert tariff(unknown) is None


@pytest.mark.parametrize("provider", ["embedded", "replay"])
def test_what_runs_in_this_process_costs_nothing(provider: str) -> None:
    cost = tariff(model(provider, "bm25"))
    assert cost is not None
    assert cost(Usage(input=10, output=10)) == 0.0


def test_the_tables_are_loaded_for_vendors_only() -> None:
    program = (
        "import sys\n"
        "from llmops_cli.core.prompt import Model\n"
        "from llmops_cli.engine import budget, call\n"
        "for provider in ('embedded', 'vllm', 'replay'):\n"
        "    budget.tariff(Model(name='m', provider=provider, model='m'))\n"
        "print({'genai_prices', 'openai', 'anthropic', 'aiohttp'} & set(sys.modules))\n"
    )
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"
