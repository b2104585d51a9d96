"""The commands around the files of a project.

`init`, `check` and `import` begin one; `render`, `models` and `diff` show it; `schema` is for
editors.
"""

from __future__ import annotations

import json
import os
import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from llmops_cli.cli.options import AsJson, argument, option
from llmops_cli.cli.output import Output
from llmops_cli.core.errors import UnknownName

if TYPE_CHECKING:
    from llmops_cli.core.prompt import Request
    from llmops_cli.importers.import_files import ImportReport


def init(
    context: typer.Context,
    model: Annotated[
        str,
        option("Options", "Model of the example: provider/model, or embedded.", metavar="MODEL"),
    ] = "embedded",
) -> None:
    """Start a project in this folder.

    Writes llmops.yaml, a prompt, an evalset, and schemas for your editor. Overwrites nothing.
    """
    from llmops_cli.commands.check import check_all
    from llmops_cli.commands.init import start_project

    written = start_project(context.obj, model)
    output = Output()
    for path in written:
        output.say(f"wrote {path}")
    for evalset in check_all(context.obj).evalsets:
        output.say(f"note: {evalset.evalset}: {evalset.shows}")
    output.say("next: llmops eval")


def check(
    context: typer.Context,
    files: Annotated[
        list[Path] | None, argument("[FILE]...", "Ignored: the whole project is checked.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Check the project's files for mistakes. Calls nothing.

    Renders every case, and refuses with file and line what eval would refuse before its first
    call, in any environment. Keys need not be set. Shows what each evalset can and cannot
    show, and which judges are not calibrated. Takes file names so that pre-commit can pass them.
    """
    from llmops_cli.commands.check import check_all
    from llmops_cli.render.formatting import plural

    del files
    checked = check_all(context.obj)
    output = Output(as_json=as_json)
    headers = ["prompt", "evalset", "cases", "what it can show"]
    rows = [
        (evalset.prompt, evalset.evalset, evalset.cases, evalset.shows)
        for evalset in checked.evalsets
    ]
    notes = {"judges": [evalset.judges for evalset in checked.evalsets]}
    output.rows(headers, rows, beside=notes, empty="nothing to gate: no evalset names a prompt")
    for name in checked.ungated:
        output.say(f"note: no evalset gates {name}")
    judges = (note for evalset in checked.evalsets for note in evalset.judges)
    notes_of = (*checked.broken, *checked.read_as_json, *checked.about_cases)
    for note in dict.fromkeys((*judges, *notes_of)):
        output.say(f"note: {note}")
    prompts = plural(checked.prompts, "prompt")
    output.say(f"{prompts}, {plural(checked.cases, 'case')}: no problem found")


def render(
    context: typer.Context,
    prompt: Annotated[str, argument("NAME[@VERSION]", "Without @VERSION: the file in prompts/.")],
    case: Annotated[
        str | None, option("Options", "Render this case. Default: the first one.", metavar="ID")
    ] = None,
    values: Annotated[
        list[str] | None,
        option(
            "Options",
            "An input instead of a case. Repeatable.",
            "--input",
            "-i",
            metavar="NAME=VALUE",
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show the request that a prompt sends. Calls nothing.

    Examples:
      llmops render support --case refund-17
      llmops render support -i question="Where is my parcel?"
    """
    from llmops_cli.commands.render import rendered_request
    from llmops_cli.render.json import as_json as plain
    from llmops_cli.run.workspace import open_workspace

    inputs = dict(_pair(text) for text in values or ())
    with open_workspace(context.obj) as workspace:
        request = rendered_request(workspace, prompt, case=case, inputs=inputs)
    named = {"json_schema": request.named_schema, "digest": request.digest}
    Output(as_json=as_json).show({**plain(request), **named}, _request(request))


def _pair(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals:
        raise typer.BadParameter(f"{text!r}: write --input NAME=VALUE")
    return name, value


def _request(request: Request) -> Iterator[str]:
    from llmops_cli.render.formatting import plain
    from llmops_cli.render.json import as_json
    from llmops_cli.render.safe_text import terminal

    def section(title: str, value: object) -> str:
        text = json.dumps(as_json(value), indent=2, ensure_ascii=False)
        return f"\n--- {title}\n{terminal(text)}"

    sent = {**request.parameters, **request.extra_body}
    if request.response_format is not None:
        sent["response_format"] = request.response_format
    parameters = " ".join(f"{name}={plain(as_json(value))}" for name, value in sent.items())
    yield terminal(f"{request.provider}/{request.model}  {parameters}".rstrip())
    if request.document is not None:
        yield section("document", request.document)
    for message in request.messages:
        content = message.content
        text = content if isinstance(content, str) else json.dumps(as_json(content))
        yield f"\n--- {message.role}\n{terminal(text)}"
    if request.tools:
        yield section("tools", request.tools)
    if request.named_schema is not None:
        yield section("JSON schema", request.named_schema)
    yield f"\n{request.digest}"


def diff(
    context: typer.Context,
    before: Annotated[
        str,
        argument("A", "name@v2, name@production; a name alone: what is deployed."),
    ],
    after: Annotated[
        str, argument("[B]", "The same, or only v3. Default: working copy.")
    ] = "working",
    as_json: AsJson = False,
) -> None:
    """Show what changed between two versions: texts by words, parameters, inputs and scores.

    Examples:
      llmops diff support                what runs, and the working copy
      llmops diff support@v1 v2
    """
    from llmops_cli.commands.diff import difference
    from llmops_cli.render.diff import console_difference
    from llmops_cli.run.workspace import open_workspace

    with open_workspace(context.obj) as workspace:
        changes = difference(workspace, before, after)
    Output(as_json=as_json).show(changes, console_difference(changes))


def models(
    context: typer.Context,
    names: Annotated[list[str] | None, argument("[NAME]...", "Default: all.")] = None,
    check: Annotated[
        bool, option("Options", "Send each a few short requests: what works?", "--check")
    ] = False,
    start: Annotated[
        bool, option("Options", "With --check: start the engines of local models too.", "--start")
    ] = False,
    as_json: AsJson = False,
) -> int:
    """List the models: what they are, what they need, who uses them.

    With --check, finds out whether each is reachable, follows a schema, calls tools, reports
    tokens and streams. For a local model whose engine is not running, shows what would be
    started, and whether program and weights are there. Exit 3: a model is not reachable. 2: its
    configuration can never work.
    """
    from llmops_cli.commands.models import model_rows
    from llmops_cli.run.workspace import open_workspace

    if start and not check:
        raise typer.BadParameter("--start needs --check")
    if check:
        return _check_models(context.obj, names or (), start=start, as_json=as_json)
    with open_workspace(context.obj) as workspace:
        rows = model_rows(workspace.project, os.environ, names or ())
    headers = ["name", "provider", "model", "where", "key", "price in/out", "used by"]
    Output(as_json=as_json).rows(headers, rows)
    return 0


def _check_models(folder: Path, names: Sequence[str], *, start: bool, as_json: bool) -> int:
    from llmops_cli.commands.models import probe_models
    from llmops_cli.render.json import as_json as plain
    from llmops_cli.render.plan import probe_lines, probes_table
    from llmops_cli.run.workspace import open_workspace

    output = Output(as_json=as_json)
    with open_workspace(folder) as workspace, output.progress() as progress:
        probed = probe_models(workspace, names, progress=progress, start=start)
    if as_json:
        output.write(json.dumps(plain(probed), indent=2, ensure_ascii=False) + "\n")
        return probed.exit_code
    output.render(probes_table(probed))
    for line in probe_lines(probed):
        output.say(line)
    return probed.exit_code


def schema(
    context: typer.Context,
    name: Annotated[
        str | None,
        argument("[NAME]", "project, prompt, evalset, case or report. Default: the names."),
    ] = None,
    write: Annotated[
        bool, option("Options", "Write them where `init` points editors to.", "--write")
    ] = False,
) -> None:
    """Print the JSON Schema of a file format, or write all of them."""
    from llmops_cli.commands.init import all_schemas, write_schemas
    from llmops_cli.render.json import report_schema

    output = Output()
    if write:
        for path in write_schemas(context.obj):
            output.say(f"wrote {path}")
        return
    schemas = {**all_schemas(), "report": report_schema()}
    if name is None:
        output.write("".join(f"{schema}\n" for schema in schemas))
    elif name in schemas:
        output.write(json.dumps(schemas[name], indent=2, ensure_ascii=False) + "\n")
    else:
        raise UnknownName("schema", name, schemas)


def import_files(
    context: typer.Context,
    file: Annotated[
        Path,
        argument("FILE", "promptfooconfig.yaml, or OpenAI Evals: samples in JSONL, registry YAML."),
    ],
    into: Annotated[
        Path | None, option("Options", "Folder to write to. Default: the project.", metavar="DIR")
    ] = None,
    name: Annotated[
        str | None,
        option(
            "Options", "Name of the prompt and its evalset. Default: the file's.", metavar="NAME"
        ),
    ] = None,
    model: Annotated[
        str | None,
        option("Options", "Model to use if the file names none.", metavar="PROVIDER/MODEL"),
    ] = None,
    strict: Annotated[
        bool, option("Options", "Write nothing and exit 2 if anything is lost.", "--strict")
    ] = False,
    as_json: AsJson = False,
) -> int:
    """Turn a promptfoo configuration or OpenAI Evals into a project.

    Writes prompts, evalsets and llmops.yaml. Says line by line what was not imported, why, and
    what to do instead. Runs no code, reads nothing outside the file's folder, overwrites nothing.
    Exits 0 if the files were written; 2 with --strict if anything is lost, or if `llmops check`
    would refuse them.
    """
    from llmops_cli.importers.import_files import ImportOptions
    from llmops_cli.importers.import_files import import_files as import_from
    from llmops_cli.render.json import as_json as plain

    folder = context.obj if into is None else context.obj / into
    settings = ImportOptions(into=folder, name=name, model=model, strict=strict)
    report = import_from(context.obj / file, settings)
    output = Output(as_json=as_json)
    if as_json:
        output.objects([{**plain(report), "lost": report.lost}])
    for line in _import_lines(report, into):
        output.say(line)
    return report.exit_code


def _import_lines(report: ImportReport, into: Path | None) -> Iterator[str]:
    """Return what a person reads: notes in the order of the file, then what was written."""
    from llmops_cli.render.formatting import plural
    from llmops_cli.render.safe_text import terminal_line

    llmops = "llmops" if into is None else f"llmops -C {shlex.quote(str(into))}"

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
        yield f"next: {llmops} check && {llmops} compare {' '.join(report.prompts[:2])}"
    else:
        yield f"next: {llmops} check"


COMMANDS: Mapping[str, Callable[..., object]] = {
    "init": init,
    "check": check,
    "import": import_files,
    "render": render,
    "models": models,
    "diff": diff,
    "schema": schema,
}
