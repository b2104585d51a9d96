"""Draws the small tables of `status`, `models` and `history`: no boxes, no markup, safe text."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rich.cells import cell_len
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from llmops_cli.render.renderable import LineWriter, Renderable

Cell = str | int | float | None

GAP = 2
"""Columns between two columns."""


def table(headers: Sequence[str], rows: Iterable[Sequence[Cell]]) -> RenderableType:
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
        grid = Table(box=None, padding=(0, GAP, 0, 0), pad_edge=False, header_style="dim")
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
    grid = Table(box=None, padding=(0, GAP, 0, 0), pad_edge=False, show_header=False)
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
