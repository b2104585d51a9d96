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

BOLD, DIM, CYAN = 1, 2, 36

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
        # Typer names the panel DefaultPlaceholder where none was given.
        panel = getattr(parameter, "rich_help_panel", None)
        named = panel if isinstance(panel, str) else "Output"
        argument = parameter.param_type_name == "argument"
        panels.setdefault("Arguments" if argument else named, []).append(record)
    order = [*(name for name in ORDER if name in panels), *panels]
    return {name: panels[name] for name in order}


def _page(command: Any, context: Any, panels: dict[str, list[Row]]) -> str:  # noqa: ANN401 - click's
    width = min(max(shutil.get_terminal_size().columns, NARROWEST), WIDEST)
    usage = " ".join(command.collect_usage_pieces(context))
    lines = [f"{_styled('Usage:', BOLD)} {context.command_path} {usage}", ""]
    lines += _prose(command.help or "", width)
    left = max((len(name) for rows in panels.values() for name, _ in rows), default=0)
    for title, rows in panels.items():
        lines += _panel(title, rows, width=width, left=min(left, width // 3))
    return "\n".join(lines) + "\n"


def _styled(text: str, style: int) -> str:
    """Return `text` in a style, where standard output supports it."""
    color = sys.stdout.isatty() and "NO_COLOR" not in os.environ
    return f"\x1b[{style}m{text}\x1b[0m" if color else text


def _prose(text: str, width: int) -> Iterator[str]:
    """Yield paragraphs wrapped to the width; indented lines (examples) as they are."""
    for paragraph in re.split(r"\n\s*\n", text.strip()):
        lines = paragraph.split("\n")
        if not any(line.startswith("  ") for line in lines):
            lines = wrap(" ".join(lines), width - 2)
        yield from (f" {line}" for line in lines)
        yield ""


def _panel(title: str, rows: Iterable[Row], *, width: int, left: int) -> Iterator[str]:
    """Yield a box with a title, names on the left and help on the right."""
    encoding = (getattr(sys.stdout, "encoding", None) or "").lower()
    top_left, top_right, low_left, low_right, line, side = (
        "╭╮╰╯─│" if encoding.startswith("utf") else "++++-|"
    )
    yield _styled(f"{top_left}{line} {title} ".ljust(width - 1, line) + top_right, DIM)
    for name, text in rows:
        beside = wrap(text, max(width - left - 6, 10)) or [""]
        if len(name) > left:
            beside.insert(0, "")
        for place, part in enumerate(beside):
            shown = name if place == 0 else ""
            gap = " " * max(left - len(shown), 0)
            rest = " " * max(width - 6 - max(left, len(shown)) - len(part), 0)
            edge = _styled(side, DIM)
            yield f"{edge} {_styled(shown, CYAN)}{gap}  {part}{rest} {edge}"
    yield _styled(low_left + line * (width - 2) + low_right, DIM)
