"""Measure how often an alarm rings when nothing is wrong, and how soon when something is.

    python benchmarks/watch_error_rates.py [--repetitions N] [--seed S] [--write]

Every run is decided by `watch.alarms.decide` as it is built, on four weeks of calls whose hourly
traffic has a daily season (a quarter of the mean at night, 1.75 times the mean at noon) and bursts
(an hour in fifty with ten times the calls). In the worlds "of one cause" half of the outcomes of a
burst are shared, as with one user's script: then calls of an hour are not independent, which the
bound of the false alarms assumes. Prints the tables of docs/watch.md, or
writes them there with `--write`; the same seed gives the same tables.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from llmops_cli.core.watch import DAY, DEFAULT_ALARMS, WEEK, Alarm
from llmops_cli.watch.alarms import decide
from llmops_cli.watch.store import HOUR, NUMBERS, ROW, Table

PAGE = Path(__file__).parents[1] / "docs" / "watch.md"
TRAFFIC = (5, 30, 100, 300, 1000, 2000)
MEASURED = 4 * WEEK
"""Hours that are judged, after the baseline."""
CHANGE = 2 * WEEK
"""Hours after the baseline at which something changes."""
SIGMA = 1.2
"""Of the lognormal costs."""
WORDS = ("", "server_error")
BURST = 0.02

Values = NDArray[np.float64]


def hours_of(rng: np.random.Generator, mean: float, hours: int) -> NDArray[np.int64]:
    """Return the hour of each call: Poisson traffic with a daily season and bursts."""
    season = 1 + 0.75 * np.sin(np.arange(hours) * 2 * np.pi / DAY)
    rate = mean * season * np.where(rng.random(hours) < BURST, 10, 1)
    return np.repeat(np.arange(hours), rng.poisson(rate))


def bits(
    rng: np.random.Generator, hours: NDArray[np.int64], share: Values, *, shared: bool = False
) -> Values:
    """Return outcomes that happen with `share`; `shared`: half of those of a burst are the same."""
    if not shared:
        return (rng.random(len(hours)) < share).astype(float)
    counts = np.bincount(hours)
    burst = counts[hours] > 5 * np.median(counts)
    common = rng.random(len(counts))[hours]
    own = rng.random(len(hours))
    follows = burst & (rng.random(len(hours)) < 0.5)
    return (np.where(follows, common, own) < share).astype(float)


def table(hours: NDArray[np.int64], column: str, values: Values) -> Table:
    """Return calls that have one column."""
    rows = np.zeros(len(hours), ROW)
    rows["time"] = hours * HOUR
    for name in NUMBERS:
        rows[name] = np.nan
    rows[column] = values
    return rows


def rings(alarm: Alarm, rows: Table) -> tuple[int | None, int | None]:
    """Return the hour of the alarm, and when it says that the rise began."""
    state = decide(alarm, rows, WORDS, threshold=4 * WEEK)
    return state.rang, state.started


def errors(rng: np.random.Generator, mean: float, before: float, after: float) -> int | None:
    """Return hours from the change to the alarm; None: it was quiet. Negative: it was false."""
    hours = hours_of(rng, mean, MEASURED)
    share = np.where(hours < CHANGE, before, after)
    rang, _ = rings(DEFAULT_ALARMS["errors"], table(hours, "error", bits(rng, hours, share)))
    return None if rang is None else rang - CHANGE


def costs(rng: np.random.Generator, mean: float, times: float) -> int | None:
    """Return hours from the moment in which calls cost `times` as much to the alarm."""
    alarm = DEFAULT_ALARMS["cost"]
    hours = hours_of(rng, mean, alarm.over + MEASURED)
    change = alarm.over + CHANGE
    values = rng.lognormal(-5, SIGMA, len(hours)) * np.where(hours < change, 1.0, times)
    rang, _ = rings(alarm, table(hours, "cost", values))
    return None if rang is None else rang - change


def satisfaction(
    rng: np.random.Generator, mean: float, drop: float, *, shared: bool = False
) -> int | None:
    """Return hours from a drop of satisfaction (one call in ten is rated) to the alarm."""
    alarm = DEFAULT_ALARMS["satisfaction"]
    hours = hours_of(rng, mean / 10, alarm.over + MEASURED)
    change = alarm.over + CHANGE
    share = np.where(hours < change, 0.85, 0.85 - drop)
    rang, _ = rings(alarm, table(hours, "satisfied", bits(rng, hours, share, shared=shared)))
    return None if rang is None else rang - change


def first_token(rng: np.random.Generator, mean: float, times: float) -> int | None:
    """Return hours from the moment in which first tokens take `times` as long to the alarm."""
    alarm = replace(DEFAULT_ALARMS["first_token"], max=30.0)
    hours = hours_of(rng, mean, alarm.over + MEASURED)
    change = alarm.over + CHANGE
    values = rng.lognormal(-1, 0.5, len(hours)) * np.where(hours < change, 1.0, times)
    rang, _ = rings(alarm, table(hours, "first_token", values))
    return None if rang is None else rang - change


World: TypeAlias = Callable[[np.random.Generator, float], int | None]
WORLDS: Sequence[tuple[str, World]] = (
    ("errors 0.6%, nothing changes", lambda rng, mean: errors(rng, mean, 0.006, 0.006)),
    ("errors at the line of 1%", lambda rng, mean: errors(rng, mean, 0.01, 0.01)),
    ("errors 0.6% → 2%", lambda rng, mean: errors(rng, mean, 0.006, 0.02)),
    ("errors 0.6% → 3%", lambda rng, mean: errors(rng, mean, 0.006, 0.03)),
    ("errors 0.6% → 5%", lambda rng, mean: errors(rng, mean, 0.006, 0.05)),
    ("cost, nothing changes", lambda rng, mean: costs(rng, mean, 1.0)),
    ("cost × 1.5", lambda rng, mean: costs(rng, mean, 1.5)),
    ("cost × 2", lambda rng, mean: costs(rng, mean, 2.0)),
    ("first token, nothing changes", lambda rng, mean: first_token(rng, mean, 1.0)),
    ("first token × 3", lambda rng, mean: first_token(rng, mean, 3.0)),
    ("satisfaction, nothing changes", lambda rng, mean: satisfaction(rng, mean, 0.0)),
    (
        "satisfaction, nothing changes, bursts of one cause",
        lambda rng, mean: satisfaction(rng, mean, 0.0, shared=True),
    ),
    ("satisfaction −25 points", lambda rng, mean: satisfaction(rng, mean, 0.25)),
)


def cell(delays: Sequence[int | None], *, quiet: bool) -> str:
    """Return the share of false alarms, or the median delay and the share that never rang."""
    if quiet:
        return f"{100 * sum(delay is not None for delay in delays) / len(delays):.1f}%"
    right = [delay for delay in delays if delay is not None and delay >= 0]
    missed = sum(delay is None for delay in delays) / len(delays)
    median = f"{np.median(right) + 1:.0f} h" if right else "–"
    return median if missed < 0.005 else f"{median} ({100 * missed:.0f}% missed)"


def rows_of(repetitions: int, seed: int) -> Iterator[str]:
    """Yield the rows of the table."""
    heads = " | ".join(f"{mean:,}/h" for mean in TRAFFIC)
    yield f"| world | {heads} |"
    yield "| --- |" + " ---: |" * len(TRAFFIC)
    for position, (name, world) in enumerate(WORLDS):
        quiet = "nothing" in name or "line" in name
        cells = []
        for mean in TRAFFIC:
            count = max(repetitions * 100 // max(mean, 100), 20)
            rng = np.random.default_rng([seed, position, mean])
            cells.append(cell([world(rng, mean) for _ in range(count)], quiet=quiet))
        yield f"| {name} | {' | '.join(cells)} |"


def main() -> None:
    """Print the table, or write it into docs/watch.md."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--repetitions", type=int, default=300)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args()
    lines = []
    for line in rows_of(options.repetitions, options.seed):
        print(line, flush=True)
        lines.append(line)
    if options.write:
        mark = "<!-- generated: watch error rates -->\n"
        head, _, rest = PAGE.read_text(encoding="utf-8").partition(mark)
        tail = rest[rest.index("\n\n", 2) :]
        PAGE.write_text(head + mark + "\n" + "\n".join(lines) + tail, encoding="utf-8")


if __name__ == "__main__":
    main()
