"""Measures how often the gate, as built, is wrong, and how often it can tell at all.

    python benchmarks/gate_error_rates.py [--repetitions N] [--seed S] [--processes P]

Every verdict comes from `compare` and `decide` under the default policy (margin 5 points,
tolerance 0, α = β = 0.05). The world: one case in five is a coin toss for the baseline, the
others always pass or always fail, so that with one draw 10 % of cases flip by chance. A true loss
of δ is a coin that lands on pass less often (½ − 5δ). Baseline and candidate have the same number
of draws. Prints a Markdown table; the same seed prints the same table.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import cache, partial

import numpy as np
from numpy.typing import NDArray

from llmops_cli.core.policy import Policy
from llmops_cli.core.row import Arm, Draw, Metric, Row
from llmops_cli.core.verdict import Decision
from llmops_cli.gate.compare import compare
from llmops_cli.gate.comparison import PASS_METRIC, Comparison, Tally
from llmops_cli.gate.decide import Trial, decide
from llmops_cli.gate.looks import NextLook, next_look
from llmops_cli.gate.shares import DRAWS

Passes = NDArray[np.int64]
Chances = NDArray[np.float64]

SIZES = (20, 30, 50, 100, 200, 500, 1000)
UNCERTAIN, ALWAYS = 0.2, 0.7
"""Shares of coin-toss cases and of cases that always pass; the rest always fails."""
MARGIN = 0.05
LOSSES = (0.0, MARGIN, 2 * MARGIN)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One row of the table before it is measured. `draws` 0: as many as `rerun` asks for."""

    n: int
    draws: int
    loss: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Rates:
    """Shares of repetitions."""

    passed: float = 0.0
    blocked: float = 0.0
    naive_mean: float = 0.0
    """`Block if the mean drops more than 5 points` blocked."""
    naive_cases: float = 0.0
    """`Block if more than 5 % of the cases regress` blocked."""


def comparison_of(candidate: Passes, baseline: Passes, draws: int) -> Comparison:
    """A comparison of n cases with these numbers of passed draws, shape (n,) each."""
    shape = _unscored(len(candidate), draws)
    measured = np.full(len(candidate), draws, dtype=np.int32)
    scores = replace(
        shape.scores[PASS_METRIC],
        candidate=Tally(total=candidate.astype(np.float64), measured=measured),
        baseline=Tally(total=baseline.astype(np.float64), measured=measured),
    )
    return replace(shape, scores={**shape.scores, PASS_METRIC: scores})


@cache
def _unscored(n: int, draws: int) -> Comparison:
    """`compare` over n cases, once per shape: only the sums differ between repetitions."""
    right = (Draw(output="o", scores={"exact": 1.0}),) * draws
    rows = (
        Row(
            case=str(at),
            candidate=Arm(request="new", facts="f", planned=draws, draws=right),
            baseline=Arm(request="old", facts="f", planned=draws, draws=right),
        )
        for at in range(n)
    )
    return compare(rows, [Metric(label="exact", scorer="s", minimum=1.0)])


def probabilities(n: int, loss: float, random: np.random.Generator) -> tuple[Chances, Chances]:
    """Pass probabilities of n random cases, candidate and baseline, shape (n,) each."""
    kind = random.random(n)
    coin, always = kind < UNCERTAIN, kind < UNCERTAIN + ALWAYS
    baseline = np.where(coin, 0.5, always)
    candidate = np.where(coin, 0.5 - loss / UNCERTAIN, always)
    return candidate, baseline


def measure(cell: Cell, *, repetitions: int, seed: int) -> Rates:
    """The rates of one cell. Equal counts have one verdict: the order of cases is nothing to it."""
    random = np.random.default_rng([seed, cell.n, cell.draws, round(1000 * cell.loss)])
    if cell.draws == 0:
        return _measure_rerun(cell, repetitions, random)
    side = cell.draws + 1
    counts = np.empty((repetitions, side * side), dtype=np.int32)
    for at in range(repetitions):
        candidate, baseline = probabilities(cell.n, cell.loss, random)
        now, before = random.binomial(cell.draws, candidate), random.binomial(cell.draws, baseline)
        counts[at] = np.bincount(now * side + before, minlength=side * side)
    distinct, times = np.unique(counts, axis=0, return_counts=True)
    totals = np.zeros(len(Rates.__dataclass_fields__))
    for each, weight in zip(distinct, times, strict=True):
        kinds = np.repeat(np.arange(side * side), each)
        totals += weight * _one(kinds // side, kinds % side, cell.draws)
    return Rates(**dict(zip(Rates.__dataclass_fields__, totals / repetitions, strict=True)))


def _one(candidate: Passes, baseline: Passes, draws: int) -> Chances:
    """What happens to one pair of samples, 1 or 0 for each of `Rates`."""
    compared = comparison_of(candidate, baseline, draws)
    verdict = decide([Trial(evalset="simulated", comparison=compared, policy=Policy())])
    drop = float((baseline - candidate).mean()) / draws
    lost = float(compared.lost().mean())
    happened = (
        verdict.decision is Decision.PASS,
        verdict.decision is Decision.FAIL,
        drop > MARGIN + 1e-12,
        lost > MARGIN + 1e-12,
    )
    return np.array(happened, dtype=np.float64)


def _measure_rerun(cell: Cell, repetitions: int, random: np.random.Generator) -> Rates:
    passed = blocked = 0
    for _ in range(repetitions):
        decision = _rerun(cell, random)
        passed += decision is Decision.PASS
        blocked += decision is Decision.FAIL
    return Rates(passed=passed / repetitions, blocked=blocked / repetitions)


def _rerun(cell: Cell, random: np.random.Generator) -> Decision:
    """`on_inconclusive: rerun`, from the first look to the last that is worth its calls."""
    policy = Policy(on_inconclusive="rerun")
    chances = probabilities(cell.n, cell.loss, random)
    passes: list[Passes] = [np.zeros(cell.n, dtype=np.int64) for _ in chances]
    look = drawn = 0
    following = 1
    while True:
        more = DRAWS[following] - drawn
        look, drawn = following, DRAWS[following]
        passes = [
            sums + random.binomial(more, chance)
            for sums, chance in zip(passes, chances, strict=True)
        ]
        compared = comparison_of(passes[0], passes[1], drawn)
        trial = Trial(evalset="simulated", comparison=compared, policy=policy, look=look)
        decision = decide([trial]).decision
        answer = next_look(compared, policy, look)
        if decision is not Decision.INCONCLUSIVE or not isinstance(answer, NextLook):
            return decision
        following = answer.look


def table(rates: Mapping[Cell, Rates]) -> Iterator[str]:
    """The measured cells as Markdown, one line per shape of evalset."""
    yield (
        "| cases | draws | PASS at a loss of 5 | FAIL at no loss | PASS at no loss "
        "| FAIL at a loss of 5 | FAIL at a loss of 10 "
        "| mean rule misses a loss of 5 | 5 %-of-cases rule blocks no loss |"
    )
    yield "|---:|---:|---:|---:|---:|---:|---:|---:|---:|"
    for n, draws in dict.fromkeys((cell.n, cell.draws) for cell in rates):
        same, margin, double = (rates[Cell(n=n, draws=draws, loss=loss)] for loss in LOSSES)
        gate = (margin.passed, same.blocked, same.passed, margin.blocked, double.blocked)
        naive = (1 - margin.naive_mean, same.naive_cases) if draws else ()
        figures = [f"{100 * each:.1f} %" for each in (*gate, *naive)] + ([] if draws else ["", ""])
        yield f"| {n} | {draws or 'rerun'} | " + " | ".join(figures) + " |"


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--repetitions", type=int, default=20_000)
    parser.add_argument("--rerun-repetitions", type=int, default=2_000)
    parser.add_argument("--seed", type=int, default=20_261_120)
    parser.add_argument("--processes", type=int, default=os.cpu_count())
    options = parser.parse_args(arguments)
    cells = [
        Cell(n=n, draws=draws, loss=loss) for draws in (1, 3) for n in SIZES for loss in LOSSES
    ]
    reruns = [Cell(n=n, draws=0, loss=loss) for n in (50, 100, 200, 500) for loss in LOSSES]
    with ProcessPoolExecutor(options.processes) as pool:
        run = partial(measure, repetitions=options.repetitions, seed=options.seed)
        rerun = partial(measure, repetitions=options.rerun_repetitions, seed=options.seed)
        futures = {cell: pool.submit(run, cell) for cell in reversed(cells)}
        futures |= {cell: pool.submit(rerun, cell) for cell in reruns}
        rates = {cell: futures[cell].result() for cell in (*cells, *reruns)}
    print(f"{options.repetitions:,} repetitions ({options.rerun_repetitions:,} of rerun), ", end="")
    print(f"seed {options.seed}\n")
    print("\n".join(table(rates)))


if __name__ == "__main__":
    main()
