"""The score test at its edges, where other tests divide by zero."""

from __future__ import annotations

import math
from statistics import NormalDist

import numpy as np
import pytest

from llmops_cli.gate.score_test import (
    Groups,
    Statistic,
    corrected_z,
    group_sample,
    log_chance_unseen,
    lower_end,
    sample,
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


def test_cases_that_all_regressed_leave_nothing_below_them() -> None:
    seen = sample(np.full(3, -1.0))
    assert lower_end(seen, Q) == -1.0
    assert -1.0 < upper_end(seen, Q) < 1.0


def test_cases_that_all_improved_leave_nothing_above_them() -> None:
    seen = sample(np.full(3, 1.0))
    assert upper_end(seen, Q) == 1.0
    assert -1.0 < lower_end(seen, Q) < 1.0


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
