"""The rules other than the paired tests, one function each, and the table of all rules.

A rule is a function from its options and a gate input to one finding. `no_worse` and `anchor` are
in `paired_test`. Where a decision depends on trials that were not measured it is INCOMPLETE, never
a guess.

`cost` and `tokens` test the mean of x = c − (1 + margin)·b over the compared cases: significantly
above 0 is FAIL, significantly below PASS. `latency` tests the 95th percentile of the calls of this
run by the exact distribution-free test; a cached answer has no latency.
"""

from __future__ import annotations

import math
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
    rule_name,
)
from llmops_cli.core.result import FailureKind
from llmops_cli.gate.comparison import (
    NO_BASELINE,
    PASS_METRIC,
    CriticalState,
    Flags,
    GateInput,
    SideTotals,
    pooled_means,
)
from llmops_cli.gate.paired_test import Measured, measure
from llmops_cli.gate.score_test import (
    Floats,
    Groups,
    group_variance,
    reference,
    sample,
    t_quantile,
    upper_end,
)
from llmops_cli.gate.wording import cases, counted, listed, percent, percent_up

P95 = 0.95
FEWEST_CALLS = 59
"""0.95⁵⁹ < 0.05: with fewer calls no p95 can be shown to be under a limit at level 0.05."""


def latency(rule: Latency, gate_input: GateInput) -> Finding:
    """The 95th percentile of this run's own calls is at most `p95` seconds."""
    totals = gate_input.comparison.candidate
    if rule.of == "first_token":
        seconds, what = np.sort(totals.first_tokens), "first token p95"
        nothing = (
            "no answer was streamed in this run: cached answers and servers that do not stream "
            "have no first token"
        )
    else:
        seconds, what = np.sort(totals.latencies), "p95"
        nothing = "no call was made in this run: cached answers have no latency"
    n = len(seconds)
    finding = Finding(
        rule="latency",
        decision=Decision.INCONCLUSIVE,
        why=nothing,
        evalset=gate_input.evalset,
        figures={"calls": n, "limit": rule.p95},
    )
    if n == 0:
        return finding
    observed = float(seconds[math.ceil(P95 * n) - 1])
    low, high = quantile_bounds(seconds, P95, gate_input.rates.alpha, gate_input.rates.beta)
    if low is not None and low > rule.p95:
        decision, side = Decision.FAIL, f"significantly above (at least {low:.2f} s)"
    elif high is not None and high <= rule.p95:
        decision, side = Decision.PASS, f"significantly below (at most {high:.2f} s)"
    else:
        few = f"; a PASS needs {FEWEST_CALLS} calls" if n < FEWEST_CALLS else ""
        decision, side = Decision.INCONCLUSIVE, f"could be below or above{few}"
    return replace(
        finding,
        decision=decision,
        why=f"{what} {observed:.2f} s of {counted(n, 'call')}, limit {rule.p95:g} s: {side}",
        figures={**finding.figures, "p95": observed, "lower": low, "upper": high},
    )


def quantile_bounds(
    ordered: Floats, p: float, alpha: float, beta: float
) -> tuple[float | None, float | None]:
    """Return the confidence bounds of the p-quantile, below at 1 − `alpha`, above at 1 − `beta`.

    They are the greatest order statistic x₍ₖ₎ with P(Bin(n, p) < k) ≤ `alpha` and the least with
    P(Bin(n, p) < k) ≥ 1 − `beta`; None without one. `ordered` is ascending.
    """
    below = _binomial_cdf(len(ordered), p)[:-1]
    few, enough = np.flatnonzero(below <= alpha), np.flatnonzero(below >= 1.0 - beta)
    low = float(ordered[few[-1]]) if len(few) else None
    return low, float(ordered[enough[0]]) if len(enough) else None


def _binomial_cdf(n: int, p: float) -> Floats:
    """Return P(Bin(n, p) ≤ k) for k = 0 … n."""
    log_factorial = np.concatenate([[0.0], np.cumsum(np.log(np.arange(1.0, n + 1)))])
    k = np.arange(n + 1)
    log_choose = log_factorial[n] - log_factorial - log_factorial[::-1]
    cdf: Floats = np.cumsum(np.exp(log_choose + k * math.log(p) + (n - k) * math.log1p(-p)))
    return cdf


_AGAINST_LIMIT = {
    Decision.PASS: "significantly below",
    Decision.FAIL: "significantly above",
    Decision.INCONCLUSIVE: "could be below or above",
}


def growth(rule: Cost | Tokens, gate_input: GateInput) -> Finding:
    """Mean cost or tokens per case grow by at most `margin`."""
    what, margin, comparison = rule_name(type(rule)), rule.margin, gate_input.comparison
    finding = Finding(
        rule=what,
        decision=Decision.INCONCLUSIVE,
        why=NO_BASELINE,
        evalset=gate_input.evalset,
        figures={"margin": margin},
    )
    if not comparison.has_baseline:
        return finding
    sides = (comparison.candidate, comparison.baseline)
    unknown = sum(side.unpriced if what == "cost" else side.uncounted for side in sides)
    if unknown:
        why = f"{counted(unknown, 'trial')} of unknown {what}"
        return replace(finding, decision=Decision.INCOMPLETE, why=why)
    now, before = (side.cost if what == "cost" else side.tokens for side in sides)
    mask = comparison.paired & (now.measured > 0) & (before.measured > 0)
    means = pooled_means(now, before, comparison.identical)
    after_per_trial, before_per_trial = (mean[mask] for mean in means)
    groups = comparison.groups(mask)
    n = int(mask.sum())
    if n < 2 or (groups is not None and groups.too_few):
        few = cases(n) if groups is None else counted(groups.count, "group")
        return replace(finding, why=f"{few} measured on both sides: too few to decide")
    paid, paid_before = float(after_per_trial.mean()), float(before_per_trial.mean())
    growth = paid / paid_before - 1 if paid_before else math.inf if paid else 0.0
    excess = after_per_trial - (1 + margin) * before_per_trial
    decision = _decide_growth(excess, groups, gate_input)
    return replace(
        finding,
        decision=decision,
        why=f"{_amount(what, paid_before)} → {_amount(what, paid)} per trial over {cases(n)} "
        f"({100 * growth:+.1f}%), {_AGAINST_LIMIT[decision]} the limit of {percent(margin)}",
        figures={"margin": margin, "n": n, "candidate": paid, "baseline": paid_before},
    )


def _decide_growth(excess: Floats, groups: Groups | None, gate_input: GateInput) -> Decision:
    """Decide by a one-sided t on the mean excess; without any variance its sign decides."""
    n, mean = len(excess), float(excess.mean())
    single = float(excess.var(ddof=1)) / n
    variance = single if groups is None else max(single, group_variance(excess, groups))
    if variance <= (1e-12 * float(np.abs(excess).max())) ** 2:
        return Decision.FAIL if mean > 0 else Decision.PASS
    t = mean / math.sqrt(variance)
    degrees = (n if groups is None else groups.count) - 1
    if t > t_quantile(1 - gate_input.rates.alpha, degrees):
        return Decision.FAIL
    if t < -t_quantile(1 - gate_input.rates.beta, degrees):
        return Decision.PASS
    return Decision.INCONCLUSIVE


def _amount(what: str, value: float) -> str:
    return f"${value:.6f}" if what == "cost" else f"{value:,.1f} tokens"


EQUAL = 1e-12
"""Rounding error to ignore when a mean is compared with a floor."""


def critical(_rule: Critical, gate_input: GateInput) -> Finding:
    """No case marked critical may fail (`comparison.critical_state` defines failing)."""
    comparison = gate_input.comparison
    failed = comparison.in_state(CriticalState.FAILED)
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
    groups = gate_input.comparison.groups(mask)
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
    kinds = {FailureKind(kind): n for kind, n in side.failures.items()}
    causes = [f"{n} {kind.value.replace('_', ' ')}" for kind, n in kinds.items() if kind.attempted]
    causes += [f"{side.unscored} unscored"] if side.unscored else []
    skipped = sum(n for kind, n in kinds.items() if not kind.attempted)
    tail = f"; {skipped} not attempted" if skipped else ""
    return f"{what}, {percent(without_result / side.planned)}: {', '.join(causes)}{tail}"


def coverage(_rule: Coverage, gate_input: GateInput) -> Finding:
    """No case of the baseline is removed without being retired; every planned call was made."""
    comparison = gate_input.comparison
    removed = () if gate_input.partial else comparison.removed_cases()
    gone = tuple(case for case in removed if case not in gate_input.retired)
    missing = missing_trials(gate_input)
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
        "edited": int(comparison.edited.sum()),
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


def missing_trials(gate_input: GateInput) -> str | None:
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
    Cost: growth,
    Tokens: growth,
    Latency: latency,
    Errors: errors,
    Coverage: coverage,
}
"""How each rule of `core.policy` decides."""
