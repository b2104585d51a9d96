"""The commands that may call models, `eval`, `compare`, `measure`, `calibrate`; and `report`."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from llmops_cli.cli import options
from llmops_cli.cli.options import argument, option
from llmops_cli.cli.output import (
    FORMS,
    Output,
    ReportSinks,
    RunSinks,
    about_this_run,
    actions_of,
    print_error,
)
from llmops_cli.core.errors import ExitCode, LlmopsError, Refused

if TYPE_CHECKING:
    from llmops_cli.commands.compare import Targets
    from llmops_cli.commands.evaluate import Evaluated
    from llmops_cli.core.report import Plan
    from llmops_cli.judges.labels import Draft
    from llmops_cli.run.selection import EvalOptions

OPENED = "report.html"
"""The page in the store that `report --open` writes where no name is given."""


def evaluate(
    context: typer.Context,
    select: options.Select,
    compare: options.Compare,
    limits: options.Limits,
    sinks: RunSinks,
    strict: options.Strict = False,
    dry_run: options.DryRun = False,
    no_cache: options.NoCache = False,
    more_trials: options.MoreTrials = 0,
    offline: options.Offline = False,
    reuse: options.Reuse = None,
    shard: options.ShardName = None,
    watch: Annotated[
        bool,
        option("Options", "Run again when a prompt, evalset or scorer changes.", "--watch", "-w"),
    ] = False,
) -> int:
    """Compare prompts with what production runs, and decide.

    Cached results are reused.

    Examples:
      llmops eval                                every prompt
      llmops eval intent --dry-run               what it would call and cost
      llmops eval intent --case b77-0211 -v      one case in full
      llmops eval intent --watch                 again after each change
      llmops eval --changed main --github        in a pull request

    Exit codes: 0 passed, 1 worse than the baseline, 3 something was not measured,
    4 inconclusive (with --strict, or if the policy says so).
    """
    from llmops_cli.run.selection import EvalOptions

    eval_options = EvalOptions(
        selection=options.selection(select, compare),
        base=compare.base,
        changed=select.changed,
        require_baseline=compare.require_baseline,
        strict=strict,
        offline=offline,
        no_cache=no_cache,
        more_trials=more_trials,
        dry_run=dry_run,
        budget=limits.budget(),
        reuse=reuse or (),
    )
    if shard is not None:
        return _evaluate_shard(context, shard, eval_options, sinks, watch=watch)
    if not watch:
        return _evaluated(context, eval_options, sinks).exit_code
    unfit = {
        "--json": sinks.as_json,
        "--github": sinks.github,
        "--no-cache": no_cache,
        "--more-trials": more_trials,
    }
    for flag, value in unfit.items():
        if value:
            raise Refused(f"--watch and {flag} don't go together", hint=f"remove {flag}")
    return _watched(context, eval_options, sinks)


def _evaluate_shard(
    context: typer.Context,
    name: str,
    eval_options: EvalOptions,
    sinks: RunSinks,
    *,
    watch: bool,
) -> int:
    """Run one shard and write its run file."""
    from llmops_cli.commands.evaluate import evaluate as run_evaluation
    from llmops_cli.run.shards import shard_of

    shard = shard_of(name, os.environ)
    unfit = {
        **{form: getattr(sinks, form, None) for form in FORMS if form != "out"},
        "github": sinks.github,
        "json": sinks.as_json,
        "dry-run": eval_options.dry_run,
        "no-cache": eval_options.no_cache,
        "more-trials": eval_options.more_trials,
        "watch": watch,
    }
    for flag, value in unfit.items():
        if value:
            raise Refused(
                f"--shard and --{flag} don't go together", hint="`llmops merge` takes its place"
            )
    if sinks.out is None:
        raise Refused("a shard needs --out", hint=f"--shard {name} --out s{shard.index}.jsonl.gz")
    budget = eval_options.budget
    eval_options = replace(
        eval_options,
        shard=shard,
        budget=budget and budget.divided(shard.index, shard.count),
    )
    output = sinks.output()
    with output.progress() as progress:
        evaluated = run_evaluation(
            context.obj, eval_options, sinks=sinks.files(), progress=progress
        )
    run = evaluated.run
    assert run is not None
    cases = sum(len(evalset_run.part or ()) for evalset_run in run.evalset_runs)
    failed = sum(len(side.state.failures) for side in run.sides)
    output.say(
        f"shard {shard}: {cases:,} cases, {run.calls:,} calls, {failed:,} trials without an answer"
    )
    output.say(f"wrote {sinks.out}")
    output.say("no verdict: llmops merge decides, with the files of all shards")
    return evaluated.exit_code


def merge(
    context: typer.Context,
    sinks: RunSinks,
    files: options.ShardFiles = None,
    strict: options.Strict = False,
    base: options.Base = None,
) -> int:
    """Merge the run files of all shards, and decide. Calls nothing.

    Plans the run again, so it needs the checkout that the shards were run in. The report is that
    of a run without shards.

    Examples:
      llmops eval --shard 1/2 --out s1.jsonl.gz
      llmops merge s1.jsonl.gz s2.jsonl.gz --html report.html

    Exit codes: those of `eval`; 2 if a shard is missing, doubled or of another run.
    """
    from llmops_cli.run.selection import EvalOptions

    if not files:
        raise Refused("merge takes the run files of all shards", hint="llmops merge s*.jsonl.gz")
    merged = EvalOptions(merge=files, strict=strict, base=base)
    return _evaluated(context, merged, sinks).exit_code


def compare(
    context: typer.Context,
    limits: options.Limits,
    sinks: RunSinks,
    targets: Annotated[
        list[str] | None,
        argument("A B [C]...", "Name, name@version, or a model; A is the baseline."),
    ] = None,
    models: Annotated[
        str | None,
        option("Select", "Models instead of A B: a table, without a gate.", metavar="A,B,..."),
    ] = None,
    prompts: Annotated[
        list[str] | None,
        option(
            "Select", "Between models: only this prompt. Repeatable.", "--prompt", metavar="NAME"
        ),
    ] = None,
    evalset: Annotated[
        list[str] | None, option("Select", "Only this evalset. Repeatable.", metavar="NAME")
    ] = None,
    strict: options.Strict = False,
    dry_run: options.DryRun = False,
    no_cache: options.NoCache = False,
    offline: options.Offline = False,
) -> int:
    """Compare two versions, prompts or models; or more of them, side by side.

    With two, decides and exits as `eval` does, with A as the baseline. With more, prints a table
    of quality, regressions, cost and time, without a gate; --html and --json have the same.

    Examples:
      llmops compare support@v1 support@v2
      llmops compare support support-short
      llmops compare fast small local --html page.html
      llmops compare --models gpt-4.1-mini,local --prompt support
    """
    from llmops_cli.run.selection import Between, EvalOptions

    names = list(targets or ())
    if models is not None and names:
        raise Refused("--models names what to compare: leave out the other names")
    if models is not None:
        names = [name.strip() for name in models.split(",") if name.strip()]
    if len(names) < 2:
        raise Refused(
            "compare takes two or more versions, prompts or models",
            hint="llmops compare support@v1 support@v2",
        )
    eval_options = EvalOptions(
        strict=strict,
        offline=offline,
        no_cache=no_cache,
        dry_run=dry_run,
        budget=limits.budget(),
    )
    if len(names) > 2 or models is not None:
        from llmops_cli.commands.compare import Targets

        several = Targets(
            names=names, models=models is not None, prompts=prompts or (), evalsets=evalset or ()
        )
        return _side_by_side(context, several, eval_options, sinks)
    before, after = names
    between = Between(before, after, prompts=prompts or (), evalsets=evalset or ())
    return _evaluated(context, replace(eval_options, between=between), sinks).exit_code


def _side_by_side(
    context: typer.Context, targets: Targets, eval_options: EvalOptions, sinks: RunSinks
) -> int:
    """Compare several targets and write the page."""
    from llmops_cli.commands.compare import compare_side_by_side
    from llmops_cli.core.redact import Redactor
    from llmops_cli.core.report import Plan
    from llmops_cli.render.side_by_side import console_side_by_side, html_side_by_side
    from llmops_cli.stores.atomic import write_text

    unfit = [name for name in (*FORMS, "github") if name != "html" and getattr(sinks, name)]
    unfit += ["strict"] if eval_options.strict else []
    if unfit:
        raise Refused(
            f"a comparison without a gate takes no --{unfit[0]}",
            hint="--html and --json have the table; two names are compared with the gate",
        )
    output = sinks.output()
    with output.progress() as progress:
        compared = compare_side_by_side(context.obj, targets, eval_options, progress=progress)
    if isinstance(compared, Plan):
        _show_plan(output, compared)
        return 0
    output.show(compared, console_side_by_side(compared, seconds=output.seconds))
    if sinks.html is not None:
        redact = Redactor.of(os.environ)
        page = html_side_by_side(compared, redact=redact, about=about_this_run())
        write_text(sinks.html, page, redact=redact)
        output.say(f"wrote {sinks.html}")
    return compared.exit_code


def measure(
    context: typer.Context,
    limits: options.Limits,
    sinks: RunSinks,
    versions: Annotated[
        list[str] | None,
        argument("[NAME[@VERSION]]...", "A name alone: the version of the working copy."),
    ] = None,
    all_prompts: Annotated[
        bool, option("Select", "Every prompt that an evalset gates.", "--all")
    ] = False,
    to: Annotated[
        str | None,
        option("Compare", "Compare with what runs there. Default: the last.", metavar="ENV"),
    ] = None,
    dry_run: options.DryRun = False,
    offline: options.Offline = False,
    reuse: options.Reuse = None,
    commit: options.Commit = False,
) -> int:
    """Evaluate versions and record the evidence.

    Evidence is recorded whatever the verdict, unless something was not measured (exit 3).
    `promote --run` takes the run file of --out.

    Examples:
      llmops measure support@v3 --commit
      llmops measure --all --dry-run             what it would call and cost
      llmops measure support@v3 --out run.jsonl.gz
    """
    from llmops_cli.project.project import find_root
    from llmops_cli.registry import deliver
    from llmops_cli.registry.measure import cost_of_measuring
    from llmops_cli.registry.measure import measure as measure_versions
    from llmops_cli.run.selection import EvalOptions, Selection

    if bool(versions) == all_prompts:
        raise Refused("measure takes names of versions, or --all", hint="llmops measure support@v3")
    eval_options = EvalOptions(
        selection=Selection(prompts=versions or (), environment=to),
        reuse=reuse or (),
        offline=offline,
        budget=limits.budget(),
    )
    files = sinks.files()
    output = sinks.output(actions_of(context.obj, github=sinks.github))
    if dry_run:
        _show_plan(output, cost_of_measuring(context.obj, eval_options))
        return 0
    with output.refusals(), output.progress() as progress:
        measured = measure_versions(context.obj, eval_options, sinks=files, progress=progress)
        if commit and measured.evidence:
            deliver.commit(find_root(context.obj), deliver.evidence_message(measured.evidence))
    output.report(measured.report, measured.run)
    for name in measured.without_evidence:
        output.say(f"no evidence recorded of {name}: something was not measured")
    for evidence in measured.evidence:
        output.say(f"evidence: {evidence.digest}")
    return measured.report.exit_code


def _watched(context: typer.Context, eval_options: EvalOptions, sinks: RunSinks) -> int:
    """Evaluate now and after each change, until Ctrl-C. The limits hold for all runs together."""
    from datetime import UTC, datetime

    from llmops_cli.commands.rerun import changed_files
    from llmops_cli.gate.wording import listed
    from llmops_cli.project.project import find_root

    named: set[str] = set()
    for files in changed_files(find_root(context.obj), named):
        output = sinks.output()
        if files:
            output.say(f"\nchanged: {listed(tuple(files))}")
        try:
            evaluated = _evaluated(context, replace(eval_options, now=datetime.now(UTC)), sinks)
        except LlmopsError as error:
            print_error(error.message, error.hint)
        else:
            if evaluated.exit_code == ExitCode.INTERRUPTED:
                break
            if evaluated.run is not None:
                eval_options = replace(eval_options, budget=evaluated.run.budget)
                named.update(*(run.scorers.files() for run in evaluated.run.evalset_runs))
        output.say("watching for changes; Ctrl-C ends it")
        sys.stdout.flush()
    return ExitCode.INTERRUPTED


def _evaluated(context: typer.Context, eval_options: EvalOptions, sinks: RunSinks) -> Evaluated:
    """Run an evaluation and write its reports."""
    from llmops_cli.commands.evaluate import evaluate as run_evaluation

    files = sinks.files()
    output = sinks.output(actions_of(context.obj, github=sinks.github))
    with output.refusals(), output.progress() as progress:
        evaluated = run_evaluation(context.obj, eval_options, sinks=files, progress=progress)
    if evaluated.report is None or evaluated.run is None:
        _show_plan(output, evaluated.plan)
    else:
        output.report(evaluated.report, evaluated.run)
    return evaluated


def _show_plan(output: Output, plan: Plan) -> None:
    from llmops_cli.render.plan import console_plan

    output.show(plan, console_plan(plan))


def report(
    context: typer.Context,
    sinks: ReportSinks,
    file: Annotated[
        Path | None, argument("[FILE]", "Run file of `eval --out`. Default: the last run.")
    ] = None,
    open_page: Annotated[
        bool, option("Reports", "Write the HTML page and open it in a browser.", "--open")
    ] = False,
) -> int:
    """Show the last run, or a run file, in any format. Calls nothing.

    Exits as the run did. Of the last run, page and tables hold the cases that its report shows;
    of a run file, every case.

    Examples:
      llmops report --open
      llmops report run.jsonl.gz --csv cases.csv
    """
    from datetime import UTC, datetime

    from llmops_cli.core.redact import Redactor
    from llmops_cli.project.project import find_root
    from llmops_cli.report.finished_run import last_report, read_report, write_earlier_reports
    from llmops_cli.run.workspace import checked_store

    files = sinks.files()
    page, store = sinks.html, context.obj
    if file is None or (open_page and page is None):
        store = checked_store(find_root(context.obj), os.environ)
    source = last_report(store) if file is None else file
    earlier = read_report(source)
    if open_page and page is None:
        page = store / OPENED
        files.append(partial(FORMS["html"], page))
    output = sinks.output()
    write_earlier_reports(files, earlier, file, Redactor.of(os.environ))
    output.report(earlier)
    output.say(f"run of {datetime.fromtimestamp(source.stat().st_mtime, UTC):%Y-%m-%d %H:%M} UTC")
    if open_page and page is not None and not _opened(page):
        output.say(f"page: {page}")
    whole = file is not None and file.suffix != ".json"
    if (sinks.csv or sinks.parquet) and not whole:
        evalsets = [evalset for prompt in earlier.prompts for evalset in prompt.evalsets]
        shown = sum(len(evalset.shown) for evalset in evalsets)
        cases = sum(evalset.cases for evalset in evalsets)
        if shown < cases:
            output.say(
                f"note: the table has the {shown:,} of {cases:,} cases that the report shows; "
                "a run file (`eval --out`) has every case"
            )
    return earlier.exit_code


def _opened(page: Path) -> bool:
    """Open a page in a browser; False if there is no browser or no terminal."""
    import webbrowser

    environ = os.environ
    screen = sys.platform != "linux" or "DISPLAY" in environ or "WAYLAND_DISPLAY" in environ
    if environ.get("CI") or not (screen or environ.get("BROWSER")):
        return False
    try:
        return webbrowser.open(page.resolve().as_uri())
    except (webbrowser.Error, OSError):
        return False


def calibrate(
    context: typer.Context,
    scorer: options.ScorerAddress,
    labels: options.Labels = None,
    draft: options.Draft = None,
    answers: options.Answers = 150,
    canaries: options.Canaries = False,
    require: options.Require = None,
    max_cost: options.MaxCost = None,
    max_calls: options.MaxCalls = None,
    offline: options.Offline = False,
    commit: options.Commit = False,
    as_json: options.AsJson = False,
) -> int:
    """Validate a judge against human labels.

    Reads every labeled answer twice. The result is stored under .llmops/calibrations/ and used by
    eval, measure and promote. Exit 0: calibrated, whatever the rating. 2: --require asks for a
    better one. 3: too many answers were not judged.

    Examples:
      llmops calibrate support:tone --draft labels.jsonl
      llmops calibrate support:tone --labels labels.jsonl --canaries --commit
    """
    from llmops_cli.engine.budget import Budget
    from llmops_cli.judges.calibrate import CalibrationRequest
    from llmops_cli.judges.calibrate import calibrate as calibrate_judge
    from llmops_cli.judges.labels import write_draft
    from llmops_cli.registry.deliver import commit as git_commit
    from llmops_cli.render.calibration import console_calibration
    from llmops_cli.render.formatting import calls, money
    from llmops_cli.run.workspace import open_workspace

    if (labels is None) == (draft is None):
        raise Refused(
            "calibrate takes either --labels or --draft",
            hint=f"llmops calibrate {scorer} --draft labels.jsonl, then --labels labels.jsonl",
        )
    output = Output(as_json=as_json)
    if draft is not None:
        with open_workspace(context.obj) as workspace:
            drafted = write_draft(workspace, scorer, draft, size=answers)
        output.show(drafted, _drafted(drafted))
        return ExitCode.DONE
    assert labels is not None
    request = CalibrationRequest(
        scorer=scorer,
        labels=labels,
        canaries=canaries,
        offline=offline,
        budget=Budget(calls=max_calls, cost=max_cost),
    )
    with open_workspace(context.obj) as workspace, output.progress() as progress:
        result = calibrate_judge(workspace, request, progress=progress)
        calibration = result.calibration
        if commit and calibration is not None:
            git_commit(workspace.root, f"Calibrate {calibration.address}")
    if calibration is None:
        output.say("interrupted: run the same command again, judged answers are cached")
        return ExitCode.INTERRUPTED
    shown = console_calibration(
        calibration,
        causes=result.causes,
        spent=f"{calls(result.calls, result.reused)}, {money(result.cost)}",
        replaced=result.replaced,
    )
    output.show(result, shown)
    return ExitCode.DONE if calibration.is_at_least(require) else ExitCode.REFUSED


def _drafted(drafted: Draft) -> Iterator[str]:
    from llmops_cli.render.formatting import plural
    from llmops_cli.render.safe_text import terminal

    yield (
        f"{drafted.path}: {drafted.answers:,} of {plural(drafted.stored, 'cached answer')}, of "
        f"{terminal(' and '.join(drafted.sides))}"
    )
    yield "  fill in `label` in every row: pass or fail, or a grade or class of the scorer"
    yield f"next: llmops calibrate {drafted.address} --labels {shlex.quote(str(drafted.path))}"


COMMANDS: Mapping[str, Callable[..., object]] = {
    "eval": evaluate,
    "compare": compare,
    "merge": merge,
    "measure": measure,
    "report": report,
    "calibrate": calibrate,
}
