"""Builds the report of a run: the verdicts, the cases worth a reader's time, figures and notes.

Only shown cases become objects, and only their texts are read back from the store.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import islice
from typing import Any, TypeAlias
from urllib.parse import urlsplit

import numpy as np

from llmops_cli import __version__
from llmops_cli.core.errors import ExitCode, Location
from llmops_cli.core.policy import Anchor, Decision, NoWorse, Verdict, gated_metrics
from llmops_cli.core.report import (
    EvalsetReport,
    MetricSummary,
    PromptReport,
    Report,
    ShownCase,
    ShownSide,
    SideSummary,
    SourceLocations,
)
from llmops_cli.core.result import FailureKind
from llmops_cli.gate.calibration import GatingJudge, corrected
from llmops_cli.gate.comparison import PASS_METRIC, Comparison, SideTotals
from llmops_cli.gate.decide import slices
from llmops_cli.gate.wording import percent, points_up
from llmops_cli.project.project import PROJECT_FILE
from llmops_cli.report.finished_run import EvalsetCases, cases_of
from llmops_cli.run.comparison import PromptComparison
from llmops_cli.run.evalset_run import EvalsetRun, Run
from llmops_cli.run.side import Side

Floats: TypeAlias = np.ndarray[tuple[Any, ...], np.dtype[np.float64]]

SHOWN = 50
"""Cases shown per evalset."""
WORST_FIRST: tuple[ExitCode, ...] = (
    ExitCode.FAILED,
    ExitCode.INCOMPLETE,
    ExitCode.INCONCLUSIVE,
    ExitCode.DONE,
)


def build_report(run: Run) -> Report:
    """Build the report of `run`."""
    code = worst_exit_code(verdict.exit_code for verdict in run.verdicts.values())
    return Report(
        prompts=tuple(_prompt(run, comparison) for comparison in run.prompt_comparisons),
        exit_code=ExitCode.INTERRUPTED if run.interrupted else code,
        calls=run.calls,
        reused=run.reused,
        cost=run.cost,
        partial=run.partial,
        interrupted=run.interrupted,
        spent=dict(run.spent),
        notes=tuple(run.notes),
        llmops=__version__,
    )


def worst_exit_code(codes: Iterable[ExitCode]) -> ExitCode:
    """Return the worst exit code of several verdicts: FAIL before INCOMPLETE."""
    return min(codes, key=WORST_FIRST.index, default=ExitCode.DONE)


def _prompt(run: Run, comparison: PromptComparison) -> PromptReport:
    verdict = run.verdicts[comparison.candidate.name]
    baseline = comparison.baseline
    where = f" ({comparison.environment})" if comparison.against_environment else ""
    return PromptReport(
        prompt=comparison.prompt,
        candidate=comparison.candidate.name,
        baseline=None if baseline is None else f"{baseline.name}{where}",
        verdict=verdict,
        evalsets=tuple(map(_evalset, run.evalsets_of(comparison))),
        next_steps=tuple(_next_steps(comparison, verdict, run)),
        environment=comparison.environment if comparison.against_environment else None,
    )


def _evalset(evalset_run: EvalsetRun) -> EvalsetReport:
    cases, comparison = cases_of(evalset_run), evalset_run.result
    picked = list(islice(cases.changes, SHOWN))
    baseline = evalset_run.others.get("baseline")
    return EvalsetReport(
        evalset=evalset_run.name,
        cases=len(evalset_run.cases),
        repeats=evalset_run.candidate.plan.repeats,
        candidate=_side(evalset_run.candidate, comparison.candidate),
        baseline=None if baseline is None else _side(baseline, comparison.baseline),
        metrics=tuple(_metrics(evalset_run)),
        slices=slices(comparison),
        shown=tuple(_shown(cases, picked)),
        hidden=len(cases.changes) - len(picked),
        changes=Counter(cases.changes.values()),
        judges=tuple(judge.summary() for judge in evalset_run.gating),
        notes=tuple(_notes(evalset_run)),
    )


def _shown(cases: EvalsetCases, names: Sequence[str]) -> Iterator[ShownCase]:
    """Yield the cases called `names`, each with the most relevant trials."""
    shown = {
        case.case: case for case in cases.show([cases.comparison.cases[name] for name in names])
    }
    for name in names:
        case = shown[name]
        improved = case.change == "improved"
        yield replace(
            case,
            candidate=_telling(case.candidate, passing=improved),
            baseline=_telling(case.baseline, passing=not improved),
        )


def _telling(side: ShownSide | None, *, passing: bool) -> ShownSide | None:
    if side is None:
        return None
    at = side.telling(passing=passing)
    return replace(side, trials=side.trials[at : at + 1])


def _side(side: Side, totals: SideTotals) -> SideSummary:
    model = side.spec.target.model
    return SideSummary(
        name=side.spec.name,
        target=side.spec.target.digest,
        model=f"{model.provider}/{model.model}",
        planned=side.plan.planned,
        measured=side.plan.planned - len(side.state.failures),
        called=side.state.called,
        failures=dict(totals.failures),
        cause=_cause(side),
        unscored=totals.unscored,
        input_tokens=totals.input_tokens,
        output_tokens=totals.output_tokens,
        cost=totals.total_cost,
        latency_p50=_quantile(totals.latencies, 0.5),
        latency_p95=_quantile(totals.latencies, 0.95),
        first_token_p50=_quantile(totals.first_tokens, 0.5),
        first_token_p95=_quantile(totals.first_tokens, 0.95),
        served_models=totals.served_models,
    )


def _quantile(seconds: Floats, at: float) -> float | None:
    return float(np.quantile(np.sort(seconds), at)) if len(seconds) else None


def _cause(side: Side) -> str:
    """Return the most frequent cause of failed calls of a side, or why no call was made."""
    kinds = Counter(failure.kind for failure in side.state.failures.values())
    # What was not attempted is a consequence, and names its cause a second time.
    if any(kind is not FailureKind.NOT_ATTEMPTED for kind in kinds):
        del kinds[FailureKind.NOT_ATTEMPTED]
    if not kinds:
        return next(_unscored(side), "")
    leading = kinds.most_common(1)[0][0]
    failure = next(failure for failure in side.state.failures.values() if failure.kind is leading)
    if leading is not FailureKind.AUTHENTICATION:
        return failure.message
    model = side.spec.target.model
    host = urlsplit(model.base_url or "").netloc or f"{model.provider}/{model.model}"
    status = f" ({failure.status})" if failure.status else ""
    return f"the API key was rejected{status} by {host}"


def _metrics(evalset_run: EvalsetRun) -> Iterator[MetricSummary]:
    parts = {bound.label: bound.kind.part for bound in evalset_run.scorers.all}
    for label, scores in evalset_run.result.scores.items():
        ours, theirs = scores.candidate.mean(), scores.baseline.mean()
        yield MetricSummary(
            label=label,
            gated=label == PASS_METRIC or not (scores.advisory or scores.paired),
            paired=scores.paired,
            candidate=_mean(ours),
            baseline=_mean(theirs),
            candidate_n=int(np.count_nonzero(~np.isnan(ours))),
            baseline_n=int(np.count_nonzero(~np.isnan(theirs))),
            part=parts.get(label),
        )


def _mean(values: Floats) -> float | None:
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else None


def _after_pass(comparison: PromptComparison, *, partial: bool, measured: bool) -> Iterator[str]:
    name, baseline = comparison.prompt, comparison.baseline
    unchanged = baseline and baseline.target.digest == comparison.candidate.target.digest
    if partial:
        yield f"{comparison.rerun_command}   # every case: a partial run is no evidence"
    elif unchanged or not comparison.against_environment:
        return
    elif comparison.other_model:
        yield f"llmops check   # after naming the model in {name}: a version freezes both"
    else:
        yield _promotion(comparison, measured=measured)


def _promotion(comparison: PromptComparison, *, measured: bool) -> str:
    """Return the command that promotes the candidate, to the first environment that lacks it."""
    name, version, to = comparison.prompt, comparison.candidate.version, comparison.destination
    assert to is not None
    address = name if version is None else f"{name}@v{version}"
    has_evidence = version is None or (measured and to.environment == comparison.environment)
    flags = [
        f"--to {to.environment}",
        *["--initial"] * to.first,
        *["--measure"] * (not has_evidence),
    ]
    return f"llmops promote {address} {' '.join(flags)} -m 'why'"


def _next_steps(comparison: PromptComparison, verdict: Verdict, run: Run) -> Iterator[str]:
    """Yield commands that can be run as they are; what else to know is a comment."""
    name, command = comparison.prompt, comparison.rerun_command
    measured = any(item.own_baseline for item in run.evalsets_of(comparison))
    if measured:
        command = f"llmops measure {comparison.candidate.name} --to {comparison.environment}"
    again = f"{command}   # or run the same command again"
    if run.interrupted:
        yield again + (": every answer is stored" if run.kept else "")
        return
    match verdict.decision:
        case Decision.PASS:
            yield from _after_pass(comparison, partial=run.partial is not None, measured=measured)
        case Decision.FAIL:
            stay = comparison.other_model and comparison.baseline
            first = f"stay with {stay.name}" if stay else f"fix {name}"
            yield f"{comparison.rerun_command} --verbose   # look closer; {first}"
        case Decision.INCOMPLETE:
            sides = (side for item in run.evalsets_of(comparison) for side in item.sides)
            failures = (failure for side in sides for failure in side.state.failures.values())
            # calling again does not fix what is not retryable
            lasting = any(not failure.retryable for failure in failures)
            rest = ": only what is missing is called" if run.kept else ""
            fix = "; first fix what the notes say" if lasting else ""
            yield f"{again}{rest}{fix}"
        case Decision.INCONCLUSIVE if comparison.baseline is None:
            yield _promotion(comparison, measured=measured)
        case _:
            yield (
                f"{comparison.rerun_command} --dry-run   # what the cases can show: add cases, or "
                "accept a wider margin in llmops.yaml"
            )


def source_locations(run: Run) -> SourceLocations:
    """Return where the prompts, evalsets and cases of `run` are in the project's files."""
    evalsets = [evalset_run.selection.evalset for evalset_run in run.evalset_runs]
    prompts = {
        comparison.prompt: comparison.candidate.target.prompt.path
        for comparison in run.prompt_comparisons
    }
    return SourceLocations(
        prompts={name: Location(path=path, line=1) for name, path in prompts.items() if path},
        evalsets={
            evalset.name: Location(path=evalset.path, line=1)
            for evalset in evalsets
            if evalset.path
        },
        cases={
            (evalset_run.name, case.id): case.where
            for evalset_run in run.evalset_runs
            for case in evalset_run.cases
            if case.where is not None
        },
        project=Location(path=PROJECT_FILE, line=1),
    )


def _notes(evalset_run: EvalsetRun) -> Iterator[str]:
    """Yield the caveats of one evalset."""
    comparison = evalset_run.result
    for side in evalset_run.sides:
        yield from _causes(side)
    yield from evalset_run.comparison.notes
    yield from evalset_run.notes
    known = int(np.count_nonzero(comparison.known_failing))
    if known:
        yield f"{known} known-failing case{'s' if known != 1 else ''} outside the gate"
    gated = {PASS_METRIC, *gated_metrics(evalset_run.policy)} & set(comparison.scores)
    due = np.any([comparison.scores[label].due for label in gated], axis=0)
    ungated = int(np.count_nonzero(~due))
    if ungated:
        yield f"{ungated} cases have no gating scorer: they decide nothing"
    yield from _judged_by_itself(evalset_run)
    yield from _calibration(evalset_run.gating)
    yield from _served_by_others(evalset_run)
    for judge in evalset_run.gating:
        yield from _corrected(judge, comparison)
    yield from _scaled_margins(evalset_run)


def _causes(side: Side) -> Iterator[str]:
    """Say why trials failed or got no score: each kind once, in the words of its first."""
    role, failures = side.spec.role, side.state.failures.values()
    first = {failure.kind: failure.message for failure in reversed(failures)}
    counts = Counter(failure.kind for failure in failures).most_common()
    # The cause first: what was not attempted after it is a consequence.
    for kind, count in sorted(counts, key=lambda item: not item[0].attempted):
        trials = "trial" if count == 1 else "trials"
        what = "failed" if kind.attempted else "not attempted"
        yield f"{count:,} {role} {trials} {what}: {first[kind]}"
    yield from _unscored(side)


def _unscored(side: Side) -> Iterator[str]:
    """Say by label how many answers a scorer gave no score, and why: in the words of the first."""
    reasons: dict[str, list[str]] = {}
    for unscored in side.state.unscored.values():
        for label, reason in unscored.items():
            reasons.setdefault(label, []).append(reason)
    for label, whys in reasons.items():
        answers = "answer" if len(whys) == 1 else "answers"
        yield f"{len(whys):,} {side.spec.role} {answers} not scored by {label}: {whys[0]}"


def _judged_by_itself(evalset_run: EvalsetRun) -> Iterator[str]:
    """Say where a model judges its own answers, which it does leniently."""
    model = evalset_run.candidate.spec.target.model
    for bound in evalset_run.scorers.all:
        judge = bound.judge and bound.judge.target.model
        if judge and (judge.provider, judge.model) == (model.provider, model.model):
            yield f"{bound.label} is judged by the model under test, {model.provider}/{model.model}"


def _calibration(gating: Sequence[GatingJudge]) -> Iterator[str]:
    """Say which gating judges are not calibrated (yet), and what is known of the others."""
    unknown = [judge for judge in gating if judge.calibration is None]
    for judge in gating:
        if judge.calibration is not None and not judge.calibrated:
            yield (
                f"the judge {judge.metric.label} is not calibrated yet: "
                f"{'; '.join(judge.calibration.why)} (llmops calibrate {judge.address})"
            )
    if unknown:
        labels = ", ".join(judge.metric.label for judge in unknown)
        yield (
            f"judged by an uncalibrated model: {labels}; "
            f"accuracy unknown (llmops calibrate {unknown[0].address})"
        )
    for judge in gating:
        calibration = judge.calibration
        if calibration is not None and (j := judge.j) is not None:
            yield (
                f"the judge {judge.metric.label} is calibrated on {calibration.counts.n:,} labels: "
                f"J {j.value:.2f} (90% interval {j.lower:.2f} to {j.upper:.2f}), so a regression "
                f"of 5 points appears as {5 * max(0.0, j.value):.1f}"
            )


def _served_by_others(evalset_run: EvalsetRun) -> Iterator[str]:
    """Say which judges another model served than the one that was calibrated."""
    for judge in evalset_run.gating:
        label, calibration = judge.metric.label, judge.calibration
        served = evalset_run.judged_by(label)
        if calibration is not None and calibration.served and served - set(calibration.served):
            yield (
                f"the judge {label} was calibrated as {' and '.join(calibration.served)}, and "
                f"{' and '.join(sorted(served))} judged now: llmops calibrate {judge.address}"
            )


def _corrected(judge: GatingJudge, comparison: Comparison) -> Iterator[str]:
    """Say the candidate's pass rate with the errors of a calibrated judge taken out.

    Where a case has several trials, its passes are as many cases as they are on average.
    """
    calibration, scores = judge.calibration, comparison.scores.get(judge.metric.label)
    if calibration is None or calibration.graded or scores is None or judge.metric.paired:
        return
    if not judge.calibrated:
        return
    means = scores.candidate.mean()
    means = means[~np.isnan(means)]
    passed = round(float(means.sum()))
    rate = corrected(passed, len(means), calibration.counts)
    if rate is not None:
        yield (
            f"{judge.metric.label} passes {percent(passed / len(means))} of the candidate's cases; "
            f"corrected for its errors that is {percent(rate.value)} "
            f"(95% interval {percent(rate.lower)} to {percent(rate.upper)})"
        )


def _scaled_margins(evalset_run: EvalsetRun) -> Iterator[str]:
    """Say which margins are smaller than the policy's, because a judge shrinks differences."""
    policy, scaled = evalset_run.selection.policy, evalset_run.policy
    for rule, applied in zip(policy.rules, scaled.rules, strict=True):
        if not isinstance(rule, (NoWorse, Anchor)) or not isinstance(applied, (NoWorse, Anchor)):
            continue
        margin = policy.margin if rule.margin is None else rule.margin
        if applied.margin is not None and applied.margin != margin:
            yield (
                f"scale_margin: a regression of {points_up(margin)} points appears as "
                f"{points_up(applied.margin)} on {rule.metric}: that is the margin"
            )
