"""The rules other than the paired tests, one function each, and the table of all rules.

A rule is a function from its options and a gate input to one finding. `no_worse` and `anchor` are
in `paired_test`, `cost`, `tokens` and `latency` in `cost_rules`. Where a decision depends on trials
that were not measured it is INCOMPLETE, never a guess.
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
    Decision,
    Errors,
    Finding,
    Floor,
    Latency,
    NoWorse,
    Regressed,
    Rule,
    Tokens,
)
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
"""Rounding error to ignore when a mean is compared with a floor."""


def critical(_rule: Critical, gate_input: GateInput) -> Finding:
    """No case marked critical may fail (`comparison.critical_state` defines failing)."""
    comparison = gate_input.comparison
    failed = comparison.critical_failed_cases()
    unknown = comparison.named(comparison.critical >= CriticalState.UNMEASURED)
    total = int((comparison.critical != CriticalState.NOT_CRITICAL).sum())
    of = f"of {counted(total, 'critical case')}"
    if failed:
        decision, why = Decision.FAIL, f"{len(failed)} {of} failed: {listed(failed)}"
    elif unknown:
        decision = Decision.INCOMPLETE
        why = f"{len(unknown)} {of} not measured or not confirmed: {listed(unknown)}"
    else:
        decision, why = Decision.PASS, f"0 {of} failed" if total else "no critical case"
    return Finding(
        rule="critical",
        decision=decision,
        why=why,
        evalset=gate_input.evalset,
        quality=total > 0,
        cases=failed or unknown,
        figures={"critical": total, "failed": len(failed), "unmeasured": len(unknown)},
    )


def floor(rule: Floor, gate_input: GateInput) -> Finding:
    """The metric's mean is at least `minimum`; by `bound`, only a significant shortfall fails."""
    comparison = gate_input.comparison
    scores, planned_trials = comparison.metric(rule.metric), comparison.candidate.planned_trials
    mask = comparison.candidate.present & scores.due & comparison.tagged(rule.tag)
    mask &= ~comparison.known_failing
    which = f" with the tag {rule.tag}" if rule.tag else ""
    finding = Finding(
        rule="floor",
        decision=Decision.INCONCLUSIVE,
        why=f"no case{which} has {rule.metric}",
        evalset=gate_input.evalset,
        metric=rule.metric,
        slice=rule.tag,
    )
    if not mask.any():
        return finding
    best = scores.candidate.filled(planned_trials, 1.0)[mask]
    low, high = float(scores.candidate.filled(planned_trials, 0.0)[mask].mean()), float(best.mean())
    gaps = int(np.maximum(planned_trials - scores.candidate.measured, 0)[mask].sum())
    mean = f"{percent(low)} to {percent(high)}" if gaps else percent(low)
    why = f"mean {rule.metric} {mean} of {cases(len(best))}, floor {percent(rule.minimum)}"
    if gaps:
        why += f" ({counted(gaps, 'unmeasured trial')})"
    if low >= rule.minimum - EQUAL:
        decision = Decision.PASS
    elif high >= rule.minimum - EQUAL:
        decision = Decision.INCOMPLETE
    elif rule.by == "mean":
        decision = Decision.FAIL
    else:
        decision, bound = _floor_by_bound(rule, gate_input, best, mask)
        why += f"; {bound}"
    return replace(
        finding,
        decision=decision,
        why=why,
        quality=True,
        figures={
            "n": len(best),
            "worst": low,
            "best": high,
            "minimum": rule.minimum,
            "unmeasured": gaps,
        },
    )


def _floor_by_bound(
    rule: Floor, gate_input: GateInput, best: Floats, mask: Flags
) -> tuple[Decision, str]:
    """Decide whether what the mean estimates, and not only the mean, is under the floor."""
    comparison = gate_input.comparison
    groups = Groups.of(comparison.group[mask]) if comparison.grouped else None
    if groups is not None and groups.too_few:
        return Decision.INCONCLUSIVE, f"{counted(groups.count, 'group')} decide nothing"
    critical_value = reference(best, groups).critical(gate_input.rates.alpha)
    upper = upper_end(sample(best, low=0.0, high=1.0), critical_value)
    if upper < rule.minimum:
        return Decision.FAIL, f"upper bound {percent(upper)}"
    return Decision.INCONCLUSIVE, f"upper bound {percent(upper)}: it could still be above"


def regressed(rule: Regressed, gate_input: GateInput) -> Finding:
    """At most `maximum` of the cases that passed on the baseline fail now."""
    comparison = gate_input.comparison
    finding = Finding(
        rule="regressed",
        decision=Decision.INCONCLUSIVE,
        why=NO_BASELINE,
        evalset=gate_input.evalset,
        metric=PASS_METRIC,
    )
    if not comparison.has_baseline:
        return finding
    scores = comparison.metric(PASS_METRIC)
    mask = comparison.paired & scores.due
    moved = mask & ~comparison.identical
    now = [
        scores.candidate.filled(comparison.candidate.planned_trials, fill) for fill in (0.0, 1.0)
    ]
    before = [
        scores.baseline.filled(comparison.baseline.planned_trials, fill) for fill in (0.0, 1.0)
    ]
    passed_at_least, passed_at_most = (mask & (mean >= 0.5) for mean in before)
    surely = moved & passed_at_least & (now[1] < 0.5)
    perhaps = moved & passed_at_most & (now[0] < 0.5)
    least = int(surely.sum()) / max(1, int(passed_at_most.sum()))
    most = int(perhaps.sum()) / max(1, int((passed_at_least | perhaps).sum()))
    if least > rule.maximum + EQUAL:
        decision = Decision.FAIL
    else:
        decision = Decision.PASS if most <= rule.maximum + EQUAL else Decision.INCOMPLETE
    share = percent(least) if least == most else f"{percent(least)} to {percent(most)}"
    return replace(
        finding,
        decision=decision,
        why=f"{share} of the {cases(int(passed_at_most.sum()))} that passed on the baseline fail "
        f"now (limit {percent(rule.maximum)})",
        cases=comparison.named(surely),
        figures={"least": least, "most": most, "maximum": rule.maximum},
    )


def errors(rule: Errors, gate_input: GateInput) -> Finding:
    """At most `maximum` of a side's calls failed or went unscored."""
    sides = {name: side for name, side in _sides(gate_input).items() if side.planned}
    shares = {name: (side.failed + side.unscored) / side.planned for name, side in sides.items()}
    over = [name for name, share in shares.items() if share > rule.maximum + EQUAL]
    why = "; ".join(_errors_of(name, sides[name]) for name in over or sides)
    return Finding(
        rule="errors",
        decision=Decision.INCOMPLETE if over or not shares else Decision.PASS,
        why=f"{why or 'no call was planned'} (limit {percent_up(rule.maximum)})",
        evalset=gate_input.evalset,
        figures={**shares, "maximum": rule.maximum},
    )


def _sides(gate_input: GateInput) -> dict[str, SideTotals]:
    """Return every side of a gate input by its name."""
    compared, anchors = gate_input.comparison, gate_input.anchors
    sides = {"candidate": compared.candidate, "baseline": compared.baseline}
    return sides | {f"anchor {version}": anchor.baseline for version, anchor in anchors.items()}


def _errors_of(name: str, side: SideTotals) -> str:
    without_result = side.failed + side.unscored
    what = f"{without_result} of {counted(side.planned, f'{name} call')} failed"
    if not without_result:
        return what
    causes = [f"{n} {kind}" for kind, n in side.failures.items()]
    causes += [f"{side.unscored} unscored"] if side.unscored else []
    return f"{what}, {percent(without_result / side.planned)}: {', '.join(causes)}"


def coverage(_rule: Coverage, gate_input: GateInput) -> Finding:
    """No case of the baseline is removed without being retired; every planned call was made."""
    comparison = gate_input.comparison
    removed = () if gate_input.partial else comparison.removed_cases()
    gone = tuple(case for case in removed if case not in gate_input.retired)
    missing = _missing_trials(gate_input)
    total = int(comparison.candidate.present.sum())
    if gone:
        decision, why = Decision.FAIL, _removed(gate_input, gone)
    elif missing:
        decision, why = Decision.INCOMPLETE, missing
    else:
        decision, why = Decision.PASS, f"all calls of {cases(total)} were made"
    figures = {
        "cases": total,
        "added": len(comparison.added_cases()),
        "edited": len(comparison.edited_cases()),
        "removed": len(gone),
        "retired": len(removed) - len(gone),
        "missing": sum(side.missing for side in _sides(gate_input).values()),
    }
    apart = {"added": "added", "edited": "edited since the baseline", "retired": "retired"}
    not_compared = [f"{figures[key]} {what}" for key, what in apart.items() if figures[key]]
    if not_compared:
        why += f"; not compared: {', '.join(not_compared)}"
    return Finding(
        rule="coverage",
        decision=decision,
        why=why,
        evalset=gate_input.evalset,
        cases=gone,
        figures=dict(figures),
    )


def _removed(gate_input: GateInput, gone: Sequence[str]) -> str:
    taken = tuple(case for case in gone if case not in gate_input.behind)
    behind = tuple(case for case in gone if case in gate_input.behind)
    parts = []
    if taken:
        removed = cases(len(taken))
        parts.append(f"{removed} of the baseline removed without being retired: {listed(taken)}")
    if behind:
        lacking = cases(len(behind))
        parts.append(f"update your branch: it lacks {lacking} added on the base since: ")
        parts[-1] += listed(behind)
    return "; ".join(parts)


def everything_made(gate_input: GateInput) -> Finding | None:
    """Return the finding of `coverage` about missing trials, for a policy without that rule."""
    why = _missing_trials(gate_input)
    if why is None:
        return None
    return Finding(
        rule="coverage", decision=Decision.INCOMPLETE, why=why, evalset=gate_input.evalset
    )


def _missing_trials(gate_input: GateInput) -> str | None:
    """Return which planned trials are missing; None: none is, and something was planned."""
    if not gate_input.comparison.candidate.present.any():
        return "no case was planned"
    missing = {name: side.missing for name, side in _sides(gate_input).items() if side.missing}
    parts = [f"{counted(n, f'planned {name} trial')} missing" for name, n in missing.items()]
    return ", ".join(parts) or None


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
