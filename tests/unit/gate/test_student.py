from __future__ import annotations

import math

import pytest
from scipy import stats

from llmops_cli.gate.pairs import t_cdf, t_quantile

DEGREES = (1, 2, 3, 4, 5, 9, 10, 57, 100, 4_999, 50_000)


@pytest.mark.parametrize("degrees", DEGREES)
def test_the_distribution_is_scipy_s(degrees: int) -> None:
    points = (-40.0, -2.3, -0.1, 0.0, 0.7, 1.9, 6.0)
    found = [t_cdf(t, degrees) for t in points]
    assert found == pytest.approx([stats.t.cdf(t, degrees) for t in points], abs=1e-12)


@pytest.mark.parametrize("degrees", DEGREES)
def test_the_quantiles_are_scipy_s(degrees: int) -> None:
    levels = (0.0125, 0.05, 0.4, 0.6, 0.95, 0.9875, 0.9999)
    found = [t_quantile(p, degrees) for p in levels]
    assert found == pytest.approx([stats.t.ppf(p, degrees) for p in levels], rel=1e-8)


def test_infinite_statistics_are_certain() -> None:
    assert (t_cdf(math.inf, 9), t_cdf(-math.inf, 9)) == (1.0, 0.0)
