"""Writes safe text and tables for one console: all that llmops prints with rich passes here.

Data becomes `rich.text.Text`, never markup, with controls made visible. Where the console cannot
write UTF-8, lines are drawn in ASCII and other letters are written as escapes. At the end, a
workflow command that wrapping moved to the start of a line is broken.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Container, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

from llmops_cli.core.policy import Decision
from llmops_cli.render.safe_text import terminal, terminal_line

Cell = str | int | float | None
GAP = 2
"""Columns between two columns of a table."""

COLORS = {
    Decision.FAIL: "bold red",
    Decision.INCOMPLETE: "bold magenta",
    Decision.INCONCLUSIVE: "bold yellow",
    Decision.PASS: "bold green",
}

_GLUE = "\ue0a0"
"""Stands for a blank at which rich must not break a line; rich breaks at U+00A0 too."""
_FIGURE = re.compile(
    r"(?<=[=<>≤≥~±×]) (?=[\d−])|(?<=\d) (?=(?:s|min|of|points?|cases?|calls?)\b)"
    r"|(?<=of) (?=\d)|(?<=\(p) (?=[=<])|(?<=CI) (?=[\[+−\d])"
)

_ASCII_WORDS = str.maketrans(
    {
        "−": "-",
        "–": "-",
        "→": "->",
        "·": "|",
        "×": "x",
        "…": "...",
        "≥": ">=",
        "≤": "<=",
        "│": "|",
        "├": "[",
        "┤": "]",
        "─": "-",
        "┼": "|",
        "●": "*",
        "┘": "'",
        "└": "'",
        "✓": "pass",
        "✗": "fail",
        "\u00a0": " ",
    }
)


@dataclass(frozen=True)
class LineWriter:
    """Makes texts that one console can show, `width` columns wide."""

    encoding: str
    width: int

    @cached_property
    def unicode(self) -> bool:
        return self.encoding.lower().replace("-", "").startswith("utf")

    def line(self, text: str, style: str = "") -> Text:
        """Return one line of data or prose; it wraps, but not between a figure and its unit."""
        glued = _FIGURE.sub(_GLUE, self._known(terminal_line(text)))
        return Text(glued, style=style, overflow="fold")

    def block(self, text: str, style: str = "") -> Text:
        """Return several lines of data."""
        return Text(self._known(terminal(text)), style=style, overflow="fold", tab_size=4)

    def joined(self, *parts: str | tuple[str, str]) -> Text:
        """Return one line from pieces, each a text or (text, style)."""
        line = Text(overflow="fold")
        for part in parts:
            text, style = part if isinstance(part, tuple) else (part, "")
            line.append_text(self.line(text, style))
        return line

    def note(self, text: str) -> Text:
        """Return a line that begins with `note: `."""
        return self.joined(("note: ", "yellow"), text)

    def next_step(self, command: str) -> Text:
        """Return a line that begins with `next: `."""
        return self.joined(("next: ", "bold cyan"), (command, "bold"))

    def _known(self, text: str) -> str:
        if self.unicode:
            return text
        plain = text.translate(_ASCII_WORDS)
        return plain.encode(self.encoding, "backslashreplace").decode(self.encoding)


class Renderable:
    """What rich prints, made with a `LineWriter` that fits the console."""

    def __init__(self, make: Callable[[LineWriter], Iterable[RenderableType]]) -> None:
        self._make = make

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Yield the lines: no blanks at their ends, no workflow command at their start."""
        width = options.max_width
        writer = LineWriter(encoding=options.encoding, width=width)
        content = Group(*self._make(writer))
        for line in console.render_lines(content, options.update(width=width), pad=False):
            if "".join(segment.text for segment in line).lstrip().startswith("::"):
                yield Segment("\\")
            for segment in _trimmed(line):
                yield Segment(segment.text.replace(_GLUE, " "), segment.style, segment.control)
            yield Segment.line()


def _trimmed(line: list[Segment]) -> list[Segment]:
    while line and not line[-1].text.rstrip(" "):
        line = line[:-1]
    if line:
        text, style, control = line[-1]
        line = [*line[:-1], Segment(text.rstrip(" "), style, control)]
    return line


def grid(
    writer: LineWriter,
    headers: Sequence[str],
    rows: Iterable[Sequence[str | tuple[str, str]]],
    *,
    right: Container[int] = (),
) -> Table:
    """Return rows under dim headers; the columns in `right` hold numbers.

    A cell is a text, or (text, style).
    """
    table = _borderless()
    for place, header in enumerate(headers):
        table.add_column(
            writer.line(header), justify="right" if place in right else "left", overflow="fold"
        )
    for row in rows:
        table.add_row(*map(writer.joined, row))
    return table


def _borderless(*, show_header: bool = True) -> Table:
    return Table(
        box=None,
        padding=(0, GAP, 0, 0),
        pad_edge=False,
        header_style="dim",
        show_header=show_header,
    )


def table(headers: Sequence[str], rows: Iterable[Sequence[Cell]]) -> Renderable:
    """Return rows under dim headers; a column of numbers alone stands to the right.

    None is an empty cell. Every row has as many cells as there are headers. On a console too narrow
    for the words of a row, each row becomes lines of its own, one for each cell.
    """
    cells = [tuple(row) for row in rows]

    def draw(writer: LineWriter) -> Iterable[RenderableType]:
        heads = [writer.line(header) for header in headers]
        lines = [[writer.line(_written(cell)) for cell in row] for row in cells]
        widths = _widths([heads, *lines], writer.width - GAP * (len(heads) - 1))
        if widths is None:
            yield _records(heads, lines)
            return
        grid = _borderless()
        for place, (head, width) in enumerate(zip(heads, widths, strict=True)):
            column = [row[place] for row in cells if row[place] is not None]
            numbers = bool(column) and all(map(_is_number, column))
            justify = "right" if numbers else "left"
            grid.add_column(head, justify=justify, overflow="fold", width=width)  # type: ignore[arg-type]  # a Literal that mypy widens
        for line in lines:
            grid.add_row(*line)
        yield grid

    return Renderable(draw)


def _widths(lines: Sequence[Sequence[Text]], room: int) -> list[int] | None:
    """Return the width of each column, the widest cut first; None if a word would break."""
    columns = [[cell.plain for cell in column] for column in zip(*lines, strict=True)]
    least = [
        max(cell_len(word) for text in column for word in text.split() or [""])
        for column in columns
    ]
    if sum(least) > room:
        return None
    widths = [min(max(map(cell_len, column)), room) for column in columns]
    while sum(widths) > room:
        spare = [width if width > word else 0 for width, word in zip(widths, least, strict=True)]
        widths[spare.index(max(spare))] -= 1
    return widths


def _records(heads: Sequence[Text], lines: Sequence[Sequence[Text]]) -> RenderableType:
    grid = _borderless(show_header=False)
    grid.add_column(style="dim", no_wrap=True)
    grid.add_column(overflow="fold")
    for place, line in enumerate(lines):
        if place:
            grid.add_row("", "")
        for head, cell in zip(heads, line, strict=True):
            grid.add_row(head, cell)
    return grid


def _is_number(cell: Cell) -> bool:
    return isinstance(cell, (int, float)) and not isinstance(cell, bool)


def _written(cell: Cell) -> str:
    if cell is None:
        return ""
    if isinstance(cell, bool):
        return "yes" if cell else "no"
    if isinstance(cell, int):
        return f"{cell:,}"
    return f"{cell:.4g}" if isinstance(cell, float) else cell
