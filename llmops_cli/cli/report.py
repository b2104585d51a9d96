"""The report as a page for a browser: written where it was asked for, and opened there.

What makes the page is imported where one is asked for.

`report`: shows what was measured before.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated, BinaryIO

import typer

from llmops_cli.cli import options
from llmops_cli.core.redact import Redactor
from llmops_cli.core.report import CaseStream, Report
from llmops_cli.report.sinks import TakeCases
from llmops_cli.stores.atomic import write_stream

OPENED = Path(".llmops") / "store" / "report.html"
"""Where the page goes that is opened and that nobody gave a name: git does not see it."""


def page_at(path: Path | None) -> list[TakeCases]:
    """What writes the page to `path`; nothing where none is asked for."""
    if path is None:
        return []

    def write(report: Report, records: CaseStream, redact: Redactor) -> None:
        write_page(path, report, records, redact)

    return [write]


def write_page(path: Path, report: Report, records: CaseStream, redact: Redactor) -> None:
    """Writes the page piece by piece, wholly or not at all."""
    from llmops_cli.render.html.page import html_report

    def fill(file: BinaryIO) -> None:
        for piece in html_report(report, records, redact=redact):
            file.write(piece.encode())

    write_stream(path, fill)


def write_kept_page(path: Path, report: Report, file: Path | None) -> None:
    """Writes the page of a run that is over: of a run file every case, else what is shown."""
    from llmops_cli.report.case_stream import stream_stored

    redact = Redactor.of(os.environ)
    with stream_stored(report, file) as records:
        write_page(path, report, records, redact)


def open_page(path: Path) -> bool:
    """Opens a browser on the page; False where there is none, or nobody to look at it."""
    import webbrowser

    environ = os.environ
    screen = sys.platform != "linux" or "DISPLAY" in environ or "WAYLAND_DISPLAY" in environ
    if environ.get("CI") or not (screen or environ.get("BROWSER")):
        return False
    try:
        return webbrowser.open(path.resolve().as_uri())
    except (webbrowser.Error, OSError):
        return False


def register(app: typer.Typer) -> None:
    """Add this family's commands to the program."""
    app.command()(report)


def report(
    context: typer.Context,
    file: Annotated[
        Path | None,
        typer.Argument(metavar="[FILE]", help="a run file of `eval --out`; default: the last run"),
    ] = None,
    junit: options.Junit = None,
    markdown: options.Markdown = None,
    html: options.Html = None,
    csv: options.Csv = None,
    parquet: options.Parquet = None,
    opened: Annotated[
        bool, typer.Option("--open", help="Write the page and open it in a browser.")
    ] = False,
    as_json: options.AsJson = False,
    verbose: options.Verbose = False,
    quiet: options.Quiet = False,
) -> int:
    """Show the report of the last run, or of a run file, in any form. Measures nothing.

    Exits as the run did. Of the last run, page and tables hold the cases that its report shows;
    of a run file, every case.
    """
    from llmops_cli.cli.output import Output
    from llmops_cli.cli.tables import tables_at, write_kept_tables
    from llmops_cli.project.project import find_root
    from llmops_cli.report.run_file import read_report

    tables = tables_at(csv, parquet)
    root = context.obj if file is not None else find_root(context.obj)
    found = read_report(root, file)
    output = Output(as_json=as_json, junit=junit, markdown=markdown, verbose=verbose, quiet=quiet)
    output.report(found, timed=False)
    if html is not None or opened:
        page = html or find_root(context.obj) / OPENED
        write_kept_page(page, found, file)
        if opened and not open_page(page):
            output.say(f"page  {page}")
    if tables:
        remark = write_kept_tables(found, file, tables)
        if remark is not None:
            output.say(f"table  {remark}")
    return found.exit_code
