"""How the gate writes numbers: points, percents and counts, the same in every sentence."""

from __future__ import annotations

import math

MOST_DIGITS = 8
"""After the point, where fewer would not tell a bound from the margin that it is within."""


def points(share: float) -> str:
    """Return a difference of shares in points with its sign: `−2.5`, `+4.1`, `0.0`."""
    rounded = round(_stable(100.0 * share), 1)
    if rounded == 0.0:
        return "0.0"
    return f"{'−' if rounded < 0 else '+'}{abs(rounded):.1f}"


def interval_ends(lower: float, upper: float, margin: float | None = None) -> tuple[str, str]:
    """Return the ends in points, rounded outward: `−9.1` and `+4.1`.

    With `margin`, a lower end above −margin never reads as if it were −margin.
    """
    low = f"−{points_up(-lower, margin)}" if lower < 0 else points(-_up(-lower, 1) / 100)
    return low, points(_up(upper, 1) / 100)


def points_up(share: float, margin: float | None = None) -> str:
    """Return a size in points without sign, never rounded to less than it is: `9.1`.

    With `margin`, a size below it never reads as if it were the margin: `4.95`.
    """
    digits = 1
    if margin is not None and share < margin:
        while digits < MOST_DIGITS and _up(share, digits) >= _stable(100.0 * margin):
            digits += 1
    return f"{_up(share, digits):.{digits}f}"


def percent(share: float) -> str:
    """Return `91.3%`."""
    return f"{_stable(100.0 * share):.1f}%"


def percent_up(share: float) -> str:
    """Return a share that would be enough: rounded up to a tenth, `9.2%`, whole where whole."""
    return f"{_up(share, 1):g}%"


def cases(n: int) -> str:
    return counted(n, "case")


def counted(n: int, noun: str) -> str:
    """Return `1 case`, `3 cases`."""
    return f"{n:,} {noun}{'' if n == 1 else 's'}"


def probability(p: float) -> str:
    """Return `p = 0.031`, `p = 0.42`, `p < 0.0001`."""
    if p < 0.0001:
        return "p < 0.0001"
    return f"p = {p:.2g}" if p < 0.1 else f"p = {p:.2f}"


def listed(names: tuple[str, ...], *, at_most: int = 5) -> str:
    """Return the first names and how many more there are."""
    more = len(names) - at_most
    return ", ".join(names[:at_most]) + (f" and {more} more" if more > 0 else "")


def _stable(value: float) -> float:
    """Return `value` without its last bits, which depend on the order of adding up cases."""
    return round(value, 9)


def _up(share: float, digits: int) -> float:
    """Return a share in points, rounded up to `digits` after the point."""
    scale: int = 10**digits
    return math.ceil(100.0 * scale * share - 1e-7) / scale
