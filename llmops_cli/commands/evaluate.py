"""`llmops eval`: open the project, select, plan, run and report.

Also the public `evaluate` for notebooks and tests: everything it needs is an argument.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from llmops_cli import __version__
from llmops_cli.core.ci import STORE_VARIABLE
from llmops_cli.core.digest import to_plain
from llmops_cli.core.errors import ExitCode, Refused
from llmops_cli.core.ports import Progress
from llmops_cli.core.report import Plan, Report
from llmops_cli.project.project import find_root
from llmops_cli.report.build import build_report
from llmops_cli.report.finished_run import Sink, store_report, write_reports
from llmops_cli.run.base_changes import merge_base, no_longer_gated
from llmops_cli.run.comparison import changed_prompts, compare_prompts
from llmops_cli.run.cost_plan import cost_plan
from llmops_cli.run.evalset_run import Run
from llmops_cli.run.prepare import prepare, refuse_unfit
from llmops_cli.run.reuse import reuse_runs
from llmops_cli.run.run_loop import run_evalsets
from llmops_cli.run.selection import EvalOptions
from llmops_cli.run.workspace import Workspace, checked_store, open_workspace

if TYPE_CHECKING:
    from llmops_cli.run.shards import Shards


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluated:
    """What a run would call and, unless it was a dry run, its result."""

    plan: Plan
    report: Report | None
    run: Run | None = None

    @property
    def exit_code(self) -> ExitCode:
        """Return what the command exits with."""
        if self.run is not None and self.run.interrupted:
            return ExitCode.INTERRUPTED
        return ExitCode.DONE if self.report is None else self.report.exit_code


def unseen(_done: int, _planned: int, _failed: int) -> None:
    """Ignore progress."""


def evaluate(
    start: Path,
    options: EvalOptions | None = None,
    *,
    sinks: Sequence[Sink] = (),
    progress: Progress = unseen,
    environ: Mapping[str, str] | None = None,
) -> Evaluated:
    """Evaluate what `options` (default: everything) select in the project around `start`.

    `sinks` are the reports to write whatever the result. Raises `InvalidFiles`, `UnknownName` or
    another `Refused` before any call, `Unmeasured` where the disk or git fails. What goes wrong in
    a call is in the report.
    """
    options = options or EvalOptions()
    if options.no_cache and options.reuse:
        raise Refused("--no-cache ignores what --reuse reads", hint="remove one of the two")
    shards = None
    environ, reports = os.environ if environ is None else environ, None
    with ExitStack() as stack:
        if options.merge:
            from llmops_cli.run.shards import open_shards  # noqa: PLC0415 - only `merge` needs it

            shards = open_shards(options.merge)
            options = shards.options(options)
            reports = checked_store(find_root(start), environ)
            # Only what the shards hold counts, whatever is cached here.
            folder = stack.enter_context(TemporaryDirectory(prefix="llmops-merge-"))
            environ = {**environ, STORE_VARIABLE: folder}
        workspace = stack.enter_context(open_workspace(start, environ=environ, base=options.base))
        reuse_runs(workspace, options.reuse)
        if options.between is not None:
            selection = options.between.selection(workspace.project)
            options = replace(options, selection=selection, between=None)
        return _evaluate(workspace, options, sinks, progress, shards, reports)


def _evaluate(
    workspace: Workspace,
    options: EvalOptions,
    sinks: Sequence[Sink],
    progress: Progress,
    shards: Shards | None,
    reports: Path | None,
) -> Evaluated:
    comparisons = compare_prompts(workspace, options.selection)
    notes: list[str] = []
    if options.changed is not None:
        comparisons, note = changed_prompts(workspace, comparisons, options.changed)
        known = {text for comparison in comparisons for text in comparison.notes}
        prompts = options.selection.prompts
        gone = no_longer_gated(workspace, prompts, merge_base(workspace))
        notes = [note, *(text for text in gone if text not in known)]  # it is a change as well
    without = [comparison.prompt for comparison in comparisons if comparison.baseline is None]
    if options.require_baseline and without:
        raise Refused(
            f"no baseline for {', '.join(without)}, and --require-baseline asks for one",
            hint=f"llmops release {without[0]}, measure {without[0]}@v1, then promote it --initial",
        )
    evalset_runs = refuse_unfit(prepare(workspace, comparisons, options))
    plan = cost_plan(workspace, evalset_runs)
    if options.dry_run:
        return Evaluated(plan=plan, report=None)
    if shards is not None:
        shards.fill(workspace, evalset_runs)
    plan_id = ""
    if options.shard is not None:
        from llmops_cli.run.shards import facts_of, plan_digest, restrict  # noqa: PLC0415 - as above

        plan_id = plan_digest(evalset_runs)
        restrict(evalset_runs, options.shard)
    run = run_evalsets(workspace, evalset_runs, options, progress=progress, shards=shards)
    if options.shard is not None:
        run.shard = to_plain(facts_of(run, options.shard, plan_id, options))
        no_verdict = Report(
            prompts=(),
            exit_code=ExitCode.INTERRUPTED if run.interrupted else ExitCode.DONE,
            calls=run.calls,
            reused=0,
            cost=run.cost,
            llmops=__version__,
        )
        write_reports(sinks, run, no_verdict, workspace.redact)
        return Evaluated(plan=plan, report=None, run=run)
    run.notes += [*notes, *workspace.notes]
    if options.strict:
        run.verdicts = {
            name: replace(verdict, on_inconclusive="fail")
            if verdict.on_inconclusive == "warn"
            else verdict
            for name, verdict in run.verdicts.items()
        }
    report = build_report(run)
    store_report(reports or workspace.store, report, redact=workspace.redact)
    write_reports(sinks, run, report, workspace.redact)
    return Evaluated(plan=plan, report=report, run=run)
