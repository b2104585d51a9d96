from __future__ import annotations

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.multitest import multipletests

from llmops_cli.gate.decide import benjamini_hochberg, holm


def test_the_adjusted_values_are_those_of_statsmodels_and_scipy() -> None:
    p = np.random.default_rng(3).random(40) ** 3
    assert holm(list(p)) == pytest.approx(multipletests(p, method="holm")[1])
    assert benjamini_hochberg(list(p)) == pytest.approx(stats.false_discovery_control(p))


def test_a_single_test_is_not_adjusted_and_none_gives_none() -> None:
    assert (holm([0.03]), benjamini_hochberg([0.03])) == ([0.03], [0.03])
    assert (holm([]), benjamini_hochberg([])) == ([], [])


def test_values_stay_in_the_order_given() -> None:
    assert holm([0.5, 0.01, 0.02]) == pytest.approx([0.5, 0.03, 0.04])
