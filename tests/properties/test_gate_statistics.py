"""Properties of the score test."""

from __future__ import annotations

import math
from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from statsmodels.stats.proportion import proportion_confint

from llmops_cli.gate.decide import benjamini_hochberg, holm
from llmops_cli.gate.score_test import (
    Groups,
    corrected_z,
    design_effect,
    lower_end,
    sample,
    upper_end,
    z,
)

Q = NormalDist().inv_cdf(0.95)

means = st.floats(-0.95, 0.95)
differences = st.one_of(
    st.lists(st.sampled_from([-1.0, 0.0, 1.0]), min_size=1, max_size=60),
    st.lists(st.sampled_from([k / 3 for k in range(-3, 4)]), min_size=1, max_size=60),
    st.lists(st.floats(-1, 1).map(lambda x: round(x, 6)), min_size=1, max_size=60),
)
counts = st.tuples(st.integers(0, 40), st.integers(0, 40), st.integers(0, 120))


def tango(wins: int, losses: int, n: int, m: float) -> float:
    """Tango (1998), in closed form: the restricted estimate solves a quadratic."""
    b = (2 * n - wins + losses) * m - wins - losses
    c = -losses * m * (1 - m)
    q = (math.sqrt(max(b * b - 8 * n * c, 0.0)) - b) / (4 * n)
    variance = n * (2 * q + m * (1 - m))
    return (wins - losses - n * m) / math.sqrt(variance)


@given(counts, means)
def test_on_binary_outcomes_z_is_tango_s(given_counts: tuple[int, int, int], m: float) -> None:
    wins, losses, ties = given_counts
    n = wins + losses + ties
    assume(n > 0 and abs((wins - losses) / n - m) > 1e-9)
    d = np.repeat([-1.0, 0.0, 1.0], [losses, ties, wins])
    assert z(sample(d), m) == pytest.approx(tango(wins, losses, n, m), rel=1e-6, abs=1e-6)


@given(st.integers(0, 80), st.integers(0, 80), st.sampled_from([0.8, 0.9, 0.95]))
def test_on_one_binary_sample_the_interval_is_wilson_s(k: int, failed: int, level: float) -> None:
    n = k + failed
    assume(n > 0)
    seen = sample(np.repeat([0.0, 1.0], [failed, k]), low=0.0, high=1.0)
    critical = NormalDist().inv_cdf((1 + level) / 2)
    wilson = proportion_confint(k, n, alpha=1 - level, method="wilson")
    ends = (lower_end(seen, critical, z), upper_end(seen, critical, z))
    assert ends == pytest.approx(wilson, abs=1e-8)


@given(differences, means, means)
def test_z_never_rises_with_the_hypothesised_mean(d: list[float], one: float, two: float) -> None:
    seen = sample(np.array(d))
    low, high = sorted((one, two))
    assert z(seen, low) >= z(seen, high) - 1e-7
    assert corrected_z(seen, low) >= corrected_z(seen, high) - 1e-7


@given(differences, means)
def test_swapping_the_sides_turns_the_sign(d: list[float], m: float) -> None:
    values = np.array(d)
    for statistic in (z, corrected_z):
        turned = -statistic(sample(-values), -m)
        assert statistic(sample(values), m) == pytest.approx(turned, rel=1e-7, abs=1e-7)


@given(differences, st.floats(0.01, 0.5))
def test_the_interval_holds_the_mean_and_says_the_same_as_the_test(
    d: list[float], margin: float
) -> None:
    seen = sample(np.array(d))
    lower, upper = lower_end(seen, Q), upper_end(seen, Q)
    assert -1.0 <= lower <= seen.mean + 1e-9
    assert seen.mean - 1e-9 <= upper <= 1.0
    if abs(lower + margin) > 1e-7:
        assert (corrected_z(seen, -margin) > Q) == (lower > -margin)


@given(differences, st.integers(2, 5))
def test_more_of_the_same_narrows_the_interval(d: list[float], times: int) -> None:
    once, often = sample(np.array(d)), sample(np.array(d * times))
    assert lower_end(often, Q) >= lower_end(once, Q) - 1e-9
    assert upper_end(often, Q) <= upper_end(once, Q) + 1e-9


@given(differences, st.integers(1, 4))
def test_copies_of_a_case_in_one_group_never_add_evidence(d: list[float], copies: int) -> None:
    assume(len(d) > 1)
    values = np.repeat(np.array(d), copies)
    assume(values.var() > 1e-9)
    groups = Groups.of(np.repeat(np.arange(len(d), dtype=np.int32), copies))
    assert design_effect(values, groups) == pytest.approx(copies * len(d) / (len(d) - 1))


p_values = st.lists(st.floats(0, 1), max_size=20)


@given(st.data(), p_values)
def test_adjusting_does_not_depend_on_the_order(data: st.DataObject, p: list[float]) -> None:
    order = data.draw(st.permutations(range(len(p))))
    for adjust in (holm, benjamini_hochberg):
        shuffled = adjust([p[at] for at in order])
        assert shuffled == pytest.approx([adjust(p)[at] for at in order])


@given(p_values)
def test_adjusting_never_lowers_a_p_and_holm_is_the_stricter(p: list[float]) -> None:
    for raw, loose, strict in zip(p, benjamini_hochberg(p), holm(p), strict=True):
        assert raw <= loose + 1e-12
        assert loose <= strict + 1e-12
        assert strict <= 1.0
