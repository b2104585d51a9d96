"""The judges that gate an evalset, and whether their calibrations allow it.

Checked before any call: a judge whose calibration isn't good enough may not gate, and an
environment may require that every gating judge is calibrated. A judge without a calibration is
named in every report.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from llmops_cli.core.digest import Json
from llmops_cli.core.errors import Refused
from llmops_cli.core.policy import Policy, gated_metrics
from llmops_cli.core.records import Calibration, CalibrationStatus, EvalsetFacts, instrument_of
from llmops_cli.core.report import JudgeSummary
from llmops_cli.core.result import Metric
from llmops_cli.gate.comparison import PASS_METRIC


@dataclass(frozen=True, slots=True, kw_only=True)
class GatingJudge:
    """A judged metric that gates an evalset."""

    evalset: str
    metric: Metric
    calibration: Calibration | None = None

    @property
    def address(self) -> str:
        """Its scorer, as `llmops calibrate` takes it."""
        return f"{self.evalset}:{self.metric.label}"

    @property
    def j(self) -> float | None:
        """Youden's J, the factor by which this judge shrinks a difference; None: unknown."""
        calibration = self.calibration
        if calibration is None or calibration.figures.j is None:
            return None
        return calibration.figures.j.value

    def summary(self) -> JudgeSummary:
        """Return its status for reports."""
        calibration = self.calibration
        if calibration is None:
            return JudgeSummary(label=self.metric.label, status="uncalibrated")
        j = calibration.figures.j
        return JudgeSummary(
            label=self.metric.label,
            status=calibration.status.value,
            labeled=calibration.counts.n,
            j=None if j is None else j.value,
            j_lower=None if j is None else j.lower,
            j_upper=None if j is None else j.upper,
        )


def gating_judges(
    evalset: str,
    judged: Iterable[Metric],
    policy: Policy,
    calibration: Callable[[str], Calibration | None],
) -> tuple[GatingJudge, ...]:
    """Return the judges that gate `evalset` under `policy`, one per instrument.

    `judged` are its judged metrics; `calibration` finds the calibration of an instrument.
    """
    by_instrument = {instrument_of(metric): metric for metric in judged if gates(metric, policy)}
    return tuple(
        GatingJudge(evalset=evalset, metric=metric, calibration=calibration(instrument))
        for instrument, metric in by_instrument.items()
    )


def gates(metric: Metric, policy: Policy) -> bool:
    """Return whether a decision depends on `metric`: through `pass`, or a rule that names it."""
    return metric.counts or metric.label in gated_metrics(policy)


def refuse_unfit_judges(judges: Sequence[GatingJudge], policy: Policy) -> None:
    """Raise `Refused` if one of `judges` may not gate under `policy`."""
    for judge in judges:
        label, calibration = judge.metric.label, judge.calibration
        if calibration is None and policy.judges == "calibrated":
            raise Refused(
                f"the judge {label} of {judge.evalset} is not calibrated, and the policy requires "
                "`judges: calibrated`",
                hint="it compares two answers, and labels are about one: remove its metric from "
                "the rules"
                if judge.metric.paired
                else f"llmops calibrate {judge.address} --draft labels.jsonl, fill in the labels, "
                f"then llmops calibrate {judge.address} --labels labels.jsonl",
            )
        if calibration is not None and calibration.status is not CalibrationStatus.GATE:
            raise Refused(
                f"the judge {label} of {judge.evalset} may not gate: its calibration says "
                f"{calibration.status.value} ({'; '.join(calibration.why)})",
                hint="make it `advisory: true`, or improve it and calibrate it again: "
                f"llmops calibrate {judge.address} --labels FILE",
            )


def shrinkage(judges: Sequence[GatingJudge], metrics: Iterable[Metric]) -> Mapping[str, float]:
    """Return J by metric, for each metric that depends on one calibrated judge alone.

    The combined effect of several scorers is unknown. `metrics` are all of the evalset.
    """
    by_label: dict[str, list[GatingJudge]] = {}
    for judge in judges:
        by_label.setdefault(judge.metric.label, []).append(judge)
    known = {
        label: judge.j
        for label, (judge, *others) in by_label.items()
        if not others and judge.calibration and not judge.calibration.graded and judge.j is not None
    }
    counting = {metric.label for metric in metrics if metric.counts}
    alone = [judge for judge in judges if judge.metric.counts]
    if len(counting) == len(alone) == 1 and alone[0].j is not None:
        known[PASS_METRIC] = alone[0].j
    return known


def unfit_labels(calibrations: Iterable[Calibration], facts: EvalsetFacts) -> list[str]:
    """Return the labels of gating judges without the calibration that the policy requires."""
    if facts.policy.judges != "calibrated":
        return []
    fit = {
        calibration.instrument
        for calibration in calibrations
        if calibration.status is CalibrationStatus.GATE
    }
    gating = (metric for metric in facts.metrics if metric.judged and metric.counts)
    return [metric.label for metric in gating if instrument_of(metric) not in fit]


def calibration_records(judges: Iterable[GatingJudge]) -> Mapping[str, Json]:
    """Return the calibrations in full, by `evalset:label`, for evidence."""
    return {
        judge.address: {**judge.calibration.plain(), "digest": judge.calibration.digest}
        for judge in judges
        if judge.calibration is not None
    }
