"""The score test at its edges, where other tests divide by zero; groups and Student's t."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import NormalDist

import numpy as np
import pytest
from scipy import stats

from llmops_cli.gate.score_test import (
    NORMAL,
    Groups,
    Reference,
    Statistic,
    corrected_z,
    design_effect,
    group_sample,
    group_variance,
    log_chance_unseen,
    lower_end,
    reference,
    sample,
    t_cdf,
    t_quantile,
    unobserved_size,
    upper_end,
    z,
)

Q = 1.6448536269514722


def test_a_sample_at_the_hypothesized_mean_has_no_evidence_either_way() -> None:
    assert z(sample(np.array([-1.0, 1.0, 0.0])), 0.0) == 0.0


def test_a_mean_at_the_bound_itself_is_contradicted_by_any_other_value() -> None:
    seen = sample(np.array([-1.0, 0.0, 0.0]))
    assert z(seen, -1.0) == math.inf
    assert z(seen, 1.0) == -math.inf


def test_cases_that_all_regressed_or_improved_leave_nothing_beyond_them() -> None:
    regressed, improved = sample(np.full(3, -1.0)), sample(np.full(3, 1.0))
    assert (lower_end(regressed, Q), upper_end(improved, Q)) == (-1.0, 1.0)
    assert -1.0 < upper_end(regressed, Q) < 1.0
    assert -1.0 < lower_end(improved, Q) < 1.0


def test_without_any_difference_z_has_the_closed_form() -> None:
    for n in (1, 11, 52, 1000):
        for m in (0.01, 0.05, 0.5):
            assert z(sample(np.zeros(n)), -m) == pytest.approx(math.sqrt(n * m / (1 - m)))


@pytest.mark.parametrize("statistic", [z, corrected_z])
def test_the_interval_ends_are_where_the_statistic_reaches_the_critical_value(
    statistic: Statistic,
) -> None:
    seen = sample(np.random.default_rng(1).uniform(-0.4, 0.3, 75))
    assert statistic(seen, lower_end(seen, Q, statistic)) == pytest.approx(Q, abs=1e-8)
    assert statistic(seen, upper_end(seen, Q, statistic)) == pytest.approx(-Q, abs=1e-8)


@pytest.mark.parametrize(("margin", "n"), [(0.05, 59), (0.1, 29), (0.2, 14)])
def test_equal_values_are_tested_by_the_exact_chance_not_to_see_another(
    margin: float, n: int
) -> None:
    assert corrected_z(sample(np.zeros(n)), -margin) > Q
    assert corrected_z(sample(np.zeros(n - 1)), -margin) < Q
    chance = NormalDist().cdf(-corrected_z(sample(np.zeros(n)), -margin))
    assert chance == pytest.approx((1 - margin) ** n)


def test_differences_as_often_up_as_down_need_no_correction() -> None:
    seen = sample(np.repeat([-1.0, 0.0, 1.0], [9, 80, 3]))
    assert corrected_z(seen, 0.0) == pytest.approx(z(seen, 0.0))


def test_rare_jumps_are_corrected_toward_no_evidence() -> None:
    rare_losses = sample(np.repeat([-1.0, 0.0], [1, 99]))
    rare_gains = sample(np.repeat([-0.06, 1.0], [97, 3]))
    for seen in (rare_losses, rare_gains):
        assert 0.0 < corrected_z(seen, -0.05) < z(seen, -0.05)


def test_groups_of_one_size_are_tested_as_cases_of_that_number() -> None:
    numbers = np.repeat(np.arange(70, dtype=np.int32), 4)
    whole = np.repeat(np.repeat([-1.0, 0.0, 1.0], [2, 65, 3]), 4)
    groups = group_sample(whole, Groups.of(numbers))
    cases = sample(np.repeat([-1.0, 0.0, 1.0], [2, 65, 3]))
    assert corrected_z(groups, -0.05) == pytest.approx(corrected_z(cases, -0.05))
    assert lower_end(groups, Q) == pytest.approx(lower_end(cases, Q))


def test_the_largest_chance_to_see_no_group_fall_is_that_of_the_worst_loss() -> None:
    assert math.exp(log_chance_unseen(np.ones(20), 0.05)) == pytest.approx(0.95**20)
    sizes = np.array([4.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0]) / 1.3
    chances = np.linspace(0.0, 0.05 * 13 / 4, 10_001)  # that the large group falls
    others = (0.05 * 13 - 4 * chances) / 9
    best = float(((1 - chances) * (1 - others) ** 9).max())
    assert math.exp(log_chance_unseen(sizes, 0.05)) == pytest.approx(best, rel=1e-6)


def test_a_group_that_holds_many_cases_is_the_one_that_could_have_fallen() -> None:
    sizes = np.array([40.0, *[1.0] * 60])
    assert unobserved_size(sizes / sizes.mean(), 0.05) > 20
    assert unobserved_size(np.ones(60), 0.05) == 1.0


def test_a_hundred_thousand_distinct_values_are_one_sample() -> None:
    d = np.random.default_rng(1).uniform(-1, 1, 100_000)
    wald = (d.mean() - 0.05) / (d.std() / math.sqrt(len(d)))
    assert z(sample(d), 0.05) == pytest.approx(wald, rel=0.01)


def test_an_empty_sample_and_a_value_beyond_the_bounds_are_refused() -> None:
    with pytest.raises(ValueError, match="at least one value"):
        sample(np.array([]))
    with pytest.raises(ValueError, match=r"within \[0.0, 1.0\]"):
        sample(np.array([-0.5, 0.5]), low=0.0, high=1.0)


def groups(*labels: int) -> Groups:
    return Groups.of(np.array(labels, dtype=np.int32))


COPIES = np.repeat(np.array([1.0, 0, 0, -1, 0, 1, 0, 0, -1, 0]), 4)
"""Ten values of which each group of four cases has one."""


@pytest.mark.parametrize(
    ("values", "labels", "effect"),
    [
        (COPIES, np.repeat(np.arange(10), 4), 4 * 10 / 9),
        ([1.0, -1.0] * 10, np.repeat(np.arange(10), 2), 1.0),
        (np.zeros(4), [0, 0, 1, 1], 2.0),
        (np.zeros(4), [0, 0, 0, 1], 2.5),
        (np.zeros(4), [0, 1, 2, 3], 1.0),
        *((np.full(56, value), np.arange(56) % 14, 4.0) for value in (-1 / 3, 0.1, 2 / 7)),
    ],
    ids=[
        "cases that copy each other count once",
        "groups never make the evidence stronger",
        "without variance the cases of a group count as wholly alike",
        "also in groups of different sizes",
        "without variance cases of their own are independent",
        *(f"equal differences have no variance, rounded as {value}" for value in "abc"),
    ],
)
def test_the_design_effect_is_what_groups_cost(
    values: Sequence[float], labels: Sequence[int], effect: float
) -> None:
    assert design_effect(np.array(values), groups(*labels)) == pytest.approx(effect, rel=1e-12)


def test_a_single_group_tells_nothing_about_variance() -> None:
    assert group_variance(np.array([0.0, 1.0]), groups(7, 7)) == math.inf


def test_without_groups_the_reference_is_normal() -> None:
    assert reference(np.array([0.0, 1.0]), None) is NORMAL
    assert NORMAL.critical(0.05) == pytest.approx(1.6448536269514722)
    assert NORMAL.below(-1.6448536269514722) == pytest.approx(0.05)


def test_with_groups_the_reference_is_a_stretched_t() -> None:
    together = groups(*np.repeat(np.arange(10), 4))
    judged_by = reference(COPIES, together)
    assert judged_by == Reference(degrees=9, scale=math.sqrt(design_effect(COPIES, together)))
    assert judged_by.critical(0.05) == pytest.approx(1.8331129 * math.sqrt(40 / 9), rel=1e-6)
    assert judged_by.below(-judged_by.critical(0.05)) == pytest.approx(0.05)


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
