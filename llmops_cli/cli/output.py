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
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from llmops_cli.cli.options import AsJson, GitHub, file_option, option
from llmops_cli.core.errors import MissingExtra

if TYPE_CHECKING:
    from llmops_cli.cli.github import Actions
    from llmops_cli.core.digest import Json
    from llmops_cli.core.report import Report
    from llmops_cli.render.progress import RunProgress
    from llmops_cli.render.renderable import Cell, Renderable
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
    actions: Actions | None = None
    """Where a run is told to GitHub as well (`--github`)."""
    written: Sequence[Path] = ()
    """Files that the report is written to."""
    started: float = field(default_factory=time.monotonic)

    @property
    def seconds(self) -> float:
        """Return how long the command has been running."""
        return time.monotonic() - self.started

    def refusals(self) -> AbstractContextManager[None]:
        """Tell GitHub Actions why a command stops before there is a verdict."""
        return nullcontext() if self.actions is None else self.actions.refusals()

    def progress(self) -> RunProgress:
        """Return a progress line on standard error."""
        from rich.console import Console

        from llmops_cli.render.progress import RunProgress

        return RunProgress(Console(stderr=True, highlight=False))

    def report(self, report: Report, run: Run | None = None) -> None:
        """Print a report; that of `run` with the time that the command took, and to GitHub too."""
        from llmops_cli.render.console import console_report
        from llmops_cli.render.json import json_report

        if self.as_json:
            self.write(json_report(report))
        else:
            seconds = None if run is None else self.seconds
            self.render(
                console_report(report, verbose=self.verbose, quiet=self.quiet, seconds=seconds)
            )
        if not self.quiet:
            for path in self.written:
                self.say(f"wrote {path}")
        if self.actions is not None and run is not None:
            from llmops_cli.report.build import source_locations

            self.actions.report(report, source_locations(run))

    def show(self, value: object, shown: Renderable | Iterable[str]) -> None:
        """Print `value` as JSON (a list of one object), or as it is `shown` to people."""
        from llmops_cli.render.json import as_json
        from llmops_cli.render.renderable import Renderable

        if self.as_json:
            self.objects([as_json(value)])
        elif isinstance(shown, Renderable):
            self.render(shown)
        else:
            self.write("".join(f"{line}\n" for line in shown))

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

    def render(self, renderable: Renderable) -> None:
        """Print a rich renderable, in color on a terminal."""
        from rich.console import Console

        console = Console(width=_width(), highlight=False, markup=False, emoji=False)
        with console.capture() as capture:
            console.print(renderable)
        self.write(capture.get())

    def write(self, text: str) -> None:
        """Print text without the secrets in it."""
        sys.stdout.write(redacted(text))


def print_error(message: str, hint: str | None = None) -> None:
    """Print on standard error what is wrong, and what to do."""
    from llmops_cli.render.safe_text import terminal

    print(f"llmops: {terminal(message)}", file=sys.stderr)
    if hint:
        print(f"  {terminal(hint)}", file=sys.stderr)


def redacted(text: str) -> str:
    """Return `text` without the secrets of the environment."""
    from llmops_cli.core.redact import Redactor

    return Redactor.of(os.environ)(text)


def _width() -> int | None:
    """Return the columns to write in; None: what the terminal has."""
    if sys.stdout.isatty():
        return None
    columns = os.environ.get("COLUMNS", "")
    if not columns.isdecimal() or not int(columns[:9]):
        return CI_WIDTH
    return min(max(int(columns[:9]), NARROWEST), WIDEST)


# Report files.


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
        Path | None, file_option("Reports", "The same as Parquet (needs the extra `parquet`).")
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
        if self.parquet is not None and find_spec("pyarrow") is None:
            raise MissingExtra("writing Parquet files", extra="parquet")
        paths = {name: getattr(self, name, None) for name in FORMS}
        return [partial(FORMS[name], path) for name, path in paths.items() if path is not None]

    def output(self, actions: Actions | None = None) -> Output:
        """Return the sink of standard output, in the requested format."""
        paths = (getattr(self, name, None) for name in FORMS)
        return Output(
            as_json=self.as_json,
            verbose=self.verbose,
            quiet=self.quiet,
            actions=actions,
            written=[path for path in paths if path is not None],
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSinks(ReportSinks):
    """Where the report of a run of its own goes: the run file and GitHub Actions as well."""

    out: Annotated[
        Path | None, file_option("Reports", "Write the run file (.jsonl, .jsonl.gz).")
    ] = None
    github: GitHub = False


def actions_of(start: Path, *, github: bool) -> Actions | None:
    """Return GitHub Actions, for a command that was started in `start` with `--github`."""
    if not github:
        return None
    from llmops_cli.cli.github import Actions

    return Actions(start)


def _html(path: Path, finished: FinishedRun) -> None:
    from llmops_cli.render.html.page import html_report
    from llmops_cli.stores.atomic import write_stream

    about = [] if finished.run is None else about_this_run()
    with finished.cases() as cases:
        page = html_report(finished.report, cases, redact=finished.redact, about=about)
        write_stream(path, lambda file: file.writelines(piece.encode() for piece in page))


def about_this_run() -> list[str]:
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


def _markdown(path: Path, finished: FinishedRun) -> None:
    from llmops_cli.render.markdown import markdown_report
    from llmops_cli.stores.atomic import write_text

    write_text(path, markdown_report(finished.report), redact=finished.redact)


def _junit(path: Path, finished: FinishedRun) -> None:
    from llmops_cli.render.junit import junit_report
    from llmops_cli.stores.atomic import write_text

    write_text(path, junit_report(finished.report), redact=finished.redact)


def _csv(path: Path, finished: FinishedRun) -> None:
    from llmops_cli.render.csv import write_csv

    _table(path, finished, write_csv)


def _parquet(path: Path, finished: FinishedRun) -> None:
    from llmops_cli.render.parquet import write_parquet

    _table(path, finished, write_parquet)


def _table(path: Path, finished: FinishedRun, write: Callable[..., None]) -> None:
    from llmops_cli.report.frame import frames
    from llmops_cli.stores.atomic import write_stream

    with finished.cases() as cases:
        tables = frames(finished.report, cases)
        write_stream(path, lambda file: write(tables, file, redact=finished.redact))


def _run_file(path: Path, finished: FinishedRun) -> None:
    from llmops_cli.core.digest import to_plain
    from llmops_cli.report.finished_run import entries_of, manifest_of
    from llmops_cli.stores.run_file import write_run

    run = finished.run
    assert run is not None
    about = to_plain(finished.report) if run.shard is None else {"shard": run.shard}
    write_run(path, manifest_of(run, about), entries_of(run), redact=finished.redact)


FORMS: Mapping[str, Callable[[Path, FinishedRun], None]] = {
    "out": _run_file,
    "html": _html,
    "markdown": _markdown,
    "junit": _junit,
    "csv": _csv,
    "parquet": _parquet,
}
"""What writes the file of each option."""
