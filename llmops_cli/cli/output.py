"""Standard output and the progress line of a command.

Standard output carries the answer alone, so that `--json` can be piped; what happens meanwhile
goes to standard error. Secrets are taken out of everything that is printed.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import typer
from rich.console import Console, RenderableType

from llmops_cli.core.digest import Json, to_plain
from llmops_cli.core.redact import Redactor
from llmops_cli.core.report import Report
from llmops_cli.render.console import console_report
from llmops_cli.render.json import as_json, json_report, table_json
from llmops_cli.render.progress import RunProgress
from llmops_cli.render.renderable import Cell, table

CI_WIDTH = 100
"""Columns where standard output is no terminal."""
NARROWEST = 20
"""Columns: with fewer, nothing can be read."""
WIDEST = 1000
"""Columns: with more, nothing is gained."""


@dataclass(frozen=True, kw_only=True)
class Output:
    """How one command prints its answer."""

    as_json: bool = False
    verbose: bool = False
    quiet: bool = False
    started: float = field(default_factory=time.monotonic)

    def progress(self) -> RunProgress:
        """Return a progress line on standard error."""
        return RunProgress(Console(stderr=True, highlight=False))

    def report(self, report: Report, *, timed: bool = True) -> None:
        """Print a report; `timed` with the time that the command took."""
        seconds = time.monotonic() - self.started if timed else None
        if self.as_json:
            self.write(json_report(report))
            return
        self.render(console_report(report, verbose=self.verbose, quiet=self.quiet, seconds=seconds))

    def show(self, value: object, shown: RenderableType | Iterable[str]) -> None:
        """Print `value` as JSON (a list of one object), or as it is `shown` to people."""
        if self.as_json:
            self.objects([as_json(value)])
        elif isinstance(shown, str) or hasattr(shown, "__rich_console__"):
            self.render(shown)  # type: ignore[arg-type]  # no iterable of lines has that method
        else:
            self.write("".join(f"{line}\n" for line in shown))  # type: ignore[union-attr]

    def rows(
        self,
        headers: Sequence[str],
        rows: Iterable[Sequence[Cell]],
        *,
        beside: Mapping[str, Sequence[object]] | None = None,
        empty: str = "",
    ) -> None:
        """Print a table; as JSON, one object per row, with the values of `beside` added.

        Where there is no row, `empty` is printed instead of a table.
        """
        rows = list(rows)
        if self.as_json:
            keys = [header.replace(" ", "_") for header in headers]
            objects = [dict[str, Json](zip(keys, row, strict=True)) for row in rows]
            for name, values in (beside or {}).items():
                for row_object, value in zip(objects, values, strict=True):
                    row_object[name] = to_plain(value)
            self.objects(objects)
        elif rows:
            self.render(table(headers, rows))
        elif empty:
            self.write(f"{empty}\n")

    def confirmed(self, question: str) -> bool:
        """Ask a yes/no question on a terminal; False without one."""
        if self.as_json or not (sys.stdin.isatty() and sys.stdout.isatty()):
            return False
        return typer.confirm(question)

    def objects(self, values: Iterable[Mapping[str, Json]]) -> None:
        """Print values as JSON, with or without `--json`."""
        self.write(table_json(values))

    def say(self, line: str) -> None:
        """Print one line of output; nothing with `--json`."""
        if not self.as_json:
            self.write(line + "\n")

    def render(self, renderable: RenderableType) -> None:
        """Print a rich renderable, in color on a terminal."""
        console = Console(width=_width(), highlight=False, markup=False, emoji=False)
        with console.capture() as capture:
            console.print(renderable)
        self.write(capture.get())

    def write(self, text: str) -> None:
        """Print text without the secrets in it."""
        sys.stdout.write(Redactor.of(os.environ)(text))


def _width() -> int | None:
    """Return the columns to write in; None: what the terminal has."""
    if sys.stdout.isatty():
        return None
    columns = os.environ.get("COLUMNS", "")
    if not columns.isdecimal() or not int(columns[:9]):
        return CI_WIDTH
    return min(max(int(columns[:9]), NARROWEST), WIDEST)
