"""What the shards of a run share."""

from __future__ import annotations

from llmops_cli.core.prompt import Limits
from llmops_cli.engine.budget import Budget


def test_the_budgets_of_all_shards_add_up_to_that_of_the_run() -> None:
    parts = [Budget(calls=10, tokens=7, cost=1.0).divided(index, 4) for index in (1, 2, 3, 4)]
    assert [part.calls for part in parts] == [3, 3, 2, 2]
    assert sum(part.tokens or 0 for part in parts) == 7
    assert [part.cost for part in parts] == [0.25] * 4
    assert Budget().divided(1, 4) == Budget()


def test_rates_are_divided_and_never_zero() -> None:
    assert Limits(rpm=100, tpm=3).divided(8) == Limits(rpm=12, tpm=1)
    assert Limits().divided(8) == Limits()
