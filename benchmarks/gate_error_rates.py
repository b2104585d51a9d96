"""Measure the error rates and the power of the gate.

    python benchmarks/gate_error_rates.py [--repetitions N] [--seed S] [--quick] [--write]

Every verdict comes from `decide` as it is built (margin 5 points, tolerance 0, α = β = 0.05), in
simulated worlds whose true loss is known:

- `coins`: one case in five is a coin toss for the baseline, the others always pass or always
  fail, so that with one trial 10% of the cases flip by chance. A true loss is a coin that lands on
  pass less often;
- `rerun`: the same under `on_inconclusive: rerun`, with as many trials as it asks for;
- `deterministic`: nothing happens by chance, a share of the cases regresses for good;
- `failed calls`: `coins` where 1% of the cases fail to be measured, just those that regressed;
- `slice`: `coins` with a second `no_worse` for a tag; only the tagged quarter loses;
- `judge`: `coins` seen through a judge with J = 0.7, under `scale_margin`;
- `10 prompts`, `60 prompts`: `coins` decided together (Holm); the first one loses;
- `scores +5`, `scores +25`: most cases gain that many points, a few lose all;
- `all flip`: every case changes by a coin toss;
- `floor`: `floor: {min: 0.9, by: bound}`, the true mean at 0.9 or that much under it; with groups
  of five, half of whose cases follow their group;
- groups: a share of the cases follows its group, the others fall or rise on their own.

Prints the tables of docs/verdict-figures.md, or writes them there with `--write`; the same seed
gives the same tables. Groups and 10
prompts have half of the repetitions, 60 prompts a tenth. A cell ends after a fifth of them if it
errs in less than 2% or more than 20%.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import cache, partial
from itertools import product
from pathlib import Path
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from llmops_cli.core.policy import TRIALS_BY_LOOK, Decision, Floor, NoWorse, Policy
from llmops_cli.core.result import CaseResult, Metric, SideResult, Trial
from llmops_cli.gate.calibration import scaled
from llmops_cli.gate.comparison import PASS_METRIC, Comparison, GateInput, Tally, compare
from llmops_cli.gate.decide import decide, decide_all
from llmops_cli.gate.paired_test import next_look

Values = NDArray[np.float64]

PAGE = Path(__file__).parents[1] / "docs" / "verdict-figures.md"
SIZES = (20, 30, 50, 100, 200, 500, 1000)
TRIALS = ((1, 1), (1, 3), (3, 3), (5, 5))
"""Trials per case of candidate and baseline."""
UNCERTAIN, ALWAYS = 0.2, 0.7
"""Shares of coin-toss cases and of cases that always pass; the rest always fails."""
MARGIN = 0.05
LOSSES = (0.0, MARGIN, 2 * MARGIN)
FLOOR = 0.9
TPR = TNR = 0.85
OTHERS: Mapping[str, Sequence[int]] = {
    "rerun": (50, 100, 200, 500),
    "deterministic": (52, 59, 100, 200, 500),
    "failed calls": (50, 100, 200, 500),
    "slice": (200, 400, 1000),
    "judge": (200, 500, 1000),
    "10 prompts": (100, 300),
    "60 prompts": (100, 300),
    "scores +5": (20, 52, 100, 300),
    "scores +25": (20, 52, 100, 300),
    "all flip": (5, 10, 50),
    "floor": (20, 50, 100, 200, 500),
    "floor, groups": (100, 200, 500),
}
GROUPS = (10, 20, 25, 30, 60, 100)
GROUP_SIZES = ("5", "12", "1 to 9", "Zipf")
CORRELATIONS = (0.0, 0.2, 0.5, 0.7)
FLIPS = (0.05, 0.10)
"""Shares of cases that change: 5 of 100 lost, or 7.5 lost and 2.5 gained, at a loss of 5."""
DEFAULT = Policy(rules=[NoWorse()])


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One world of the simulation."""

    world: str
    n: int
    """Cases; groups where the world is made of them."""
    loss: float
    trials: tuple[int, int] = (1, 1)
    sizes: str = ""
    """Of the groups."""
    correlation: float = 0.0
    flips: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Rates:
    """Shares of repetitions."""

    passed: float
    failed: float
    naive_mean: float
    """`Fail if the mean drops by more than 5 points` failed."""
    naive_cases: float
    """`Fail if more than 5% of the cases regress` failed."""


Outcome: TypeAlias = tuple[Decision, bool, bool]
"""The decision, and whether the two plain rules fail."""


def comparison_of(now: Values, before: Values, trials: tuple[int, int] = (1, 1)) -> Comparison:
    """Return a comparison of n cases with these sums over their trials, shape (n,) each."""
    shape = _unscored(len(now), trials)
    candidate, baseline = (np.full(len(now), k, dtype=np.int32) for k in trials)
    scores = replace(
        shape.scores[PASS_METRIC],
        candidate=Tally(total=now.astype(np.float64), measured=candidate),
        baseline=Tally(total=before.astype(np.float64), measured=baseline),
    )
    return replace(shape, scores={**shape.scores, PASS_METRIC: scores})


@cache
def _unscored(n: int, trials: tuple[int, int]) -> Comparison:
    """Run `compare` over n cases, once per shape: only the sums differ between repetitions."""

    def side(request: str, k: int) -> SideResult:
        passing = Trial(output="o", scores={"exact": 1.0})
        return SideResult(request=request, facts="f", planned=k, trials=(passing,) * k)

    rows = (
        CaseResult(case=str(at), candidate=side("new", trials[0]), baseline=side("old", trials[1]))
        for at in range(n)
    )
    return compare(rows, [Metric(label="exact", scorer="s", minimum=1.0)])


def gate_input(compared: Comparison, policy: Policy = DEFAULT, look: int = 1) -> GateInput:
    return GateInput(evalset="simulated", comparison=compared, policy=policy, look=look)


def probabilities(n: int, loss: float, random: np.random.Generator) -> tuple[Values, Values]:
    """Return pass probabilities of n random cases, candidate and baseline, shape (n,) each."""
    kind = random.random(n)
    coin, always = kind < UNCERTAIN, kind < UNCERTAIN + ALWAYS
    baseline = np.where(coin, 0.5, always)
    return np.where(coin, 0.5 - loss / UNCERTAIN, always), baseline


def coins(
    n: int, loss: float, random: np.random.Generator, trials: tuple[int, int] = (1, 1)
) -> Comparison:
    now, before = (
        random.binomial(k, chance).astype(np.float64)
        for k, chance in zip(trials, probabilities(n, loss, random), strict=True)
    )
    return comparison_of(now, before, trials)


class Memo:
    """Decisions on samples of independent cases by how often each kind of case comes."""

    def __init__(self) -> None:
        self._known: dict[tuple[int, bytes], Decision] = {}

    def decision(self, now: Values, before: Values, trials: tuple[int, int] = (1, 1)) -> Decision:
        key = len(now), np.sort(now * 1000 + before).tobytes()
        if key not in self._known:
            verdict = decide([gate_input(comparison_of(now, before, trials))])
            self._known[key] = verdict.decision
        return self._known[key]


def outcome_of_coins(cell: Cell, random: np.random.Generator, memo: Memo) -> Outcome:
    now, before = (
        random.binomial(k, chance).astype(np.float64)
        for k, chance in zip(cell.trials, probabilities(cell.n, cell.loss, random), strict=True)
    )
    means = now / cell.trials[0], before / cell.trials[1]
    drop = float((means[1] - means[0]).mean())
    regressed = float(((means[1] >= 0.5) & (means[0] < 0.5)).mean())
    decision = memo.decision(now, before, cell.trials)
    return decision, drop > MARGIN + 1e-12, regressed > MARGIN + 1e-12


def _deterministic(cell: Cell, random: np.random.Generator, memo: Memo) -> Decision:
    return memo.decision((random.random(cell.n) >= cell.loss).astype(float), np.ones(cell.n))


def _failed_calls(cell: Cell, random: np.random.Generator, _memo: Memo) -> Decision:
    compared = coins(cell.n, cell.loss, random)
    scores = compared.scores[PASS_METRIC]
    lost = np.flatnonzero(scores.candidate.total < scores.baseline.total)[: cell.n // 100]
    measured = scores.candidate.measured.copy()
    measured[lost] = 0
    candidate = replace(scores.candidate, measured=measured)
    broken = replace(compared, scores={PASS_METRIC: replace(scores, candidate=candidate)})
    return decide([gate_input(broken)]).decision


def _slice(cell: Cell, random: np.random.Generator, _memo: Memo) -> Decision:
    tagged = cell.n // 4
    parts = coins(tagged, cell.loss, random), coins(cell.n - tagged, 0.0, random)
    now, before = (
        np.concatenate([getattr(part.scores[PASS_METRIC], side).total for part in parts])
        for side in ("candidate", "baseline")
    )
    compared = replace(comparison_of(now, before), tags={"t": np.arange(tagged, dtype=np.int32)})
    policy = Policy(rules=[NoWorse(), NoWorse(tag="t")])
    return decide([gate_input(compared, policy)]).decision


def _judge(cell: Cell, random: np.random.Generator, _memo: Memo) -> Decision:
    chances = (p * TPR + (1 - p) * (1 - TNR) for p in probabilities(cell.n, cell.loss, random))
    now, before = (random.binomial(1, p).astype(float) for p in chances)
    policy = scaled(replace(DEFAULT, scale_margin=True), {PASS_METRIC: TPR + TNR - 1})
    return decide([gate_input(comparison_of(now, before), policy)]).decision


def _prompts(cell: Cell, random: np.random.Generator, _memo: Memo) -> Decision:
    """Return the first prompt's decision; without a loss, FAIL where any prompt fails."""
    count = int(cell.world.split()[0])
    losses = [cell.loss, *[0.0] * (count - 1)]
    inputs = {str(at): [gate_input(coins(cell.n, loss, random))] for at, loss in enumerate(losses)}
    verdicts = decide_all(inputs)
    any_fails = any(verdict.decision is Decision.FAIL for verdict in verdicts.values())
    return Decision.FAIL if any_fails and not cell.loss else verdicts["0"].decision


def _scores(cell: Cell, random: np.random.Generator, memo: Memo) -> Decision:
    gain = float(cell.world.partition("+")[2]) / 100
    fallen = random.random(cell.n) < (cell.loss + gain) / (1 + gain)
    return memo.decision(np.where(fallen, 0.0, 1.0), np.where(fallen, 1.0, 1.0 - gain))


def _all_flip(cell: Cell, random: np.random.Generator, memo: Memo) -> Decision:
    up = (random.random(cell.n) < 0.5 - cell.loss / 2).astype(float)
    return memo.decision(up, 1.0 - up)


def _floor(cell: Cell, random: np.random.Generator, _memo: Memo) -> Decision:
    passes = random.random(cell.n) < FLOOR - cell.loss
    policy = Policy(rules=[Floor(minimum=FLOOR, by="bound")])
    numbers = np.arange(cell.n, dtype=np.int32) // 5
    in_groups = cell.world != "floor"
    if in_groups:
        follows = random.random(cell.n) < 0.5
        passes = np.where(follows, (random.random(cell.n) < FLOOR - cell.loss)[numbers], passes)
    compared = comparison_of(passes.astype(float), passes.astype(float))
    compared = replace(compared, group=numbers, grouped=in_groups)
    return decide([gate_input(compared, policy)]).decision


def _rerun(cell: Cell, random: np.random.Generator, _memo: Memo) -> Decision:
    """Go from the first look to the last that is worth its calls."""
    policy = replace(DEFAULT, on_inconclusive="rerun")
    chances = probabilities(cell.n, cell.loss, random)
    sums = [np.zeros(cell.n) for _ in chances]
    trials, following = 0, 1
    while True:
        look, more = following, TRIALS_BY_LOOK[following] - trials
        trials += more
        sums = [total + random.binomial(more, p) for total, p in zip(sums, chances, strict=True)]
        compared = comparison_of(sums[0], sums[1], (trials, trials))
        decision = decide([gate_input(compared, policy, look)]).decision
        next_one, _ = next_look(compared, policy, look)
        if decision is not Decision.INCONCLUSIVE or next_one is None:
            return decision
        following = next_one


def group_sizes(kind: str, count: int) -> NDArray[np.int64]:
    if kind == "1 to 9":
        return np.resize(np.arange(1, 10, dtype=np.int64), count)
    if kind == "Zipf":
        shares = 1.0 / np.arange(1, count + 1)
        sizes: NDArray[np.int64] = np.maximum(1, np.round(8 * shares / shares.mean())).astype(int)
        return sizes
    return np.full(count, int(kind))


def grouped(cell: Cell, random: np.random.Generator) -> Comparison:
    """Return a comparison in which a share of the cases follows its group."""
    numbers = np.repeat(np.arange(cell.n), group_sizes(cell.sizes, cell.n))
    falls = (cell.flips + cell.loss) / 2

    def changes(n: int) -> NDArray[np.int64]:
        dice = random.random(n)
        return np.where(dice < falls, -1, np.where(dice < cell.flips, 1, 0))

    follows = random.random(len(numbers)) < cell.correlation
    change = np.where(follows, changes(cell.n)[numbers], changes(len(numbers)))
    compared = comparison_of((change >= 0).astype(np.float64), (change <= 0).astype(np.float64))
    return replace(compared, group=numbers.astype(np.int32), grouped=True)


def _groups(cell: Cell, random: np.random.Generator, _memo: Memo) -> Decision:
    return decide([gate_input(grouped(cell, random))]).decision


FEWER: Mapping[str, int] = {"groups": 2, "10 prompts": 2, "60 prompts": 10}
"""By what the repetitions are divided where a verdict takes long."""
World: TypeAlias = Callable[[Cell, np.random.Generator, Memo], Decision]
WORLDS: Mapping[str, World] = {
    "rerun": _rerun,
    "deterministic": _deterministic,
    "failed calls": _failed_calls,
    "slice": _slice,
    "judge": _judge,
    "10 prompts": _prompts,
    "60 prompts": _prompts,
    "scores +5": _scores,
    "scores +25": _scores,
    "all flip": _all_flip,
    "floor": _floor,
    "floor, groups": _floor,
    "groups": _groups,
}


def measure(cell: Cell, *, repetitions: int, seed: int) -> Rates:
    """Return the rates of one cell."""
    repetitions //= FEWER.get(cell.world, 1)
    random = np.random.default_rng([seed, *repr(cell).encode()])
    memo, counts, done = Memo(), np.zeros(4), 0
    wanted = Decision.PASS if cell.loss else Decision.FAIL
    while done < repetitions:
        if cell.world == "coins":
            decision, *naive = outcome_of_coins(cell, random, memo)
        else:
            decision, naive = WORLDS[cell.world](cell, random, memo), [False, False]
        counts += [decision is Decision.PASS, decision is Decision.FAIL, *naive]
        done += 1
        if done == repetitions // 5:
            share = counts[0 if wanted is Decision.PASS else 1] / done
            if not 0.02 <= share <= 0.2:
                break
    passed, failed, naive_mean, naive_cases = (counts / done).tolist()
    return Rates(passed=passed, failed=failed, naive_mean=naive_mean, naive_cases=naive_cases)


Found: TypeAlias = Mapping[Cell, Rates]
HEAD = "PASS at a loss of 5 | FAIL at no loss | PASS at no loss"


def coins_cells() -> Iterator[list[Cell]]:
    for trials, n in product(TRIALS, SIZES):
        yield [Cell(world="coins", n=n, trials=trials, loss=loss) for loss in LOSSES]


def coins_table(rates: Found) -> Iterator[str]:
    yield (
        f"| cases | trials | {HEAD} | FAIL at a loss of 5 | FAIL at a loss of 10 "
        "| mean rule misses a loss of 5 | 5%-of-cases rule fails at no loss |"
    )
    yield "|---:|---:|" + "---:|" * 7
    for cells in coins_cells():
        none, five, ten = (rates[cell] for cell in cells)
        shares = [five.passed, none.failed, none.passed, five.failed, ten.failed]
        trials = f"{cells[0].trials[0]} and {cells[0].trials[1]}"
        plain = [1 - five.naive_mean, none.naive_cases]
        yield f"| {cells[0].n} | {trials} | {_percents([*shares, *plain])} |"


def other_cells() -> Iterator[list[Cell]]:
    for world, sizes in OTHERS.items():
        for n in sizes:
            yield [Cell(world=world, n=n, loss=loss) for loss in LOSSES]


def other_table(rates: Found) -> Iterator[str]:
    yield f"| design | cases | {HEAD} | FAIL at a loss of 5 | FAIL at a loss of 10 |"
    yield "|---|---:|" + "---:|" * 5
    for cells in other_cells():
        none, five, ten = (rates[cell] for cell in cells)
        shares = [five.passed, none.failed, none.passed, five.failed, ten.failed]
        row = _percents(shares)
        if cells[0].world.startswith("floor"):  # whose PASS is a mean above the floor, no inference
            row = f"– | {_percents([none.failed])} | – | {_percents(shares[3:])}"
        yield f"| {cells[0].world} | {cells[0].n} | {row} |"


def group_cells(count: int, sizes: str, correlation: float, loss: float) -> list[Cell]:
    return [
        Cell(world="groups", n=count, sizes=sizes, correlation=correlation, flips=flips, loss=loss)
        for flips in FLIPS
    ]


def groups_table(rates: Found) -> Iterator[str]:
    """Yield, for each number and size of groups, the worst rate over the flips."""
    columns = [f"{100 * correlation:.0f}%" for correlation in CORRELATIONS]
    yield (
        "| groups | cases in each | "
        + " | ".join(f"PASS at a loss of 5, {column}" for column in columns)
        + " | FAIL at no loss, worst | "
        + " | ".join(f"PASS at no loss, {column}" for column in columns)
        + " |"
    )
    yield "|---:|---:|" + "---:|" * (2 * len(columns) + 1)
    for count, sizes in product(GROUPS, GROUP_SIZES):
        lossy, same = (
            [[rates[cell] for cell in group_cells(count, sizes, c, loss)] for c in CORRELATIONS]
            for loss in (MARGIN, 0.0)
        )
        errors = [max(rate.passed for rate in found) for found in lossy]
        blocks = max(rate.failed for found in same for rate in found)
        power = [min(rate.passed for rate in found) for found in same]
        yield f"| {count} | {sizes} | {_percents([*errors, blocks, *power])} |"


def _percents(shares: Sequence[float]) -> str:
    return " | ".join(f"{100 * share:.1f}%" for share in shares)


def all_cells() -> list[Cell]:
    cells = [cell for row in (*coins_cells(), *other_cells()) for cell in row]
    for design in product(GROUPS, GROUP_SIZES, CORRELATIONS, (0.0, MARGIN)):
        cells += group_cells(*design)
    return cells


TABLES: Mapping[str, Callable[[Found], Iterator[str]]] = {
    "independent": coins_table,
    "other": other_table,
    "groups": groups_table,
}


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--repetitions", type=int, default=4_000)
    parser.add_argument("--quick", action="store_true", help="100 repetitions")
    parser.add_argument("--write", action="store_true", help="into docs/verdict-figures.md")
    parser.add_argument("--seed", type=int, default=20_261_130)
    parser.add_argument("--processes", type=int, default=os.cpu_count())
    options = parser.parse_args(arguments)
    repetitions = 100 if options.quick else options.repetitions
    once = partial(measure, repetitions=repetitions, seed=options.seed)
    cells = all_cells()
    with ProcessPoolExecutor(options.processes) as pool:
        rates = dict(zip(cells, pool.map(once, cells, chunksize=4), strict=True))
    parts = {"run": [f"Seed {options.seed}, {repetitions:,} repetitions."]}
    parts |= {name: list(table(rates)) for name, table in TABLES.items()}
    for lines in parts.values():
        print("\n".join(lines), end="\n\n")
    if options.write:
        text = PAGE.read_text(encoding="utf-8")
        for name, lines in parts.items():
            before, _, rest = text.partition(f"<!-- {name} -->")
            block = "\n".join((f"<!-- {name} -->", "", *lines, "", "<!-- end -->"))
            text = before + block + rest.partition("<!-- end -->")[2]
        PAGE.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
