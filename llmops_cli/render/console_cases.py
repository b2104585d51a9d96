"""Show one case on the console: inputs, expected answer, and the answers before and after."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.padding import Padding
from rich.segment import Segment
from rich.style import Style
from rich.table import Table
from rich.text import Text

from llmops_cli.core.report import Change, ShownCase, ShownTrial
from llmops_cli.render import formatting
from llmops_cli.render.formatting import answer, change_label, change_meaning, percent, plain
from llmops_cli.render.renderable import LineWriter
from llmops_cli.render.safe_text import clip

SIDE_BY_SIDE = 100
"""Console width from which the answers are side by side."""

_COLORS: Mapping[Change | None, str] = {
    "critical": "bold red",
    "regressed": "bold red",
    "improved": "bold green",
    "failing": "red",
    "unmeasured": "bold magenta",
    "added": "cyan",
    "removed": "cyan",
    "known_passing": "green",
}
_INDENT = 6


def case_block(writer: LineWriter, shown: ShownCase, *, verbose: bool) -> Iterator[RenderableType]:
    """Yield the case's heading and, indented below it, what happened to it."""
    yield _heading(writer, shown)
    facts = _grid()
    for name, value in shown.inputs.items():
        facts.add_row(writer.line(name, "dim"), _value(writer, plain(value), verbose=verbose))
    if shown.expected is not None:
        facts.add_row(
            writer.line("expected", "dim"), _value(writer, plain(shown.expected), verbose=verbose)
        )
    if shown.known_failing is not None:
        facts.add_row(writer.line("known failing", "dim"), writer.line(shown.known_failing))
    if writer.width >= SIDE_BY_SIDE and shown.baseline is not None and shown.candidate is not None:
        yield Padding(facts, (0, 0, 0, _INDENT))
        yield Padding(_beside(writer, shown, verbose=verbose), (0, 0, 0, _INDENT))
        return
    for name, trial, passed in _sides(shown):
        text = _value(writer, answer(trial), verbose=verbose)
        scores = _scores(writer, trial, passed, verbose=verbose)
        facts.add_row(_side(writer, name, passed), Group(text, *scores))
    yield Padding(facts, (0, 0, 0, _INDENT))


def _heading(writer: LineWriter, shown: ShownCase) -> Text:
    parts: list[str | tuple[str, str]] = [
        "  ",
        (change_label(shown), _COLORS[shown.change]),
        "  ",
        (clip(shown.case, characters=200).text, "bold"),
    ]
    if shown.critical and shown.change != "critical":
        parts.append(("  critical", "bold red"))
    parts += [(f"  #{clip(tag, characters=60).text}", "dim") for tag in shown.tags]
    parts.append((f"  {change_meaning(shown)}", "dim"))
    return writer.joined(*parts)


def _sides(shown: ShownCase) -> Iterable[tuple[str, ShownTrial | None, float | None]]:
    """Yield (name, trial, share that passed) of each side of a case."""
    if shown.baseline is not None:
        yield "before", shown.baseline.first, shown.baseline.passed
    if shown.candidate is not None:
        name = "answer" if shown.baseline is None else "after"
        yield name, shown.candidate.first, shown.candidate.passed


def _side(writer: LineWriter, name: str, passed: float | None) -> Text:
    """Return `before ✓`, `after ✗ 33.3%`."""
    if passed is None:
        return writer.joined((name, "dim"), (" ?", "magenta"))
    mark = (" ✓", "green") if passed >= 0.5 else (" ✗", "red")
    share = "" if passed in {0, 1} else f" {percent(passed)}"
    return writer.joined((name, "dim"), mark, (share, "dim"))


def _beside(writer: LineWriter, shown: ShownCase, *, verbose: bool) -> Table:
    grid = Table.grid(padding=(0, 3, 0, 0), expand=True)
    sides = list(_sides(shown))
    for _ in sides:
        grid.add_column(ratio=1, overflow="fold")
    grid.add_row(*(_side(writer, name, passed) for name, _, passed in sides))
    grid.add_row(*(_quoted(writer, answer(trial), verbose=verbose) for _, trial, _ in sides))
    grid.add_row(
        *(Group(*_scores(writer, trial, passed, verbose=verbose)) for _, trial, passed in sides)
    )
    return grid


def _scores(
    writer: LineWriter, trial: ShownTrial | None, passed: float | None, *, verbose: bool
) -> list[RenderableType]:
    """Return the scores that explain the outcome: of a passing answer none, unless `verbose`."""
    telling = [
        score
        for score in (trial.scores if trial else ())
        if verbose or (passed != 1 and score.passed is not True and not score.advisory)
    ]
    lines = []
    for score in telling:
        style = "magenta" if score.passed is None else "green" if score.passed else "red"
        text = clip(formatting.score(score), characters=400 if verbose else 200).text
        lines.append(writer.line(text, style))
    return list(lines)


def _value(writer: LineWriter, text: str, *, verbose: bool) -> RenderableType:
    """Return a short text as it is; one of several lines with a gutter."""
    return (
        _quoted(writer, text, verbose=verbose)
        if "\n" in text.strip("\n")
        else _clipped(writer, text.strip("\n"), verbose=verbose)
    )


def _quoted(writer: LineWriter, text: str, *, verbose: bool) -> RenderableType:
    return Quote(_clipped(writer, text, verbose=verbose), gutter="│ " if writer.unicode else "| ")


def _clipped(writer: LineWriter, text: str, *, verbose: bool) -> Text:
    cut = clip(text, characters=4_000 if verbose else 600, lines=60 if verbose else 8)
    block = writer.block(cut.text)
    if cut.remark:
        block.append_text(writer.line(f" … {cut.remark}", "dim italic"))
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
        """Yield the wrapped lines, each behind the gutter."""
        inner = options.update(width=max(options.max_width - len(self._gutter), 1))
        for line in console.render_lines(self._text, inner, pad=False):
            yield Segment(self._gutter, Style(dim=True))
            yield from line
            yield Segment.line()
