"""Print `--help` in panels like rich's, without importing rich.

Importing rich takes longer than everything else that `--help` does. So the panels are drawn here,
with the same look, from what Typer knows of a command. Options stand in the panel that they are
declared in (`cli.options`), commands in the one that `cli.main` lists them under.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
from collections.abc import Iterable, Iterator
from textwrap import wrap
from typing import Any

from typer.core import TyperCommand, TyperGroup

WIDEST = 100
NARROWEST = 40
ORDER = (
    "Arguments",
    "Select",
    "Compare",
    "Gate",
    "Options",
    "Budget",
    "Cache",
    "Reports",
    "Git",
    "Output",
)
"""Panels of options; another one stands after these."""

_BOX = ("╭", "╮", "╰", "╯", "─", "│")
_ASCII_BOX = ("+", "+", "+", "+", "-", "|")

Row = tuple[str, str]


class HelpCommand(TyperCommand):
    """A command whose help is drawn in panels."""

    def format_help(self, ctx: Any, formatter: Any) -> None:  # noqa: ANN401 - click's types
        """Write usage, description and the panels of arguments and options."""
        formatter.write(_page(self, ctx, _option_panels(self, ctx)))


class HelpGroup(TyperGroup):
    """The program, whose help lists its commands in panels."""

    def format_help(self, ctx: Any, formatter: Any) -> None:  # noqa: ANN401 - click's types
        """Write usage, description, the panels of commands and of options."""
        panels: dict[str, list[Row]] = {}
        for name in self.list_commands(ctx):
            command: Any = self.get_command(ctx, name)
            panel = str(command.rich_help_panel)
            panels.setdefault(panel, []).append((name, command.get_short_help_str(limit=200)))
        formatter.write(_page(self, ctx, {**panels, **_option_panels(self, ctx)}))


def _option_panels(command: Any, context: Any) -> dict[str, list[Row]]:  # noqa: ANN401 - click's
    panels: dict[str, list[Row]] = {}
    for parameter in command.get_params(context):
        record = parameter.get_help_record(context)
        if record is None:
            continue
        argument = parameter.param_type_name == "argument"
        # Typer names the panel DefaultPlaceholder where none was given.
        panel = getattr(parameter, "rich_help_panel", None)
        place = "Arguments" if argument else panel if isinstance(panel, str) else "Output"
        panels.setdefault(place, []).append(record)
    places = {name: place for place, name in enumerate(ORDER)}
    return dict(sorted(panels.items(), key=lambda panel: places.get(panel[0], len(places))))


def _page(command: Any, context: Any, panels: dict[str, list[Row]]) -> str:  # noqa: ANN401 - click's
    columns = shutil.get_terminal_size().columns
    width = min(max(columns, NARROWEST), WIDEST)
    style = _Style(width)
    lines = [f"{style.bold('Usage:')} {context.command_path} {_usage(command, context)}", ""]
    lines += style.prose(command.help or "")
    left = max((len(name) for rows in panels.values() for name, _ in rows), default=0)
    for title, rows in panels.items():
        lines += style.panel(title, rows, left=min(left, width // 3))
    return "\n".join(lines) + "\n"


def _usage(command: Any, context: Any) -> str:  # noqa: ANN401 - click's types
    return " ".join(command.collect_usage_pieces(context))


class _Style:
    """The style that standard output supports: color, Unicode."""

    def __init__(self, width: int) -> None:
        encoding = (getattr(sys.stdout, "encoding", None) or "").lower().replace("-", "")
        self._box = _BOX if encoding.startswith("utf") else _ASCII_BOX
        self._color = sys.stdout.isatty() and "NO_COLOR" not in os.environ
        self._width = width

    def bold(self, text: str) -> str:
        return f"\x1b[1m{text}\x1b[0m" if self._color else text

    def _dim(self, text: str) -> str:
        return f"\x1b[2m{text}\x1b[0m" if self._color else text

    def _name(self, text: str) -> str:
        return f"\x1b[36m{text}\x1b[0m" if self._color else text

    def prose(self, text: str) -> Iterator[str]:
        """Paragraphs wrapped to the width; indented lines (examples) as they are."""
        for paragraph in re.split(r"\n\s*\n", text.strip()):
            lines = paragraph.split("\n")
            if any(line.startswith("  ") for line in lines):
                yield from (f" {line}" for line in lines)
            else:
                yield from (f" {line}" for line in wrap(" ".join(lines), self._width - 2))
            yield ""

    def panel(self, title: str, rows: Iterable[Row], *, left: int) -> Iterator[str]:
        """Yield a box with a title, names on the left and help on the right."""
        top_left, top_right, low_left, low_right, line, side = self._box
        head = f"{top_left}{line} {title} "
        yield self._dim(head + line * (self._width - len(head) - 1) + top_right)
        room = self._width - left - 6
        for name, text in rows:
            beside = wrap(text, max(room, 10)) or [""]
            if len(name) > left:
                beside.insert(0, "")
            for place, part in enumerate(beside):
                shown = name if place == 0 else ""
                gap = " " * max(left - len(shown), 0)
                rest = " " * max(self._width - 6 - max(left, len(shown)) - len(part), 0)
                yield f"{self._dim(side)} {self._name(shown)}{gap}  {part}{rest} {self._dim(side)}"
        yield self._dim(low_left + line * (self._width - 2) + low_right)
