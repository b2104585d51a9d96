"""Where the output of a command goes: standard output, a progress line and report files.

Standard output carries the answer alone, so that `--json` can be piped; what happens meanwhile
goes to standard error. Secrets are taken out of everything that is printed.

A new report format takes a module of `render` and a field of `ReportSinks` with its function in
`FORMS`. The dependencies of a format are imported when it is requested, and rich when something
is printed: `--help` needs neither.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, BinaryIO, TypeAlias

import typer

from llmops_cli.cli.options import AsJson, GitHub, file_option, option
from llmops_cli.core.errors import MissingExtra

if TYPE_CHECKING:
    from rich.console import RenderableType

    from llmops_cli.cli.github import Actions
    from llmops_cli.core.digest import Json
    from llmops_cli.core.report import Report
    from llmops_cli.render.progress import RunProgress
    from llmops_cli.render.renderable import Cell
    from llmops_cli.report.finished_run import FinishedRun, Sink
    from llmops_cli.run.evalset_run import Run

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
        from rich.console import Console

        from llmops_cli.render.progress import RunProgress

        return RunProgress(Console(stderr=True, highlight=False))

    def report(self, report: Report, *, timed: bool = True) -> None:
        """Print a report; `timed` with the time that the command took."""
        from llmops_cli.render.console import console_report
        from llmops_cli.render.json import json_report

        seconds = time.monotonic() - self.started if timed else None
        if self.as_json:
            self.write(json_report(report))
            return
        self.render(console_report(report, verbose=self.verbose, quiet=self.quiet, seconds=seconds))

    def show(self, value: object, shown: RenderableType | Iterable[str]) -> None:
        """Print `value` as JSON (a list of one object), or as it is `shown` to people."""
        from llmops_cli.render.json import as_json

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
        from llmops_cli.core.digest import to_plain
        from llmops_cli.render.renderable import table

        rows = list(rows)
        if self.as_json:
            keys = [header.replace(" ", "_") for header in headers]
            objects = [dict[str, "Json"](zip(keys, row, strict=True)) for row in rows]
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
        from llmops_cli.render.json import table_json

        self.write(table_json(values))

    def say(self, line: str) -> None:
        """Print one line of output; nothing with `--json`."""
        if not self.as_json:
            self.write(line + "\n")

    def render(self, renderable: RenderableType) -> None:
        """Print a rich renderable, in color on a terminal."""
        from rich.console import Console

        console = Console(width=_width(), highlight=False, markup=False, emoji=False)
        with console.capture() as capture:
            console.print(renderable)
        self.write(capture.get())

    def write(self, text: str) -> None:
        """Print text without the secrets in it."""
        from llmops_cli.core.redact import Redactor

        sys.stdout.write(Redactor.of(os.environ)(text))


def _width() -> int | None:
    """Return the columns to write in; None: what the terminal has."""
    if sys.stdout.isatty():
        return None
    columns = os.environ.get("COLUMNS", "")
    if not columns.isdecimal() or not int(columns[:9]):
        return CI_WIDTH
    return min(max(int(columns[:9]), NARROWEST), WIDEST)


# Report files.

Fill: TypeAlias = "Callable[[FinishedRun, BinaryIO], object]"
"""Writes a form into an open file."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportSinks:
    """Where a report goes: files and standard output."""

    html: Annotated[Path | None, file_option("Reports", "Write an HTML page with every case.")] = (
        None
    )
    markdown: Annotated[Path | None, file_option("Reports", "Write Markdown.")] = None
    junit: Annotated[Path | None, file_option("Reports", "Write JUnit XML.")] = None
    csv: Annotated[
        Path | None, file_option("Reports", "Write every trial of every case as CSV.")
    ] = None
    parquet: Annotated[
        Path | None,
        file_option("Reports", "The same as Parquet (needs the extra `parquet`)."),
    ] = None
    quiet: Annotated[bool, option("Output", "Print the verdict lines only.", "--quiet", "-q")] = (
        False
    )
    verbose: Annotated[
        bool, option("Output", "Show more cases, whole answers and all scores.", "--verbose", "-v")
    ] = False
    as_json: AsJson = False

    def files(self) -> list[Sink]:
        """Return the writer of each requested file.

        Raises `MissingExtra` for a form whose library is not installed, before anything is run.
        """
        paths = {name: getattr(self, name, None) for name in FORMS}
        return [FORMS[name](path) for name, path in paths.items() if path is not None]

    def output(self) -> Output:
        """Return the sink of standard output, in the requested format."""
        return Output(as_json=self.as_json, verbose=self.verbose, quiet=self.quiet)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSinks(ReportSinks):
    """Where the report of a run of its own goes: the run file and GitHub Actions as well."""

    out: Annotated[
        Path | None, file_option("Reports", "Write the run file (.jsonl, .jsonl.gz).")
    ] = None
    github: GitHub = False

    @contextmanager
    def opened(self, start: Path) -> Iterator[Opened]:
        """Show progress; tell GitHub Actions why a command stops before there is a verdict."""
        output, actions = self.output(), None
        if self.github:
            from llmops_cli.cli.github import Actions

            actions = Actions(start=start)
        with (
            nullcontext() if actions is None else actions.refusals(),
            output.progress() as progress,
        ):
            yield Opened(output, actions, progress)


@dataclass(frozen=True, slots=True)
class Opened:
    """The sinks of a running command."""

    output: Output
    actions: Actions | None
    progress: RunProgress

    def show(self, report: Report, run: Run) -> None:
        """Print a report and tell it to GitHub Actions."""
        self.output.report(report)
        if self.actions is not None:
            from llmops_cli.report.build import source_locations

            self.actions.report(report, source_locations(run))


def _to(path: Path, fill: Fill) -> Sink:
    """Return a sink that writes `path` piece by piece, wholly or not at all."""
    from llmops_cli.stores.atomic import write_stream

    return lambda finished: write_stream(path, lambda file: fill(finished, file))


def _text(path: Path, render: Callable[[Report], str]) -> Sink:
    from llmops_cli.stores.atomic import write_text

    return lambda finished: write_text(path, render(finished.report), redact=finished.redact)


def _html(path: Path) -> Sink:
    from llmops_cli.render.html.page import html_report

    def fill(finished: FinishedRun, file: BinaryIO) -> None:
        with finished.cases() as cases:
            about = [] if finished.run is None else _about()
            page = html_report(finished.report, cases, redact=finished.redact, about=about)
            for piece in page:
                file.write(piece.encode())

    return _to(path, fill)


def _about() -> list[str]:
    """Return how and when this command runs; the commit where CI names it."""
    import platform
    import shlex
    from datetime import UTC, datetime

    commit = os.environ.get("GITHUB_SHA") or os.environ.get("CI_COMMIT_SHA", "")
    return [
        shlex.join(["llmops", *sys.argv[1:]]),
        f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        *([f"commit {commit[:12]}"] if commit else []),
        f"Python {platform.python_version()}",
    ]


def _markdown(path: Path) -> Sink:
    from llmops_cli.render.markdown import markdown_report

    return _text(path, markdown_report)


def _junit(path: Path) -> Sink:
    from llmops_cli.render.junit import junit_report

    return _text(path, junit_report)


def _csv(path: Path) -> Sink:
    from llmops_cli.render.csv import write_csv

    return _table(path, write_csv)


def _parquet(path: Path) -> Sink:
    try:
        from llmops_cli.render.parquet import write_parquet
    except ImportError:
        raise MissingExtra("writing Parquet files", extra="parquet") from None
    return _table(path, write_parquet)


def _table(path: Path, write: Callable[..., None]) -> Sink:
    from llmops_cli.report.frame import frames

    def fill(finished: FinishedRun, file: BinaryIO) -> None:
        with finished.cases() as cases:
            write(frames(finished.report, cases), file, redact=finished.redact)

    return _to(path, fill)


def _run_file(path: Path) -> Sink:
    from llmops_cli.report.finished_run import entries_of, manifest_of
    from llmops_cli.stores.run_file import write_run

    def write(finished: FinishedRun) -> None:
        run = finished.run
        assert run is not None
        write_run(path, manifest_of(run, finished.report), entries_of(run), redact=finished.redact)

    return write


FORMS: Mapping[str, Callable[[Path], Sink]] = {
    "out": _run_file,
    "html": _html,
    "markdown": _markdown,
    "junit": _junit,
    "csv": _csv,
    "parquet": _parquet,
}
"""What writes the file of each option."""
