"""The commands around production: `traces` reads what it did, `watch` says what changed."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from llmops_cli.cli.options import AsJson, Message, file_option, option
from llmops_cli.cli.output import Output
from llmops_cli.core.errors import Refused, UnknownName

if TYPE_CHECKING:
    from llmops_cli.core.records import Event
    from llmops_cli.core.redact import Redactor
    from llmops_cli.project.project import Project
    from llmops_cli.watch.spans import Counts
    from llmops_cli.watch.store import TraceStore


def watch(
    context: typer.Context,
    environment: Annotated[
        str | None,
        typer.Argument(metavar="[ENV]", help="What to watch. Default: the last environment."),
    ] = None,
    since: Annotated[
        str | None,
        option("Select", "Only calls from this date on.", metavar="YYYY-MM-DD"),
    ] = None,
    ack: Annotated[
        str | None,
        option("Options", "Restart this alarm; recorded with --message.", metavar="ALARM"),
    ] = None,
    message: Message = None,
    html: Annotated[
        Path | None, file_option("Reports", "Write the page with a chart per alarm.", "--html")
    ] = None,
    markdown: Annotated[
        Path | None, file_option("Reports", "Write the report as Markdown.", "--markdown")
    ] = None,
    github: Annotated[
        bool, option("Reports", "In GitHub Actions: also write the job summary.", "--github")
    ] = False,
    as_json: AsJson = False,
) -> int:
    """Say what changed in production: alarms over its traces.

    Reads what is new in the trace files that `watch:` in llmops.yaml names, and decides. An alarm
    that nothing causes rings once in four weeks at most, on average.

    Examples:
      llmops watch
      llmops watch production --ack cost -m "longer answers are wanted"

    Exit codes: 0 quiet, 1 an alarm, 3 not measured.
    """
    from llmops_cli.core.redact import Redactor
    from llmops_cli.render.watch import (
        console_watch,
        html_watch,
        markdown_watch,
        watch_json,
    )
    from llmops_cli.run.workspace import actor, open_project
    from llmops_cli.stores.atomic import write_text
    from llmops_cli.watch.service import (
        Production,
        acknowledge,
        add_sources,
        decide_all,
        hour_of,
    )

    project = open_project(context.obj)
    name = environment or project.environments[-1].name
    if name not in project.watch:
        if project.watch:
            raise UnknownName("watched environment", name, project.watch)
        hint = "llmops.yaml: watch: {production: {source: traces/*.jsonl}}"
        raise Refused("nothing is watched", hint=hint)
    if ack is not None and not message:
        raise Refused("--ack needs a reason", hint=f"llmops watch {name} --ack {ack} -m WHY")
    redact = Redactor.of(os.environ)
    production = Production(
        root=project.root,
        settings=project.watch[name],
        store=_open_store(project.root, redact),
        models=project.models,
        events=_events(project, name),
    )
    _, counts = add_sources(production)
    start = 0 if since is None else hour_of(_date(since))
    report = decide_all(production, counts, now=datetime.now(UTC), since=start)
    output = Output(as_json=as_json)
    if ack is not None:
        by = actor(project.root, os.environ)
        acknowledge(project.root, report, ack, reason=message or "", by=by, redact=redact)
        report = decide_all(production, counts, now=datetime.now(UTC), since=start)
    output.show(watch_json(report), console_watch(report))
    for path, text in (
        (html, html_watch(report, redact=redact)),
        (markdown, markdown_watch(report)),
    ):
        if path is not None:
            write_text(path, text, redact=redact)
            output.say(f"wrote {path}")
    summary = os.environ.get("GITHUB_STEP_SUMMARY")
    if github and summary:
        with Path(summary).open("a", encoding="utf-8") as file:
            file.write(redact(markdown_watch(report)))
    return report.exit_code


def traces(
    context: typer.Context,
    action: Annotated[
        Literal["add", "list", "show", "draft"],
        typer.Argument(metavar="add|list|show|draft", help="What to do."),
    ],
    names: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[FILE|ID|PROMPT]...",
            help="Trace files to add, the trace to show, or the prompt to draft cases for.",
        ),
    ] = None,
    kinds: Annotated[
        str,
        option("Options", "What drafts are made of, with commas.", "--from", metavar="KINDS"),
    ] = "thumbs-down,failed,slow,rare,disagreement",
    most: Annotated[int, option("Options", "Drafts at most.", "-n", metavar="N", min=1)] = 30,
    keep_pii: Annotated[
        bool, option("Options", "Keep mail addresses and numbers in drafts.", "--keep-pii")
    ] = False,
    as_json: AsJson = False,
) -> int:
    """Store the calls of production, and look at them.

    Reads OTLP JSON lines and protobuf (OpenTelemetry GenAI, OpenInference), Phoenix and Langfuse
    exports, each call once. They are stored by the hour under .llmops/traces/, which git ignores.

    Examples:
      llmops traces add traces/*.jsonl
      llmops traces list
      llmops traces show 4bf92f3577b34da6a3ce929d0e0e4736
      llmops traces draft support --from thumbs-down,failed -n 30

    Exit codes: 0 done, 3 more than 1% of the lines could not be read.
    """
    from llmops_cli.core.redact import Redactor
    from llmops_cli.core.watch import SpanNames
    from llmops_cli.run.workspace import open_project

    project = open_project(context.obj)
    store = _open_store(project.root, Redactor.of(os.environ))
    output = Output(as_json=as_json)
    if action == "add":
        if not names:
            raise Refused("no file to add", hint="llmops traces add traces/*.jsonl")
        settings = next(iter(project.watch.values()), None)
        span_names = SpanNames() if settings is None else settings.names
        added, counts = store.add([Path(context.obj) / name for name in names], span_names)
        return _added(output, added, counts)
    if action == "list":
        rows = store.summary()
        output.rows(("hour", "calls", "errors", "versions"), rows, empty="no calls are stored")
        return 0
    if action == "draft":
        for name in names or ():
            _draft(output, project, store, name, kinds.split(","), most, keep_pii=keep_pii)
        return 0
    for name in names or ():
        kept = [row for row in store.messages() if name in (row["trace"], row["span"])]
        if not kept:
            raise Refused(
                f"no messages of {name} are stored",
                hint="stored are those of errors, bad feedback, slow calls and a sample",
            )
        output.objects(kept)
    return 0


def _open_store(root: Path, redact: Redactor) -> TraceStore:
    """Return the stored calls. Raises `Refused` if they came with the checkout."""
    from llmops_cli.run.workspace import refuse_committed
    from llmops_cli.watch.store import TraceStore

    store = TraceStore(root, redact)
    refuse_committed(store.folder, root)
    return store


def _added(output: Output, added: int, counts: Counts) -> int:
    output.show(
        {
            "added": added,
            "spans": counts.spans,
            "lines": counts.lines,
            "unreadable": counts.unreadable,
        },
        [
            f"{added:,} calls added, {counts.spans:,} spans read",
            *([f"{counts.unreadable} lines could not be read:"] if counts.unreadable else []),
            *(f"  {reason}" for reason in counts.reasons),
        ],
    )
    return 3 if counts.unreadable > counts.lines / 100 else 0


def _draft(
    output: Output,
    project: Project,
    store: TraceStore,
    name: str,
    kinds: list[str],
    most: int,
    *,
    keep_pii: bool,
) -> None:
    """Write drafts of a prompt's cases beside its evalset, after those that are there."""
    import json

    from llmops_cli.core.prompt import Case
    from llmops_cli.core.redact import Redactor
    from llmops_cli.project.evalsets import DRAFTS, FOLDER
    from llmops_cli.stores.atomic import write_text
    from llmops_cli.watch.drafts import KINDS, draft_cases

    for kind in kinds:
        if kind not in KINDS:
            raise UnknownName("kind of drafts", kind, KINDS)
    if name not in project.prompts:
        raise UnknownName("prompt", name, project.prompts)
    evalsets = project.load(project.evalsets_of(name))
    if not evalsets:
        raise Refused(f"{name} has no evalset", hint=f"write evalsets/{name}.yaml first")
    known = [case for evalset in evalsets for case in evalset.cases]
    file = project.root / FOLDER / f"{evalsets[0].name}{DRAFTS}"
    earlier = file.read_text(encoding="utf-8") if file.exists() else ""
    known += [
        Case(id=row.get("id") or "", inputs=row.get("inputs") or {})
        for row in map(json.loads, earlier.splitlines())
    ]
    drafts = draft_cases(
        store.messages(), project.prompts[name], known, kinds=kinds, most=most, keep_pii=keep_pii
    )
    text = earlier + "".join(json.dumps(case, ensure_ascii=False) + "\n" for case in drafts.cases)
    if drafts.cases:
        write_text(file, text, redact=Redactor.of(os.environ))
    output.show(
        drafts,
        [
            f"{len(drafts.cases)} drafts in {file.relative_to(project.root)}",
            f"left out: {drafts.near} like a case, {drafts.credentials} with a credential",
            f"left out: {drafts.without_inputs} without inputs; masked: {drafts.masked}",
            "next: llmops check   # after filling in `expected` and removing `draft: true`",
        ],
    )


def _events(project: Project, environment: str) -> list[Event]:
    from llmops_cli.stores.registry import Registry

    registry = Registry(project.root)
    names = registry.prompts_in(environment)
    return [event for name in names for event in registry.history(environment, name)]


def _date(text: str) -> str:
    try:
        return datetime.fromisoformat(text).isoformat()
    except ValueError as error:
        raise Refused(f"--since {text}: not a date", hint="--since 2026-11-01") from error


COMMANDS: Mapping[str, Callable[..., object]] = {"watch": watch, "traces": traces}
