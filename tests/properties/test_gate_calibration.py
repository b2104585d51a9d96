"""Properties of calibration: bounds, symmetry, and monotonic ratings."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmops_cli.core.records import CalibrationStatus, Counts, Figure
from llmops_cli.gate.calibration import corrected, figures, kappa, ruling, wilson

few = st.integers(0, 60)
BEST_FIRST = [
    CalibrationStatus.GATE,
    CalibrationStatus.TOO_FEW,  # it gates as a judge without a calibration does
    CalibrationStatus.ADVISORY,
    CalibrationStatus.UNUSABLE,
]


@st.composite
def counted(draw: st.DrawFn) -> Counts:
    cells = [draw(few) for _ in range(4)]
    read = draw(st.integers(0, sum(cells)))
    return Counts(
        both_pass=cells[0],
        only_people_pass=cells[1],
        only_judge_passes=cells[2],
        both_fail=cells[3],
        read_twice=read,
        differing=draw(st.integers(0, read)),
    )


def turned(counts: Counts) -> Counts:
    """The same with pass and fail exchanged."""
    return replace(
        counts,
        both_pass=counts.both_fail,
        both_fail=counts.both_pass,
        only_people_pass=counts.only_judge_passes,
        only_judge_passes=counts.only_people_pass,
    )


@given(counted())
def test_every_interval_holds_its_value_and_stays_within_bounds(counts: Counts) -> None:
    result = figures(counts)
    shares = [result.tpr, result.tnr, result.disagreement, result.corrected]
    for low, those in ((0.0, shares), (-1.0, [result.kappa, result.j])):
        for item in those:
            if item is not None:
                assert low - 1e-12 <= item.lower <= item.value + 1e-12
                assert item.value - 1e-12 <= item.upper <= 1.0 + 1e-12


@given(counted())
def test_pass_and_fail_are_treated_alike(counts: Counts) -> None:
    here, there = figures(counts), figures(turned(counts))
    assert (here.tpr, here.tnr) == (there.tnr, there.tpr)
    for first, second in ((here.kappa, there.kappa), (here.j, there.j)):
        assert (first is None) == (second is None)
        if first is not None and second is not None:
            assert same(first, second)
    assert ruling(counts)[0] is ruling(turned(counts))[0]


@given(counted())
def test_judge_and_people_may_be_exchanged_in_kappa(counts: Counts) -> None:
    table = [
        [counts.both_pass, counts.only_people_pass],
        [counts.only_judge_passes, counts.both_fail],
    ]
    first, second = kappa(table, 0.95), kappa(list(map(list, zip(*table, strict=True))), 0.95)
    assert (first is None) == (second is None)
    assert first is None or second is None or same(first, second)


def same(first: Figure, second: Figure) -> bool:
    pairs = ((first.value, second.value), (first.lower, second.lower), (first.upper, second.upper))
    return all(mine == pytest.approx(yours, abs=1e-9) for mine, yours in pairs)


@given(counted())
def test_a_mistake_less_or_a_steadier_judge_never_rules_worse(counts: Counts) -> None:
    better = [replace(counts, differing=0)]
    if wrong := counts.only_people_pass:
        better.append(replace(counts, only_people_pass=wrong - 1, both_pass=counts.both_pass + 1))
    if wrong := counts.only_judge_passes:
        better.append(replace(counts, only_judge_passes=wrong - 1, both_fail=counts.both_fail + 1))
    assert max(map(rank, better)) <= rank(counts)


def rank(counts: Counts) -> int:
    return BEST_FIRST.index(ruling(counts)[0])


@given(st.integers(0, 50), st.integers(1, 50), counted())
def test_a_higher_rate_never_corrects_to_a_lower_one(k: int, more: int, judge: Counts) -> None:
    n = k + more
    first, second = corrected(k, n, judge), corrected(k + 1, n, judge)
    if first is not None and second is not None:
        assert first.value <= second.value + 1e-12


@given(st.integers(0, 200), st.integers(0, 200), st.sampled_from([0.8, 0.9, 0.95]))
def test_a_wider_level_is_a_wider_interval(k: int, rest: int, level: float) -> None:
    narrow, wide = wilson(k, k + rest, level), wilson(k, k + rest, 0.99)
    if narrow is not None and wide is not None:
        assert wide.lower <= narrow.lower
        assert narrow.upper <= wide.upper
