from __future__ import annotations

from dataclasses import replace

import pytest

from llmops_cli.core.case_result import CaseResult
from llmops_cli.core.report import SliceSummary
from llmops_cli.gate.decide import slices
from tests.unit.gate.build import compared, failed, grouped, row, rows


def tagged(given: list[CaseResult], *tags: str) -> list[CaseResult]:
    prefix = "+".join(tags)
    return [replace(each, case=f"{prefix} {each.case}", tags=tags) for each in given]


def test_each_tag_has_its_own_figures_and_a_p_adjusted_over_the_tags() -> None:
    lossy = tagged(rows(lost=5, gained=0, n=30), "refund")
    steady = tagged(rows(lost=1, gained=1, n=20, failing=4), "billing")
    found = slices(compared([*lossy, *steady, *rows(lost=0, gained=0, n=9)]))
    assert found == (
        SliceSummary(
            tag="billing",
            cases=20,
            regressed=1,
            improved=1,
            candidate=0.75,
            baseline=0.75,
            p_adjusted=pytest.approx(0.5),  # type: ignore[arg-type]  # compares as a float
        ),
        SliceSummary(
            tag="refund",
            cases=30,
            regressed=5,
            improved=0,
            candidate=pytest.approx(25 / 30),  # type: ignore[arg-type]  # compares as a float
            baseline=1.0,
            p_adjusted=pytest.approx(2 * 0.012674, abs=1e-6),  # type: ignore[arg-type]  # compares as a float
        ),
    )


def test_a_case_with_two_tags_is_in_both() -> None:
    found = slices(compared(tagged(rows(lost=1, gained=0, n=4), "a", "b")))
    assert [(each.tag, each.regressed) for each in found] == [("a", 1), ("b", 1)]


def test_a_tag_without_compared_or_measured_cases_is_left_out() -> None:
    unpaired = replace(row("x", [1], None), tags=("new",))
    broken = replace(row("y", [failed()], [1]), tags=("broken",))
    assert slices(compared([unpaired, broken])) == ()


def test_too_few_groups_are_never_marked() -> None:
    (found,) = slices(compared(grouped(tagged(rows(lost=30, gained=0, n=60), "t"), 10)))
    assert found.p_adjusted == 1.0
