"""`llmops eval`: open the project, select, plan, run and report.

Also the public `evaluate` for notebooks and tests: everything it needs is an argument.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

from llmops_cli.core.errors import Refused
from llmops_cli.core.plan import Plan
from llmops_cli.core.ports import Progress
from llmops_cli.core.report import Report
from llmops_cli.engine.budget import Budget
from llmops_cli.report.build import report
from llmops_cli.report.run_file import keep_report
from llmops_cli.report.sinks import Sink, write_reports
from llmops_cli.run.base_changes import no_longer_gated, where_it_left
from llmops_cli.run.changed_prompts import concerned
from llmops_cli.run.comparison import PromptComparison, contests
from llmops_cli.run.cost_plan import plan_of
from llmops_cli.run.prepare import SamplingPlan, plan, vetted
from llmops_cli.run.reuse import reuse_runs
from llmops_cli.run.run_loop import Options, Run, conduct
from llmops_cli.run.selection import Between, Selection
from llmops_cli.run.workspace import Workspace, open_workspace


@dataclass(frozen=True, slots=True, kw_only=True)
class EvalOptions:
    """Everything that can be chosen for a run."""

    selection: Selection = field(default_factory=Selection)
    between: Between | None = None
    """Two versions or models to compare, instead of a selection with its baseline."""
    base: str | None = None
    """Git revision at which policy and trust list are read."""
    changed: str | None = None
    """Only prompts that changed since the branch left this git revision."""
    require_baseline: bool = False
    strict: bool = False
    """Accept no INCONCLUSIVE, whatever the policy says."""
    offline: bool = False
    fresh: bool = False
    dry_run: bool = False
    budget: Budget | None = None
    reuse: Sequence[Path] = ()
    """Run files whose answers and scores are reused first."""
    sinks: Sequence[Sink] = ()
    """Reports to write whatever the result."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluated:
    """What a run would call and, unless it was a dry run, its result."""

    plan: Plan
    report: Report | None
    run: Run | None = None


def unseen(_done: int, _planned: int, _failed: int) -> None:
    """Ignore progress."""


def evaluate(
    start: Path,
    options: EvalOptions | None = None,
    *,
    progress: Progress = unseen,
    environ: Mapping[str, str] | None = None,
) -> Evaluated:
    """Evaluate what `options` (default: everything) select in the project around `start`.

    Raises `InvalidFiles`, `UnknownName` or another `Refused` before any call, `Unmeasured` where
    the disk or git fails. What goes wrong in a call is in the report.
    """
    options = options or EvalOptions()
    with open_workspace(start, environ=environ, base=options.base) as workspace:
        reuse_runs(workspace, options.reuse)
        return _evaluate(workspace, options, progress)


def _evaluate(workspace: Workspace, options: EvalOptions, progress: Progress) -> Evaluated:
    selection = options.selection
    if options.between is not None:
        selection = options.between.selection(workspace.project)
    comparisons = contests(workspace, selection)
    notes: list[str] = []
    if options.changed is not None:
        comparisons, note = concerned(workspace, comparisons, options.changed)
        known = {each for comparison in comparisons for each in comparison.notes}
        gone = no_longer_gated(workspace, selection.prompts, where_it_left(workspace))
        notes = [note, *(each for each in gone if each not in known)]  # it is a change as well
    if options.require_baseline:
        _require_baselines(comparisons)
    now = datetime.now(UTC)
    partial = selection.partial
    depth = SamplingPlan(
        now=now, fresh=options.fresh, for_this_run=options.fresh and partial is not None
    )
    planned = vetted(plan(workspace, comparisons, depth))
    needs = plan_of(workspace, planned)
    if options.dry_run:
        return Evaluated(plan=needs, report=None)
    run_options = Options(
        offline=options.offline,
        fresh=options.fresh,
        budget=options.budget,
        partial=partial,
        now=now.isoformat(timespec="milliseconds"),
    )
    run = conduct(workspace, planned, run_options, progress=progress)
    run.notes += [*notes, *workspace.notes()]
    if options.strict:
        _refuse_inconclusive(run)
    made = report(run, partial=run.partial)
    redact = workspace.redact
    keep_report(workspace.root, made, redact=redact)
    write_reports(options.sinks, run, made, redact)
    return Evaluated(plan=needs, report=made, run=run)


def _refuse_inconclusive(run: Run) -> None:
    run.verdicts = {
        name: replace(verdict, on_inconclusive="fail")
        if verdict.on_inconclusive == "warn"
        else verdict
        for name, verdict in run.verdicts.items()
    }


def _require_baselines(comparisons: list[PromptComparison]) -> None:
    without = [comparison.prompt for comparison in comparisons if comparison.baseline is None]
    if without:
        raise Refused(
            f"no baseline for {', '.join(without)}, and --require-baseline asks for one",
            hint=f"llmops release {without[0]}, measure {without[0]}@v1, then promote it --initial",
        )
