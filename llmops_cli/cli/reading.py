"""`report`: shows what was measured before."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from llmops_cli.cli import options


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
) -> int:
    """Show the report of the last run, or of a run file, in any form. Measures nothing.

    Exits as the run did. Of the last run, page and tables hold the cases that its report shows;
    of a run file, every case.
    """
    from llmops_cli.cli.output import Output
    from llmops_cli.cli.tables import tables_at, write_kept_tables
    from llmops_cli.files.project import find_root
    from llmops_cli.flows.report.runs import read_report

    tables = tables_at(csv, parquet)
    root = context.obj if file is not None else find_root(context.obj)
    found = read_report(root, file)
    output = Output(as_json=as_json, junit=junit, markdown=markdown, verbose=verbose)
    output.report(found)
    if html is not None or opened:
        from llmops_cli.cli.pages import OPENED, open_page, write_kept_page

        page = html or find_root(context.obj) / OPENED
        write_kept_page(page, found, file)
        if opened and not open_page(page):
            output.say(f"page  {page}")
    if tables:
        remark = write_kept_tables(found, file, tables)
        if remark is not None:
            output.say(f"table  {remark}")
    return found.exit_code
