"""What a report says of the judges that gate: who is unknown, and what is known of the others."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from llmops_cli.core.policy import Anchor, NoWorse
from llmops_cli.flows.judge.instruments import Instrument
from llmops_cli.flows.run.pairing import Pairing
from llmops_cli.gate.calibration import corrected
from llmops_cli.gate.comparison import Comparison
from llmops_cli.gate.wording import percent, points_up


def judged(each: Pairing, columns: Comparison) -> Iterator[str]:
    """Everything about the judges of one evalset that a reader must know."""
    yield from _by_itself(each)
    yield from _standing(each.gating)
    yield from _drifted(each)
    for one in each.gating:
        yield from _corrected(one, columns)
    yield from _scaled(each)


def _by_itself(each: Pairing) -> Iterator[str]:
    """A model is a lenient judge of its own answers."""
    model = each.candidate.target.model
    for bound in each.scorers.all:
        judge = bound.judge and bound.judge.target.model
        if judge and (judge.provider, judge.model) == (model.provider, model.model):
            yield f"{bound.label} is judged by the model under test, {model.provider}/{model.model}"


def _standing(gating: Sequence[Instrument]) -> Iterator[str]:
    unknown = [each for each in gating if each.calibration is None]
    if unknown:
        yield (
            f"judged by an uncalibrated model: {', '.join(each.metric.label for each in unknown)}; "
            f"nobody knows how often it errs (llmops calibrate {unknown[0].address})"
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


def _drifted(each: Pairing) -> Iterator[str]:
    """Judges whose name another model answers to than the one that was calibrated."""
    for one in each.gating:
        label, known = one.metric.label, one.calibration
        served = {who for arm in each.arms for who in arm.judges.get(label, ())}
        if known is not None and known.served and served - set(known.served):
            yield (
                f"the judge {label} was calibrated as {' and '.join(known.served)}, and "
                f"{' and '.join(sorted(served))} judged now: llmops calibrate {one.address}"
            )


def _corrected(one: Instrument, columns: Comparison) -> Iterator[str]:
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


def _scaled(each: Pairing) -> Iterator[str]:
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
