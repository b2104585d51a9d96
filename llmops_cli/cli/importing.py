"""`import`: files of other evaluation tools become prompts, evalsets and models."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from llmops_cli.cli.options import AsJson

if TYPE_CHECKING:  # start-up: each command imports what it needs
    from llmops_cli.flows.project.importing import ImportReport


def register(app: typer.Typer) -> None:
    """Add this family's commands to the program."""
    app.command("import")(import_)


def import_(
    context: typer.Context,
    file: Annotated[
        Path,
        typer.Argument(
            metavar="FILE",
            help="promptfooconfig.yaml, or OpenAI Evals: samples in JSONL, registry YAML",
        ),
    ],
    into: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Where the files go; default: the project.")
    ] = None,
    name: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", help="Name of the prompt and its evalset; default: the file's."
        ),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(
            metavar="PROVIDER/MODEL", help="Where the file names none that can be called."
        ),
    ] = None,
    strict: Annotated[
        bool, typer.Option("--strict", help="Write nothing and exit 2 if anything would be lost.")
    ] = False,
    as_json: AsJson = False,
) -> int:
    """Turn a promptfoo configuration or OpenAI Evals into a project.

    Writes prompts, evalsets and llmops.yaml.
    Says line by line what could not be carried over, why, and what to do instead. Runs no code,
    reads nothing outside the file's folder, overwrites nothing. Exits 0 when the files were
    written, 2 with --strict if anything would be lost, or where `llmops check` would refuse them.
    """
    from llmops_cli.cli.output import Output
    from llmops_cli.flows.project.importing import Wishes, import_file
    from llmops_cli.render.machine import as_json as plain

    folder = context.obj if into is None else context.obj / into
    wishes = Wishes(into=folder, name=name, model=model, strict=strict)
    report = import_file(context.obj / file, wishes)
    output = Output(as_json=as_json)
    if as_json:
        output.objects([{**plain(report), "lost": report.lost}])
    for line in _lines(report, into):
        output.say(line)
    return report.exit_code


def _lines(report: ImportReport, into: Path | None) -> Iterator[str]:
    """What a person reads: notes in the order of the file, then what was written."""
    from llmops_cli.render.phrases import plural
    from llmops_cli.render.safe import terminal_line

    llmops = "llmops" if into is None else f"llmops -C {into}"

    for note in report.notes:
        how = "lost" if note.lost else "differs"
        yield terminal_line(f"{note.where}: {how}: {note.what}: {note.why}")
        yield terminal_line(f"  instead: {note.instead}")
    for problem in report.problems:
        yield terminal_line(f"{problem.where}: must be mended: {problem.message}")
    for path in report.written:
        yield f"wrote {Path(into or '') / path}"
    changed = len(report.notes) - report.lost
    yield (
        f"{plural(len(report.prompts), 'prompt')}, {plural(report.cases, 'case')}; "
        f"{plural(report.lost, 'thing')} lost, {changed} differ"
    )
    if not report.written:
        yield "wrote nothing: --strict, and something would be lost"
    elif len(report.prompts) > 1:
        yield f"next  {llmops} check, then {llmops} compare {' '.join(report.prompts[:2])}"
    else:
        yield f"next  {llmops} check"
