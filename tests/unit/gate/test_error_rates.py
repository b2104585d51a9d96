"""The error rates of the gate, computed exactly where possible, else simulated in a few cells."""

from __future__ import annotations

import importlib.util
import math
import re
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from scipy import stats

from llmops_cli.gate.score_test import corrected_z, sample

ROOT = Path(__file__).parents[3]
Q = 1.6448536269514722
GOAL = 5.5
"""Percent, for PASS at a loss of 5 and FAIL at no loss."""
ERRORS = ("PASS at a loss", "FAIL at no loss")
ABOVE_IT = {"all flip"}
"""What the page names as above the goal."""


def passes_at_the_margin(n: int, fall: float, rise: float, margin: float = 0.05) -> float:
    """Return how often n cases PASS that fall by 1 or rise by `rise`, in percent, exactly."""
    rates = stats.binom.pmf(np.arange(n + 1), n, fall)
    ruled_out = [
        corrected_z(sample(np.repeat([-1.0, rise], [k, n - k])), -margin) > Q for k in range(n + 1)
    ]
    return float(100 * rates[ruled_out].sum())


@pytest.mark.parametrize("n", [52, 56, 59, 60, 87, 92, 100, 150, 360])
def test_deterministic_regressions_of_the_margin_pass_in_one_run_of_twenty(n: int) -> None:
    assert passes_at_the_margin(n, 0.05, 0.0) <= 5.1


@pytest.mark.parametrize("n", [11, 20, 52, 100, 300])
def test_scores_that_mostly_rise_a_little_keep_the_rate(n: int) -> None:
    assert passes_at_the_margin(n, 0.1 / 1.05, 0.05) <= GOAL


@pytest.mark.parametrize(("n", "percent"), [(20, 6.6), (52, 5.9), (100, 5.6)])
def test_scores_that_mostly_rise_much_pass_as_often_as_the_page_says(
    n: int, percent: float
) -> None:
    rises = np.linspace(0.0, 0.3, 301)
    rates = [passes_at_the_margin(n, (0.05 + rise) / (1 + rise), float(rise)) for rise in rises]
    assert max(rates) == pytest.approx(percent, abs=0.06)


@pytest.mark.parametrize(("n", "percent"), [(5, 3.1), (10, 5.5), (50, 5.9)])
def test_coin_tosses_in_every_case_fail_as_often_as_the_page_says(n: int, percent: float) -> None:
    fails = [
        corrected_z(sample(np.repeat([-1.0, 1.0], [k, n - k])), 0.0) < -Q for k in range(n + 1)
    ]
    assert 100 * stats.binom.pmf(np.arange(n + 1), n, 0.5)[fails].sum() == pytest.approx(
        percent, abs=0.05
    )


@pytest.fixture(scope="module")
def simulation() -> ModuleType:
    path = ROOT / "benchmarks" / "gate_error_rates.py"
    spec = importlib.util.spec_from_file_location("gate_error_rates", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def tables() -> list[list[list[str]]]:
    """The tables of the page that the simulation prints, as cells; the first row is the head."""
    text = (ROOT / "docs" / "verdict-figures.md").read_text(encoding="utf-8")
    blocks = re.findall(r"(?:^\|.*\n)+", text.partition("## Judges")[0], re.MULTILINE)
    rows = [[line.strip("| ").split(" | ") for line in block.splitlines()] for block in blocks]
    return [table for table in rows if table[0][0] != "column"]


def test_the_page_has_a_row_for_every_design_of_the_simulation(simulation: ModuleType) -> None:
    coins, others, groups = (table[2:] for table in tables())
    assert [[row[0], row[1]] for row in coins] == [
        [str(cells[0].n), f"{cells[0].trials[0]} and {cells[0].trials[1]}"]
        for cells in simulation.coins_cells()
    ]
    assert [[row[0], row[1]] for row in others] == [
        [cells[0].world, str(cells[0].n)] for cells in simulation.other_cells()
    ]
    assert [[row[0], row[1]] for row in groups] == [
        [str(count), sizes] for count in simulation.GROUPS for sizes in simulation.GROUP_SIZES
    ]


def test_no_documented_design_errs_more_often_than_chance_allows() -> None:
    text = (ROOT / "docs" / "verdict-figures.md").read_text(encoding="utf-8")
    (repetitions,) = re.findall(r"Seed \d+, ([\d,]+) repetitions", text)
    # Groups have half of them; the largest of some 200 rates lies 4 standard errors above.
    spread = math.sqrt(0.05 * 0.95 / (int(repetitions.replace(",", "")) / 2))
    limit = 5.0 + 400 * spread
    for table in tables():
        head, _, *rows = table
        errors = [
            at for at, name in enumerate(head) if name.startswith(("PASS at a loss", "FAIL at no"))
        ]
        for row in rows:
            shares = [float(row[at].rstrip("%")) for at in errors if row[at] != "–"]
            assert row[0] in ABOVE_IT or max(shares) <= limit, row


@pytest.mark.parametrize(
    ("cell", "column"),
    [
        ({"world": "coins", "n": 100, "loss": 0.05}, "passed"),
        ({"world": "coins", "n": 50, "loss": 0.0, "trials": (3, 3)}, "failed"),
        ({"world": "deterministic", "n": 59, "loss": 0.05}, "passed"),
        ({"world": "scores +5", "n": 52, "loss": 0.05}, "passed"),
        ({"world": "rerun", "n": 50, "loss": 0.05}, "passed"),
        ({"world": "floor", "n": 100, "loss": 0.0}, "failed"),
        ({"world": "10 prompts", "n": 100, "loss": 0.0}, "failed"),
        (
            {"world": "groups", "n": 25, "sizes": "12", "correlation": 0.7, "flips": 0.05,
             "loss": 0.05},
            "passed",
        ),
    ],
    ids=lambda value: value["world"] if isinstance(value, dict) else value,
)  # fmt: skip
def test_a_few_cells_measured_again_keep_the_promise(
    simulation: ModuleType, cell: dict[str, object], column: str
) -> None:
    repetitions = 400
    rates = simulation.measure(simulation.Cell(**cell), repetitions=repetitions, seed=7)
    # Five standard errors above the goal: a broken test errs far more often than that.
    limit = GOAL / 100 + 5 * math.sqrt(0.055 * 0.945 / repetitions)
    assert getattr(rates, column) <= limit


def test_without_a_loss_the_gate_can_tell(simulation: ModuleType) -> None:
    cell = simulation.Cell(world="groups", n=100, sizes="5", flips=0.05, loss=0.0)
    assert simulation.measure(cell, repetitions=200, seed=7).passed > 0.9
