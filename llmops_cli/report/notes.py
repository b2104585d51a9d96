"""Write the notes of an evalset's report: what was not measured, how accurate its judges are."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

import numpy as np

from llmops_cli.core.policy import Anchor, NoWorse, gated_metrics
from llmops_cli.gate.calibration import GatingJudge, corrected
from llmops_cli.gate.comparison import PASS_METRIC, Comparison
from llmops_cli.gate.wording import percent, points_up
from llmops_cli.run.evalset_run import EvalsetRun
from llmops_cli.run.side import Side


def evalset_notes(evalset_run: EvalsetRun, comparison: Comparison) -> Iterator[str]:
    """Yield the caveats of one evalset."""
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
    for kind, count in Counter(failure.kind for failure in failures).most_common():
        trials = "trial" if count == 1 else "trials"
        yield f"{count:,} {role} {trials} not measured: {first[kind]}"
    reasons: dict[str, list[str]] = {}
    for unscored in side.state.unscored.values():
        for label, reason in unscored.items():
            reasons.setdefault(label, []).append(reason)
    for label, whys in reasons.items():
        answers = "answer" if len(whys) == 1 else "answers"
        yield f"{len(whys):,} {role} {answers} not scored by {label}: {whys[0]}"


def _judged_by_itself(evalset_run: EvalsetRun) -> Iterator[str]:
    """Say where a model judges its own answers, which it does leniently."""
    model = evalset_run.candidate.spec.target.model
    for bound in evalset_run.scorers.all:
        judge = bound.judge and bound.judge.target.model
        if judge and (judge.provider, judge.model) == (model.provider, model.model):
            yield f"{bound.label} is judged by the model under test, {model.provider}/{model.model}"


def _calibration(gating: Sequence[GatingJudge]) -> Iterator[str]:
    """Say which gating judges are not calibrated, and what is known of the others."""
    unknown = [judge for judge in gating if judge.calibration is None]
    if unknown:
        labels = ", ".join(judge.metric.label for judge in unknown)
        yield (
            f"judged by an uncalibrated model: {labels}; "
            f"accuracy unknown (llmops calibrate {unknown[0].address})"
        )
    for judge in gating:
        calibration = judge.calibration
        if calibration is not None and (j := calibration.figures.j) is not None:
            yield (
                f"the judge {judge.metric.label} is calibrated on {calibration.counts.n:,} labels: "
                f"J {j.value:.2f} (90% interval {j.lower:.2f} to {j.upper:.2f}), so a regression "
                f"of 5 points appears as {5 * max(0.0, j.value):.1f}"
            )


def _served_by_others(evalset_run: EvalsetRun) -> Iterator[str]:
    """Say which judges another model served than the one that was calibrated."""
    for judge in evalset_run.gating:
        label, calibration = judge.metric.label, judge.calibration
        states = [side.state for side in evalset_run.sides]
        served = {model for state in states for model in state.judges.get(label, ())}
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
