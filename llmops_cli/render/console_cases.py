"""Trials an interval against its margin in two lines of text: what is proven, at a glance.

    −9.1 ├───────┼─────●─────────────┼──────────┤ +4.1
    margin −5.0 ─┘                   └─ 0, as before

The upper line is the interval with the measured difference; the lower one names the two places
that decide: right of the margin is a pass, left of 0 is a loss.

Shows one case on the console: what was asked and expected, the answers before and after.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.padding import Padding
from rich.segment import Segment
from rich.style import Style
from rich.table import Table
from rich.text import Text

from llmops_cli.core.report import Change, ShownCase, ShownTrial
from llmops_cli.core.verdict import Estimate
from llmops_cli.gate import wording
from llmops_cli.gate.wording import points
from llmops_cli.render.formatting import CHANGES, MEANINGS, answer, percent, plain, score
from llmops_cli.render.renderable import Pen
from llmops_cli.render.safe_text import clip


@dataclass(frozen=True, slots=True, kw_only=True)
class Strokes:
    """What lines are drawn with."""

    left: str
    right: str
    line: str
    mark: str
    post: str
    point: str
    to_left: str
    to_right: str
    minus: str


UNICODE = Strokes(
    left="├",
    right="┤",
    line="─",
    mark="┼",
    post="│",
    point="●",
    to_left="─┘",
    to_right="└─",
    minus="−",
)
ASCII = Strokes(
    left="[",
    right="]",
    line="=",
    mark="|",
    post="|",
    point="*",
    to_left="-'",
    to_right="'-",
    minus="-",
)


NARROWEST = 40
"""Columns that an interval takes at least."""
_ZERO = " 0, as before"
_NARROWEST = 8


def interval(estimate: Estimate, *, width: int, strokes: Strokes = UNICODE) -> tuple[str, str]:
    """The interval and its captions, each at most `width` columns wide (40 at least)."""
    margin_label = f"margin {points(-estimate.margin)} "
    lower, upper = wording.interval_ends(estimate.lower, estimate.upper, estimate.margin)
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
    bar[start : end + 1] = strokes.line * (end - start + 1)
    bar[start], bar[end] = strokes.left, strokes.right
    for place in (margin, zero):
        bar[place] = strokes.mark if start <= place <= end else strokes.post
    bar[column(estimate.difference)] = strokes.point
    above = _labelled("".join(bar), start, lower, end, upper)
    below = " " * (margin - len(margin_label) - 1) + margin_label + strokes.to_left
    below += " " * (zero - len(below)) + strokes.to_right + _ZERO
    return above.replace("−", strokes.minus), below.replace("−", strokes.minus)


def _fit(
    width: int, *, ends: tuple[int, int], margin: tuple[float, int], zero: tuple[float, int]
) -> tuple[int, int]:
    """The widest drawing that leaves room for its labels, and the columns before it.

    `ends` are the widths of the figures beside it; `margin` and `zero` the places of the two
    marks on [0, 1], with the width of the label to the left of the one and right of the other.
    """
    for room in range(width, _NARROWEST, -1):
        before = max(ends[0], math.ceil(margin[1] - margin[0] * (room - 1)))
        after = max(ends[1], math.ceil(zero[1] - (1 - zero[0]) * (room - 1)))
        if before + room + after <= width:
            return room, before
    return _NARROWEST, max(ends[0], margin[1])


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


SIDE_BY_SIDE = 100
"""Columns from which the answers stand beside each other."""

_COLOURS: dict[Change, str] = {
    "critical": "bold red",
    "lost": "bold red",
    "gained": "bold green",
    "failing": "red",
    "unmeasured": "bold magenta",
    "added": "cyan",
    "removed": "cyan",
    "known_passing": "green",
}
_INDENT = 6


def case_block(pen: Pen, shown: ShownCase, *, verbose: bool) -> Iterator[RenderableType]:
    """The case's heading and, indented below it, what happened to it."""
    yield _heading(pen, shown)
    facts = _grid()
    for name, value in shown.inputs.items():
        facts.add_row(pen.line(name, "dim"), _value(pen, plain(value), verbose=verbose))
    if shown.expected is not None:
        facts.add_row(
            pen.line("expected", "dim"), _value(pen, plain(shown.expected), verbose=verbose)
        )
    if shown.known_failing is not None:
        facts.add_row(pen.line("known to fail", "dim"), pen.line(shown.known_failing))
    if pen.width >= SIDE_BY_SIDE and shown.baseline is not None and shown.candidate is not None:
        yield Padding(facts, (0, 0, 0, _INDENT))
        yield Padding(_beside(pen, shown, verbose=verbose), (0, 0, 0, _INDENT))
        return
    for name, trial, passed in _sides(shown):
        said = _value(pen, answer(trial), verbose=verbose)
        scores = _scores(pen, trial, passed, verbose=verbose)
        facts.add_row(_side(pen, name, passed), Group(said, *scores))
    yield Padding(facts, (0, 0, 0, _INDENT))


def _heading(pen: Pen, shown: ShownCase) -> Text:
    parts: list[str | tuple[str, str]] = [
        "  ",
        (CHANGES[shown.change], _COLOURS[shown.change]),
        "  ",
        (clip(shown.case, characters=200).text, "bold"),
    ]
    if shown.critical and shown.change != "critical":
        parts.append(("  critical", "bold red"))
    parts += [(f"  #{clip(tag, characters=60).text}", "dim") for tag in shown.tags]
    parts.append((f"  {MEANINGS[shown.change]}", "dim"))
    return pen.joined(*parts)


def _sides(shown: ShownCase) -> Iterable[tuple[str, ShownTrial | None, float | None]]:
    """(name, draw, share that passed) of each side that has something to tell."""
    if shown.baseline is not None:
        yield "before", shown.baseline, shown.baseline_passed
    if shown.candidate is not None:
        name = "answer" if shown.baseline is None else "after"
        yield name, shown.candidate, shown.candidate_passed


def _side(pen: Pen, name: str, passed: float | None) -> Text:
    """`before ✓`, `after ✗ 33.3 % of trials`."""
    if passed is None:
        return pen.joined((name, "dim"), (" ?", "magenta"))
    mark = (" ✓", "green") if passed >= 0.5 else (" ✗", "red")
    share = "" if passed in {0, 1} else f" {percent(passed)}"
    return pen.joined((name, "dim"), mark, (share, "dim"))


def _beside(pen: Pen, shown: ShownCase, *, verbose: bool) -> Table:
    grid = Table.grid(padding=(0, 3, 0, 0), expand=True)
    sides = list(_sides(shown))
    for _ in sides:
        grid.add_column(ratio=1, overflow="fold")
    grid.add_row(*(_side(pen, name, passed) for name, _, passed in sides))
    grid.add_row(*(_quoted(pen, answer(trial), verbose=verbose) for _, trial, _ in sides))
    grid.add_row(
        *(Group(*_scores(pen, trial, passed, verbose=verbose)) for _, trial, passed in sides)
    )
    return grid


def _scores(
    pen: Pen, trial: ShownTrial | None, passed: float | None, *, verbose: bool
) -> list[RenderableType]:
    """The scores that explain the outcome: of a passing answer none, unless all are asked for."""
    telling = [
        each
        for each in (trial.scores if trial else ())
        if verbose or (passed != 1 and each.passed is not True and not each.advisory)
    ]
    lines = []
    for each in telling:
        style = "magenta" if each.passed is None else "green" if each.passed else "red"
        lines.append(pen.line(clip(score(each), characters=400 if verbose else 200).text, style))
    return list(lines)


def _value(pen: Pen, text: str, *, verbose: bool) -> RenderableType:
    """A short text as it is; one of several lines with a gutter."""
    return (
        _quoted(pen, text, verbose=verbose)
        if "\n" in text.strip("\n")
        else _clipped(pen, text.strip("\n"), verbose=verbose)
    )


def _quoted(pen: Pen, text: str, *, verbose: bool) -> RenderableType:
    return Quote(_clipped(pen, text, verbose=verbose), gutter="│ " if pen.unicode else "| ")


def _clipped(pen: Pen, text: str, *, verbose: bool) -> Text:
    cut = clip(text, characters=4_000 if verbose else 600, lines=60 if verbose else 8)
    block = pen.block(cut.text)
    if cut.remark:
        block.append_text(pen.line(f" … {cut.remark}", "dim italic"))
    return block


def _grid() -> Table:
    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_column(max_width=24, overflow="fold")
    grid.add_column(overflow="fold")
    return grid


class Quote:
    """A text behind a gutter on every line, so that none of its lines begins one of the log's."""

    def __init__(self, text: Text, *, gutter: str) -> None:
        self._text = text
        self._gutter = gutter

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """The wrapped lines, each behind the gutter."""
        inner = options.update(width=max(options.max_width - len(self._gutter), 1))
        for line in console.render_lines(self._text, inner, pad=False):
            yield Segment(self._gutter, Style(dim=True))
            yield from line
            yield Segment.line()
