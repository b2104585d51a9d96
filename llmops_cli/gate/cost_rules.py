"""The rules about what an answer costs: money, tokens and seconds. None speaks about quality.

`cost` and `tokens` ask of each compared case x = c − (1 + margin)·b: is its mean proven above 0
(FAIL), proven not above it (PASS), or neither? `latency` asks the same of the 95th percentile,
by the exact distribution-free test, of calls made in this run only: a cached call has none.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Literal

import numpy as np

from llmops_cli.core.policy import Cost, Latency, Tokens
from llmops_cli.core.verdict import Decision, Finding
from llmops_cli.gate.comparison import NO_BASELINE, Comparison, Floats, GateInput, SideTotals, Tally
from llmops_cli.gate.pairs import Groups, group_variance, t_quantile
from llmops_cli.gate.wording import cases, counted, percent

P95 = 0.95
FEWEST_CALLS = 59
"""0.95⁵⁹ < 0.05: with fewer calls no p95 can be proven under a limit at level 0.05."""


def cost(rule: Cost, exam: GateInput) -> Finding:
    """Mean cost per case grows by at most `margin`."""
    return _growth("cost", rule.margin, exam)


def tokens(rule: Tokens, exam: GateInput) -> Finding:
    """Mean tokens per case grow by at most `margin`."""
    return _growth("tokens", rule.margin, exam)


def latency(rule: Latency, exam: GateInput) -> Finding:
    """The 95th percentile of this run's own calls is at most `p95` seconds."""
    totals = exam.comparison.candidate
    first = rule.of == "first_token"
    seconds = np.sort(totals.first_tokens if first else totals.latencies)
    n = len(seconds)
    what = "first token p95" if first else "p95"
    found = Finding(
        rule="latency",
        decision=Decision.INCONCLUSIVE,
        why="no answer was streamed in this run: cached answers and servers that do not stream "
        "have no first token"
        if first
        else "no call was made in this run: cached answers have no latency",
        evalset=exam.evalset,
        figures={"calls": n, "limit": rule.p95},
    )
    if n == 0:
        return found
    observed = float(seconds[math.ceil(P95 * n) - 1])
    low = quantile_lower_bound(seconds, P95, exam.spent.alpha)
    high = quantile_upper_bound(seconds, P95, exam.spent.beta)
    why = f"{what} {observed:.2f} s of {counted(n, 'call')}, limit {rule.p95:g} s"
    if low is not None and low > rule.p95:
        decision, why = Decision.FAIL, f"{why}: significantly above (at least {low:.2f} s)"
    elif high is not None and high <= rule.p95:
        decision, why = Decision.PASS, f"{why}: significantly below (at most {high:.2f} s)"
    else:
        decision = Decision.INCONCLUSIVE
        few = f"; a PASS needs {FEWEST_CALLS} calls" if n < FEWEST_CALLS else ""
        why = f"{why}: could be below or above{few}"
    figures = {"calls": n, "limit": rule.p95, "p95": observed, "lower": low, "upper": high}
    return replace(found, decision=decision, why=why, figures=figures)


def quantile_upper_bound(ordered: Floats, p: float, level: float) -> float | None:
    """The upper confidence bound of the p-quantile at 1 − `level`; None where there is none.

    The least order statistic x₍ₖ₎ with P(Bin(n, p) < k) ≥ 1 − `level`. `ordered` is ascending.
    """
    below = _binomial_cdf(len(ordered), p)
    enough = np.flatnonzero(below[:-1] >= 1.0 - level)
    return float(ordered[enough[0]]) if len(enough) else None


def quantile_lower_bound(ordered: Floats, p: float, level: float) -> float | None:
    """The lower bound: the greatest x₍ₖ₎ with P(Bin(n, p) < k) ≤ `level`."""
    below = _binomial_cdf(len(ordered), p)
    few = np.flatnonzero(below[:-1] <= level)
    return float(ordered[few[-1]]) if len(few) else None


def _binomial_cdf(n: int, p: float) -> Floats:
    """P(Bin(n, p) ≤ k) for k = 0 … n."""
    log_factorial = np.concatenate([[0.0], np.cumsum(np.log(np.arange(1.0, n + 1)))])
    k = np.arange(n + 1)
    log_choose = log_factorial[n] - log_factorial - log_factorial[::-1]
    cdf: Floats = np.cumsum(np.exp(log_choose + k * math.log(p) + (n - k) * math.log1p(-p)))
    return cdf


def _growth(what: Literal["cost", "tokens"], margin: float, exam: GateInput) -> Finding:
    comparison = exam.comparison
    found = Finding(
        rule=what,
        decision=Decision.INCONCLUSIVE,
        why=NO_BASELINE,
        evalset=exam.evalset,
        figures={"margin": margin},
    )
    if not comparison.has_baseline:
        return found
    unknown = sum(
        totals.unpriced if what == "cost" else totals.uncounted
        for totals in (comparison.candidate, comparison.baseline)
    )
    if unknown:
        why = f"{counted(unknown, 'trial')} of unknown {what}"
        return replace(found, decision=Decision.INCOMPLETE, why=why)
    now, before, groups = _spent(comparison, what)
    n = len(now)
    if n < 2 or (groups is not None and groups.too_few):
        few = cases(n) if groups is None else counted(groups.count, "group")
        return replace(found, why=f"{few} measured on both sides: too few to decide")
    paid, paid_before = float(now.mean()), float(before.mean())
    growth = paid / paid_before - 1 if paid_before else math.inf if paid else 0.0
    decision = _decide_growth(now - (1 + margin) * before, groups, exam)
    why = (
        f"{_amount(what, paid_before)} → {_amount(what, paid)} per trial over {cases(n)} "
        f"({100 * growth:+.1f}%), {_GROWTH[decision]} of {percent(margin)}"
    )
    figures = {"margin": margin, "n": n, "candidate": paid, "baseline": paid_before}
    return replace(found, decision=decision, why=why, figures=figures)


_GROWTH = {
    Decision.PASS: "significantly below the limit",
    Decision.FAIL: "significantly above the limit",
    Decision.INCONCLUSIVE: "could be below or above the limit",
}


def _spent(
    comparison: Comparison, what: Literal["cost", "tokens"]
) -> tuple[Floats, Floats, Groups | None]:
    """Mean spending per trial of each case that both sides answered; the same for one request."""
    now, before = _tally(comparison.candidate, what), _tally(comparison.baseline, what)
    mask = comparison.paired & (now.measured > 0) & (before.measured > 0)
    pooled = Tally(total=now.total + before.total, measured=now.measured + before.measured)
    candidate = np.where(comparison.identical, pooled.mean(), now.mean())[mask]
    baseline = np.where(comparison.identical, pooled.mean(), before.mean())[mask]
    groups = Groups.of(comparison.group[mask]) if comparison.grouped else None
    return candidate, baseline, groups


def _tally(totals: SideTotals, what: Literal["cost", "tokens"]) -> Tally:
    return totals.cost if what == "cost" else totals.tokens


def _decide_growth(excess: Floats, groups: Groups | None, exam: GateInput) -> Decision:
    """One-sided t on the mean excess; without any variance its sign decides."""
    n, mean = len(excess), float(excess.mean())
    single = float(excess.var(ddof=1)) / n
    variance = single if groups is None else max(single, group_variance(excess, groups))
    if variance <= (1e-12 * float(np.abs(excess).max())) ** 2:
        return Decision.FAIL if mean > 0 else Decision.PASS
    t = mean / math.sqrt(variance)
    degrees = (n if groups is None else groups.count) - 1
    if t > t_quantile(1 - exam.spent.alpha, degrees):
        return Decision.FAIL
    if t < -t_quantile(1 - exam.spent.beta, degrees):
        return Decision.PASS
    return Decision.INCONCLUSIVE


def _amount(what: str, value: float) -> str:
    return f"${value:.6f}" if what == "cost" else f"{value:,.1f} tokens"
