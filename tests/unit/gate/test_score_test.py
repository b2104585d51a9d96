"""The score test at its edges, where other tests divide by zero."""

from __future__ import annotations

import math

import numpy as np
import pytest

from llmops_cli.gate.score_test import lower_end, sample, upper_end, z

Q = 1.6448536269514722


def test_a_sample_at_the_hypothesised_mean_has_no_evidence_either_way() -> None:
    assert z(sample(np.array([-1.0, 1.0, 0.0])), 0.0) == 0.0


def test_a_mean_at_the_bound_itself_is_contradicted_by_any_other_value() -> None:
    seen = sample(np.array([-1.0, 0.0, 0.0]))
    assert z(seen, -1.0) == math.inf
    assert z(seen, 1.0) == -math.inf


def test_cases_that_are_all_lost_leave_nothing_below_them() -> None:
    seen = sample(np.full(3, -1.0))
    assert lower_end(seen, Q) == -1.0
    assert -1.0 < upper_end(seen, Q) < 1.0


def test_cases_that_are_all_gained_leave_nothing_above_them() -> None:
    seen = sample(np.full(3, 1.0))
    assert upper_end(seen, Q) == 1.0
    assert -1.0 < lower_end(seen, Q) < 1.0


def test_without_any_difference_z_has_the_closed_form() -> None:
    for n in (1, 11, 52, 1000):
        for m in (0.01, 0.05, 0.5):
            assert z(sample(np.zeros(n)), -m) == pytest.approx(math.sqrt(n * m / (1 - m)))


def test_the_interval_ends_are_where_z_reaches_the_critical_value() -> None:
    seen = sample(np.random.default_rng(1).uniform(-0.4, 0.3, 75))
    assert z(seen, lower_end(seen, Q)) == pytest.approx(Q, abs=1e-8)
    assert z(seen, upper_end(seen, Q)) == pytest.approx(-Q, abs=1e-8)


def test_a_hundred_thousand_distinct_values_are_one_sample() -> None:
    d = np.random.default_rng(1).uniform(-1, 1, 100_000)
    wald = (d.mean() - 0.05) / (d.std() / math.sqrt(len(d)))
    assert z(sample(d), 0.05) == pytest.approx(wald, rel=0.01)


def test_an_empty_sample_and_a_value_beyond_the_bounds_are_refused() -> None:
    with pytest.raises(ValueError, match="at least one value"):
        sample(np.array([]))
    with pytest.raises(ValueError, match=r"within \[0.0, 1.0\]"):
        sample(np.array([-0.5, 0.5]), low=0.0, high=1.0)
