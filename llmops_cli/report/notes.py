"""Writes the notes of an evalset's report: what was not measured, how sound its judges are."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

import numpy as np

from llmops_cli.core.policy import Anchor, NoWorse, gated_metrics
from llmops_cli.gate.calibration import corrected
from llmops_cli.gate.comparison import PASS_METRIC, Comparison
from llmops_cli.gate.judges import GatingJudge
from llmops_cli.gate.wording import percent, points_up
from llmops_cli.run.evalset_run import EvalsetRun
from llmops_cli.run.side import Side


def evalset_notes(each: EvalsetRun, columns: Comparison) -> Iterator[str]:
    for side in each.sides:
        yield from _causes(side)
    yield from each.contest.notes
    yield from each.notes
    known = int(np.count_nonzero(columns.known_failing))
    if known:
        yield f"{known} known-failing case{'s' if known != 1 else ''} outside the gate"
    gated = {PASS_METRIC, *gated_metrics(each.policy)} & set(columns.scores)
    ungated = int(np.count_nonzero(~np.any([columns.scores[key].due for key in gated], axis=0)))
    if ungated:
        yield f"{ungated} cases have no gating scorer: they decide nothing"
    yield from _judge_notes(each, columns)


def _causes(side: Side) -> Iterator[str]:
    """Why draws failed or got no score: each kind once, in the words of its first."""
    counts = Counter(failure.kind for failure in side.failures.values())
    said = {failure.kind: failure.message for failure in reversed(side.failures.values())}
    for kind, count in counts.most_common():
        trials = "trial" if count == 1 else "trials"
        yield f"{count:,} {side.role} {trials} not measured: {said[kind]}"
    whys: dict[str, list[str]] = {}
    for unscored in side.unscored.values():
        for label, why in unscored.items():
            whys.setdefault(label, []).append(why)
    for label, each in whys.items():
        answers = "answer" if len(each) == 1 else "answers"
        yield f"{len(each):,} {side.role} {answers} not scored by {label}: {each[0]}"


def _judge_notes(each: EvalsetRun, columns: Comparison) -> Iterator[str]:
    """Everything about the judges of one evalset that a reader must know."""
    yield from _by_itself(each)
    yield from _status(each.gating)
    yield from _drifted(each)
    for one in each.gating:
        yield from _corrected(one, columns)
    yield from _scaled(each)


def _by_itself(each: EvalsetRun) -> Iterator[str]:
    """A model is a lenient judge of its own answers."""
    model = each.candidate.target.model
    for bound in each.scorers.all:
        judge = bound.judge and bound.judge.target.model
        if judge and (judge.provider, judge.model) == (model.provider, model.model):
            yield f"{bound.label} is judged by the model under test, {model.provider}/{model.model}"


def _status(gating: Sequence[GatingJudge]) -> Iterator[str]:
    unknown = [each for each in gating if each.calibration is None]
    if unknown:
        yield (
            f"judged by an uncalibrated model: {', '.join(each.metric.label for each in unknown)}; "
            f"accuracy unknown (llmops calibrate {unknown[0].address})"
        )
    for each in gating:
        found = each.calibration
        j = None if found is None else found.figures.j
        if found is not None and j is not None:
            yield (
                f"the judge {each.metric.label} is calibrated on {found.counts.n:,} labels: "
                f"J {j.value:.2f} (90 % interval {j.lower:.2f} to {j.upper:.2f}), so a loss of "
                f"5 points shows as {5 * max(0.0, j.value):.1f}"
            )


def _drifted(each: EvalsetRun) -> Iterator[str]:
    """Judges whose name another model answers to than the one that was calibrated."""
    for one in each.gating:
        label, known = one.metric.label, one.calibration
        served = {who for side in each.sides for who in side.judges.get(label, ())}
        if known is not None and known.served and served - set(known.served):
            yield (
                f"the judge {label} was calibrated as {' and '.join(known.served)}, and "
                f"{' and '.join(sorted(served))} judged now: llmops calibrate {one.address}"
            )


def _corrected(one: GatingJudge, columns: Comparison) -> Iterator[str]:
    """The pass rate behind what a calibrated judge says of the candidate, its errors taken out.

    Where a case has several draws, its passes are as many cases as they are on average.
    """
    known, scores = one.calibration, columns.scores.get(one.metric.label)
    if known is None or known.graded or scores is None or one.metric.paired:
        return
    means = scores.candidate.mean()
    means = means[~np.isnan(means)]
    passed = round(float(means.sum()))
    true = corrected(passed, len(means), known.counts)
    if true is not None:
        yield (
            f"{one.metric.label} passes {percent(passed / len(means))} of the candidate's cases; "
            f"corrected for its errors that is {percent(true.value)} "
            f"(95 % interval {percent(true.lower)} to {percent(true.upper)})"
        )


def _scaled(each: EvalsetRun) -> Iterator[str]:
    """Margins that are smaller than the policy says, because they are seen through a judge."""
    asked, real = each.round.policy, each.policy
    for rule, applied in zip(asked.rules, real.rules, strict=True):
        if not isinstance(rule, (NoWorse, Anchor)) or not isinstance(applied, (NoWorse, Anchor)):
            continue
        margin = asked.margin if rule.margin is None else rule.margin
        if applied.margin is not None and applied.margin != margin:
            yield (
                f"scale_margin: a loss of {points_up(margin)} points shows as "
                f"{points_up(applied.margin)} on {rule.metric}: that is the margin"
            )
