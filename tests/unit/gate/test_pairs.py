"""Groups of cases and Student's t."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from llmops_cli.gate.score_test import (
    NORMAL,
    Groups,
    Reference,
    design_effect,
    group_variance,
    reference,
    t_cdf,
    t_quantile,
)


def groups(*labels: int) -> Groups:
    return Groups.of(np.array(labels, dtype=np.int32))


def test_cases_that_copy_each_other_count_once() -> None:
    d = np.repeat(np.array([1.0, 0, 0, -1, 0, 1, 0, 0, -1, 0]), 4)
    together = groups(*np.repeat(np.arange(10), 4))
    assert design_effect(d, together) == pytest.approx(4 * 10 / 9)


def test_groups_never_make_the_evidence_stronger() -> None:
    d = np.array([1.0, -1.0] * 10)
    assert design_effect(d, groups(*np.repeat(np.arange(10), 2))) == 1.0


def test_without_variance_the_cases_of_a_group_count_as_wholly_alike() -> None:
    assert design_effect(np.zeros(4), groups(0, 0, 1, 1)) == 2.0
    assert design_effect(np.zeros(4), groups(0, 0, 0, 1)) == 2.5


@pytest.mark.parametrize("value", [-1 / 3, 0.1, 2 / 7])
def test_equal_differences_have_no_variance_however_their_mean_is_rounded(value: float) -> None:
    d = np.full(56, value)
    assert design_effect(d, groups(*np.arange(56) % 14)) == 4.0


def test_without_variance_cases_of_their_own_are_independent() -> None:
    assert design_effect(np.zeros(4), groups(0, 1, 2, 3)) == 1.0


def test_a_single_group_tells_nothing_about_variance() -> None:
    assert group_variance(np.array([0.0, 1.0]), groups(7, 7)) == math.inf


def test_without_groups_the_reference_is_normal() -> None:
    assert reference(np.array([0.0, 1.0]), None) is NORMAL
    assert NORMAL.critical(0.05) == pytest.approx(1.6448536269514722)
    assert NORMAL.below(-1.6448536269514722) == pytest.approx(0.05)


def test_with_groups_the_reference_is_a_stretched_t() -> None:
    d = np.repeat(np.array([1.0, 0, 0, -1, 0, 1, 0, 0, -1, 0]), 4)
    together = groups(*np.repeat(np.arange(10), 4))
    judged_by = reference(d, together)
    assert judged_by == Reference(degrees=9, scale=math.sqrt(design_effect(d, together)))
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
