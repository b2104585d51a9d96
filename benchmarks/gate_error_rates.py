"""Measures how often the gate, as built, is wrong, and how often it can tell at all.

    python benchmarks/gate_error_rates.py [--repetitions N] [--harder-repetitions N] [--seed S]

Every verdict comes from `compare` and `decide` under the default policy (margin 5 points,
tolerance 0, α = β = 0.05). The worlds:

- `coins`: one case in five is a coin toss for the baseline, the others always pass or always
  fail, so that with one trial 10 % of cases flip by chance. A true loss of δ is a coin that lands
  on pass less often (½ − 5δ). Baseline and candidate have the same number of trials;
- `rerun`: the same under `on_inconclusive: rerun`, as many trials as it asks for;
- `clean`: nothing happens by chance, a loss of δ is a share δ of the cases lost for good;
- `groups`: `coins` in groups of five that all fall alike;
- `failures`: `coins` where 1 % of the cases fail to be measured, and just those that were lost.

Prints two Markdown tables; the same seed prints the same tables.
"""

from __future__ import annotations

import argparse
import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import cache, partial
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from llmops_cli.core.case_result import CaseResult, Metric, SideResult, Trial
from llmops_cli.core.policy import Policy
from llmops_cli.core.verdict import Decision
from llmops_cli.gate.compare import compare
from llmops_cli.gate.comparison import PASS_METRIC, TRIALS_BY_LOOK, Comparison, GateInput, Tally
from llmops_cli.gate.decide import decide
from llmops_cli.gate.power import NextLook, next_look

Passes = NDArray[np.int64]
Chances = NDArray[np.float64]

SIZES = (20, 30, 50, 100, 200, 500, 1000)
HARDER_SIZES = (50, 100, 200, 500)
TRIALS = (1, 3)
UNCERTAIN, ALWAYS = 0.2, 0.7
"""Shares of coin-toss cases and of cases that always pass; the rest always fails."""
MARGIN = 0.05
LOSSES = (0.0, MARGIN, 2 * MARGIN)
GROUP = 5
"""Cases in a group."""

World: TypeAlias = Literal["coins", "rerun", "clean", "groups", "failures"]
HARDER: tuple[World, ...] = ("rerun", "clean", "groups", "failures")


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One figure's place in the tables."""

    n: int
    loss: float
    world: World = "coins"
    trials: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Rates:
    """Shares of repetitions."""

    passed: float = 0.0
    blocked: float = 0.0
    naive_mean: float = 0.0
    """`Block if the mean drops more than 5 points` blocked."""
    naive_cases: float = 0.0
    """`Block if more than 5 % of the cases regress` blocked."""


def comparison_of(candidate: Passes, baseline: Passes, trials: int) -> Comparison:
    """A comparison of n cases with these numbers of passed draws, shape (n,) each."""
    shape = _unscored(len(candidate), trials)
    measured = np.full(len(candidate), trials, dtype=np.int32)
    scores = replace(
        shape.scores[PASS_METRIC],
        candidate=Tally(total=candidate.astype(np.float64), measured=measured),
        baseline=Tally(total=baseline.astype(np.float64), measured=measured),
    )
    return replace(shape, scores={**shape.scores, PASS_METRIC: scores})


@cache
def _unscored(n: int, trials: int) -> Comparison:
    """`compare` over n cases, once per shape: only the sums differ between repetitions."""
    right = (Trial(output="o", scores={"exact": 1.0}),) * trials
    rows = (
        CaseResult(
            case=str(at),
            candidate=SideResult(request="new", facts="f", planned=trials, trials=right),
            baseline=SideResult(request="old", facts="f", planned=trials, trials=right),
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
    """The rates of one cell."""
    words = [seed, cell.n, cell.trials, round(1000 * cell.loss), *cell.world.encode()]
    random = np.random.default_rng(words)
    if cell.world == "coins":
        return _measure_coins(cell, repetitions, random)
    once = _rerun if cell.world == "rerun" else _harder
    ended = Counter(once(cell, random) for _ in range(repetitions))
    passed, blocked = ended[Decision.PASS], ended[Decision.FAIL]
    return Rates(passed=passed / repetitions, blocked=blocked / repetitions)


def _measure_coins(cell: Cell, repetitions: int, random: np.random.Generator) -> Rates:
    """Equal counts of kinds of cases have one verdict, so each is reached once."""
    width = cell.trials + 1
    counts = np.empty((repetitions, width * width), dtype=np.int32)
    for at in range(repetitions):
        candidate, baseline = probabilities(cell.n, cell.loss, random)
        now, before = (
            random.binomial(cell.trials, candidate),
            random.binomial(cell.trials, baseline),
        )
        counts[at] = np.bincount(now * width + before, minlength=width * width)
    distinct, times = np.unique(counts, axis=0, return_counts=True)
    totals = np.zeros(len(Rates.__dataclass_fields__))
    for each, weight in zip(distinct, times, strict=True):
        kinds = np.repeat(np.arange(width * width), each)
        totals += weight * _one(kinds // width, kinds % width, cell.trials)
    return Rates(**dict(zip(Rates.__dataclass_fields__, totals / repetitions, strict=True)))


def _one(candidate: Passes, baseline: Passes, trials: int) -> Chances:
    """What happens to one pair of samples, 1 or 0 for each of `Rates`."""
    compared = comparison_of(candidate, baseline, trials)
    verdict = decide([GateInput(evalset="simulated", comparison=compared, policy=Policy())])
    drop = float((baseline - candidate).mean()) / trials
    lost = float(compared.regressed().mean())
    happened = (
        verdict.decision is Decision.PASS,
        verdict.decision is Decision.FAIL,
        drop > MARGIN + 1e-12,
        lost > MARGIN + 1e-12,
    )
    return np.array(happened, dtype=np.float64)


def _harder(cell: Cell, random: np.random.Generator) -> Decision:
    """One verdict in a world that is less kind to the gate, one trial per case and side."""
    n = cell.n
    cases = np.arange(n)
    unlike = n // GROUP if cell.world == "groups" else n
    chances = probabilities(unlike, cell.loss, random)
    now, before = (random.binomial(1, chance)[cases % unlike] for chance in chances)
    if cell.world == "clean":
        now, before = random.binomial(1, np.full(n, 1 - cell.loss)), np.ones(n, dtype=np.int64)
    compared = comparison_of(now, before, 1)
    if cell.world == "groups":
        group = (cases % unlike).astype(np.int32)
        compared = replace(compared, group=group, grouped=True)
    if cell.world == "failures":
        compared = _hidden(compared, np.flatnonzero(now < before)[: n // 100])
    return decide([GateInput(evalset="simulated", comparison=compared, policy=Policy())]).decision


def _hidden(compared: Comparison, lost: Passes) -> Comparison:
    """The same with the candidate's trials of these cases unmeasured."""
    scores = compared.scores[PASS_METRIC]
    measured = scores.candidate.measured.copy()
    measured[lost] = 0
    candidate = replace(scores.candidate, measured=measured)
    return replace(compared, scores={PASS_METRIC: replace(scores, candidate=candidate)})


def _rerun(cell: Cell, random: np.random.Generator) -> Decision:
    """`on_inconclusive: rerun`, from the first look to the last that is worth its calls."""
    policy = Policy(on_inconclusive="rerun")
    chances = probabilities(cell.n, cell.loss, random)
    passes: list[Passes] = [np.zeros(cell.n, dtype=np.int64) for _ in chances]
    look = trials_made = 0
    following = 1
    while True:
        more = TRIALS_BY_LOOK[following] - trials_made
        look, trials_made = following, TRIALS_BY_LOOK[following]
        passes = [
            sums + random.binomial(more, chance)
            for sums, chance in zip(passes, chances, strict=True)
        ]
        compared = comparison_of(passes[0], passes[1], trials_made)
        exam = GateInput(evalset="simulated", comparison=compared, policy=policy, look=look)
        decision = decide([exam]).decision
        answer = next_look(compared, policy, look)
        if decision is not Decision.INCONCLUSIVE or not isinstance(answer, NextLook):
            return decision
        following = answer.look


def coins_table(rates: Mapping[Cell, Rates]) -> Iterator[str]:
    """The kind world, beside the rules of the field."""
    yield (
        "| cases | draws | PASS at a loss of 5 | FAIL at no loss | PASS at no loss "
        "| FAIL at a loss of 5 | FAIL at a loss of 10 "
        "| mean rule misses a loss of 5 | 5 %-of-cases rule blocks no loss |"
    )
    yield "|---:|---:|---:|---:|---:|---:|---:|---:|---:|"
    for trials in TRIALS:
        for n in SIZES:
            found = [rates[Cell(n=n, trials=trials, loss=loss)] for loss in LOSSES]
            naive = [1 - found[1].naive_mean, found[0].naive_cases]
            yield f"| {n} | {trials} | " + " | ".join(_shares([*_gate(found), *naive])) + " |"


def harder_table(rates: Mapping[Cell, Rates]) -> Iterator[str]:
    """Worlds that are less kind."""
    yield (
        "| world | cases | PASS at a loss of 5 | FAIL at no loss | PASS at no loss "
        "| FAIL at a loss of 5 | FAIL at a loss of 10 |"
    )
    yield "|---|---:|---:|---:|---:|---:|---:|"
    for world in HARDER:
        for n in HARDER_SIZES:
            found = [rates[Cell(n=n, world=world, loss=loss)] for loss in LOSSES]
            yield f"| {world} | {n} | " + " | ".join(_shares(_gate(found))) + " |"


def _gate(found: Sequence[Rates]) -> list[float]:
    """`found` are the rates at no loss, at the margin and at twice the margin."""
    same, margin, double = found
    return [margin.passed, same.blocked, same.passed, margin.blocked, double.blocked]


def _shares(rates: Sequence[float]) -> list[str]:
    return [f"{100 * each:.1f} %" for each in rates]


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--repetitions", type=int, default=20_000)
    parser.add_argument("--harder-repetitions", type=int, default=5_000)
    parser.add_argument("--seed", type=int, default=20_261_120)
    parser.add_argument("--processes", type=int, default=os.cpu_count())
    options = parser.parse_args(arguments)
    coins = [Cell(n=n, trials=d, loss=loss) for d in TRIALS for n in SIZES for loss in LOSSES]
    harder = [
        Cell(n=n, world=world, loss=loss)
        for world in HARDER
        for n in HARDER_SIZES
        for loss in LOSSES
    ]
    with ProcessPoolExecutor(options.processes) as pool:
        often = partial(measure, repetitions=options.repetitions, seed=options.seed)
        less = partial(measure, repetitions=options.harder_repetitions, seed=options.seed)
        futures = {cell: pool.submit(often, cell) for cell in reversed(coins)}
        futures |= {cell: pool.submit(less, cell) for cell in harder}
        rates = {cell: future.result() for cell, future in futures.items()}
    print(f"Seed {options.seed}, {options.repetitions:,} repetitions:\n")
    print("\n".join(coins_table(rates)))
    print(f"\n{options.harder_repetitions:,} repetitions:\n")
    print("\n".join(harder_table(rates)))


if __name__ == "__main__":
    main()
