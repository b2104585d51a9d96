"""Small tables for `status`, `models`, `history` and their like: no boxes, no markup, safe text."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rich.console import RenderableType
from rich.table import Table

from llmops_cli.render.pen import Pen, Sheet

Cell = str | int | float | None


def table(headers: Sequence[str], rows: Iterable[Sequence[Cell]]) -> RenderableType:
    """Rows under dim headers; a column that holds numbers alone stands to the right.

    None is an empty cell. Every row has as many cells as there are headers.
    """
    cells = [tuple(row) for row in rows]

    def draw(pen: Pen) -> Iterable[RenderableType]:
        grid = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="dim")
        for place, header in enumerate(headers):
            column = [row[place] for row in cells if row[place] is not None]
            numbers = bool(column) and all(_is_number(each) for each in column)
            justify = "right" if numbers else "left"
            grid.add_column(pen.line(header), justify=justify, overflow="fold")  # type: ignore[arg-type]  # a Literal that mypy widens
        for row in cells:
            grid.add_row(*(pen.line(_written(each)) for each in row))
        yield grid

    return Sheet(draw)


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
