"""`init`, `check`, `render`, `models` and `schema`: around the files that a person writes.

`import`: files of other evaluation tools become prompts, evalsets and models.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from llmops_cli.cli.options import AsJson

if TYPE_CHECKING:
    from llmops_cli.importers.import_files import ImportReport


def register(app: typer.Typer) -> None:
    """Add this family's commands to the program."""
    app.command()(init)
    app.command()(check)
    app.command()(render)
    app.command()(models)
    app.command()(schema)
    app.command("import")(import_)


def init(
    context: typer.Context,
    model: Annotated[
        str,
        typer.Option(
            metavar="MODEL", help="The model of the example: provider/model, or embedded."
        ),
    ] = "embedded",
) -> None:
    """Start a project here.

    Writes llmops.yaml, a prompt, an evalset, and schemas for your editor.
    Nothing that is there is touched.
    """
    from llmops_cli.cli.output import Output
    from llmops_cli.commands.check import check_all
    from llmops_cli.commands.init import start_project

    written = start_project(context.obj, model)
    output = Output()
    for path in written:
        output.say(f"wrote {path}")
    for each in check_all(context.obj).evalsets:
        output.say(f"note  {each.evalset}: {each.shows}")
    output.say("next  llmops eval")


def check(
    context: typer.Context,
    files: Annotated[
        list[Path] | None,
        typer.Argument(metavar="[FILE]...", help="Ignored: the whole project is checked."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Find every mistake in the project's files. Calls nothing.

    Every case is rendered and every scorer's options are looked at. Says what each evalset can
    and cannot show, and which judges gate that no calibration lets gate. File names are taken so
    that pre-commit can pass them.
    """
    from llmops_cli.cli.output import Output
    from llmops_cli.commands.check import check_all
    from llmops_cli.render.formatting import plural

    del files
    found = check_all(context.obj)
    output = Output(as_json=as_json)
    headers = ["prompt", "evalset", "cases", "what it can show"]
    rows = [(each.prompt, each.evalset, each.cases, each.shows) for each in found.evalsets]
    notes = {"judges": [each.judges for each in found.evalsets]}
    output.rows(headers, rows, beside=notes, empty="nothing to gate: no evalset names a prompt")
    for name in found.ungated:
        output.say(f"note  no evalset gates {name}")
    judges = (note for each in found.evalsets for note in each.judges)
    for note in dict.fromkeys((*judges, *found.broken, *found.read_as_json)):
        output.say(f"note  {note}")
    prompts = plural(found.prompts, "prompt")
    output.say(f"{prompts}, {plural(found.cases, 'case')}: no problem found")


def render(
    context: typer.Context,
    prompt: Annotated[
        str,
        typer.Argument(metavar="NAME[@VERSION]", help="without @VERSION: as it stands in prompts/"),
    ],
    case: Annotated[
        str | None,
        typer.Option(metavar="ID", help="Render this case; default: the first of its evalsets."),
    ] = None,
    values: Annotated[
        list[str] | None,
        typer.Option(
            "--input", "-i", metavar="NAME=VALUE", help="An input instead of a case. Repeatable."
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show exactly what a prompt sends. Calls nothing."""
    from llmops_cli.cli.output import Output
    from llmops_cli.commands.render import rendered_request
    from llmops_cli.run.workspace import open_workspace

    given = dict(_pair(each) for each in values or ())
    with open_workspace(context.obj) as workspace:
        request = rendered_request(workspace, prompt, case=case, inputs=given)
    Output(as_json=as_json).request(request)


def models(
    context: typer.Context,
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="[NAME]...", help="default: all"),
    ] = None,
    check: Annotated[
        bool, typer.Option("--check", help="Ask each a few short questions: what works?")
    ] = False,
    start: Annotated[
        bool, typer.Option("--start", help="With --check: start the engines of local models, too.")
    ] = False,
    as_json: AsJson = False,
) -> int:
    """List the models: what they are, what they need, who uses them.

    With --check, asks each the least that tells whether it is reached, holds a schema, calls
    tools, reports tokens and streams. Of a local model whose engine does not run yet it says what
    would be started, and whether program and weights are there. Exit 3: one is not reached. 2: one
    can never be.
    """
    import os

    from llmops_cli.cli.output import Output
    from llmops_cli.commands.render import model_rows
    from llmops_cli.run.workspace import open_workspace

    if start and not check:
        raise typer.BadParameter("--start goes with --check")
    if check:
        return _check_models(context.obj, names or (), start=start, as_json=as_json)
    with open_workspace(context.obj) as workspace:
        rows = model_rows(workspace.project, os.environ, names or ())
    headers = ["name", "provider", "model", "where", "key", "price in/out", "used by"]
    Output(as_json=as_json).rows(headers, rows)
    return 0


def _check_models(folder: Path, names: Sequence[str], *, start: bool, as_json: bool) -> int:
    from llmops_cli.cli.output import Output
    from llmops_cli.commands.probe import probe_models
    from llmops_cli.run.workspace import open_workspace

    output = Output(as_json=as_json)
    with open_workspace(folder) as workspace, output.progress() as progress:
        found = probe_models(workspace, names, progress=progress, start=start)
    output.probed(found)
    return found.exit_code


def schema(
    context: typer.Context,
    name: Annotated[
        str | None,
        typer.Argument(
            metavar="[NAME]", help="project, prompt, evalset, case or report; default: their names"
        ),
    ] = None,
    write: Annotated[
        bool, typer.Option("--write", help="Write them where `init` points editors to.")
    ] = False,
) -> None:
    """Print the JSON Schema of a file format, or write all of them."""
    from llmops_cli.cli.output import Output
    from llmops_cli.commands.init import all_schemas, write_schemas

    output = Output(as_json=True)
    if write:
        for path in write_schemas(context.obj):
            Output().say(f"wrote {path}")
        return
    output.schema(all_schemas(), name)


def _pair(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals:
        raise typer.BadParameter(f"{text!r}: write --input NAME=VALUE")
    return name, value


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
    from llmops_cli.importers.import_files import ImportOptions, import_files
    from llmops_cli.render.json import as_json as plain

    folder = context.obj if into is None else context.obj / into
    options = ImportOptions(into=folder, name=name, model=model, strict=strict)
    report = import_files(context.obj / file, options)
    output = Output(as_json=as_json)
    if as_json:
        output.objects([{**plain(report), "lost": report.lost}])
    for line in _lines(report, into):
        output.say(line)
    return report.exit_code


def _lines(report: ImportReport, into: Path | None) -> Iterator[str]:
    """What a person reads: notes in the order of the file, then what was written."""
    from llmops_cli.render.formatting import plural
    from llmops_cli.render.safe_text import terminal_line

    llmops = "llmops" if into is None else f"llmops -C {into}"

    for note in report.notes:
        how = "lost" if note.lost else "differs"
        yield terminal_line(f"{note.where}: {how}: {note.what}: {note.why}")
        yield terminal_line(f"  instead: {note.instead}")
    for problem in report.problems:
        yield terminal_line(f"{problem.where}: must be fixed: {problem.message}")
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
