"""The judges that gate, and what is known about each of them.

Looked up before any call: a judge that was found unfit may not gate, and an environment may demand
that every one that gates was calibrated and found fit. Who is not calibrated is told in every
report.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from llmops_cli.core.calibration import Calibration, Standing, instrument_of
from llmops_cli.core.case_result import Metric
from llmops_cli.core.digest import Json
from llmops_cli.core.errors import Refused
from llmops_cli.core.policy import Anchor, Floor, NoWorse, Policy
from llmops_cli.core.release import EvalsetFacts, Evidence
from llmops_cli.core.report import JudgeSummary
from llmops_cli.gate.comparison import PASS_METRIC
from llmops_cli.run.scorers import Scorers
from llmops_cli.stores.calibrations import Calibrations, calibration_of


@dataclass(frozen=True, slots=True, kw_only=True)
class GatingJudge:
    """A judged scorer that gates."""

    evalset: str
    metric: Metric
    calibration: Calibration | None = None

    @property
    def address(self) -> str:
        """As `llmops calibrate` takes it."""
        return f"{self.evalset}:{self.metric.label}"

    @property
    def j(self) -> float | None:
        """By how much a difference shrinks through this judge, where that is known."""
        found = self.calibration
        return None if found is None or found.figures.j is None else found.figures.j.value

    def summary(self) -> JudgeSummary:
        """What a report says of it."""
        found = self.calibration
        j = None if found is None else found.figures.j
        return JudgeSummary(
            label=self.metric.label,
            standing="uncalibrated" if found is None else found.standing.value,
            labelled=0 if found is None else found.counts.n,
            j=None if j is None else j.value,
            j_lower=None if j is None else j.lower,
            j_upper=None if j is None else j.upper,
        )


def instruments(
    root: Path, evalset: str, scorers: Scorers, policy: Policy
) -> tuple[GatingJudge, ...]:
    """Every judged scorer that gates an evalset. Raises `IntegrityBroken`."""
    known = Calibrations(root)
    return tuple(
        GatingJudge(evalset=evalset, metric=metric, calibration=known.of(name))
        for name, metric in gating_metrics(scorers, policy).items()
    )


def gating_metrics(scorers: Scorers, policy: Policy) -> Mapping[str, Metric]:
    """How each judged scorer that gates is read, by the instrument that it is."""
    metrics = (bound.metric([bound.digest]) for bound in scorers.all if bound.kind.judged)
    return {instrument_of(metric): metric for metric in metrics if gates(metric, policy)}


def gates(metric: Metric, policy: Policy) -> bool:
    """Whether something rests on `metric`: `pass`, or a rule that names it."""
    rules = (each for each in policy.rules if isinstance(each, (NoWorse, Anchor, Floor)))
    return metric.counts or metric.label in {each.metric for each in rules}


def vet_judges(gating: Sequence[GatingJudge], policy: Policy) -> None:
    """Raises `Refused` where one of `gating` may not gate."""
    for each in gating:
        found = each.calibration
        if found is None:
            if policy.judges == "calibrated":
                raise _uncalibrated(each)
        elif found.standing is not Standing.GATE:
            raise Refused(
                f"the judge {each.metric.label} of {each.evalset} may not gate: its calibration "
                f"says {found.standing.value} ({'; '.join(found.why)})",
                hint="make it `advisory: true`, or better it and calibrate it again: "
                f"llmops calibrate {each.address} --labels FILE",
            )


def _uncalibrated(each: GatingJudge) -> Refused:
    what = f"the judge {each.metric.label} of {each.evalset} is not calibrated"
    if each.metric.paired:
        hint = "it compares two answers, and labels are about one: take its metric out of the rules"
    else:
        hint = (
            f"llmops calibrate {each.address} --draft labels.jsonl, fill in the labels, "
            f"then llmops calibrate {each.address} --labels labels.jsonl"
        )
    return Refused(f"{what}, and the policy demands `judges: calibrated`", hint=hint)


def shrinkage(gating: Sequence[GatingJudge], scorers: Scorers) -> Mapping[str, float]:
    """J by metric, for each metric that rests on one calibrated judge alone.

    Several scorers together shrink a difference by what nobody has measured.
    """
    by_label: dict[str, list[GatingJudge]] = {}
    for each in gating:
        by_label.setdefault(each.metric.label, []).append(each)
    found = {
        label: each.j
        for label, (each, *others) in by_label.items()
        if not others and each.calibration and not each.calibration.graded and each.j is not None
    }
    counting = {metric.label for metric in scorers.metrics if metric.counts}
    alone = [each for each in gating if each.metric.counts]
    if len(counting) == len(alone) == 1 and alone[0].j is not None:
        found[PASS_METRIC] = alone[0].j
    return found


def unproven(calibrations: Iterable[Calibration], asked: EvalsetFacts) -> list[str]:
    """Labels of gating judges of `asked` that no calibration lets gate, where it demands that."""
    if asked.policy.judges != "calibrated":
        return []
    known = {each.instrument for each in calibrations if each.standing is Standing.GATE}
    gating = (metric for metric in asked.metrics if metric.judged and metric.counts)
    return [metric.label for metric in gating if instrument_of(metric) not in known]


def embedded(gating: Sequence[GatingJudge]) -> Mapping[str, Json]:
    """The calibrations in full, by `evalset:label`, for evidence."""
    return {
        each.address: {**each.calibration.plain(), "digest": each.calibration.digest}
        for each in gating
        if each.calibration is not None
    }


def recorded(evidence: Evidence, place: Path) -> tuple[Calibration, ...]:
    """The calibrations that `evidence`, whose statement is at `place`, embeds.

    Raises `IntegrityBroken` where one is not what was measured.
    """
    found = evidence.measurement.calibrations.values()
    return tuple(calibration_of(each, place) for each in found if isinstance(each, Mapping))
