"""Draws an interval against its margin in two lines of text: what is proven, at a glance.

    −9.1 ├───────┼─────●─────────────┼──────────┤ +4.1
    margin −5.0 ─┘                   └─ 0, as before

The upper line is the interval with the measured difference; the lower one names the two places
that decide: right of the margin is a pass, left of 0 is a loss.
"""

from __future__ import annotations

from dataclasses import dataclass

from llmops_cli.core.verdict import Estimate
from llmops_cli.render.phrases import points


@dataclass(frozen=True, slots=True, kw_only=True)
class Strokes:
    """What lines are drawn with."""

    left: str
    right: str
    line: str
    mark: str
    point: str
    to_left: str
    to_right: str
    minus: str


UNICODE = Strokes(
    left="├", right="┤", line="─", mark="┼", point="●", to_left="─┘", to_right="└─", minus="−"
)
ASCII = Strokes(
    left="[", right="]", line="=", mark="|", point="*", to_left="-'", to_right="'-", minus="-"
)


def interval(estimate: Estimate, *, width: int, strokes: Strokes = UNICODE) -> tuple[str, str]:
    """The interval and its captions, each at most `width` columns wide (at least 40)."""
    margin_label = f"margin {points(-estimate.margin)} "
    zero_label = " 0, as before"
    lower, upper = points(estimate.lower), points(estimate.upper)
    before = max(len(margin_label) + 1, len(lower) + 1)
    room = max(width, 40) - before - max(len(zero_label) + 2, len(upper) + 2)
    left = min(estimate.lower, -estimate.margin)
    right = max(estimate.upper, 0.0, left + 1e-9)

    def column(value: float) -> int:
        return before + round((value - left) / (right - left) * (room - 1))

    start, end = column(estimate.lower), column(estimate.upper)
    margin, zero = column(-estimate.margin), column(0.0)
    if zero == margin:
        zero += 1
    bar = [" "] * (max(end, zero) + 1)
    bar[start : end + 1] = strokes.line * (end - start + 1)
    bar[start], bar[end] = strokes.left, strokes.right
    for place in (margin, zero):
        bar[place] = strokes.mark if start <= place <= end else ("│" if strokes is UNICODE else "|")
    bar[column(estimate.difference)] = strokes.point
    upper_line = _labelled("".join(bar), start, lower, end, upper)
    under = " " * (margin - len(margin_label) - 1) + margin_label + strokes.to_left
    under += " " * (zero - len(under)) + strokes.to_right + zero_label
    return (
        upper_line.replace("−", strokes.minus).rstrip(),
        under.replace("−", strokes.minus).rstrip(),
    )


def _labelled(bar: str, start: int, lower: str, end: int, upper: str) -> str:
    """`bar` with the figures beside its ends; one that has no room there is left out."""
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
