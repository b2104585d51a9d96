"""`eval`, `compare` and `measure`: the commands that may call models."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from llmops_cli.cli.options import (
    AsJson,
    Commit,
    Csv,
    DryRun,
    Evalsets,
    GitHub,
    Html,
    Junit,
    Markdown,
    MaxCalls,
    MaxCost,
    Offline,
    Parquet,
    Reuse,
    Strict,
    Verbose,
    Version,
)

SELECT = "What to measure"
COMPARE = "What to compare with"
RUN = "How to run"
OUTPUT = "Output"


def register(app: typer.Typer) -> None:
    """Add this family's commands to the program."""
    app.command("eval")(evaluate)
    app.command()(compare)
    app.command()(measure)


def evaluate(
    context: typer.Context,
    prompts: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[PROMPT]...",
            help="name, name@version, a glob over names, or an environment; default: all",
        ),
    ] = None,
    named: Annotated[
        list[str] | None,
        typer.Option("--prompt", metavar="PROMPT", help="The same as an argument; repeatable."),
    ] = None,
    changed: Annotated[
        str | None,
        typer.Option(
            metavar="REV",
            help="Only prompts that changed since this branch left REV: their own files, "
            "evalsets, models or policy.",
        ),
    ] = None,
    evalset: Evalsets = None,
    tag: Annotated[
        list[str] | None,
        typer.Option(metavar="TAG", help="Only cases with this tag (a partial run)."),
    ] = None,
    case: Annotated[
        list[str] | None,
        typer.Option(metavar="ID", help="Only this case, or a glob (a partial run)."),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(metavar="MODEL", help="Answer the candidate with this model instead."),
    ] = None,
    sample: Annotated[
        int | None,
        typer.Option(min=1, metavar="N", help="A random sample of cases (a partial run)."),
    ] = None,
    seed: Annotated[int, typer.Option(metavar="N", help="Which sample.")] = 0,
    environment: Annotated[
        str | None,
        typer.Option(
            "--env",
            metavar="ENV",
            help="Compare with what this environment runs; default: the last.",
        ),
    ] = None,
    baseline: Annotated[
        str | None,
        typer.Option(metavar="NAME@VERSION", help="Compare with this instead."),
    ] = None,
    require_baseline: Annotated[
        bool, typer.Option("--require-baseline", help="Refuse to run without a baseline.")
    ] = False,
    base: Annotated[
        str | None,
        typer.Option(
            metavar="REV",
            help="Read policy and trust list at this git revision; what nothing runs of yet is "
            "compared with the prompt there.",
        ),
    ] = None,
    strict: Strict = False,
    dry_run: DryRun = False,
    offline: Offline = False,
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Draw anew instead of reusing what is held.")
    ] = False,
    max_cost: MaxCost = None,
    max_calls: MaxCalls = None,
    max_tokens: Annotated[
        int | None, typer.Option(min=0, metavar="N", help="Stop before using more tokens.")
    ] = None,
    max_seconds: Annotated[
        float | None, typer.Option(min=0, metavar="SECONDS", help="Start no call after this time.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write the run file (.jsonl, .jsonl.gz).")
    ] = None,
    reuse: Reuse = None,
    junit: Junit = None,
    markdown: Markdown = None,
    html: Html = None,
    csv: Csv = None,
    parquet: Parquet = None,
    github: GitHub = False,
    as_json: AsJson = False,
    verbose: Verbose = False,
) -> int:
    """Measure prompts against what production runs today, and decide.

    Only what is missing is called. Exit 0: passed. 1: worse than the baseline. 3: something was
    not measured. 4: inconclusive, with --strict or where the policy says so.
    """
    from llmops_cli.cli.github import Actions
    from llmops_cli.cli.output import Output
    from llmops_cli.cli.pages import page_at
    from llmops_cli.cli.tables import tables_at
    from llmops_cli.engine.budget import Budget
    from llmops_cli.flows.report.places import places_of
    from llmops_cli.flows.run import evaluate as flow
    from llmops_cli.flows.run.contest import Selection

    wishes = flow.Wishes(
        selection=Selection(
            prompts=[*(prompts or ()), *(named or ())],
            evalsets=evalset or (),
            tags=tag or (),
            cases=case or (),
            model=model,
            sample=sample,
            seed=seed,
            environment=environment,
            baseline=baseline,
        ),
        base=base,
        changed=changed,
        require_baseline=require_baseline,
        offline=offline,
        fresh=fresh,
        dry_run=dry_run,
        budget=Budget(calls=max_calls, tokens=max_tokens, cost=max_cost, seconds=max_seconds),
        out=out,
        reuse=reuse or (),
        cases_to=[*page_at(html), *tables_at(csv, parquet)],
    )
    output = Output(as_json=as_json, junit=junit, markdown=markdown, verbose=verbose)
    runner = Actions(start=context.obj, wanted=github)
    with runner.telling(), output.progress() as progress:
        done = flow.evaluate(context.obj, wishes, progress=progress)
    if done.report is None:
        output.plan(done.plan)
        return 0
    output.report(done.report)
    code = output.exit_code(done.report, strict=strict)
    if done.run is not None:
        runner.report(done.report, places_of(done.run), exit_code=code)
    return code


def compare(
    context: typer.Context,
    before: Annotated[
        str, typer.Argument(metavar="A", help="name, name@version, or a model: what there was")
    ],
    after: Annotated[
        str, typer.Argument(metavar="B", help="name, name@version, or a model: what there is")
    ],
    prompts: Annotated[
        list[str] | None,
        typer.Option("--prompt", metavar="NAME", help="Between two models: only this prompt."),
    ] = None,
    evalset: Evalsets = None,
    dry_run: DryRun = False,
    offline: Offline = False,
    strict: Strict = False,
    max_cost: MaxCost = None,
    html: Html = None,
    as_json: AsJson = False,
    verbose: Verbose = False,
) -> int:
    """Decide whether B is worse than A: versions, prompts or models.

    Decides as `eval` does, with A in the place of the baseline; exits alike.
    """
    from llmops_cli.cli.output import Output
    from llmops_cli.cli.pages import page_at
    from llmops_cli.engine.budget import Budget
    from llmops_cli.flows.run import evaluate as flow
    from llmops_cli.flows.run.contest import Between

    output = Output(as_json=as_json, verbose=verbose)
    wishes = flow.Wishes(
        between=Between(before, after, prompts=prompts or (), evalsets=evalset or ()),
        offline=offline,
        dry_run=dry_run,
        budget=Budget(cost=max_cost),
        cases_to=page_at(html),
    )
    with output.progress() as progress:
        done = flow.evaluate(context.obj, wishes, progress=progress)
    if done.report is None:
        output.plan(done.plan)
        return 0
    output.report(done.report)
    return output.exit_code(done.report, strict=strict)


def measure(
    context: typer.Context,
    version: Version,
    to: Annotated[
        str | None,
        typer.Option(metavar="ENV", help="Measure against what runs there; default: the last."),
    ] = None,
    offline: Offline = False,
    max_cost: MaxCost = None,
    max_calls: MaxCalls = None,
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write the run file, for promote --run.")
    ] = None,
    reuse: Reuse = None,
    commit: Commit = False,
    markdown: Markdown = None,
    as_json: AsJson = False,
    verbose: Verbose = False,
) -> int:
    """Make the evidence of a version: draw, decide, write it down.

    Evidence is written whatever the verdict, unless something was not measured (exit 3).
    """
    from llmops_cli.cli.output import Output
    from llmops_cli.engine.budget import Budget
    from llmops_cli.flows.ledger import committing
    from llmops_cli.flows.ledger import measure as flow
    from llmops_cli.flows.workspace import open_workspace

    output = Output(as_json=as_json, markdown=markdown, verbose=verbose)
    name, _, selector = version.partition("@")
    with open_workspace(context.obj) as workspace, output.progress() as progress:
        workspace.reuse_runs(reuse or ())
        number = flow.number_of(workspace, name, selector)
        done = flow.measure(
            workspace,
            flow.Subject(name=name, number=number, environment=to),
            progress=progress,
            budget=Budget(calls=max_calls, cost=max_cost),
            offline=offline,
            out=out,
        )
        if commit and done.evidence is not None:
            committing.commit(workspace.root, committing.evidence_message(done.evidence))
    output.report(done.report)
    if done.evidence is None:
        output.say("no evidence was written: something was not measured")
    else:
        output.say(f"evidence  {done.evidence.digest}")
    return done.report.exit_code
