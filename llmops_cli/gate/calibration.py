"""Decide whether a judge may gate, from how well it agrees with human labels.

A judge that errs at random shrinks every difference by J = TPR + TNR − 1: a true regression of 5
points appears as 5·J. J below ½ hides most of a regression, and a judge whose two readings differ
adds noise to the gate. The rule is GATE where there are enough labels and all of it is significant,
ADVISORY where J is significantly above 0.3, else UNUSABLE (docs/judges.md, record 0011).

The figures are closed forms, each with its source; statsmodels is the oracle in the tests. A share
of zero outputs is None, never 0.

The judges of an evalset are checked before any call: one whose calibration isn't good enough may
not gate, and an environment may require that every gating judge is calibrated. A judge without a
calibration is named in every report.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import NormalDist

import numpy as np

from llmops_cli.core.digest import Json
from llmops_cli.core.errors import Location, Refused
from llmops_cli.core.policy import Anchor, NoWorse, Policy, Rule, gated_metrics
from llmops_cli.core.records import (
    Calibration,
    CalibrationStatus,
    Counts,
    EvalsetFacts,
    Figure,
    Figures,
    instrument_of,
)
from llmops_cli.core.report import JudgeSummary
from llmops_cli.core.result import Metric
from llmops_cli.gate.comparison import PASS_METRIC


def two_sided(level: float) -> float:
    """Return the normal quantile of a two-sided interval at `level`, 0 < level < 1."""
    return NormalDist().inv_cdf((1.0 + level) / 2.0)


def wilson(k: int, n: int, level: float) -> Figure | None:
    """Return the share k of n with Wilson's score interval (1927); None if n is 0."""
    if n == 0:
        return None
    z = two_sided(level)
    share = k / n
    middle = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    lower = 0.0 if k == 0 else max(0.0, middle - half)
    upper = 1.0 if k == n else min(1.0, middle + half)
    return Figure(value=share, lower=lower, upper=upper)


def youden(tpr: Figure | None, tnr: Figure | None) -> Figure | None:
    """Return J = TPR + TNR − 1 with its interval, at the level of both; None if either is None.

    Newcombe's hybrid of two score intervals (1998, Stat Med 17:873, method 10).
    """
    if tpr is None or tnr is None:
        return None
    j = tpr.value + tnr.value - 1.0
    below = math.hypot(tpr.value - tpr.lower, tnr.value - tnr.lower)
    above = math.hypot(tpr.upper - tpr.value, tnr.upper - tnr.value)
    return Figure(value=j, lower=max(-1.0, j - below), upper=min(1.0, j + above))


def kappa(table: Sequence[Sequence[int]], level: float) -> Figure | None:
    """Return Cohen's kappa of a square table of counts, with its interval.

    By the large-sample variance of Fleiss, Cohen & Everitt (1969, Psych Bull 72:323). None if
    there is nothing to agree by chance about: no count, or one class alone in both margins.
    """
    counts = np.asarray(table, dtype=np.float64)
    n = float(counts.sum())
    if n == 0:
        return None
    p = counts / n
    rows, columns = p.sum(axis=1), p.sum(axis=0)
    observed, expected = float(np.trace(p)), float(rows @ columns)
    if math.isclose(expected, 1.0):
        return None
    value = (observed - expected) / (1.0 - expected)
    missed = 1.0 - value
    on = np.diag(p) @ (1.0 - (rows + columns) * missed) ** 2
    weights = (columns[:, None] + rows[None, :]) ** 2
    off = missed**2 * (float((p * weights).sum()) - float(np.diag(p) @ np.diag(weights)))
    bias = (value - expected * missed) ** 2
    variance = max(0.0, float(on) + off - bias) / (n * (1.0 - expected) ** 2)
    half = two_sided(level) * math.sqrt(variance)
    return Figure(value=value, lower=max(-1.0, value - half), upper=min(1.0, value + half))


LEVEL = 0.95
"""Of every interval but that of J."""
LEVEL_OF_J = 0.90
FEWEST = 100
"""Labeled outputs, for GATE."""
FEWEST_OF_EACH = 30
"""Of each label, for GATE."""
J_FOR_GATE = 0.5
J_FOR_ADVISORY = 0.3
KAPPA_FOR_GATE = 0.4
DISAGREEMENT = 0.10
UNSCORED = 0.02
"""The share of readings that a calibration may lack."""
EQUAL = 1e-9


def figures(counts: Counts) -> Figures:
    """Return all figures of these counts, with intervals."""
    table = [
        [counts.both_pass, counts.only_people_pass],
        [counts.only_judge_passes, counts.both_fail],
    ]
    right = (counts.both_pass, counts.people_pass)
    wrong = (counts.both_fail, counts.people_fail)
    return Figures(
        kappa=kappa(table, LEVEL),
        tpr=wilson(*right, LEVEL),
        tnr=wilson(*wrong, LEVEL),
        j=youden(wilson(*right, LEVEL_OF_J), wilson(*wrong, LEVEL_OF_J)),
        disagreement=wilson(counts.differing, counts.read_twice, LEVEL),
        corrected=corrected(counts.judge_passes, counts.n, counts),
    )


def ruling(counts: Counts) -> tuple[CalibrationStatus, tuple[str, ...]]:
    """Return what the judge with these counts may be used for, and why it isn't more.

    Too few labels say nothing against a judge, unless they are enough to rule GATE out (record
    0011).
    """
    measured = figures(counts)
    why = tuple(_short_of_gate(counts, measured))
    if not why:
        return CalibrationStatus.GATE, ()
    too_few = counts.n < FEWEST or min(counts.people_pass, counts.people_fail) < FEWEST_OF_EACH
    if too_few and not _ruled_out(measured):
        return CalibrationStatus.TOO_FEW, why
    proven = measured.j is not None and measured.j.lower >= J_FOR_ADVISORY
    return CalibrationStatus.ADVISORY if proven else CalibrationStatus.UNUSABLE, why


def _ruled_out(measured: Figures) -> bool:
    """Return whether the figures rule GATE out, however many labels are added."""
    j, kappa_, differing = measured.j, measured.kappa, measured.disagreement
    return bool(
        (j and j.upper < J_FOR_GATE)
        or (kappa_ and kappa_.upper < KAPPA_FOR_GATE)
        or (differing and differing.lower > DISAGREEMENT)
    )


def _short_of_gate(counts: Counts, measured: Figures) -> Iterator[str]:
    if counts.n < FEWEST:
        yield f"{counts.n} labeled outputs (minimum {FEWEST})"
    for word, count in (("pass", counts.people_pass), ("fail", counts.people_fail)):
        if count < FEWEST_OF_EACH:
            yield f"{count} {word} labels (minimum {FEWEST_OF_EACH})"
    if measured.j is None:
        yield "J is unknown: one of the two labels is missing"
    elif measured.j.lower < J_FOR_GATE:
        yield f"J could be as low as {measured.j.lower:.2f} (minimum {J_FOR_GATE:g})"
    if measured.kappa is None:
        yield "kappa is unknown: judge and people give one label only"
    elif measured.kappa.lower < KAPPA_FOR_GATE:
        yield f"kappa could be as low as {measured.kappa.lower:.2f} (minimum {KAPPA_FOR_GATE:g})"
    if measured.disagreement is None:
        yield "no output was read twice"
    elif measured.disagreement.value > DISAGREEMENT + EQUAL:
        share = f"{100 * measured.disagreement.value:.1f}%"
        yield f"its two readings differ on {share} of the outputs (limit 10%)"


def rogan_gladen(rate: float, tpr: float, tnr: float) -> float | None:
    """Return the true pass rate behind a judge's `rate`; None for one no better than chance.

    Rogan & Gladen (1978, Am J Epidemiol 107:71), cut to [0, 1].
    """
    j = tpr + tnr - 1.0
    if j <= EQUAL:
        return None
    return min(1.0, max(0.0, (rate + tnr - 1.0) / j))


def corrected(passed: int, n: int, judge: Counts, level: float = LEVEL) -> Figure | None:
    """Return the true pass rate if a judge with these counts passed `passed` of `n` outputs.

    Rogan–Gladen's point with the interval of Lang & Reiczigel (2014, Prev Vet Med 113:13), which
    takes in that the judge's own rates are estimates. None if the judge's rates are unknown
    or no better than chance, or nothing was judged.
    """
    positives, negatives = judge.people_pass, judge.people_fail
    if not (n and positives and negatives):
        return None
    tpr, tnr = judge.both_pass / positives, judge.both_fail / negatives
    value = rogan_gladen(passed / n, tpr, tnr)
    ends = lang_reiczigel(passed / n, n, (tpr, positives), (tnr, negatives), level=level)
    if value is None or ends is None:
        return None
    # A point at the edge may be outside the interval, whose center differs.
    return Figure(value=value, lower=min(value, ends[0]), upper=max(value, ends[1]))


def lang_reiczigel(
    rate: float,
    n: int,
    tpr: tuple[float, int],
    tnr: tuple[float, int],
    *,
    level: float,
) -> tuple[float, float] | None:
    """Return the ends of the interval for a true rate; `tpr` and `tnr` with their sample sizes.

    The observed rate is shifted as by Agresti & Coull, the judge's rates by one success and one
    failure each. None if these give no better than chance.
    """
    z = two_sided(level)
    square = z * z
    p, size = (n * rate + square / 2) / (n + square), n + square
    sensitivity, positives = (tpr[0] * tpr[1] + 1) / (tpr[1] + 2), tpr[1] + 2
    specificity, negatives = (tnr[0] * tnr[1] + 1) / (tnr[1] + 2), tnr[1] + 2
    j = sensitivity + specificity - 1.0
    if j <= EQUAL:
        return None
    middle = (p + specificity - 1.0) / j
    spread_1 = sensitivity * (1 - sensitivity) / positives
    spread_0 = specificity * (1 - specificity) / negatives
    moved = middle + 2 * square * (middle * spread_1 - (1 - middle) * spread_0)
    variance = p * (1 - p) / size + middle**2 * spread_1 + (1 - middle) ** 2 * spread_0
    half = z * math.sqrt(variance) / j
    return min(1.0, max(0.0, moved - half)), max(0.0, min(1.0, moved + half))


def shown_as(loss: float, j: float) -> float:
    """Return how large a true regression appears through a judge with this J, at least 0."""
    return max(0.0, loss * j)


def scaled(policy: Policy, shrinkage: Mapping[str, float]) -> Policy:
    """Return the policy with margins times J, for metrics that rest on one judge alone.

    `shrinkage` is J by metric. As it is unless the policy says `scale_margin`.
    """
    if not policy.scale_margin or not shrinkage:
        return policy
    rules: list[Rule] = []
    for rule in policy.rules:
        if isinstance(rule, (NoWorse, Anchor)) and rule.metric in shrinkage:
            margin = shown_as(policy.for_rule(rule).margin, shrinkage[rule.metric])
            rules.append(replace(rule, margin=margin))
        else:
            rules.append(rule)
    return replace(policy, rules=tuple(rules))


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
    def j(self) -> Figure | None:
        """Youden's J, the factor by which this judge shrinks a difference; None: unknown."""
        return self.calibration.figures.j if self.calibration and self.calibrated else None

    @property
    def calibrated(self) -> bool:
        """Whether there is a calibration, on enough labels."""
        calibration = self.calibration
        return calibration is not None and calibration.status is not CalibrationStatus.TOO_FEW

    def summary(self) -> JudgeSummary:
        """Return its status for reports."""
        if self.calibration is None:
            return JudgeSummary(label=self.metric.label, status="uncalibrated")
        return JudgeSummary(
            label=self.metric.label,
            status=self.calibration.status.value,
            labeled=self.calibration.counts.n,
            j=self.j.value if self.j else None,
            j_lower=self.j.lower if self.j else None,
            j_upper=self.j.upper if self.j else None,
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


def refuse_unfit_judges(
    judges: Sequence[GatingJudge], policy: Policy, place: Location | None = None
) -> None:
    """Raise `Refused` if one of `judges` may not gate under `policy`; `place` is its scorer's."""
    for judge in judges:
        label, calibration = judge.metric.label, judge.calibration
        if not judge.calibrated:
            if policy.judges != "calibrated":
                continue
            few = f" yet: {'; '.join(calibration.why)}" if calibration else ""
            raise Refused(
                f"the judge {label} of {judge.evalset} is not calibrated{few}, and the policy "
                "requires `judges: calibrated`",
                hint="it compares two answers, and labels are about one: remove its metric from "
                "the rules"
                if judge.metric.paired
                else f"llmops calibrate {judge.address} --draft labels.jsonl, fill in the labels, "
                f"then llmops calibrate {judge.address} --labels labels.jsonl",
            ).at(place)
        if calibration is not None and calibration.status is not CalibrationStatus.GATE:
            raise Refused(
                f"the judge {label} of {judge.evalset} may not gate: its calibration says "
                f"{calibration.status.value} ({'; '.join(calibration.why)})",
                hint="make it `advisory: true`, or improve it and calibrate it again: "
                f"llmops calibrate {judge.address} --labels FILE",
            ).at(place)


def shrinkage(judges: Sequence[GatingJudge], metrics: Iterable[Metric]) -> Mapping[str, float]:
    """Return J by metric, for each metric that depends on one calibrated judge alone.

    The combined effect of several scorers is unknown. `metrics` are all of the evalset.
    """
    by_label: dict[str, list[GatingJudge]] = {}
    for judge in judges:
        by_label.setdefault(judge.metric.label, []).append(judge)
    known = {
        label: judge.j.value
        for label, (judge, *others) in by_label.items()
        if not others and judge.calibration and not judge.calibration.graded and judge.j is not None
    }
    counting = {metric.label for metric in metrics if metric.counts}
    alone = [judge for judge in judges if judge.metric.counts]
    if len(counting) == len(alone) == 1 and alone[0].j is not None:
        known[PASS_METRIC] = alone[0].j.value
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
