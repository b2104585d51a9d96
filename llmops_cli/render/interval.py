"""Draw an interval and its margin in two lines of text.

    −9.1 ├───────┼─────●─────────────┼──────────┤ +4.1
    margin −5.0 ─┘                   └─ 0 (no change)

The upper line is the interval with the measured difference; the lower one names the two places
that decide: right of the margin is a pass, left of 0 is a loss.
"""

from __future__ import annotations

import math

from llmops_cli.core.policy import Estimate
from llmops_cli.gate.wording import points
from llmops_cli.render.formatting import interval_ends

NARROWEST = 40
"""Columns that an interval takes at least."""
_ZERO = " 0 (no change)"
_NARROWEST = 8


def interval(estimate: Estimate, *, width: int) -> tuple[str, str]:
    """Return the interval and its captions, each at most `width` columns wide (40 at least)."""
    margin_label = f"margin {points(-estimate.margin)} "
    lower, upper = interval_ends(estimate)
    left = min(estimate.lower, -estimate.margin, 0.0)
    span = max(estimate.upper, 0.0) - left or 1.0
    margin_at, zero_at = (-estimate.margin - left) / span, -left / span
    room, before = _fit(
        max(width, NARROWEST),
        ends=(len(lower) + 1, len(upper) + 1),
        margin=(margin_at, len(margin_label) + 1),
        zero=(zero_at, len(_ZERO) + 2),
    )

    def column(value: float) -> int:
        return before + round((value - left) / span * (room - 1))

    start, end = column(estimate.lower), column(estimate.upper)
    margin, zero = column(-estimate.margin), column(0.0)
    zero += zero == margin
    bar = [" "] * (max(end, zero) + 1)
    bar[start : end + 1] = "─" * (end - start + 1)
    bar[start], bar[end] = "├", "┤"
    for place in (margin, zero):
        bar[place] = "┼" if start <= place <= end else "│"
    bar[column(estimate.difference)] = "●"
    above = _labeled("".join(bar), start, lower, end, upper)
    below = " " * (margin - len(margin_label) - 1) + margin_label + "─┘"
    below += " " * (zero - len(below)) + "└─" + _ZERO
    return above, below


def _fit(
    width: int, *, ends: tuple[int, int], margin: tuple[float, int], zero: tuple[float, int]
) -> tuple[int, int]:
    """Return the widest drawing that leaves room for its labels, and the columns before it.

    `ends` are the widths of the figures beside it; `margin` and `zero` the places of the two
    marks on [0, 1], with the width of the label to the left of the one and right of the other.
    """
    for room in range(width, _NARROWEST, -1):
        before = max(ends[0], math.ceil(margin[1] - margin[0] * (room - 1)))
        after = max(ends[1], math.ceil(zero[1] - (1 - zero[0]) * (room - 1)))
        if before + room + after <= width:
            return room, before
    return _NARROWEST, max(ends[0], margin[1])


def _labeled(bar: str, start: int, lower: str, end: int, upper: str) -> str:
    """Return `bar` with the figures beside its ends; one that has no room is left out."""
    at = start - len(lower) - 1
    if not bar[max(at - 1, 0) : start].strip():
        bar = f"{bar[:at]}{lower} {bar[start:]}"
    tail = bar[end + 1 :]
    room = len(upper) + 2
    if not tail.strip():
        return f"{bar[: end + 1]} {upper}"
    if not tail[:room].strip():
        return f"{bar[: end + 2]}{upper}{tail[room - 1 :]}"
    return bar
