"""`eval`, `compare` and `measure`: the commands that may call models."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer

from llmops_cli.cli import options

if TYPE_CHECKING:
    from llmops_cli.cli.output import Output
    from llmops_cli.commands.evaluate import EvalOptions


def register(app: typer.Typer) -> None:
    """Add this family's commands to the program."""
    app.command("eval")(evaluate)
    app.command()(compare)
    app.command()(measure)


def evaluate(
    context: typer.Context,
    prompts: options.Prompts = None,
    named: options.NamedPrompts = None,
    changed: options.Changed = None,
    evalset: options.Evalsets = None,
    tag: options.Tags = None,
    case: options.CaseIds = None,
    model: options.OtherModel = None,
    sample: options.Sample = None,
    seed: options.Seed = 0,
    environment: options.Against = None,
    baseline: options.Baseline = None,
    require_baseline: options.RequireBaseline = False,
    base: options.Base = None,
    strict: options.Strict = False,
    dry_run: options.DryRun = False,
    offline: options.Offline = False,
    fresh: options.Fresh = False,
    max_cost: options.MaxCost = None,
    max_calls: options.MaxCalls = None,
    max_tokens: options.MaxTokens = None,
    max_seconds: options.MaxSeconds = None,
    out: options.Out = None,
    reuse: options.Reuse = None,
    junit: options.Junit = None,
    markdown: options.Markdown = None,
    html: options.Html = None,
    csv: options.Csv = None,
    parquet: options.Parquet = None,
    github: options.GitHub = False,
    as_json: options.AsJson = False,
    verbose: options.Verbose = False,
    quiet: options.Quiet = False,
) -> int:
    """Measure prompts against what production runs today, and decide.

    Only what is missing is called. Exit 0: passed. 1: worse than the baseline. 3: something was
    not measured. 4: inconclusive, with --strict or where the policy says so.
    """
    from llmops_cli.cli.output import Output
    from llmops_cli.cli.tables import cases_at
    from llmops_cli.commands.evaluate import EvalOptions
    from llmops_cli.engine.budget import Budget
    from llmops_cli.run.selection import Selection

    wishes = EvalOptions(
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
        strict=strict,
        offline=offline,
        fresh=fresh,
        dry_run=dry_run,
        budget=Budget(calls=max_calls, tokens=max_tokens, cost=max_cost, seconds=max_seconds),
        out=out,
        reuse=reuse or (),
        cases_to=cases_at(html, csv, parquet),
    )
    output = Output(as_json=as_json, junit=junit, markdown=markdown, verbose=verbose, quiet=quiet)
    return _evaluated(context, wishes, output, github=github)


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
        typer.Option(
            "--prompt", metavar="NAME", help="Between two models: only this prompt. Repeatable."
        ),
    ] = None,
    evalset: options.Evalsets = None,
    dry_run: options.DryRun = False,
    offline: options.Offline = False,
    strict: options.Strict = False,
    max_cost: options.MaxCost = None,
    max_calls: options.MaxCalls = None,
    out: options.Out = None,
    junit: options.Junit = None,
    markdown: options.Markdown = None,
    html: options.Html = None,
    csv: options.Csv = None,
    parquet: options.Parquet = None,
    github: options.GitHub = False,
    as_json: options.AsJson = False,
    verbose: options.Verbose = False,
    quiet: options.Quiet = False,
) -> int:
    """Decide whether B is worse than A: versions, prompts or models.

    Decides as `eval` does, with A in the place of the baseline; exits alike.
    """
    from llmops_cli.cli.output import Output
    from llmops_cli.cli.tables import cases_at
    from llmops_cli.commands.evaluate import EvalOptions
    from llmops_cli.engine.budget import Budget
    from llmops_cli.run.selection import Between

    wishes = EvalOptions(
        between=Between(before, after, prompts=prompts or (), evalsets=evalset or ()),
        strict=strict,
        offline=offline,
        dry_run=dry_run,
        budget=Budget(calls=max_calls, cost=max_cost),
        out=out,
        cases_to=cases_at(html, csv, parquet),
    )
    output = Output(as_json=as_json, junit=junit, markdown=markdown, verbose=verbose, quiet=quiet)
    return _evaluated(context, wishes, output, github=github)


def measure(
    context: typer.Context,
    version: options.Version,
    to: Annotated[
        str | None,
        typer.Option(metavar="ENV", help="Measure against what runs there; default: the last."),
    ] = None,
    offline: options.Offline = False,
    max_cost: options.MaxCost = None,
    max_calls: options.MaxCalls = None,
    out: options.Out = None,
    reuse: options.Reuse = None,
    commit: options.Commit = False,
    junit: options.Junit = None,
    markdown: options.Markdown = None,
    html: options.Html = None,
    csv: options.Csv = None,
    parquet: options.Parquet = None,
    github: options.GitHub = False,
    as_json: options.AsJson = False,
    verbose: options.Verbose = False,
    quiet: options.Quiet = False,
) -> int:
    """Make the evidence of a version: draw, decide, write it down.

    Evidence is written whatever the verdict, unless something was not measured (exit 3). The run
    file of `--out` is what `promote --run` takes.
    """
    from llmops_cli.cli.github import Actions
    from llmops_cli.cli.output import Output
    from llmops_cli.cli.tables import cases_at
    from llmops_cli.engine.budget import Budget
    from llmops_cli.project.project import find_root
    from llmops_cli.registry import deliver as committing
    from llmops_cli.registry import measure as flow
    from llmops_cli.report.build import source_locations
    from llmops_cli.report.sinks import Forms

    forms = Forms(out=out, cases_to=cases_at(html, csv, parquet))
    output = Output(as_json=as_json, junit=junit, markdown=markdown, verbose=verbose, quiet=quiet)
    request = flow.MeasureRequest(
        address=version,
        environment=to,
        runs=reuse or (),
        offline=offline,
        budget=Budget(calls=max_calls, cost=max_cost),
        sinks=forms,
    )
    runner = Actions(start=context.obj, wanted=github)
    with runner.telling(), output.progress() as progress:
        done = flow.measure(context.obj, request, progress=progress)
        if commit and done.evidence is not None:
            root = find_root(context.obj)
            committing.commit(root, committing.evidence_message(done.evidence))
    output.report(done.report)
    if done.evidence is None:
        output.say("no evidence was written: something was not measured")
    else:
        output.say(f"evidence  {done.evidence.digest}")
    runner.report(done.report, partial(source_locations, done.run), exit_code=done.report.exit_code)
    return done.report.exit_code


def _evaluated(context: typer.Context, wishes: EvalOptions, output: Output, *, github: bool) -> int:
    """Does as `wishes` say, and tells what came of it in every form that was asked for."""
    from llmops_cli.cli.github import Actions
    from llmops_cli.commands.evaluate import evaluate as conducted
    from llmops_cli.report.build import source_locations

    runner = Actions(start=context.obj, wanted=github)
    with runner.telling(), output.progress() as progress:
        done = conducted(context.obj, wishes, progress=progress)
    if done.report is None or done.run is None:
        output.plan(done.plan)
        return 0
    output.report(done.report)
    runner.report(done.report, partial(source_locations, done.run), exit_code=done.report.exit_code)
    return done.report.exit_code
