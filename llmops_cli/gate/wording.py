"""How the gate writes numbers: points, per cents and counts, the same in every sentence."""

from __future__ import annotations

import math


def points(share: float) -> str:
    """A difference of shares in points with its sign: `−2.5`, `+4.1`, `0.0`."""
    rounded = round(_steady(100.0 * share), 1)
    if rounded == 0.0:
        return "0.0"
    return f"{'−' if rounded < 0 else '+'}{abs(rounded):.1f}"


def interval(lower: float, upper: float) -> str:
    """Ends in points, rounded outwards: `[−9.1, +4.1]`."""
    return f"[{points(-_up(-lower) / 100)}, {points(_up(upper) / 100)}]"


def points_up(share: float) -> str:
    """A size in points without sign, never rounded to less than it is: `9.1`."""
    return f"{_up(share):.1f}"


def percent(share: float) -> str:
    """`91.3 %`."""
    return f"{_steady(100.0 * share):.1f} %"


def percent_up(share: float) -> str:
    """A share that would be enough: rounded up to a tenth, `9.2 %`, whole where it is whole."""
    return f"{_up(share):g} %"


def cases(n: int) -> str:
    return counted(n, "case")


def counted(n: int, noun: str) -> str:
    """`1 case`, `3 cases`."""
    return f"{n:,} {noun}{'' if n == 1 else 's'}"


def probability(p: float) -> str:
    """`p = 0.031`, `p = 0.42`, `p < 0.0001`."""
    if p < 0.0001:
        return "p < 0.0001"
    return f"p = {p:.2g}" if p < 0.1 else f"p = {p:.2f}"


def listed(names: tuple[str, ...], *, at_most: int = 5) -> str:
    """The first names and how many more there are."""
    more = len(names) - at_most
    return ", ".join(names[:at_most]) + (f" and {more} more" if more > 0 else "")


def _steady(value: float) -> float:
    """`value` without the last bits, which hang on the order in which cases were added up."""
    return round(value, 9)


def _up(share: float) -> float:
    return math.ceil(1000.0 * share - 1e-7) / 10.0
