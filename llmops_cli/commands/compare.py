"""`llmops compare A B C`: several models or versions side by side, without a gate.

Each target is a candidate with the first one as its baseline, and the first one is its own. No
target was selected by its trials, so all of them, the baseline's too, are the trials of a
candidate: equal requests are made once, and `eval` reuses them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from llmops_cli.core.errors import ExitCode, Refused
from llmops_cli.core.policy import Decision, NoWorse, Policy
from llmops_cli.core.ports import Progress
from llmops_cli.core.report import (
    ComparedEvalset,
    ComparedTarget,
    EvalsetReport,
    Plan,
    PromptReport,
    SideBySide,
)
from llmops_cli.gate.comparison import PASS_METRIC, Comparison
from llmops_cli.gate.score_test import lower_end, reference, sample, upper_end
from llmops_cli.render.formatting import notes
from llmops_cli.report.build import build_report
from llmops_cli.run.comparison import EvalsetSelection, PromptComparison, compare_prompts
from llmops_cli.run.cost_plan import cost_plan
from llmops_cli.run.evalset_run import EvalsetRun, Run
from llmops_cli.run.prepare import CENTURIES, prepare
from llmops_cli.run.run_loop import run_evalsets
from llmops_cli.run.selection import Between, EvalOptions
from llmops_cli.run.workspace import Workspace, open_workspace


@dataclass(frozen=True, slots=True, kw_only=True)
class Targets:
    """What to compare: names of prompts, versions or models, the baseline first."""

    names: Sequence[str]
    models: bool = False
    """Whether all of them are models."""
    prompts: Sequence[str] = ()
    """Between models: only these prompts."""
    evalsets: Sequence[str] = ()

    def between(self, name: str) -> Between:
        """Return the comparison of `name` with the first one."""
        return Between(
            self.names[0], name, prompts=self.prompts, evalsets=self.evalsets, models=self.models
        )


def compare_side_by_side(
    start: Path,
    targets: Targets,
    options: EvalOptions,
    *,
    progress: Progress,
    environ: Mapping[str, str] | None = None,
) -> Plan | SideBySide:
    """Measure every target and compare it with the first; of a dry run, return the plan.

    Raises as `evaluate` does, before any call.
    """
    twice = [name for name in targets.names if list(targets.names).count(name) > 1]
    if twice:
        raise Refused(f"{twice[0]!r} is named twice", hint="name each model or version once")
    with open_workspace(start, environ=environ) as workspace:
        names: dict[str, str] = {}
        comparisons: list[PromptComparison] = []
        for name in targets.names:
            selection = targets.between(name).selection(workspace.project)
            for comparison in compare_prompts(workspace, selection):
                names[comparison.candidate.name] = name
                comparisons.append(_without_gate(comparison))
        evalset_runs = prepare(workspace, comparisons, options)
        if options.dry_run:
            return cost_plan(workspace, evalset_runs)
        run = run_evalsets(workspace, evalset_runs, options, progress=progress)
        return _side_by_side(workspace, run, names)


def _without_gate(comparison: PromptComparison) -> PromptComparison:
    """Return the comparison with a policy that only measures the difference."""
    return replace(
        comparison,
        evalsets=tuple(map(_measured_only, comparison.evalsets)),
        anchors={},
        changes=(),
        baseline_purpose="gate",
    )


def _measured_only(selected: EvalsetSelection) -> EvalsetSelection:
    policy = replace(
        selected.policy,
        rules=(NoWorse(),),
        on_inconclusive="warn",
        baseline_repeats=selected.evalset.repeats,
        baseline_max_age=CENTURIES,
    )
    return replace(selected, policy=policy)


def _side_by_side(workspace: Workspace, run: Run, names: Mapping[str, str]) -> SideBySide:
    report = build_report(run)
    named = replace(report, prompts=tuple(_named(prompt, names) for prompt in report.prompts))
    reports = (evalset for prompt in report.prompts for evalset in prompt.evalsets)
    rows: dict[tuple[str, str], list[ComparedTarget]] = {}
    runs: dict[tuple[str, str], EvalsetRun] = {}
    reused = 0  # the baseline's trials are those of the first target
    for evalset_run, evalset in zip(_in_order(run), reports, strict=True):
        name = names[evalset_run.comparison.candidate.name]
        prompt = evalset_run.comparison.prompt if evalset_run.comparison.other_model else ""
        key = prompt, evalset.evalset
        runs.setdefault(key, evalset_run)
        rows.setdefault(key, []).append(_target(name, run, evalset_run, evalset))
        reused += evalset.candidate.measured - evalset.candidate.called
    missing = any(row.measured < row.planned for of_one in rows.values() for row in of_one)
    missing = missing or any(
        verdict.decision is Decision.INCOMPLETE for verdict in run.verdicts.values()
    )
    code = ExitCode.INCOMPLETE if missing else ExitCode.DONE
    return SideBySide(
        evalsets=tuple(
            ComparedEvalset(
                prompt=runs[key].comparison.prompt,
                evalset=key[1],
                cases=len(runs[key].cases),
                level=1 - runs[key].policy.alpha - runs[key].policy.beta,
                targets=tuple(of_one),
            )
            for key, of_one in rows.items()
        ),
        exit_code=ExitCode.INTERRUPTED if run.interrupted else code,
        calls=run.calls,
        reused=reused,
        cost=run.cost,
        notes=(*notes(named), *workspace.results.notes),
    )


def _named(prompt: PromptReport, names: Mapping[str, str]) -> PromptReport:
    """Return the report with the target's name in place of the evalset's, for its notes."""
    name = names[prompt.candidate]
    return replace(
        prompt, evalsets=tuple(replace(evalset, evalset=name) for evalset in prompt.evalsets)
    )


def _in_order(run: Run) -> Iterator[EvalsetRun]:
    """Yield the evalset runs as a report lists them."""
    for comparison in run.prompt_comparisons:
        yield from run.evalsets_of(comparison)


def _target(name: str, run: Run, evalset_run: EvalsetRun, evalset: EvalsetReport) -> ComparedTarget:
    comparison, candidate = evalset_run.result, evalset.candidate
    itself = evalset_run.comparison.baseline == evalset_run.comparison.candidate
    findings = run.verdicts[evalset_run.comparison.candidate.name].findings
    estimates = (item.estimate for item in findings if item.evalset == evalset.evalset)
    quality, lower, upper = _quality(comparison, evalset_run.policy)
    return ComparedTarget(
        name=name,
        model=candidate.model,
        planned=candidate.planned,
        measured=candidate.measured,
        quality=quality,
        lower=lower,
        upper=upper,
        difference=None if itself else next(filter(None, estimates), None),
        regressed=int(comparison.regressed().sum()),
        improved=int(comparison.improved().sum()),
        cost_per_call=None
        if candidate.cost is None or not candidate.measured
        else candidate.cost / candidate.measured,
        latency_p95=candidate.latency_p95,
    )


def _quality(
    comparison: Comparison, policy: Policy
) -> tuple[float | None, float | None, float | None]:
    """Return the pass rate of the measured cases and the ends of its interval."""
    means = comparison.scores[PASS_METRIC].candidate.mean()
    mask = ~np.isnan(means)
    values = means[mask]
    if not len(values):
        return None, None, None
    quality, groups = float(values.mean()), comparison.groups(mask)
    if groups is not None and groups.too_few:
        return quality, None, None
    compared_with, of_all = reference(values, groups), sample(values, low=0.0, high=1.0)
    lower = lower_end(of_all, compared_with.critical(policy.beta))
    return quality, lower, upper_end(of_all, compared_with.critical(policy.alpha))
