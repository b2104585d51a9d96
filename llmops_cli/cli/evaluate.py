"""`eval`, `compare` and `measure`: the commands that may call models; `report`: the last run."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from llmops_cli.cli import options
from llmops_cli.cli.option_groups import grouped
from llmops_cli.cli.options import option
from llmops_cli.cli.report_sinks import FORMS, ReportSinks, RunSinks

if TYPE_CHECKING:
    from llmops_cli.run.selection import EvalOptions

OPENED = Path(".llmops") / "store" / "report.html"
"""The page that `report --open` writes where no name is given: git ignores it."""


@grouped
def evaluate(
    context: typer.Context,
    select: options.Select,
    compare: options.Compare,
    limits: options.Limits,
    sinks: RunSinks,
    strict: options.Strict = False,
    dry_run: options.DryRun = False,
    no_cache: options.NoCache = False,
    offline: options.Offline = False,
    reuse: options.Reuse = None,
) -> int:
    """Compare prompts with what production runs, and decide.

    Cached results are reused.

    Examples:
      llmops eval                                every prompt
      llmops eval intent --dry-run               what it would call and cost
      llmops eval intent --case b77-0211 -v      one case in full
      llmops eval --changed main --github        in a pull request

    Exit codes: 0 passed, 1 worse than the baseline, 3 something was not measured,
    4 inconclusive (with --strict, or if the policy says so).
    """
    from llmops_cli.run.selection import EvalOptions

    return _evaluated(
        context,
        EvalOptions(
            selection=options.selection(select, compare),
            base=compare.base,
            changed=select.changed,
            require_baseline=compare.require_baseline,
            strict=strict,
            offline=offline,
            fresh=no_cache,
            dry_run=dry_run,
            budget=limits.budget(),
            reuse=reuse or (),
        ),
        sinks,
    )


@grouped
def compare(
    context: typer.Context,
    before: Annotated[
        str, typer.Argument(metavar="A", help="Name, name@version, or a model: the baseline.")
    ],
    after: Annotated[
        str, typer.Argument(metavar="B", help="Name, name@version, or a model: the candidate.")
    ],
    limits: options.Limits,
    sinks: RunSinks,
    prompts: Annotated[
        list[str] | None,
        option(
            "Select",
            "Between two models: only this prompt. Repeatable.",
            "--prompt",
            metavar="NAME",
        ),
    ] = None,
    evalset: Annotated[
        list[str] | None, option("Select", "Only this evalset. Repeatable.", metavar="NAME")
    ] = None,
    strict: options.Strict = False,
    dry_run: options.DryRun = False,
    offline: options.Offline = False,
) -> int:
    """Compare two versions, prompts or models.

    Decides and exits as `eval` does, with A as the baseline.

    Examples:
      llmops compare support@v1 support@v2
      llmops compare support support-short
      llmops compare gpt-4.1-mini local --prompt support
    """
    from llmops_cli.run.selection import Between, EvalOptions

    return _evaluated(
        context,
        EvalOptions(
            between=Between(before, after, prompts=prompts or (), evalsets=evalset or ()),
            strict=strict,
            offline=offline,
            dry_run=dry_run,
            budget=limits.budget(),
        ),
        sinks,
    )


@grouped
def measure(
    context: typer.Context,
    version: options.Version,
    limits: options.Limits,
    sinks: RunSinks,
    to: Annotated[
        str | None,
        option("Compare", "Compare with what runs there. Default: the last.", metavar="ENV"),
    ] = None,
    offline: options.Offline = False,
    reuse: options.Reuse = None,
    commit: options.Commit = False,
) -> int:
    """Evaluate a version and record the evidence.

    Evidence is recorded whatever the verdict, unless something was not measured (exit 3).
    `promote --run` takes the run file of --out.

    Examples:
      llmops measure support@v3 --commit
      llmops measure support@v3 --out run.jsonl.gz
    """
    from llmops_cli.project.project import find_root
    from llmops_cli.registry import deliver
    from llmops_cli.registry.measure import measure as measure_version
    from llmops_cli.run.selection import EvalOptions, Selection

    eval_options = EvalOptions(
        selection=Selection(prompts=[version], environment=to),
        reuse=reuse or (),
        offline=offline,
        budget=limits.budget(),
    )
    files = sinks.files()
    with sinks.opened(context.obj) as opened:
        measured = measure_version(context.obj, eval_options, sinks=files, progress=opened.progress)
        evidence = measured.evidence
        if commit and evidence is not None:
            deliver.commit(find_root(context.obj), deliver.evidence_message(evidence))
    opened.show(measured.report, measured.run)
    if evidence is None:
        opened.output.say("no evidence recorded: something was not measured")
    else:
        opened.output.say(f"evidence: {evidence.digest}")
    return measured.report.exit_code


def _evaluated(context: typer.Context, eval_options: EvalOptions, sinks: RunSinks) -> int:
    """Run an evaluation and write its reports."""
    from llmops_cli.commands.evaluate import evaluate as run_evaluation

    files = sinks.files()
    with sinks.opened(context.obj) as opened:
        evaluated = run_evaluation(context.obj, eval_options, sinks=files, progress=opened.progress)
    if evaluated.report is None or evaluated.run is None:
        from llmops_cli.render.plan import console_plan

        opened.output.show(evaluated.plan, console_plan(evaluated.plan))
        return 0
    opened.show(evaluated.report, evaluated.run)
    return evaluated.report.exit_code


@grouped
def report(
    context: typer.Context,
    sinks: ReportSinks,
    file: Annotated[
        Path | None,
        typer.Argument(metavar="[FILE]", help="Run file of `eval --out`. Default: the last run."),
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
    from llmops_cli.core.redact import Redactor
    from llmops_cli.project.project import find_root
    from llmops_cli.report.finished_run import read_report, write_earlier_reports

    files = sinks.files()
    root = context.obj if file is not None else find_root(context.obj)
    earlier = read_report(root, file)
    page = sinks.html
    if open_page and page is None:
        page = find_root(context.obj) / OPENED
        files.append(FORMS["html"](page))
    output = sinks.output()
    output.report(earlier, timed=False)
    write_earlier_reports(files, earlier, file, Redactor.of(os.environ))
    if open_page and page is not None and not _opened(page):
        output.say(f"page: {page}")
    whole = file is not None and file.suffix != ".json"
    if (sinks.csv or sinks.parquet) and not whole:
        evalsets = [evalset for prompt in earlier.prompts for evalset in prompt.evalsets]
        shown, cases = (
            sum(len(evalset.shown) for evalset in evalsets),
            sum(evalset.cases for evalset in evalsets),
        )
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


COMMANDS: Mapping[str, Callable[..., object]] = {
    "eval": evaluate,
    "compare": compare,
    "measure": measure,
    "report": report,
}
