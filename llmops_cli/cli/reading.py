"""`report`: shows what was measured before."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from llmops_cli.cli.options import AsJson, Junit, Markdown, Verbose


def register(app: typer.Typer) -> None:
    """Add this family's commands to the program."""
    app.command()(report)


def report(
    context: typer.Context,
    file: Annotated[
        Path | None,
        typer.Argument(metavar="[FILE]", help="a run file of `eval --out`; default: the last run"),
    ] = None,
    junit: Junit = None,
    markdown: Markdown = None,
    as_json: AsJson = False,
    verbose: Verbose = False,
) -> int:
    """Show the report of the last run, or of a run file, in any form. Measures nothing.

    Exits as the run did.
    """
    from llmops_cli.cli.output import Output
    from llmops_cli.files.project import find_root
    from llmops_cli.flows.runs import read_report

    root = context.obj if file is not None else find_root(context.obj)
    found = read_report(root, file)
    output = Output(as_json=as_json, junit=junit, markdown=markdown, verbose=verbose)
    output.report(found)
    return found.exit_code
