"""The rules about cost, tokens and latency. None of them is about quality.

`cost` and `tokens` test the mean of x = c − (1 + margin)·b over the compared cases: significantly
above 0 is FAIL, significantly below PASS. `latency` tests the 95th percentile of the calls of this
run by the exact distribution-free test; a cached answer has no latency.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from llmops_cli.core.policy import Cost, Decision, Finding, Latency, Tokens
from llmops_cli.gate.comparison import NO_BASELINE, Comparison, Flags, Floats, GateInput, Tally
from llmops_cli.gate.pairs import Groups, group_variance, t_quantile
from llmops_cli.gate.wording import cases, counted, percent

P95 = 0.95
FEWEST_CALLS = 59
"""0.95⁵⁹ < 0.05: with fewer calls no p95 can be shown to be under a limit at level 0.05."""


def cost(rule: Cost, gate_input: GateInput) -> Finding:
    """Mean cost per case grows by at most `margin`."""
    return _growth("cost", rule.margin, gate_input)


def tokens(rule: Tokens, gate_input: GateInput) -> Finding:
    """Mean tokens per case grow by at most `margin`."""
    return _growth("tokens", rule.margin, gate_input)


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
    low = quantile_lower_bound(seconds, P95, gate_input.rates.alpha)
    high = quantile_upper_bound(seconds, P95, gate_input.rates.beta)
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


def quantile_upper_bound(ordered: Floats, p: float, level: float) -> float | None:
    """Return the upper confidence bound of the p-quantile at 1 − `level`; None without one.

    It is the least order statistic x₍ₖ₎ with P(Bin(n, p) < k) ≥ 1 − `level`. `ordered` is
    ascending.
    """
    below = _binomial_cdf(len(ordered), p)
    enough = np.flatnonzero(below[:-1] >= 1.0 - level)
    return float(ordered[enough[0]]) if len(enough) else None


def quantile_lower_bound(ordered: Floats, p: float, level: float) -> float | None:
    """Return the lower bound: the greatest x₍ₖ₎ with P(Bin(n, p) < k) ≤ `level`."""
    below = _binomial_cdf(len(ordered), p)
    few = np.flatnonzero(below[:-1] <= level)
    return float(ordered[few[-1]]) if len(few) else None


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


def _growth(what: str, margin: float, gate_input: GateInput) -> Finding:
    comparison = gate_input.comparison
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
    mask, after_per_trial, before_per_trial = _per_trial(comparison, now, before)
    groups = Groups.of(comparison.group[mask]) if comparison.grouped else None
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


def _per_trial(comparison: Comparison, now: Tally, before: Tally) -> tuple[Flags, Floats, Floats]:
    """Return the cases that both sides answered, and what each spent per trial, now and before.

    Where the sides sent the very same request, their trials are trials of one thing.
    """
    mask = comparison.paired & (now.measured > 0) & (before.measured > 0)
    pooled = Tally(total=now.total + before.total, measured=now.measured + before.measured)
    means = (np.where(comparison.identical, pooled.mean(), side.mean()) for side in (now, before))
    candidate, baseline = (mean[mask] for mean in means)
    return mask, candidate, baseline


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
