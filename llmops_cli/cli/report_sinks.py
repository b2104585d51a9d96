"""The report formats: the option and writer of each.

A new form takes a module of `render` and a field of `ReportSinks` with its function in `FORMS`. The
dependencies of a format are imported when it is requested.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, BinaryIO, TypeAlias

from llmops_cli.cli.options import AsJson, GitHub, file_option, option
from llmops_cli.core.errors import MissingExtra

if TYPE_CHECKING:
    from llmops_cli.cli.github import Actions
    from llmops_cli.cli.output import Output
    from llmops_cli.core.report import Report
    from llmops_cli.render.progress import RunProgress
    from llmops_cli.report.finished_run import FinishedRun, Sink
    from llmops_cli.run.evalset_run import Run

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
        from llmops_cli.cli.output import Output

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
    import os
    import platform
    import shlex
    import sys
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
