"""Writes safe text for one console: everything that llmops prints with rich passes through here.

Data becomes `rich.text.Text`, never markup, with controls made visible. Where the console cannot
write UTF-8, lines are drawn in ASCII and other letters are written as escapes. At the end, a
workflow command that wrapping moved to the start of a line is broken.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Container, Iterable
from dataclasses import dataclass
from functools import cached_property

from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

from llmops_cli.core.policy import Decision
from llmops_cli.render.safe_text import terminal, terminal_line

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

    def _known(self, text: str) -> str:
        if self.unicode:
            return text
        plain = text.translate(_ASCII_WORDS)
        return plain.encode(self.encoding, "backslashreplace").decode(self.encoding)


class Renderable:
    """What rich prints, made with a `LineWriter` that fits the console."""

    def __init__(
        self, make: Callable[[LineWriter], Iterable[RenderableType]], *, width: int | None = None
    ) -> None:
        self._make = make
        self._width = width

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Yield the lines: no blanks at their ends, no workflow command at their start."""
        width = min(self._width or options.max_width, options.max_width)
        writer = LineWriter(encoding=options.encoding, width=width)
        lines = console.render_lines(
            Group(*self._make(writer)), options.update(width=width), pad=False
        )
        for line in lines:
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


def grid(writer: LineWriter, *headers: str, right: Container[int] = ()) -> Table:
    """Return a table without boxes under dim headers; the columns in `right` hold numbers."""
    rows = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="dim")
    for place, header in enumerate(headers):
        rows.add_column(
            writer.line(header), justify="right" if place in right else "left", overflow="fold"
        )
    return rows
