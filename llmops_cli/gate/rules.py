"""The rules about quality and completeness that are no paired test: one function, one finding.

`no_worse` and `anchor` are in `noninferiority`, `cost`, `tokens` and `latency` in `spending`.
Where a decision hangs on trials that were not measured it is INCOMPLETE, never a guess.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from llmops_cli.core.policy import (
    Anchor,
    Cost,
    Coverage,
    Critical,
    Errors,
    Floor,
    Latency,
    NoWorse,
    Regressed,
    Rule,
    Tokens,
)
from llmops_cli.core.verdict import Decision, Finding
from llmops_cli.gate.comparison import (
    NO_BASELINE,
    PASS_METRIC,
    CriticalState,
    Flags,
    Floats,
    GateInput,
    SideTotals,
)
from llmops_cli.gate.cost_rules import cost, latency, tokens
from llmops_cli.gate.paired_test import Measured, measure
from llmops_cli.gate.pairs import Groups, reference
from llmops_cli.gate.score_test import sample, upper_end
from llmops_cli.gate.wording import cases, counted, listed, percent, percent_up

EQUAL = 1e-12
"""Rounding that does not put a mean under a floor."""


def critical(_rule: Critical, exam: GateInput) -> Finding:
    """No case marked critical may fail; `gate.critical` says what failing is."""
    comparison = exam.comparison
    failed = comparison.critical_failed_cases()
    unknown = comparison.named(comparison.critical >= CriticalState.UNMEASURED)
    total = int((comparison.critical != CriticalState.NOT_CRITICAL).sum())
    if failed:
        decision, at_fault = Decision.FAIL, failed
        why = f"{len(failed)} of {counted(total, 'critical case')} failed: {listed(failed)}"
    elif unknown:
        decision, at_fault = Decision.INCOMPLETE, unknown
        why = (
            f"{len(unknown)} of {counted(total, 'critical case')} not measured or not "
            f"confirmed: {listed(unknown)}"
        )
    else:
        decision, at_fault = Decision.PASS, ()
        why = f"0 of {counted(total, 'critical case')} failed" if total else "no critical case"
    return Finding(
        rule="critical",
        decision=decision,
        why=why,
        evalset=exam.evalset,
        quality=total > 0,
        cases=at_fault,
        figures={"critical": total, "failed": len(failed), "unmeasured": len(unknown)},
    )


def floor(rule: Floor, exam: GateInput) -> Finding:
    """The metric's mean is at least `minimum`; by `bound`, only a proven shortfall fails."""
    comparison = exam.comparison
    scores = comparison.metric(rule.metric)
    mask = comparison.candidate.present & scores.due & comparison.tagged(rule.tag)
    mask &= ~comparison.known_failing
    n = int(mask.sum())
    which = f" with the tag {rule.tag}" if rule.tag else ""
    found = Finding(
        rule="floor",
        decision=Decision.INCONCLUSIVE,
        why=f"no case{which} has {rule.metric}",
        evalset=exam.evalset,
        metric=rule.metric,
        slice=rule.tag,
    )
    if n == 0:
        return found
    wanted = comparison.candidate.wanted
    worst = scores.candidate.filled(wanted, 0.0)[mask]
    best = scores.candidate.filled(wanted, 1.0)[mask]
    low, high = float(worst.mean()), float(best.mean())
    gaps = int(np.maximum(wanted - scores.candidate.measured, 0)[mask].sum())
    said = percent(low) if gaps == 0 else f"{percent(low)} to {percent(high)}"
    why = f"mean {rule.metric} {said} of {cases(n)}, floor {percent(rule.minimum)}"
    if gaps:
        why += f" ({counted(gaps, 'unmeasured trial')})"
    below = high < rule.minimum - EQUAL
    if low >= rule.minimum - EQUAL:
        decision = Decision.PASS
    elif not below:
        decision = Decision.INCOMPLETE
    elif rule.by == "mean":
        decision = Decision.FAIL
    else:
        decision, bound = _floor_by_bound(rule, exam, best, mask)
        why += f"; {bound}"
    figures = {"n": n, "worst": low, "best": high, "minimum": rule.minimum, "unmeasured": gaps}
    return replace(found, decision=decision, why=why, quality=True, figures=figures)


def _floor_by_bound(
    rule: Floor, exam: GateInput, best: Floats, mask: Flags
) -> tuple[Decision, str]:
    """The mean is under the floor: is the upper bound of what it estimates under it, too?"""
    groups = Groups.of(exam.comparison.group[mask]) if exam.comparison.grouped else None
    if groups is not None and groups.too_few:
        return Decision.INCONCLUSIVE, f"{counted(groups.count, 'group')} decide nothing"
    critical_value = reference(best, groups).critical(exam.spent.alpha)
    upper = upper_end(sample(best, low=0.0, high=1.0), critical_value)
    if upper < rule.minimum:
        return Decision.FAIL, f"upper bound {percent(upper)}"
    return (
        Decision.INCONCLUSIVE,
        f"upper bound {percent(upper)}: it could still be above",
    )


def regressed(rule: Regressed, exam: GateInput) -> Finding:
    """At most `maximum` of the cases that passed on the baseline fail now."""
    comparison = exam.comparison
    found = Finding(
        rule="regressed",
        decision=Decision.INCONCLUSIVE,
        why=NO_BASELINE,
        evalset=exam.evalset,
        metric=PASS_METRIC,
    )
    if not comparison.has_baseline:
        return found
    scores = comparison.metric(PASS_METRIC)
    mask = comparison.paired & scores.due
    moved = mask & ~comparison.identical
    wanted, wanted_before = comparison.candidate.wanted, comparison.baseline.wanted
    passed_at_least = mask & (scores.baseline.filled(wanted_before, 0.0) >= 0.5)
    passed_at_most = mask & (scores.baseline.filled(wanted_before, 1.0) >= 0.5)
    surely = moved & passed_at_least & (scores.candidate.filled(wanted, 1.0) < 0.5)
    perhaps = moved & passed_at_most & (scores.candidate.filled(wanted, 0.0) < 0.5)
    least = int(surely.sum()) / max(1, int(passed_at_most.sum()))
    most = int(perhaps.sum()) / max(1, int((passed_at_least | perhaps).sum()))
    if least > rule.maximum + EQUAL:
        decision = Decision.FAIL
    else:
        decision = Decision.PASS if most <= rule.maximum + EQUAL else Decision.INCOMPLETE
    share = percent(least) if least == most else f"{percent(least)} to {percent(most)}"
    why = (
        f"{share} of the {cases(int(passed_at_most.sum()))} that passed on the baseline fail now "
        f"(limit {percent(rule.maximum)})"
    )
    figures = {"least": least, "most": most, "maximum": rule.maximum}
    at_fault = comparison.named(surely)
    return replace(found, decision=decision, why=why, cases=at_fault, figures=figures)


def errors(rule: Errors, exam: GateInput) -> Finding:
    """At most `maximum` of a side's trials failed or went unscored."""
    sides = _sides(exam)
    shares = {name: _without_result(totals) for name, totals in sides.items() if totals.planned}
    over = [name for name, share in shares.items() if share > rule.maximum + EQUAL]
    shown = over or list(shares)
    limit = percent_up(rule.maximum)
    why = "; ".join(_errors_of(name, sides[name]) for name in shown) or "no call was planned"
    return Finding(
        rule="errors",
        decision=Decision.INCOMPLETE if over or not shares else Decision.PASS,
        why=f"{why} (limit {limit})",
        evalset=exam.evalset,
        figures={**shares, "maximum": rule.maximum},
    )


def _sides(exam: GateInput) -> dict[str, SideTotals]:
    """Every side of an exam by its name."""
    anchors = {f"anchor {version}": each.baseline for version, each in exam.anchors.items()}
    compared = exam.comparison
    return {"candidate": compared.candidate, "baseline": compared.baseline, **anchors}


def _without_result(totals: SideTotals) -> float:
    return (totals.failed + totals.unscored) / totals.planned


def _errors_of(name: str, totals: SideTotals) -> str:
    calls = counted(totals.planned, f"{name} call")
    if not totals.failed + totals.unscored:
        return f"0 of {calls} failed"
    causes = [f"{n} {kind}" for kind, n in totals.failures.items()]
    causes += [f"{totals.unscored} unscored"] if totals.unscored else []
    share = percent(_without_result(totals))
    return f"{totals.failed + totals.unscored} of {calls} failed, {share}: {', '.join(causes)}"


def coverage(_rule: Coverage, exam: GateInput) -> Finding:
    """No case of the baseline is gone unretired; every planned trial was made."""
    comparison = exam.comparison
    removed = () if exam.partial else comparison.removed_cases()
    gone = tuple(case for case in removed if case not in exam.retired)
    unmade = _unmade(exam)
    total = int(comparison.candidate.present.sum())
    if gone:
        decision, why = Decision.FAIL, _missed(exam, gone)
    elif unmade:
        decision, why = Decision.INCOMPLETE, unmade
    else:
        decision = Decision.PASS
        why = f"all calls of {cases(total)} were made"
    told = {
        "added": len(comparison.added_cases()),
        "edited since the baseline": len(comparison.edited_cases()),
        "retired": len(removed) - len(gone),
    }
    apart = [f"{n} {what}" for what, n in told.items() if n]
    if apart:
        why += f"; not compared: {', '.join(apart)}"
    return Finding(
        rule="coverage",
        decision=decision,
        why=why,
        evalset=exam.evalset,
        cases=gone,
        figures={
            "cases": total,
            "added": told["added"],
            "edited": told["edited since the baseline"],
            "removed": len(gone),
            "retired": told["retired"],
            "missing": sum(totals.missing for totals in _sides(exam).values()),
        },
    )


def _missed(exam: GateInput, gone: Sequence[str]) -> str:
    taken = tuple(case for case in gone if case not in exam.behind)
    behind = tuple(case for case in gone if case in exam.behind)
    parts = []
    if taken:
        parts.append(
            f"{cases(len(taken))} of the baseline removed without being retired: {listed(taken)}"
        )
    if behind:
        parts.append(
            f"update your branch: it lacks {cases(len(behind))} added on the base since: "
            f"{listed(behind)}"
        )
    return "; ".join(parts)


def everything_made(exam: GateInput) -> Finding | None:
    """What `coverage` says of trials that were never made, for a policy without that rule."""
    unmade = _unmade(exam)
    if unmade is None:
        return None
    return Finding(rule="coverage", decision=Decision.INCOMPLETE, why=unmade, evalset=exam.evalset)


def _unmade(exam: GateInput) -> str | None:
    """Which planned trials are missing, in words; None: none is, and something was planned."""
    if not exam.comparison.candidate.present.any():
        return "no case was planned"
    missing = {side: totals.missing for side, totals in _sides(exam).items()}
    said = [f"{counted(n, f'planned {side} trial')} missing" for side, n in missing.items() if n]
    return ", ".join(said) or None


DECISIONS: Mapping[type[Rule], Callable[[Any, GateInput], Finding | Measured]] = {
    Critical: critical,
    NoWorse: measure,
    Anchor: measure,
    Floor: floor,
    Regressed: regressed,
    Cost: cost,
    Tokens: tokens,
    Latency: latency,
    Errors: errors,
    Coverage: coverage,
}
"""How each rule of `core.policy` decides."""
